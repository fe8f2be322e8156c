"""No identity header of a client reaches the application, in any spelling."""

from collections.abc import Callable

import pytest

from shared.identity_headers import IDENTITY_HEADERS
from tests.integration.gateways.conftest import Gateway
from tests.support.gateway_programs import Difference
from tests.support.gateways import Response

IDENTITY = [name.removeprefix("X-Auth-") for name in IDENTITY_HEADERS]
SPELLINGS: dict[str, Callable[[str], list[str]]] = {
    "as documented": lambda name: [f"X-Auth-{name}: spoofed"],
    "lower case": lambda name: [f"x-auth-{name.lower()}: spoofed"],
    "upper case": lambda name: [f"X-AUTH-{name.upper()}: spoofed"],
    "twice": lambda name: [f"X-Auth-{name}: spoofed", f"x-auth-{name}: spoofed too"],
    "empty, then not": lambda name: [f"X-Auth-{name}:", f"X-Auth-{name}: spoofed"],
    "underscores": lambda name: [f"X_Auth_{name}: spoofed"],
    "one underscore": lambda name: [f"X-Auth_{name}: spoofed"],
    "dots": lambda name: [f"X.Auth.{name}: spoofed"],
    "one dot": lambda name: [f"X-Auth.{name}: spoofed", f"X.Auth-{name}: spoofed"],
    "both": lambda name: [f"X-Auth-{name}: spoofed", f"X_AUTH_{name}: spoofed"],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spoofed_identity_header_never_reaches_the_application(gateway: Gateway, spelling: str) -> None:
    lines = [line for name in IDENTITY for line in SPELLINGS[spelling](name)]
    honest = gateway.ask(token=(token := gateway.token())).identity
    response = gateway.ask("/", *lines, token=token)
    if not _rejected(gateway, response):
        assert response.identity == honest


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spoofed_header_is_removed_also_where_the_token_lacks_the_claim(gateway: Gateway, spelling: str) -> None:
    token = gateway.token(scope=..., sid=..., auth_time=...)
    silent = {"X-Auth-Scope", "X-Auth-Roles", "X-Auth-Session"}
    lines = [line for name in IDENTITY for line in SPELLINGS[spelling](name)]
    response = gateway.ask("/", *lines, token=token)
    assert b"spoofed" not in response.body
    if not _rejected(gateway, response):
        assert silent.isdisjoint(response.identity)


def _rejected(gateway: Gateway, response: Response) -> bool:
    return response.status == 400 and gateway.differs(Difference.REJECTS_CLIENT_IDENTITY)


@pytest.mark.parametrize(
    "line",
    [
        "X-Original-URL: /",
        "X-Original-URI: /",
        "X-Rewrite-URL: /",
        "X-Forwarded-Uri: /",
        "X-Forwarded-Prefix: /",
        "X-Envoy-Original-Path: /",
        "X-HTTP-Method-Override: OPTIONS",
    ],
)
def test_no_header_selects_another_policy(gateway: Gateway, line: str) -> None:
    assert gateway.ask("/admin/", line, token=gateway.token()).status == 403
