"""Changes that users make to a configuration: an added route is checked, and a fault lets no request through."""

from pathlib import Path

import pytest

from tests.integration.gateways.conftest import Gateway
from tests.support.gateway_programs import OURS, Difference
from tests.support.gateways import Verifier, running_gateway

# A route as the gateway's own documentation adds one, without thinking of the check. `{port}`: the
# application's.
NGINX_ROUTE = (
    "    # POLICIES.",
    "    location /tomorrow/ {{ proxy_pass http://127.0.0.1:{port}; }}\n    # POLICIES.",
)
ENVOY_ROUTE = (
    "envoy.yaml",
    "                        # All other paths: policy `default`.\n",
    '                        - {{ match: {{ prefix: "/tomorrow/" }}, route: {{ cluster: application }} }}\n',
)
HAPROXY_ROUTE = (
    "haproxy.cfg",
    "    default_backend application\n",
    "    use_backend application if {{ path_beg /tomorrow/ }}\n    default_backend application\n",
)
TOMORROW: dict[str, tuple[str, str, str]] = {
    "nginx": ("gatepass.conf", *NGINX_ROUTE),
    "nginx/site": ("app.conf", *NGINX_ROUTE),
    "envoy": ENVOY_ROUTE,
    "envoy/site": ENVOY_ROUTE,
    "haproxy": HAPROXY_ROUTE,
    "haproxy/site": HAPROXY_ROUTE,
    "caddy": (
        "Caddyfile",
        "		# ROUTES.",
        "		handle /tomorrow/* {{\n			reverse_proxy 127.0.0.1:{port}\n		}}\n		# ROUTES.",
    ),
    "caddy/site": (
        "Caddyfile",
        "routes {",
        "routes {{\n\t\t\thandle /tomorrow/* {{\n\t\t\t\treverse_proxy 127.0.0.1:{port}\n\t\t\t}}",
    ),
    "traefik/site": (
        "dynamic/site.yaml",
        "  middlewares:\n    issuer-path",
        "    tomorrow: {{ rule: PathPrefix(`/tomorrow/`), service: application }}\n  middlewares:\n    issuer-path",
    ),
    "traefik": (
        "routes.yaml",
        "  middlewares:\n    #",
        "    tomorrow: {{ rule: PathPrefix(`/tomorrow/`), service: application }}\n  middlewares:\n    #",
    ),
}


@pytest.mark.parametrize("name", OURS)
def test_an_added_route_is_checked(name: str, verifier: Verifier, application: int, tmp_path: Path) -> None:
    file, old, new = TOMORROW[name]
    change = (file, old, new.format(port=application))
    with running_gateway(name, tmp_path, verifier.port, application, [change]) as port:
        gateway = Gateway(name, port, verifier)
        assert gateway.ask("/tomorrow/").status == 401
        assert gateway.ask("/tomorrow/", token=gateway.token()).application["path"] == "/tomorrow/"
        response = gateway.ask("/tomorrow/", "X-Auth-Roles: spoofed", token=gateway.token())
        assert response.status == (400 if gateway.differs(Difference.REJECTS_CLIENT_IDENTITY) else 200)
        assert b"spoofed" not in response.body


@pytest.mark.parametrize("script", ['error("a fault")', "while true do end", "do return end"])
def test_a_script_that_fails_or_hangs_lets_no_request_pass(
    verifier: Verifier, application: int, tmp_path: Path, script: str
) -> None:
    change = ("gatepass.lua", "    local headers = {", f"    {script}\n    local headers = {{")
    with running_gateway("haproxy", tmp_path, verifier.port, application, [change]) as port:
        gateway = Gateway("haproxy", port, verifier)
        assert gateway.ask(token=gateway.token()).status == 503


# Where a configuration names the policy `default`.
POLICY_NAME: dict[str, tuple[str, str]] = {
    "nginx": ("gatepass.conf", "auth_request /gatepass/default;"),
    "nginx/site": ("gatepass/server.conf", "auth_request /gatepass/default;"),
    "envoy": ("envoy.yaml", "path_override: /verify/default"),
    "envoy/site": ("envoy.yaml", "path_override: /verify/default"),
    "caddy": ("Caddyfile", "vars gatepass_policy default"),
    "caddy/site": ("gatepass.caddy", "vars gatepass_policy default"),
    "haproxy": ("haproxy.cfg", "str(default)"),
    "haproxy/site": ("gatepass.cfg", "gatepass.policies,default"),
    "traefik": ("routes.yaml", "/verify/default"),
    "traefik/site": ("dynamic/gatepass.yaml", "/verify/default"),
}


@pytest.mark.parametrize("name", OURS)
def test_an_unknown_policy_lets_no_request_pass(
    name: str, verifier: Verifier, application: int, tmp_path: Path
) -> None:
    file, named = POLICY_NAME[name]
    change = (file, named, named.replace("default", "typo"))
    with running_gateway(name, tmp_path, verifier.port, application, [change]) as port:
        gateway = Gateway(name, port, verifier)
        response = gateway.ask(token=gateway.token())
        assert (response.status, response.challenge) == (403, None)
