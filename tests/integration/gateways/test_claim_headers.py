"""An additional identity header, added to each gateway as the guide says, cannot be set by a client."""

from itertools import product
from pathlib import Path
from time import time
from typing import Final

import pytest

from tests.integration.gateways.test_doctor import report_of
from tests.support.gateways import ask, running_gateway
from tests.support.verifier_process import VerifierFolder

TENANT: Final = "X-Auth-Claim-Tenant"
POLICIES: Final = f"""
[policies.default]
headers = {{ {TENANT} = "/tenant" }}
[policies.admin]
scopes_all = ["admin"]
"""
_SPELLINGS: Final = [f"X{a}Auth{b}Claim{c}Tenant" for a, b, c in product("-.", repeat=3)]
_REMOVED: Final = "".join(f'          {name}: ""\n' for name in _SPELLINGS)

_NGINX_LINE: Final = "    proxy_set_header X-Auth-Expires    $auth_expires;\n"
_NGINX_ADDED: Final = f"""
    auth_request_set $auth_claim_tenant $upstream_http_x_auth_claim_tenant;
    proxy_set_header {TENANT} $auth_claim_tenant;
"""
_ENVOY_LINE: Final = f"{' ' * 30}- {{ exact: X-Auth-Expires, ignore_case: true }}\n"

Change = tuple[str, str, str]
ADDED: Final[dict[str, list[Change]]] = {
    "nginx": [("gatepass.conf", _NGINX_LINE, _NGINX_LINE + _NGINX_ADDED)],
    "envoy": [("envoy.yaml", _ENVOY_LINE, _ENVOY_LINE + _ENVOY_LINE.replace("X-Auth-Expires", TENANT))],
    "caddy": [("Caddyfile", "\t\t\t\tX-Auth-Expires\n", f"\t\t\t\tX-Auth-Expires\n\t\t\t\t{TENANT}\n")],
    "haproxy": [("gatepass.lua", '    "x-auth-expires",\n', f'    "x-auth-expires",\n    "{TENANT.lower()}",\n')],
    "traefik": [
        ("routes.yaml", "          - X-Auth-Expires\n", f"          - X-Auth-Expires\n          - {TENANT}\n"),
        ("routes.yaml", '          X-Auth-Issuer: ""\n', f'          X-Auth-Issuer: ""\n{_REMOVED}'),
    ],
}


@pytest.mark.parametrize("name", ADDED)
def test_a_header_that_was_added_as_the_guide_says_is_the_verifier_s(
    name: str, tmp_path: Path, application: int
) -> None:
    folder = VerifierFolder(tmp_path)
    with (
        folder.running(policies=POLICIES) as verifier,
        running_gateway(name, tmp_path, verifier.port, application, changes=ADDED[name]) as port,
    ):
        with_claim, without = folder.forge.token(time(), tenant="acme"), folder.forge.token(time())
        assert ask(port, "/", f"{TENANT}: spoofed", token=with_claim).identity[TENANT] == "acme"
        assert ask(port, "/", f"{TENANT}: spoofed", token=without).identity.get(TENANT, "") == ""
        report = report_of(with_claim, port, "--claim-header", TENANT)
        assert [one for one in report.findings if one["severity"] in {"vulnerable", "inconclusive"}] == []
        # An echo may hide an empty header, which is inconclusive.
        assert report_of(without, port, "--claim-header", TENANT).status in (0, 2)


def test_a_missing_header_is_found(tmp_path: Path, application: int) -> None:
    folder = VerifierFolder(tmp_path)
    with (
        folder.running(policies=POLICIES) as verifier,
        running_gateway("nginx", tmp_path, verifier.port, application) as port,
    ):
        report = report_of(folder.forge.token(time()), port, "--claim-header", TENANT)
        assert report.status == 1
        assert {TENANT in one["received"] for one in report.of("identity_spoofed")} == {True}
