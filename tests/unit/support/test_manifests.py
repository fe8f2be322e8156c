import json
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import manifests
from tests.support.manifests import render, validate

DEPLOYMENT: Final[dict[str, Any]] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "one"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "one"}},
        "template": {
            "metadata": {"labels": {"app": "one"}},
            "spec": {"containers": [{"name": "one", "image": "one:1.0"}]},
        },
    },
}
WIDGET: Final[dict[str, Any]] = {
    "apiVersion": "example.org/v1",
    "kind": "Widget",
    "metadata": {"name": "one", "labels": {"any": "label"}},
    "spec": {"size": 3, "free": {"any": "field"}, "raw": {"known": 1, "other": 2}, "maybe": None},
}
WIDGET_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "anyOf": [{"properties": {"size": {}}, "required": ["size"]}, {"required": ["maybe"]}],
            "properties": {
                "size": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
                "free": {"type": "object", "additionalProperties": {"type": "string"}},
                "maybe": {"type": "object", "nullable": True, "properties": {"named": {"type": "string"}}},
                "raw": {
                    "type": "object",
                    "properties": {"known": {"type": "integer"}},
                    "x-kubernetes-preserve-unknown-fields": True,
                },
                "parts": {"type": "array", "items": {"type": "object", "properties": {"named": {"type": "string"}}}},
            },
        },
    },
}


@pytest.fixture(autouse=True)
def _widgets_are_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "ROOT", tmp_path)
    monkeypatch.setattr(manifests, "SCHEMAS", tmp_path)
    schema = tmp_path / "example.org/Widget_v1.json"
    schema.parent.mkdir()
    schema.write_text(json.dumps(WIDGET_SCHEMA), encoding="utf-8")


def _changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = deepcopy(document)
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place: Any = changed
    for step in way:
        place = place[step]
    place[last] = value
    return changed


@pytest.mark.parametrize("document", [DEPLOYMENT, WIDGET])
def test_a_manifest_as_it_should_be_has_no_problem(document: dict[str, Any]) -> None:
    assert validate(document) == []


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        (DEPLOYMENT, "spec.replica", 2),
        (DEPLOYMENT, "spec.template.spec.containers.0.imagePullPolice", "Always"),
        (DEPLOYMENT, "spec.replicas", "two"),
        (DEPLOYMENT, "spec.template.spec.containers.0", {"image": "nameless:1.0"}),
        (WIDGET, "spec.seize", 2),
        (WIDGET, "spec.size", "two"),
        (WIDGET, "spec.size", 0),
        (WIDGET, "spec.free.any", 1),
        (WIDGET, "spec.maybe", {"unnamed": ""}),
        (WIDGET, "spec.raw.known", "one"),
        (WIDGET, "spec.parts", [{"unnamed": ""}]),
    ],
)
def test_a_field_that_is_wrong_is_found_and_named(document: dict[str, Any], path: str, value: Any) -> None:
    (problem,) = validate(_changed(document, path, value))
    assert path.rpartition(".")[2] in problem or str(value) in problem


@pytest.mark.parametrize(
    ("api", "kind"),
    [
        ("apps/v1", "Deploymint"),
        ("apps/v2", "Deployment"),
        ("apps.example.org/v1", "Deployment"),
        ("example.org/v2", "Widget"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        (None, "Deployment"),
    ],
)
def test_a_kind_that_has_no_schema_is_a_problem(api: str | None, kind: str) -> None:
    (problem,) = validate({**DEPLOYMENT, "apiVersion": api, "kind": kind})
    assert "no schema" in problem or "apiVersion" in problem


def test_a_folder_is_rendered_to_its_objects(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(json.dumps(DEPLOYMENT), encoding="utf-8")
    (tmp_path / "kustomization.yaml").write_text("resources: [one.yaml]\nnamePrefix: the-\n", encoding="utf-8")
    assert render(tmp_path) == [_changed(DEPLOYMENT, "metadata.name", "the-one")]


def test_a_folder_that_cannot_be_rendered_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [absent.yaml]\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"absent\.yaml"):
        render(tmp_path)
