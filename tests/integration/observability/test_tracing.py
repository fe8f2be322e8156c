"""Spans of a real issuer arrive at an OTLP receiver, contain no secrets and never delay a request."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.otlp_receiver import Received, Receiver, running_receiver
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres
from tests.support.processes import finished, wait_until
from tests.support.services import environment

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
UNSAMPLED = "5bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(postgres: Postgres, receiver: Receiver) -> Iterator[IssuerProcess]:
    with issuer_with(postgres, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}) as issuer:
        yield issuer


@contextmanager
def issuer_with(postgres: Postgres, variables: dict[str, str]) -> Iterator[IssuerProcess]:
    """Yield an issuer with these settings, which sends its spans after a short time."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as environment:
            for name, value in {"OTEL_BSP_SCHEDULE_DELAY": "50", **variables}.items():
                environment.setenv(name, value)
            issuer = stack.enter_context(running_issuer(postgres.migrated_database()))
        yield issuer


def login(issuer: IssuerProcess, password: str = PASSWORD, **headers: str) -> httpx.Response:
    body = {"email": "traced@example.com", "password": password}
    return HTTP.post(f"{issuer.url}/login?canary=in-a-query", json=body, headers=headers)


def whole_trace(receiver: Receiver, trace_id: str) -> dict[str, list[Received]]:
    """Return the spans of a trace by name. Waits for the span of the request."""
    wait_until(lambda: any(span.is_of_a_server for span in receiver.of_trace(trace_id)), "the span of the request")
    spans: dict[str, list[Received]] = {}
    for span in receiver.of_trace(trace_id):
        spans.setdefault(span.name, []).append(span)
    return spans


def lines_of(issuer: IssuerProcess, trace_id: str) -> list[dict[str, str]]:
    return [line for line in map(json.loads, issuer.log().splitlines()) if line.get("trace_id") == trace_id]


def test_a_login_is_a_span_of_the_callers_trace_with_its_waits(traced: IssuerProcess, receiver: Receiver) -> None:
    traced.register("traced@example.com")
    response = login(traced, **{"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "gateway-0001"})
    assert response.status_code == 200
    spans = whole_trace(receiver, TRACE)
    (request,) = spans["POST /login"]
    assert (request.service, request.parent_id, request.failed) == ("gatepass-issuer", PARENT, False)
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/login",
        "http.response.status_code": 200,
        "gatepass.request_id": "gateway-0001",
    }
    (argon2,) = spans["argon2"]
    assert {argon2.parent_id, *(span.parent_id for span in spans["postgresql"])} == {request.span_id}
    assert {(line["span_id"], line["request_id"]) for line in lines_of(traced, TRACE)} == {
        (request.span_id, "gateway-0001")
    }


def test_a_request_without_a_trace_gets_one(traced: IssuerProcess, receiver: Receiver) -> None:
    for headers in ({}, {"traceparent": f"00-{'0' * 32}-{PARENT}-01"}):
        response = HTTP.get(f"{traced.url}/me", headers=headers)
        trace_id = trace_of(traced, response)
        (span,) = whole_trace(receiver, trace_id)["GET /me"]
        assert span.parent_id == ""
        assert {line["span_id"] for line in lines_of(traced, trace_id)} == {span.span_id}


def test_an_unsampled_trace_is_logged_and_not_exported(traced: IssuerProcess, receiver: Receiver) -> None:
    login(traced, traceparent=f"00-{UNSAMPLED}-{PARENT}-00")
    wait_until(lambda: bool(lines_of(traced, UNSAMPLED)), "it is logged")
    whole_trace(receiver, trace_of(traced, HTTP.get(f"{traced.url}/me")))  # a later one is sent
    assert receiver.of_trace(UNSAMPLED) == []


def trace_of(issuer: IssuerProcess, response: httpx.Response) -> str:
    """Return the trace of a response from the log."""
    return str(issuer.wait_for_event("request", request_id=response.headers["x-request-id"])["trace_id"])


def test_no_secret_is_in_a_span(traced: IssuerProcess, receiver: Receiver) -> None:
    token = login(traced).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}", "Cookie": "canary=in-a-cookie"}
    last = HTTP.get(f"{traced.url}/me/in-a-path?canary=in-a-query", headers=bearer)
    login(traced, "canary: not the password")
    whole_trace(receiver, trace_of(traced, last))
    sent = b"".join(receiver.bodies)
    for secret in ("canary", "in-a-", PASSWORD, "traced@example.com", token.split(".")[2], "SELECT", "Bearer"):
        assert secret.encode() not in sent
    assert b"unmatched" in sent


def test_a_hanging_collector_delays_neither_requests_nor_the_exit(postgres: Postgres) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with issuer_with(postgres, variables) as issuer:
            assert issuer.register("hung@example.com").status_code == 201
            assert issuer.login("hung@example.com").status_code == 200
            with silent.accept()[0] as sending:
                sending.recv(1)
                assert issuer.stop() == 0


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "opentelemetry-exporter-otlp-proto-http"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "http or https URL"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "http/protobuf",
        ),
    ],
)
def test_an_invalid_tracing_setting_stops_the_start(variables: dict[str, str], words: str, tmp_path: Path) -> None:
    done = serve(variables, tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("OTEL_EXPORTER_OTLP_")
    assert words in done.stderr


def test_without_tracing_its_packages_are_not_needed(postgres: Postgres, tmp_path: Path) -> None:
    hide_opentelemetry(tmp_path)
    with issuer_with(postgres, {"PYTHONPATH": str(tmp_path)}) as issuer:
        assert issuer.register("plain@example.com").status_code == 201


def serve(variables: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m issuer serve` where OpenTelemetry is not installed."""
    hide_opentelemetry(folder)
    environ = environment("issuer", {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}) | {"PYTHONPATH": str(folder)}
    return finished([sys.executable, "-m", "issuer", "serve"], environ=environ | variables)


def hide_opentelemetry(folder: Path) -> None:
    (folder / "opentelemetry.py").write_text("raise ImportError\n", encoding="utf-8")
