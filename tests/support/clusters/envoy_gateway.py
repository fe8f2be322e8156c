"""Envoy Gateway: what its own translator wrote from our configuration, kept in `envoy_gateway_1.9.1.yaml`."""

import hashlib
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.clusters.documents import FOLDER

_RECORDED: Final = Path(__file__).with_name("envoy_gateway_1.9.1.yaml")


def envoy_gateway() -> dict[str, Any]:
    """The connection manager of its Gateway.

    Raises:
        AssertionError: the configuration is another by now and has to be translated again.
    """
    recorded = yaml.safe_load(_RECORDED.read_text(encoding="utf-8"))
    source = (FOLDER / "envoy-gateway/gatepass.yaml").read_bytes()
    assert recorded["sha256"] == hashlib.sha256(source).hexdigest(), f"translate again, as {_RECORDED.name} says"
    manager: dict[str, Any] = recorded["manager"]
    return manager
