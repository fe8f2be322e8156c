"""Small configurations of real gateways in front of an issuer. Each keeps connections and forwards upgrades."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Final

from tests.support.gateway_programs import PROGRAMS
from tests.support.plain_http import get_status
from tests.support.processes import free_port, running

_NGINX: Final = """\
upstream issuer { server 127.0.0.1:$upstream; keepalive 2; }
server {
    listen 127.0.0.1:$port;
    location / {
        proxy_pass http://issuer;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $$http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_request_buffering $buffering;
    }
}
"""

_ENVOY: Final = """\
static_resources:
  listeners:
    - address: { socket_address: { address: 127.0.0.1, port_value: $port } }
      filter_chains:
        - filters:
            - name: hcm
              typed_config:
                "@type": type.googleapis.com/$http_connection_manager
                stat_prefix: issuer
                generate_request_id: false
                upgrade_configs: [{ upgrade_type: websocket }, { upgrade_type: foo }]
                route_config:
                  virtual_hosts:
                    - { name: all, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: issuer } }] }
                http_filters:
                  - name: router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
    - name: issuer
      circuit_breakers: { thresholds: [{ max_connections: 2 }] }
      load_assignment:
        cluster_name: issuer
        endpoints:
          - lb_endpoints:
              - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $upstream } } }
"""

_ENVOY_HTTP: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

_TRAEFIK: Final = """\
entryPoints: { web: { address: "127.0.0.1:$port" } }
providers: { file: { filename: routes.yaml } }
"""

_TRAEFIK_ROUTES: Final = """\
http:
  routers: { all: { rule: "PathPrefix(`/`)", service: issuer } }
  services: { issuer: { loadBalancer: { servers: [{ url: "http://127.0.0.1:$upstream" }] } } }
"""

_CADDY: Final = """\
{
    admin off
    auto_https off
}
:$port {
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:$upstream
}
"""

_HAPROXY: Final = """\
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    http-reuse always
frontend web
    bind 127.0.0.1:$port
    default_backend issuer
backend issuer
    server issuer 127.0.0.1:$upstream pool-max-conn 2
"""

CONFIGURATIONS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "nginx": ("nginx", {"gatepass.conf": _NGINX.replace("$buffering", "on")}),
    "nginx without buffers": ("nginx", {"gatepass.conf": _NGINX.replace("$buffering", "off")}),
    "envoy": ("envoy", {"envoy.yaml": _ENVOY.replace("$http_connection_manager", _ENVOY_HTTP)}),
    "traefik": ("traefik", {"traefik.yaml": _TRAEFIK, "routes.yaml": _TRAEFIK_ROUTES}),
    "caddy": ("caddy", {"Caddyfile": _CADDY}),
    "haproxy": ("haproxy", {"haproxy.cfg": _HAPROXY}),
}
"""For each configuration, the program that runs it, and its files."""


@contextmanager
def gateway_before(issuer_port: int, name: str, folder: Path) -> Iterator[int]:
    """Run the configuration `name` in front of an issuer; yield its port."""
    program, files = CONFIGURATIONS[name]
    port = free_port()
    for file, text in files.items():
        (folder / file).write_text(Template(text).substitute(port=port, upstream=issuer_port), encoding="utf-8")
    served = f"http://127.0.0.1:{port}/.well-known/jwks.json"
    with running(
        PROGRAMS[program].command(folder),
        folder / "gateway.log",
        {"XDG_DATA_HOME": str(folder)},
        lambda: get_status(served) == 200,
    ):
        yield port
