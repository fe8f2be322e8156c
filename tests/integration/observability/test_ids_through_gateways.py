"""Request ids and traces reach the logs of verifier and issuer through real nginx and real Envoy."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.observability.conftest import Site
from tests.support.gateways import Verifier, ask, running_application, running_gateway
from tests.support.processes import wait_until
from tests.support.verifier_process import VerifierProcess

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@dataclass(frozen=True)
class Way:
    """A gateway and its verifier."""

    port: int
    verifier: VerifierProcess

    def rejections(self) -> list[dict[str, Any]]:
        return self.verifier.events("request_rejected")

    def rejected(self, *lines: str) -> dict[str, Any]:
        """Send a request with these header lines and no token; return the verifier's log line about it."""
        before = len(self.rejections())
        assert ask(self.port, "/", *lines).status == 401
        wait_until(lambda: len(self.rejections()) > before, "it is logged")
        return self.rejections()[before]


@pytest.fixture(scope="module", params=["nginx", "envoy"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp(request.param)
    with (
        Verifier(folder).running() as verifier,
        running_application(folder) as application,
        running_gateway(request.param, folder, verifier.port, application) as port,
    ):
        yield Way(port, verifier)


def test_a_trace_is_in_the_verifiers_log(way: Way) -> None:
    assert way.rejected(f"traceparent: {TRACEPARENT}")["trace_id"] == TRACE
    assert "trace_id" not in way.rejected()


def test_each_rejection_has_a_request_id_of_the_gateway(way: Way) -> None:
    ids = [way.rejected()["request_id"] for _ in range(2)]
    assert ids[0] != ids[1]
    assert all(len(one) in {32, 36} for one in ids)


@pytest.mark.parametrize("name", ["nginx", "envoy"])
def test_an_issuer_behind_a_gateway_logs_the_trace_that_the_verifier_logs(
    name: str, site: Site, tmp_path: Path
) -> None:
    with running_gateway(name, tmp_path, site.verifier.port, site.issuer.port) as port:
        trace = secrets.token_hex(16)
        for token in (site.issuer.login("ada@example.com").json()["access_token"].encode(), b"x"):
            ask(port, "/me", f"traceparent: 00-{trace}-00f067aa0ba902b7-01", token=token)

    def of_trace(log: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, log.splitlines()) if line.get("trace_id") == trace]

    wait_until(lambda: bool(of_trace(site.issuer.log()) and of_trace(site.verifier.log())), "both have logged")
    (accepted,), (rejected,) = of_trace(site.issuer.log()), of_trace(site.verifier.log())
    assert (accepted["route"], accepted["status"]) == ("/me", 200)
    assert rejected["reason"] == "malformed"
    assert accepted["request_id"] != rejected["request_id"]


def test_the_clients_request_id_is_not_trusted(way: Way) -> None:
    for given in ("<canary>", "canary canary", "canary" * 40):
        assert "canary" not in way.rejected(f"X-Request-Id: {given}")["request_id"]
    assert "canary" not in way.verifier.log()
