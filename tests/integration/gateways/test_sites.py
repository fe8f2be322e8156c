"""Existing sites with the check added: the issuer at /auth/, public paths, and no other path without a token."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.gateways.conftest import Gateway
from tests.support.gateway_programs import COMPLETE, OURS, Difference
from tests.support.gateways import Verifier, running_application, running_gateway

SITES = sorted(set(OURS) - set(COMPLETE))


@pytest.fixture(scope="module", params=SITES)
def site(
    request: pytest.FixtureRequest, verifier: Verifier, application: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Yield a site whose issuer echoes requests, as the application does."""
    folder: Path = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        issuer = stack.enter_context(running_application(folder))
        port = stack.enter_context(
            running_gateway(request.param, folder, verifier.port, application, issuer_port=issuer)
        )
        yield Gateway(request.param, port, verifier)


def test_the_issuer_is_reached_without_a_token_and_without_its_prefix(site: Gateway) -> None:
    response = site.ask("/auth/login", "Content-Length: 5", method="POST", body=b"hello")
    assert response.application["path"] == "/login"
    assert response.application["body"]["bytes"] == 5


def test_the_metadata_of_the_issuer_are_public(site: Gateway) -> None:
    path = "/.well-known/oauth-authorization-server/auth"
    assert site.ask(path).application["path"] == path


@pytest.mark.parametrize("path", ["/health", "/health?probe=1", "/static/app.css?v=1", "/auth/me"])
def test_a_public_path_has_no_identity_whatever_a_client_sends(site: Gateway, path: str) -> None:
    assert site.ask(path).identity == {}
    for lines in (
        ["X-Auth-Subject: spoofed"],
        ["X-Auth-Roles:", "X-Auth-Roles: spoofed"],
        ["X_Auth_Subject: spoofed"],
    ):
        response = site.ask(path, *lines, token=site.token())
        assert response.status == 200 or site.differs(Difference.REJECTS_CLIENT_IDENTITY)
        assert b"spoofed" not in response.body


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/healthy",
        "/Health",
        "/STATIC/x",
        "/%53tatic/x",
        "/health/x",
        "/static",
        "/statics/x",
        "/authors",
        "/hello?/health",
        "/hello?x=/static/",
        "/static/../hello",
        "/static/./../hello",
        "/static/%2e%2e/hello",
        "/static%2f..%2fhello",
        "/static/..%2fhello",
        "/static/..;/hello",
        "/static/..%5chello",
        "//static/../hello",
        "/auth/../hello",
        "/auth/..%2fhello",
        "/%61uth/../hello",
        "/x/../auth/../hello",
        "http://app.example/static/../hello",
    ],
)
def test_no_path_beside_the_public_ones_is_open(site: Gateway, path: str) -> None:
    # 301: nginx redirects `/static` to `/static/` itself.
    assert site.ask(path).status in {301, 400, 401, 403, 404}


@pytest.mark.parametrize("path", ["/static/x", "/auth/x"])
def test_a_public_path_gives_no_other_upgrade_than_websocket(site: Gateway, path: str) -> None:
    response = site.ask(
        path, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"
    )
    assert response.status != 101
