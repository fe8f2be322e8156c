"""The documents under `deploy/gateways`."""

from typing import Any, Final

import yaml

from tests.support.processes import ROOT

FOLDER: Final = ROOT / "deploy/gateways"


def documents(path: str) -> list[dict[str, Any]]:
    """Return the documents of a file."""
    return list(yaml.safe_load_all((FOLDER / path).read_text(encoding="utf-8")))


def of_kind(path: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return the objects of one kind in a file, by name."""
    return {found["metadata"]["name"]: found for found in documents(path) if found["kind"] == kind}
