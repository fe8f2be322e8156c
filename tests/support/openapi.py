"""The issuer's contract: read from its YAML source, and written as the JSON that the issuer serves."""

import json
from typing import Any, Final

import yaml

from tests.support.processes import ROOT

SOURCE: Final = ROOT / "specs/001-register-login-verify/contracts/issuer.openapi.yaml"
SERVED: Final = ROOT / "issuer/http/openapi.json"


def contract() -> dict[str, Any]:
    """Return the contract as data."""
    document: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return document


def resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Return the target of a reference in `document`; another node is returned as it is."""
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def served_form() -> str:
    """Return the expected content of issuer/http/openapi.json."""
    return json.dumps(contract(), ensure_ascii=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    SERVED.write_text(served_form(), encoding="utf-8")
