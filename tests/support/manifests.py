"""Manifests rendered by kustomize and validated by the published schemas.

Kinds of Kubernetes itself are validated by kubernetes-validate, others by the schemas in `tests/schemas`. There is no
cluster, so errors that only a controller or a CEL rule finds are not found here.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped] # it has no stubs
import yaml

from tests.support.processes import ROOT, finished
from tests.support.programs import absent, found

KUBERNETES: Final = "1.34"
"""The oldest release that the manifests are for: that of CloudNativePG 1.30, with stable sidecars and sleeps."""
SCHEMAS: Final = ROOT / "tests/schemas"
_KUSTOMIZE: Final = (("kustomize", "build"), ("kubectl", "kustomize"))


def validate(document: dict[str, Any], kubernetes: str = KUBERNETES) -> list[str]:
    """Return the problems of a manifest by the schema of its kind, one line each; an unknown kind is a problem."""
    api, kind = document.get("apiVersion"), document.get("kind")
    if not (isinstance(api, str) and isinstance(kind, str)):
        return ["apiVersion and kind have to be strings"]
    group, _, version = api.rpartition("/")
    published = SCHEMAS / group / f"{kind}_{version}.json"
    if published.is_file():
        return _by_published_schema(document, published)
    if "." in group and not group.endswith(".k8s.io"):
        return [f"no schema for {kind} of {api}: there is no {published.relative_to(ROOT)}"]
    return _as_built_in(document, kubernetes)


def render(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a folder, rendered by kustomize. Without it, skips the test; in CI, fails."""
    done = finished([*_kustomize(), str(folder)])
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document is not None]


def _as_built_in(document: dict[str, Any], kubernetes: str) -> list[str]:
    try:
        kubernetes_validate.validate(document, kubernetes, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [_problem(error)]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"no schema: {error.message}"]
    return []


def _by_published_schema(document: dict[str, Any], published: Path) -> list[str]:
    # Draft 4: as in OpenAPI 3.0, its exclusiveMinimum is a boolean.
    validator = jsonschema.Draft4Validator(_closed(json.loads(published.read_text(encoding="utf-8"))))
    return [_problem(error) for error in validator.iter_errors(document)]


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a structural schema that rejects unknown fields, with `nullable` in the form of JSON Schema.

    Schemas in anyOf, oneOf, allOf and not are unchanged, because they name only some of the fields.
    """
    shut = dict(schema)
    for name, fields in schema.items():
        if name == "properties":
            shut[name] = {field: _closed(inner) for field, inner in fields.items()}
        elif name in {"items", "additionalProperties"} and isinstance(fields, dict):
            shut[name] = _closed(fields)
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        shut.setdefault("additionalProperties", False)
        if schema.get("x-kubernetes-embedded-resource"):
            shut["properties"] = {"apiVersion": {}, "kind": {}, "metadata": {}, **shut["properties"]}
    if schema.get("nullable"):
        shut["type"] = [schema["type"], "null"]
    return shut


def _problem(error: jsonschema.ValidationError) -> str:
    where = ".".join(str(step) for step in error.absolute_path)
    return f"{where or 'the object'}: {error.message}"


@cache
def _kustomize() -> tuple[str, ...]:
    """Return the command that renders a folder."""
    for name, verb in _KUSTOMIZE:
        path = found(name)
        if path is not None and not _is_old(path, name):
            return path, verb
    return absent(
        "kustomize 4 or later is not installed, nor kubectl 1.24 or later which has it within: "
        "`go install sigs.k8s.io/kustomize/kustomize/v4@v4.5.7` installs it"
    )


def _is_old(path: str, name: str) -> bool:
    """Return whether a program is a kubectl before 1.24, which lacks some fields."""
    if name != "kubectl":
        return False
    results = finished([path, "version", "--client", "--output=json"])
    return "kustomizeVersion" not in results.stdout
