"""The id of a request and its trace are in the verifier's log lines; invalid ones are not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.processes import wait_until
from tests.support.verifier_process import VerifierProcess, running_verifier

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def verifier() -> Iterator[VerifierProcess]:
    with running_verifier() as process:
        yield process


def rejection_of(verifier: VerifierProcess, *lines: str) -> dict[str, Any]:
    """Send a request with these header lines that is rejected; return its log line."""
    before = len(rejections(verifier))
    assert verifier.ask("/verify", *lines).status == 401
    wait_until(lambda: len(rejections(verifier)) > before, "it is logged")
    return rejections(verifier)[before]


def rejections(verifier: VerifierProcess) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, verifier.log().splitlines()) if line["event"] == "request_rejected"]


def test_a_rejection_is_logged_with_the_gateways_ids(verifier: VerifierProcess) -> None:
    line = rejection_of(verifier, "X-REQUEST-ID: gateway-0001", TRACEPARENT)
    assert (line["request_id"], line["trace_id"]) == ("gateway-0001", TRACE)


def test_an_id_belongs_to_one_request_of_a_connection(verifier: VerifierProcess) -> None:
    before = len(rejections(verifier))
    request = "GET /verify HTTP/1.1\r\nHost: v\r\n"
    with verifier.connect() as wire:
        for lines in (f"X-Request-Id: gateway-0002\r\n{TRACEPARENT}\r\n\r\n", "\r\n"):
            assert wire.ask((request + lines).encode()).status == 401
    wait_until(lambda: len(rejections(verifier)) == before + 2, "both are logged")
    first, second = rejections(verifier)[before:]
    assert first["request_id"] == "gateway-0002" != second["request_id"]
    assert "trace_id" not in second


def test_the_request_id_does_not_change_the_decision(verifier: VerifierProcess) -> None:
    token = verifier.token()
    for number in range(20):
        assert verifier.ask("/verify", f"X-Request-Id: gateway-{number:04}", token=token).status == 200
        assert rejection_of(verifier, f"X-Request-Id: gateway-{number:04}")["request_id"] == f"gateway-{number:04}"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["X-Request-Id: canary"],
        ["X-Request-Id: <canary>-0001"],
        ["X-Request-Id: canary-0001 canary"],
        ["X-Request-Id: " + "canary" * 20],
        ["X-Request-Id: canary-\u00e9\u00e9\u00e9\u00e9"],
        ["X-Request-Id: canary-0001", "X-Request-Id: canary-0002"],
        [f"traceparent: 00-{'0' * 32}-00f067aa0ba902b7-01"],
        ["traceparent: canary"],
        [TRACEPARENT, TRACEPARENT],
    ],
)
def test_an_invalid_id_is_replaced_and_never_logged(verifier: VerifierProcess, lines: list[str]) -> None:
    line = rejection_of(verifier, *lines)
    assert len(line["request_id"]) == 32
    assert "trace_id" not in line
    assert "canary" not in verifier.log()
