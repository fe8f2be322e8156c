"""ingress-nginx, as in rootfs/etc/nginx/template/nginx.tmpl of its controller 1.15.1.

Only the lines about checks, headers and paths. Where Lua chooses an endpoint, here is a plain upstream.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.clusters.documents import of_kind

_PATH: Final = "ingress-nginx/gatepass.yaml"
_VERIFIER: Final = "verifier.gatepass.svc.cluster.local:8001"
_ANNOTATION: Final = "nginx.ingress.kubernetes.io/auth-"
_SWITCH: Final = {"true": "on", "false": "off"}


def ingress_nginx(folder: Path, port: int, verifier: int, application: int) -> str:
    """Its nginx.conf, for `folder`; the three ports are on the loopback."""
    config = of_kind(_PATH, "ConfigMap")["ingress-nginx-controller"]["data"]
    locations = "".join(_locations(config)).replace(_VERIFIER, f"127.0.0.1:{verifier}")
    user = "user root; " if os.geteuid() == 0 else ""
    return f"""
        {user}daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
        events {{ worker_connections 512; }}
        http {{
            access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            underscores_in_headers {_SWITCH[config["enable-underscores-in-headers"]]};
            ignore_invalid_headers {_SWITCH[config["ignore-invalid-headers"]]};
            map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
            {config["http-snippet"]}
            upstream upstream_balancer {{ server 127.0.0.1:{application}; keepalive 320; }}
            server {{
                listen 127.0.0.1:{port};
                {locations}
                {config["server-snippet"]}
            }}
        }}
    """


def _locations(config: dict[str, str]) -> Iterator[str]:
    """Those of each Ingress, with its own check or that of all. A path of type Prefix is two, but for the root."""
    for ingress in of_kind(_PATH, "Ingress").values():
        own = {
            f"global-auth-{name.removeprefix(_ANNOTATION)}": value for name, value in _annotations(ingress).items()
        }
        for rule in ingress["spec"]["rules"][0]["http"]["paths"]:
            path = rule["path"]
            for location in ["/"] if path == "/" else [f"{path}/", f"= {path}"]:
                yield _location(location, config | own)


def _annotations(ingress: dict[str, dict[str, dict[str, str]]]) -> dict[str, str]:
    return ingress["metadata"].get("annotations", {})


def _location(location: str, config: dict[str, str]) -> str:
    check = config["global-auth-url"]
    internal = "/_external-auth-" + location.encode().hex()
    identity = "".join(
        f"auth_request_set $authHeader{index} $upstream_http_{name.lower().replace('-', '_')};"
        f"proxy_set_header '{name}' $authHeader{index};"
        for index, name in enumerate(config["global-auth-response-headers"].split(","))
    )
    return f"""
        location = {internal} {{
            internal;
            proxy_intercept_errors off; proxy_pass_request_body off; proxy_set_header Content-Length "";
            proxy_set_header X-Forwarded-Proto ""; proxy_set_header Host {check.split("/")[2]};
            proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
            proxy_set_header X-Original-Method $request_method; proxy_pass_request_headers on;
            proxy_http_version 1.1;
            set $target {check};
            proxy_pass $target;
        }}
        location {location} {{
            auth_request {internal};
            auth_request_set $auth_cookie $upstream_http_set_cookie;
            add_header Set-Cookie $auth_cookie;
            {identity}
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_connect_timeout 5s; proxy_send_timeout 60s; proxy_read_timeout 60s;
            proxy_http_version 1.1;
            {config["location-snippet"]}
            proxy_pass http://upstream_balancer;
        }}"""
