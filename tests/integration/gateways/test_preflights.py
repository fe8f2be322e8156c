"""CORS preflights: 401 as shipped, answered for listed origins with the addition that the README describes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.gateways.conftest import Gateway
from tests.integration.gateways.test_doctor import report_of
from tests.support.gateway_programs import EXTERNAL, PROGRAMS
from tests.support.gateways import Answer, Verifier, running_gateway
from tests.support.readme_diffs import apply_diffs

ORIGIN = "https://spa.example"
ASKS = "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization"
GRANTED = "Access-Control-Allow-Origin"
CANARY = "X-Canary: 5f0c6b1e"


@pytest.fixture(scope="module", params=sorted(set(PROGRAMS) - {EXTERNAL}))
def site(
    request: pytest.FixtureRequest, verifier: Verifier, application: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("preflights")

    def prepare(configuration: Path) -> None:
        apply_diffs(request.param, "CORS preflights", configuration)

    with running_gateway(request.param, folder, verifier.port, application, prepare=prepare) as port:
        yield Gateway(request.param, port, verifier)


def _reached_the_application(answer: Answer) -> bool:
    return b"5f0c6b1e" in answer.body or b"identity" in answer.body


@pytest.mark.parametrize("path", ["/", "/admin/", "/some/path?query"])
def test_a_preflight_of_a_listed_origin_is_answered_by_the_gateway(site: Gateway, path: str) -> None:
    answer = site.ask(path, f"Origin: {ORIGIN}", *ASKS, CANARY, method="OPTIONS")
    assert answer.status in {200, 204}
    assert answer.headers[GRANTED] == ORIGIN
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    assert not _reached_the_application(answer)


@pytest.mark.parametrize("origin", ["https://foreign.example", "https://spa.example.foreign.example", "null"])
def test_a_preflight_of_another_origin_gets_no_permission(site: Gateway, origin: str) -> None:
    answer = site.ask("/", f"Origin: {origin}", *ASKS, CANARY, method="OPTIONS")
    assert GRANTED not in answer.headers
    assert not _reached_the_application(answer)


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        ("OPTIONS", []),
        ("OPTIONS", [f"Origin: {ORIGIN}"]),
        ("OPTIONS", [*ASKS]),
        ("GET", [f"Origin: {ORIGIN}", *ASKS]),
        ("GET", [f"Origin: {ORIGIN}", *ASKS, "X-HTTP-Method-Override: OPTIONS"]),
    ],
)
def test_what_is_no_preflight_still_needs_a_token(site: Gateway, method: str, lines: list[str]) -> None:
    assert site.ask("/", *lines, method=method).status == 401
    assert site.ask("/", *lines, method=method, token=site.token()).status == 200


def test_the_doctor_finds_at_most_an_answer_without_permission(site: Gateway) -> None:
    report = report_of(site.token(), site.port)
    assert [finding for finding in report.findings if finding["severity"] in {"vulnerable", "inconclusive"}] == []
    answered = {finding["probe"] for finding in report.of("preflight_answered")}
    assert answered == ({"preflight"} if site.name.startswith("traefik") else set())
    assert report.of("foreign_origin_allowed") == []


def test_the_address_of_the_answer_is_not_open(site: Gateway) -> None:
    answer = site.ask("/gatepass-preflight", f"Origin: {ORIGIN}")
    assert answer.status in {401, 404}
