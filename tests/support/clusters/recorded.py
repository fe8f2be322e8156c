"""Recorded output of the generators of Envoy Gateway and Istio for our configurations."""

from pathlib import Path
from typing import Any, Final

import yaml

RECORDED: Final = {"envoy-gateway": "envoy_gateway_1.9.1.yaml", "istio": "istio_1.32.yaml"}


def managers(name: str) -> list[dict[str, Any]]:
    """Return Envoy's connection managers, outermost first; each asks `verifier` and passes on to `next`."""
    path = Path(__file__).with_name(RECORDED[name])
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["managers"]
    return found
