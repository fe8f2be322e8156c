"""An id and a trace go through real nginx and real Envoy to the verifier's log and to the application."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any

import pytest

from tests.integration.observability.conftest import Site
from tests.support.gateways import Verifier, ask, running_gateway
from tests.support.processes import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@dataclass
class Application:
    """An application behind the gateway that records the headers that it gets."""

    port: int = 0
    seen: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Way:
    """A gateway with what is behind it."""

    port: int
    verifier: Verifier
    application: Application

    def refusals(self) -> list[dict[str, Any]]:
        log = (self.verifier.folder / "verifier.log").read_text(encoding="utf-8")
        return [line for line in map(json.loads, log.splitlines()) if line["event"] == "request_rejected"]

    def refused(self, *lines: str) -> dict[str, Any]:
        """The verifier's log line about a request with these header lines and no token."""
        before = len(self.refusals())
        assert ask(self.port, "/", *lines).status == 401
        wait_until(lambda: len(self.refusals()) > before, "it is logged")
        return self.refusals()[before]

    def passed(self, *lines: str) -> dict[str, str]:
        """Return what the application received of a request with a valid token."""
        token = self.verifier.forge.token(time())
        assert ask(self.port, "/", *lines, token=token).status == 200
        return self.application.seen[-1]


@pytest.fixture(scope="module", params=["nginx", "envoy"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp(request.param)
    verifier = Verifier(folder)
    with (
        verifier.running(),
        running_application() as application,
        running_gateway(request.param, folder, verifier.port, application.port) as port,
    ):
        yield Way(port, verifier, application)


def test_a_trace_reaches_the_application_unchanged(way: Way) -> None:
    assert way.passed(f"traceparent: {TRACEPARENT}", "tracestate: a=b")["traceparent"] == TRACEPARENT
    assert way.application.seen[-1]["tracestate"] == "a=b"


def test_a_trace_is_in_the_verifiers_log(way: Way) -> None:
    assert way.refused(f"traceparent: {TRACEPARENT}")["trace_id"] == TRACE
    assert "trace_id" not in way.refused()


def test_the_gateways_request_id_reaches_verifier_and_application(way: Way) -> None:
    ids = [way.refused()["request_id"], way.refused()["request_id"]]
    ids += [way.passed()["x-request-id"], way.passed()["x-request-id"]]
    assert len(set(ids)) == 4
    assert all(len(one) in {32, 36} for one in ids)


@pytest.mark.parametrize("path", ["/", "/admin/"])
@pytest.mark.parametrize("name", ["nginx", "envoy"])
def test_verifier_and_application_get_the_same_id_and_trace(name: str, path: str, tmp_path: Path) -> None:
    # A verifier logs only rejections, which reach no application: so the test listens in the verifier's place.
    with (
        running_application() as listener,
        running_application() as application,
        running_gateway(name, tmp_path, listener.port, application.port) as port,
    ):
        assert ask(port, path, f"traceparent: {TRACEPARENT}", token=b"x").status == 200
        heard = [
            {key: one.seen[-1][key] for key in ("x-request-id", "traceparent")} for one in (listener, application)
        ]
    assert heard[0] == heard[1]
    assert heard[0]["traceparent"] == TRACEPARENT


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

    wait_until(lambda: bool(of_trace(site.issuer.logs()) and of_trace(site.verifier.log())), "both have logged")
    (answered,), (rejected,) = of_trace(site.issuer.logs()), of_trace(site.verifier.log())
    assert (answered["route"], answered["status"]) == ("/me", 200)
    assert rejected["reason"] == "malformed"
    assert answered["request_id"] != rejected["request_id"]


def test_the_clients_request_id_is_not_trusted(way: Way) -> None:
    for given in ("<canary>", "canary canary", "canary" * 40):
        assert "canary" not in way.refused(f"X-Request-Id: {given}")["request_id"]
    assert "canary" not in (way.verifier.folder / "verifier.log").read_text(encoding="utf-8")


@contextmanager
def running_application() -> Iterator[Application]:
    application = Application()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            application.seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        application.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield application
        finally:
            server.shutdown()
            thread.join()
