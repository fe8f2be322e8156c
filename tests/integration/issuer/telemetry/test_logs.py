"""Log lines and metrics of requests: their form, ids and routes."""

import json
from typing import Any

import httpx

from tests.support.issuer_process import IssuerProcess
from tests.support.plain_http import HTTP


def events(issuer: IssuerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in issuer.log().splitlines()]


def events_of(issuer: IssuerProcess, response: httpx.Response) -> list[dict[str, Any]]:
    """Return the log lines of a request. Waits for the last one, which is written after the response."""
    request_id = response.headers["x-request-id"]
    issuer.wait_for_event("request", request_id=request_id)
    return [event for event in events(issuer) if event.get("request_id") == request_id]


def test_every_line_is_one_json_object(issuer: IssuerProcess) -> None:
    issuer.register("lines@example.com\r\nforged: line")
    HTTP.get(f"{issuer.url}/nope", headers={"User-Agent": "a\tb", "X-Request-Id": "x" * 200})
    assert {event["process"] for event in events(issuer)} == {"issuer"}


def test_a_response_and_its_log_line_share_the_request_id(issuer: IssuerProcess) -> None:
    logged = events_of(issuer, issuer.register("ids@example.com"))
    assert [event["event"] for event in logged] == ["account_registered", "request"]
    assert (logged[1]["route"], logged[1]["status"]) == ("/register", 201)


def test_a_gateways_request_id_and_trace_are_kept(issuer: IssuerProcess) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-Id": "gateway-0001", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    logged = events_of(issuer, HTTP.get(f"{issuer.url}/me", headers=headers))[-1]
    assert (logged["request_id"], logged["trace_id"]) == ("gateway-0001", trace)


def test_an_invalid_request_id_is_replaced(issuer: IssuerProcess) -> None:
    for given in ("x" * 65, "id\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"):
        headers = [(b"X-Request-Id", given.encode())]
        assert HTTP.get(f"{issuer.url}/me", headers=headers).headers["x-request-id"] != given


def test_metrics_count_routes_and_never_paths(issuer: IssuerProcess) -> None:
    HTTP.get(f"{issuer.url}/no/such/canary")
    text = issuer.admin("/metrics").text
    assert "canary" not in text
    assert 'route="unmatched"' in text
