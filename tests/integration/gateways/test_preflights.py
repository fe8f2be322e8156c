"""CORS preflights: 401 as shipped, allowed for listed origins with the addition that the README describes."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.gateways.conftest import Gateway
from tests.integration.gateways.test_doctor import report_of
from tests.support.gateway_programs import OURS
from tests.support.gateways import Response, Verifier, running_gateway
from tests.support.readme_diffs import apply_diffs

ORIGIN = "https://spa.example"
ASKS = "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization"
GRANTED = "Access-Control-Allow-Origin"
CANARY = "X-Canary: 5f0c6b1e"


@pytest.fixture(scope="module", params=OURS)
def site(
    request: pytest.FixtureRequest, verifier: Verifier, application: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("preflights")
    prepare = partial(apply_diffs, request.param, "CORS preflights")
    with running_gateway(request.param, folder, verifier.port, application, prepare=prepare) as port:
        yield Gateway(request.param, port, verifier)


def _reached_the_application(response: Response) -> bool:
    return b"5f0c6b1e" in response.body or b"identity" in response.body


@pytest.mark.parametrize("path", ["/", "/admin/", "/some/path?query"])
def test_a_preflight_of_a_listed_origin_gets_its_response_from_the_gateway(site: Gateway, path: str) -> None:
    response = site.ask(path, f"Origin: {ORIGIN}", *ASKS, CANARY, method="OPTIONS")
    assert response.status in {200, 204}
    assert response.headers[GRANTED] == ORIGIN
    assert "authorization" in response.headers["Access-Control-Allow-Headers"].lower()
    assert "DELETE" in response.headers["Access-Control-Allow-Methods"]
    assert not _reached_the_application(response)


@pytest.mark.parametrize("origin", ["https://foreign.example", "https://spa.example.foreign.example", "null"])
def test_a_preflight_of_another_origin_gets_no_permission(site: Gateway, origin: str) -> None:
    response = site.ask("/", f"Origin: {origin}", *ASKS, CANARY, method="OPTIONS")
    assert GRANTED not in response.headers
    assert not _reached_the_application(response)


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


def test_the_doctor_finds_at_most_a_response_without_permission(site: Gateway) -> None:
    report = report_of(site.token(), site.port)
    assert [finding for finding in report.findings if finding["severity"] in {"vulnerable", "inconclusive"}] == []
    probes = {finding["probe"] for finding in report.of("preflight_accepted")}
    assert probes == ({"preflight"} if site.name.startswith("traefik") else set())
    assert report.of("foreign_origin_allowed") == []


def test_the_path_of_the_response_is_not_open(site: Gateway) -> None:
    response = site.ask("/gatepass-preflight", f"Origin: {ORIGIN}")
    assert response.status in {401, 404}
