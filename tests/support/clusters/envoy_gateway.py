"""Envoy Gateway, as in internal/xds/translator and internal/gatewayapi of its release 1.9."""

from typing import Any

from tests.support.clusters.documents import of_kind
from tests.support.clusters.envoy import FILTERS, connection_manager, header_names


def envoy_gateway() -> dict[str, Any]:
    """The connection manager of its Gateway.

    A check for each policy, switched off but where a route switches its own on. Regular expressions stand before
    prefixes.
    """
    path = "envoy-gateway/gatepass.yaml"
    client = of_kind(path, "ClientTrafficPolicy")["gatepass"]["spec"]
    checks = {name: policy["spec"] for name, policy in of_kind(path, "SecurityPolicy").items()}
    by_target = {
        (spec["targetRefs"][0]["kind"], spec["targetRefs"][0]["name"]): name for name, spec in checks.items()
    }
    answers = {name: filter_["spec"] for name, filter_ in of_kind(path, "HTTPRouteFilter").items()}
    routes = [
        _route(rule, by_target.get(("HTTPRoute", name), by_target["Gateway", "gateway"]), answers)
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
        **connection_manager(routes, [_check(name, spec["extAuth"]) for name, spec in checks.items()]),
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


def _check(name: str, check: dict[str, Any]) -> dict[str, Any]:
    milliseconds = int(check["timeout"].removesuffix("ms"))
    server = {"uri": "http://verifier", "cluster": "verifier", "timeout": f"{milliseconds / 1000}s"}
    typed = {
        "@type": f"{FILTERS}.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": check["failOpen"],
        "status_on_error": {"code": check["statusOnError"]},
        "http_service": {
            "path_override": check["http"]["pathOverride"],
            "server_uri": server,
            "authorization_response": {"allowed_upstream_headers": header_names(check["http"]["headersToBackend"])},
        },
    }
    return {"name": name, "disabled": True, "typed_config": typed}


def _route(rule: dict[str, Any], check: str, answers: dict[str, Any]) -> dict[str, Any]:
    path = rule["matches"][0]["path"]
    enabled = {"@type": f"{FILTERS}.http.ext_authz.v3.ExtAuthzPerRoute", "check_settings": {}}
    if path["type"] == "RegularExpression":
        answer = answers[rule["filters"][0]["extensionRef"]["name"]]["directResponse"]["statusCode"]
        made: dict[str, Any] = {
            "match": {"safe_regex": {"regex": path["value"]}},
            "direct_response": {"status": answer},
        }
    else:
        match = {"prefix": "/"} if path["value"] == "/" else {"path_separated_prefix": path["value"]}
        made = {"match": match, "route": {"cluster": "application"}}
    return {**made, "typed_per_filter_config": {check: enabled}}
