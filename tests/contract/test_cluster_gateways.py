"""Configurations of gateways that need a cluster are valid by the published schemas, and fail closed.

What Envoy Gateway and Istio generate from theirs runs in `integration/gateways`, and
Kong's function in `test_kong_function.py`.
"""

import json
import re
from copy import deepcopy
from itertools import pairwise
from typing import Any, Final

import jsonschema
import pytest

from shared.identity_headers import IDENTITY_HEADERS
from tests.support.clusters.documents import FOLDER, documents, of_kind
from tests.support.manifests import SCHEMAS, validate

FAILS_CLOSED: Final = {
    "apisix": "allow_degradation: false\n        status_on_error: 503",
    "envoy-gateway": "failOpen: false\n    statusOnError: 503",
    "istio": 'failOpen: false\n        statusOnError: "503"',
}
"""The setting without which an unavailable verifier lets requests pass. Other gateways have none or need none."""
CONFIGURATIONS: Final = (*FAILS_CLOSED, "gateway-api", "ingress-nginx", "kong")
OBJECTS: Final = [
    pytest.param(document, id=f"{gateway}-{document['kind']}-{document['metadata']['name']}")
    for gateway in ("envoy-gateway", "gateway-api", "ingress-nginx", "istio")
    for document in documents(f"{gateway}/gatepass.yaml")
]


def _text(gateway: str) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted((FOLDER / gateway).glob("*.yaml")))


def _mesh() -> Any:
    return documents("istio/values.yaml")[0]["meshConfig"]


@pytest.mark.parametrize("document", OBJECTS)
def test_an_object_is_valid(document: dict[str, Any]) -> None:
    assert validate(document) == []


def test_a_misspelt_field_is_invalid() -> None:
    policy = deepcopy(of_kind("envoy-gateway/gatepass.yaml", "SecurityPolicy").popitem()[1])
    policy["spec"]["extAuth"]["failOpne"] = policy["spec"]["extAuth"].pop("failOpen")
    assert validate(policy) != []


def test_the_mesh_configuration_of_istio_is_valid() -> None:
    schema = json.loads((SCHEMAS / "istio.io/MeshConfig_v1alpha1.json").read_text(encoding="utf-8"))
    jsonschema.Draft4Validator(schema).validate(_mesh())


@pytest.mark.parametrize("gateway", CONFIGURATIONS)
def test_each_check_names_its_policy_and_every_identity_header(gateway: str) -> None:
    text = _text(gateway)
    assert sorted(re.findall(r"/verify/(\w+)", text)) == ["admin", "default"]
    for header in IDENTITY_HEADERS:
        assert text.lower().count(header.lower()) >= 2, header  # once for each policy


@pytest.mark.parametrize("gateway", FAILS_CLOSED)
def test_each_check_fails_closed(gateway: str) -> None:
    assert _text(gateway).count(FAILS_CLOSED[gateway]) == 2


@pytest.mark.parametrize(
    ("gateway", "match"),
    [
        ("apisix", "uris: [/admin, /admin/*]"),
        ("envoy-gateway", "type: PathPrefix, value: /admin }"),
        ("gateway-api", "type: PathPrefix, value: /admin }"),
        ("ingress-nginx", "path: /admin\n            pathType: Prefix"),
        ("istio", "paths: [/admin, /admin/*]"),
        ("kong", 'paths: ["~/admin$", /admin/]'),
    ],
)
def test_the_admin_policy_covers_its_path_and_what_is_below_but_not_longer_names(gateway: str, match: str) -> None:
    assert match in _text(gateway)


def test_no_name_of_an_istio_provider_is_the_beginning_of_another() -> None:
    names = sorted(provider["name"] for provider in _mesh()["extensionProviders"])
    assert not any(longer.startswith(shorter) for shorter, longer in pairwise(names))
    policies = of_kind("istio/gatepass.yaml", "AuthorizationPolicy").values()
    assert sorted({policy["spec"]["provider"]["name"] for policy in policies}) == names
