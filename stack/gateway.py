"""Fills the addresses into the gateway configurations of `deploy/gateways/`, and nothing but the addresses.

`python3 -m stack.gateway nginx` (or `envoy`) prints one, with the addresses of the environment.
"""

import os
import re
import sys
from collections.abc import Mapping
from typing import Final

from stack.settings import ROOT

TEMPLATES: Final = {
    "envoy": ROOT / "deploy/gateways/envoy/envoy.yaml.template",
    "nginx": ROOT / "deploy/gateways/nginx/gatepass.conf.template",
}
_DEFAULTS: Final = {
    "GATEWAY_HOST": "127.0.0.1",
    "GATEWAY_PORT": "8080",
    "VERIFIER_HOST": "127.0.0.1",
    "VERIFIER_PORT": "8001",
    "APPLICATION_HOST": "127.0.0.1",
    "APPLICATION_PORT": "8090",
}


def configuration(gateway: str, addresses: Mapping[str, str]) -> str:
    """The configuration of `gateway` (a key of `TEMPLATES`) with `addresses` before its defaults."""
    filled = _DEFAULTS | {name: addresses[name] for name in _DEFAULTS if addresses.get(name)}
    template = TEMPLATES[gateway].read_text(encoding="utf-8")
    return re.sub(r"\$\{([A-Z_]+)\}", lambda placeholder: filled[placeholder[1]], template)


if __name__ == "__main__":
    sys.stdout.write(configuration(sys.argv[1], os.environ))
