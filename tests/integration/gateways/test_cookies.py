"""Tokens in cookies, through each gateway with the addition that its README describes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time
from typing import Any

import pytest

from tests.support.gateway_programs import OURS
from tests.support.gateways import Response, Verifier, ask, running_gateway
from tests.support.readme_diffs import apply_diffs

COOKIE, ORIGIN, FOREIGN = "__Host-access", "https://app.example", "https://foreign.example"
POLICIES = f"""\
[policies.default]
cookie = "{COOKIE}"
origins = ["{ORIGIN}"]
[policies.admin]
scopes_all = ["admin"]
"""
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@dataclass(frozen=True)
class Site:
    """A gateway whose policy `default` accepts a cookie."""

    port: int
    verifier: Verifier

    def token(self, **changes: Any) -> bytes:
        return self.verifier.forge.token(time(), **changes)

    def ask(self, *lines: str, method: str = "GET") -> Response:
        """Send a request as a browser does, with the cookie."""
        token = self.token().decode()
        length = ["Content-Length: 0"] if method == "POST" else []
        return ask(self.port, "/", f"Cookie: theme=dark; {COOKIE}={token}", *lines, *length, method=method)


@pytest.fixture(scope="module", params=OURS)
def site(
    request: pytest.FixtureRequest, application: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("cookies")
    verifier = Verifier(folder, policies=POLICIES)
    prepare = partial(apply_diffs, request.param, "Tokens in cookies")
    with (
        verifier.running(),
        running_gateway(request.param, folder, verifier.port, application, prepare=prepare) as port,
    ):
        yield Site(port, verifier)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_the_application_is_let_through(site: Site, method: str) -> None:
    response = site.ask(f"Origin: {ORIGIN}", "Sec-Fetch-Site: same-origin", method=method)
    assert response.identity["X-Auth-Subject"]
    assert response.application["method"] == method


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("fetch_site", ["cross-site", "same-site"])
def test_a_page_of_another_origin_is_rejected(site: Site, method: str, fetch_site: str) -> None:
    assert site.ask(f"Origin: {FOREIGN}", f"Sec-Fetch-Site: {fetch_site}", method=method).status == 403
    assert site.ask(f"Sec-Fetch-Site: {fetch_site}", method=method).status == 403


def test_the_verifier_learns_the_method_of_the_client(site: Site) -> None:
    assert [site.ask(method=method).status for method in ("GET", "POST")] == [200, 403]
    assert [site.ask("Sec-Fetch-Site: none", method=method).status for method in ("GET", "POST")] == [200, 403]
    assert site.ask(f"Origin: {ORIGIN}", method="POST").status == 200
    assert site.ask(f"Origin: {FOREIGN}", method="POST").status == 403


@pytest.mark.parametrize("name", ["X-Forwarded-Method", "x-forwarded-method", "X-HTTP-Method-Override"])
def test_a_client_cannot_write_the_method(site: Site, name: str) -> None:
    assert site.ask(f"{name}: GET", method="POST").status == 403
    assert site.ask(f"{name}: GET", f"{name}: GET", method="POST").status == 403


def test_a_websocket_handshake_needs_the_origin(site: Site) -> None:
    assert site.ask(*HANDSHAKE, f"Origin: {ORIGIN}").status not in {401, 403, 503}
    assert site.ask(*HANDSHAKE, f"Origin: {FOREIGN}").status == 403
    assert site.ask(*HANDSHAKE).status == 403


def test_two_carriers_are_rejected_and_one_bearer_token_is_not(site: Site) -> None:
    token = site.token()
    bearer = f"Authorization: Bearer {token.decode()}"
    assert site.ask(bearer, "Sec-Fetch-Site: same-origin").status == 401
    assert site.ask(f"Cookie: {COOKIE}=x", "Sec-Fetch-Site: same-origin").status == 401
    assert ask(site.port, "/", bearer, f"Origin: {FOREIGN}", "Sec-Fetch-Site: cross-site").status == 200


def test_a_policy_without_the_cookie_ignores_it(site: Site) -> None:
    token = site.token(scope="admin").decode()
    lines = f"Cookie: {COOKIE}={token}", "Sec-Fetch-Site: same-origin"
    assert ask(site.port, "/admin/", *lines).status == 401
