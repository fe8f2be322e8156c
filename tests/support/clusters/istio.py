"""Istio, as in pilot/pkg/security/authz/builder and pilot/pkg/networking/core of its release 1.32."""

from typing import Any, Final

import yaml

from tests.support.clusters.documents import FOLDER, of_kind

_PATH: Final = "istio/gatepass.yaml"
_FILTERS: Final = "type.googleapis.com/envoy.extensions.filters"


def istio() -> dict[str, Any]:
    """The connection managers of its gateway and of the application's sidecar in one.

    For each provider, in the order of their names: a filter that only notes whether its rules match, and the check,
    which looks at that note.
    """
    mesh = yaml.safe_load((FOLDER / "istio/values.yaml").read_text(encoding="utf-8"))["meshConfig"]
    settings = mesh["defaultConfig"]["connectionSettings"]
    underscores = settings["httpHeadersWithUnderscoresAction"].removeprefix("HEADERS_WITH_UNDERSCORES_")
    policies = {
        policy["spec"]["provider"]["name"]: policy["spec"]["rules"]
        for policy in of_kind(_PATH, "AuthorizationPolicy").values()
    }
    filters = []
    for provider in sorted(mesh["extensionProviders"], key=lambda each: str(each["name"])):
        filters += _filters(provider["name"], provider["envoyExtAuthzHttp"], policies[provider["name"]])
    return {
        **_manager([_route(rule) for rule in _virtual_service()], filters),
        "normalize_path": True,
        "merge_slashes": mesh["pathNormalization"]["normalization"] == "MERGE_SLASHES",
        "path_with_escaped_slashes_action": settings["httpPathWithEscapedSlashesAction"],
        "common_http_protocol_options": {"headers_with_underscores_action": underscores},
    }


def _filters(name: str, provider: dict[str, Any], rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    noted = "istio_ext_authz_shadow_effective_policy_id"
    shadow = {
        "@type": f"{_FILTERS}.http.rbac.v3.RBAC",
        "shadow_rules_stat_prefix": "istio_ext_authz_",
        "shadow_rules": {
            "action": "DENY",
            "policies": {
                f"istio-ext-authz-{name}-rule[{number}]": {
                    "permissions": _permissions(rule),
                    "principals": [{"any": True}],
                }
                for number, rule in enumerate(rules)
            },
        },
    }
    check = {
        "@type": f"{_FILTERS}.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": provider["failOpen"],
        "status_on_error": {"code": int(provider["statusOnError"])},
        "allowed_headers": _names(provider["includeRequestHeadersInCheck"]),
        "filter_enabled_metadata": {
            "filter": "envoy.filters.http.rbac",
            "path": [{"key": noted}],
            "value": {"string_match": {"prefix": f"istio-ext-authz-{name}"}},
        },
        "http_service": {
            "path_prefix": provider["pathPrefix"],
            "server_uri": {"uri": "http://verifier", "cluster": "verifier", "timeout": provider["timeout"]},
            "authorization_response": {
                "allowed_upstream_headers": _names(provider["headersToUpstreamOnAllow"]),
                "allowed_client_headers": _names(provider["headersToDownstreamOnDeny"]),
            },
        },
    }
    return [
        {"name": "envoy.filters.http.rbac", "typed_config": shadow},
        {"name": "envoy.filters.http.ext_authz", "typed_config": check},
    ]


def _permissions(rule: dict[str, Any]) -> list[dict[str, Any]]:
    paths = [path for to in rule.get("to", []) for path in to["operation"]["paths"]]
    matches = [{"prefix": path[:-1]} if path.endswith("*") else {"exact": path} for path in paths]
    return [{"url_path": {"path": match}} for match in matches] or [{"any": True}]


def _virtual_service() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = of_kind(_PATH, "VirtualService")["application"]["spec"]["http"]
    return rules


def _route(rule: dict[str, Any]) -> dict[str, Any]:
    if "directResponse" not in rule:
        removed = rule["headers"]["request"]["remove"]
        return {
            "match": {"prefix": "/"},
            "route": {"cluster": "application"},
            "request_headers_to_remove": removed,
        }
    regex = rule["match"][0]["uri"]["regex"]
    return {
        "match": {"safe_regex": {"regex": regex}},
        "direct_response": {"status": rule["directResponse"]["status"]},
    }


def _manager(routes: list[dict[str, Any]], filters: list[dict[str, Any]]) -> dict[str, Any]:
    router = {"name": "router", "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"}}
    return {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [*filters, router],
        "route_config": {"virtual_hosts": [{"name": "application", "domains": ["*"], "routes": routes}]},
    }


def _names(names: list[str]) -> dict[str, Any]:
    """A matcher of these names in any letters."""
    return {"patterns": [{"exact": name, "ignore_case": True} for name in names]}
