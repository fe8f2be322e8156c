"""Gateways that can not run here: their configurations by the published schemas and by what we ask of them all."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import jsonschema
import pytest
import yaml

from shared.identity_headers import IDENTITY_HEADERS
from tests.support.clusters.documents import FOLDER, documents, of_kind
from tests.support.manifests import SCHEMAS, validate
from tests.support.processes import ROOT

MANIFESTS: Final = tuple(
    f"{folder}/gatepass.yaml" for folder in ("envoy-gateway", "gateway-api", "ingress-nginx", "istio")
)
OBJECTS: Final = [(path, document) for path in MANIFESTS for document in documents(path)]
POLICIES: Final = {"default", "admin"}
IDENTITY: Final = {name.lower() for name in IDENTITY_HEADERS}


def _values() -> dict[str, Any]:
    values: dict[str, Any] = documents("istio/values.yaml")[0]
    return values


PLAIN: Final[dict[str, tuple[str, Callable[[], dict[str, Any]]]]] = {
    "istio": ("istio.io/MeshConfig_v1alpha1.json", lambda: _values()["meshConfig"]),
}


def _name(case: tuple[str, dict[str, Any]]) -> str:
    path, document = case
    return f"{path.split('/')[0]}-{document['kind']}-{document['metadata']['name']}"


@pytest.mark.parametrize("case", OBJECTS, ids=map(_name, OBJECTS))
def test_an_object_is_valid_and_would_not_be_with_a_field_more(case: tuple[str, dict[str, Any]]) -> None:
    _, document = case
    assert validate(document) == []
    for place in _places(document):
        assert validate(_with_a_field_more(document, place)) != [], place


@pytest.mark.parametrize("name", PLAIN)
def test_a_document_is_valid_and_would_not_be_with_a_field_more(name: str) -> None:
    schema, read = PLAIN[name]
    judge = jsonschema.Draft4Validator(json.loads((SCHEMAS / schema).read_text(encoding="utf-8")))
    assert [error.message for error in judge.iter_errors(read())] == []
    for place in _places(read()):
        assert not judge.is_valid(_with_a_field_more(read(), place)), place


def _places(document: dict[str, Any]) -> list[tuple[str | int, ...]]:
    """Where in a document a field could be misspelt: every mapping, but for those with names of the user's own."""
    found: list[tuple[str | int, ...]] = []

    def walk(node: Any, place: tuple[str | int, ...]) -> None:
        if isinstance(node, dict) and not {"metadata", "data", "nodes", "matchLabels", "selector"} & set(place[-1:]):
            found.append(place)
            for key, inner in node.items():
                walk(inner, (*place, key))
        elif isinstance(node, list):
            for index, inner in enumerate(node):
                walk(inner, (*place, index))

    walk(document, ())
    return found


def _with_a_field_more(document: dict[str, Any], place: tuple[str | int, ...]) -> dict[str, Any]:
    changed: Any = deepcopy(document)
    node = changed
    for step in place:
        node = node[step]
    node["failOpne"] = True
    return dict(changed)


@dataclass(frozen=True)
class Check:
    """What a configuration says of one check. `timeout` in seconds; None where there is no field for it."""

    url: str
    identity: list[str]
    challenge: bool
    closed: bool
    body: bool
    timeout: float | None

    @property
    def policy(self) -> str:
        return self.url.split("/verify/")[1]


def _envoy_gateway() -> list[Check]:
    checks = [
        policy["spec"]["extAuth"] for policy in of_kind("envoy-gateway/gatepass.yaml", "SecurityPolicy").values()
    ]
    return [
        Check(
            check["http"]["pathOverride"],
            check["http"]["headersToBackend"],
            True,  # noqa: FBT003 - Envoy Gateway passes on every header of a refusal
            check["failOpen"] is False and check["statusOnError"] == 503,
            "bodyToExtAuth" in check,
            int(check["timeout"].removesuffix("ms")) / 1000,
        )
        for check in checks
    ]


def _gateway_api() -> list[Check]:
    rules = of_kind("gateway-api/gatepass.yaml", "HTTPRoute")["application"]["spec"]["rules"]
    checks = [filter_["externalAuth"] for rule in rules for filter_ in rule["filters"]]
    assert len(checks) == len(rules)
    # That a refusal is passed on, and that the filter fails closed, is of its specification: there is no field.
    return [
        Check(
            check["http"]["path"],
            check["http"]["allowedResponseHeaders"],
            challenge=True,
            closed=True,
            body="forwardBody" in check,
            timeout=None,
        )
        for check in checks
    ]


def _ingress_nginx() -> list[Check]:
    path = "ingress-nginx/gatepass.yaml"
    config = of_kind(path, "ConfigMap")["ingress-nginx-controller"]["data"]
    prefix = "nginx.ingress.kubernetes.io/auth-"
    own = of_kind(path, "Ingress")["admin"]["metadata"]["annotations"]
    limit = re.search(r"proxy_read_timeout (\d+)ms;", config["http-snippet"])
    closed = "error_page 500 = @gatepass_undecided;" in config["location-snippet"]
    challenge = "add_header WWW-Authenticate $gatepass_forbidden always;" in config["location-snippet"]
    assert limit
    return [
        Check(url, headers.split(","), challenge, closed, body=False, timeout=int(limit[1]) / 1000)
        for url, headers in (
            (config["global-auth-url"], config["global-auth-response-headers"]),
            (own[f"{prefix}url"], own[f"{prefix}response-headers"]),
        )
    ]


