"""Requests of browsers to a real verifier, with the token in a cookie."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.listening_server import running_listener
from tests.support.vectors import load
from tests.support.verifier_process import SubrequestListener

COOKIE = "__Host-session"
POLICIES = f"""\
[policies.default]
cookie = "{COOKIE}"
origins = ["https://app.example"]
[policies.bearer]
"""
OUTCOMES = {
    "allowed": (200, None),
    "missing_token": (401, 'Bearer realm="gatepass"'),
    "malformed_credentials": (401, 'Bearer realm="gatepass", error="invalid_request"'),
    "cross_origin": (403, None),
}


@pytest.fixture(scope="module")
def verifier() -> Iterator[SubrequestListener]:
    with running_listener(POLICIES) as listener:
        yield listener


def carriers(token: str) -> dict[str, list[str]]:
    bearer, cookie = f"Authorization: Bearer {token}", f"Cookie: a=b; {COOKIE}={token}"
    return {
        "none": [],
        "bearer": [bearer],
        "cookie": [cookie],
        "bearer and cookie": [bearer, cookie],
        "two cookies": [cookie, cookie],
        "another cookie": [f"Cookie: session={token}"],
    }


def head(vector: dict[str, Any], lines: list[str]) -> bytes:
    """Return a subrequest as a gateway sends it."""
    fields = {
        "X-Forwarded-Method": vector["method"],
        "Sec-Fetch-Site": vector["site"],
        "Origin": vector["origin"],
        "Sec-WebSocket-Version": "13" if vector["websocket"] else None,
    }
    present = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(["GET /verify HTTP/1.1", "Host: v", *lines, *present, "", ""]).encode("ascii")


def test_every_combination_has_the_outcome_of_its_vector(verifier: SubrequestListener) -> None:
    carried = carriers(verifier.token().decode())
    with verifier.connect() as wire:
        wrong = []
        for vector in load("browsers/requests"):
            response = wire.ask(head(vector, carried[vector["carrier"]]))
            if (response.status, response.challenge) != OUTCOMES[vector["expected"]]:
                wrong.append((vector, response.status))
    assert wrong == []


def test_the_method_of_the_subrequest_is_not_that_of_the_client(verifier: SubrequestListener) -> None:
    cookie = f"Cookie: {COOKIE}={verifier.token().decode()}"
    assert verifier.ask("/verify", cookie, method="GET").status == 403
    assert verifier.ask("/verify", cookie, "X-Forwarded-Method: GET", method="POST").status == 200


def test_an_empty_field_counts_as_absent(verifier: SubrequestListener) -> None:
    cookie = f"Cookie: {COOKIE}={verifier.token().decode()}"
    empty = [
        "Authorization:",
        "Origin:",
        "Sec-Fetch-Site:",
        "Sec-WebSocket-Version:",
        "X-Forwarded-Method:",
        "Cookie:",
    ]
    assert verifier.ask("/verify", cookie, *empty).status == 403
    assert verifier.ask("/verify", cookie, *empty, "X-Forwarded-Method: GET").status == 200
    assert verifier.ask("/verify", *empty).status == 401


@pytest.mark.parametrize("field", ["Sec-Fetch-Site: same-origin", "Origin: https://app.example"])
def test_a_field_that_is_there_twice_counts_for_nothing(verifier: SubrequestListener, field: str) -> None:
    lines = [f"Cookie: {COOKIE}={verifier.token().decode()}", "X-Forwarded-Method: POST", field]
    assert verifier.ask("/verify", *lines).status == 200
    assert verifier.ask("/verify", *lines, field).status == 403


def test_two_cookie_fields_are_one_list(verifier: SubrequestListener) -> None:
    """A gateway may forward the separate fields of HTTP/2 (RFC 9113 §8.2.3)."""
    fields = [f"Cookie: {COOKIE}={verifier.token().decode()}", "Sec-Fetch-Site: same-origin"]
    assert verifier.ask("/verify", "Cookie: a=b", *fields).status == 200
    assert verifier.ask("/verify", *fields, "Cookie: a=b").status == 200


def test_nothing_of_a_request_stays_for_the_next_one_of_the_connection(verifier: SubrequestListener) -> None:
    cookie = f"Cookie: {COOKIE}={verifier.token().decode()}\r\n"
    request = "GET /verify HTTP/1.1\r\nHost: v\r\n{}\r\n"
    with verifier.connect() as wire:
        first = wire.ask(request.format(cookie + "Sec-Fetch-Site: same-origin\r\n").encode())
        assert [first.status, wire.ask(request.format(cookie).encode()).status] == [200, 403]
        assert wire.ask(request.format("").encode()).status == 401
