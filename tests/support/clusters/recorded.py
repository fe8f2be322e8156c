"""What the generators of Envoy Gateway and Istio wrote from our configurations, kept beside this module."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.clusters.documents import documents

RECORDED: Final = {"envoy-gateway": "envoy_gateway_1.9.1.yaml", "istio": "istio_1.32.yaml"}


def managers(name: str) -> list[dict[str, Any]]:
    """Envoy's connection managers, the outermost first. Each asks the cluster `verifier` and passes on to `next`.

    Raises:
        AssertionError: the configuration is another by now: its translation has to be made again.
    """
    path = Path(__file__).with_name(RECORDED[name])
    recorded = yaml.safe_load(path.read_text(encoding="utf-8"))
    for source, digest in recorded["sources"].items():
        # Of what it says, so that a comment may change.
        said = json.dumps(documents(source), sort_keys=True)
        assert hashlib.sha256(said.encode()).hexdigest() == digest, (
            f"deploy/gateways/{source} has changed: make {path.name} again, as it says"
        )
    found: list[dict[str, Any]] = recorded["managers"]
    return found