def _istio() -> list[Check]:
    checks = [provider["envoyExtAuthzHttp"] for provider in _values()["meshConfig"]["extensionProviders"]]
    return [
        Check(
            check["pathPrefix"],
            check["headersToUpstreamOnAllow"],
            "www-authenticate" in check["headersToDownstreamOnDeny"],
            check["failOpen"] is False and check["statusOnError"] == "503",
            "includeRequestBodyInCheck" in check,
            float(check["timeout"].removesuffix("s")),
        )
        for check in checks
    ]


def _apisix() -> list[Check]:
    routes = documents("apisix/apisix.yaml")[0]
    holders = [*routes["global_rules"], *routes["routes"]]
    checks = [holder["plugins"]["forward-auth"] for holder in holders if "plugins" in holder]
    return [
        Check(
            check["uri"],
            check["upstream_headers"],
            "WWW-Authenticate" in check["client_headers"],
            check["allow_degradation"] is False and check["status_on_error"] == 503,
            check["request_method"] != "GET",
            check["timeout"] / 1000,
        )
        for check in checks
    ]


def _kong() -> list[Check]:
    functions = re.findall(r"local VERIFIER.*?^ *end$\n(?=\n|\Z)", _text("kong/kong.yaml"), re.DOTALL | re.MULTILINE)
    return [
        Check(
            _first(r'VERIFIER = "(.*?)"', function),
            re.findall(r'"(X-Auth-\w+)"', function),
            "WWW-Authenticate" in function,
            "return kong.response.exit(503" in function,
            "body =" in function,
            int(_first(r"set_timeouts\(\d+, \d+, (\d+)\)", function)) / 1000,
        )
        for function in functions
    ]


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, pattern
    return found[1]


def _text(path: str) -> str:
    return (FOLDER / path).read_text(encoding="utf-8")


CHECKS: Final = {
    "apisix": _apisix,
    "envoy-gateway": _envoy_gateway,
    "gateway-api": _gateway_api,
    "ingress-nginx": _ingress_nginx,
    "istio": _istio,
    "kong": _kong,
}


@pytest.mark.parametrize("gateway", CHECKS)
def test_every_check_names_its_policy_and_all_identity_headers_and_stays_closed(gateway: str) -> None:
    checks = CHECKS[gateway]()
    assert sorted(check.policy for check in checks) == sorted(POLICIES)
    for check in checks:
        assert sorted(name.lower() for name in check.identity) == sorted(IDENTITY)
        assert (check.challenge, check.closed, check.body) == (True, True, False)
        assert check.timeout == (None if gateway == "gateway-api" else 0.5)


@pytest.mark.parametrize("gateway", CHECKS)
def test_a_prefix_protects_whole_segments_and_neither_more_nor_less(gateway: str) -> None:
    # `/admin` and what is below it; `/administrators` is another.
    paths = {
        "apisix": '{"uris": ["/admin", "/admin/*"]}',
        "envoy-gateway": '{"type": "PathPrefix", "value": "/admin"}',
        "gateway-api": '{"type": "PathPrefix", "value": "/admin"}',
        "ingress-nginx": '{"path": "/admin", "pathType": "Prefix"}',
        "istio": '{"paths": ["/admin", "/admin/*"]}',
        "kong": '{"paths": ["~/admin$", "/admin/"]}',
    }
    wanted = json.loads(paths[gateway])
    folder = FOLDER / gateway
    loaded = [document for path in sorted(folder.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]
    assert any(wanted.items() <= node.items() for node in _mappings(loaded))


def _mappings(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for inner in node for found in _mappings(inner)]
    if isinstance(node, dict):
        plain = {key: value for key, value in node.items() if not isinstance(value, dict)}
        return [plain, *_mappings(list(node.values()))]
    return []


def test_no_provider_of_istio_begins_like_another() -> None:
    names = [provider["name"] for provider in _values()["meshConfig"]["extensionProviders"]]
    assert not [(one, other) for one in names for other in names if one != other and other.startswith(one)]
    used = {
        policy["spec"]["provider"]["name"]
        for policy in of_kind("istio/gatepass.yaml", "AuthorizationPolicy").values()
    }
    assert used == set(names)


@pytest.mark.parametrize("gateway", CHECKS)
def test_the_readme_names_files_that_exist(gateway: str) -> None:
    readme = _text(f"{gateway}/README.md")
    named = re.findall(r"deploy/\S+\.(?:yaml|conf)", "".join(re.findall(r"```\n(.*?)```", readme, re.DOTALL)))
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_every_schema_has_its_source_and_licence() -> None:
    listed = set(
        re.findall(r"^\| `([^`]+\.json)`", (SCHEMAS / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    there = {str(path.relative_to(SCHEMAS)) for path in SCHEMAS.rglob("*.json")}
    assert there == listed, ROOT
