"""Many requests on one connection: in any pieces, in order, until one side closes."""

import contextlib
import threading
import time
from typing import Final

import pytest

from tests.support.processes import paused, wait_until
from tests.support.raw_http import IDENTITY, Wire, bearer, request
from tests.support.verifier_process import SubrequestListener, VerifierProcess, resident_bytes

_TARGETS: Final = {"/verify": 200, "/verify/admin": 403, "/verify/nowhere": 403, "/verify/operator/x?y": 403}


def test_a_request_may_arrive_in_any_two_pieces(verifier: SubrequestListener) -> None:
    data = request("/verify", bearer(verifier.token()), "Content-Length: 3") + b"abc"
    for at in range(1, len(data)):
        with verifier.connect() as wire:
            wire.send(data[:at], data[at:])
            assert next(wire.responses(1)).status == 200, at
            assert wire.ask(request()).status == 401, at


def test_a_request_may_arrive_byte_by_byte(verifier: SubrequestListener) -> None:
    data = request("/verify", bearer(verifier.token()), "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    with verifier.connect() as wire:
        wire.send(*(data[at : at + 1] for at in range(len(data))))
        assert next(wire.responses(1)).status == 200
        assert wire.ask(request()).status == 401


def test_pipelined_requests_get_their_responses_in_order(verifier: SubrequestListener) -> None:
    token = bearer(verifier.token())
    targets = list(_TARGETS) * 50
    with verifier.connect() as wire:
        wire.send(b"".join(request(target, token) for target in targets))
        assert [response.status for response in wire.responses(len(targets))] == [
            _TARGETS[target] for target in targets
        ]


@pytest.mark.parametrize("size", [7, 333, 4096, 4097, 65536])
def test_pipelined_requests_may_be_cut_anywhere(verifier: SubrequestListener, size: int) -> None:
    token, other = bearer(verifier.token()), bearer(verifier.token(sub="another-user"))
    data = (request("/verify", token) + request("/verify", other) + request()) * 20
    with verifier.connect() as wire:
        wire.send(*(data[at : at + size] for at in range(0, len(data), size)))
        subjects = [response.identity.get("x-auth-subject", "")[:4] for response in wire.responses(60)]
    assert subjects == ["7b7f", "anot", ""] * 20


def test_a_thousand_requests_in_one_write_get_a_thousand_responses(verifier: SubrequestListener) -> None:
    tokens = [verifier.token(sub=f"subject-{number}") for number in range(10)]
    data = b"".join(request("/verify", bearer(token)) for token in tokens * 100)
    with verifier.connect() as wire:
        writing = threading.Thread(target=wire.send, args=(data,))
        writing.start()
        subjects = [response["x-auth-subject"] for response in wire.responses(1000)]
        writing.join()
    assert subjects == [f"subject-{number}" for number in range(10)] * 100


def test_a_client_that_does_not_read_can_not_fill_the_memory(verifier: VerifierProcess) -> None:
    pid = verifier.process.pid
    flood = request("/verify/open") * 1000
    before = resident_bytes(pid)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(verifier.connect(timeout=0.2)) for _ in range(8)]
        for wire in wires:
            # 8 times up to 20 MB of requests, whose responses would be five times that.
            with contextlib.suppress(TimeoutError):
                for _ in range(500):
                    wire.send(flood)
        assert resident_bytes(pid) - before < 16 * 2**20
        assert verifier.ask(token=verifier.token()).status == 200


@pytest.mark.parametrize("method", [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "PURGE", "MKCOL",
])  # fmt: skip
def test_the_method_does_not_change_the_decision(verifier: SubrequestListener, method: str) -> None:
    with verifier.connect() as wire:
        for _ in range(2):
            response = wire.ask(request("/verify", bearer(verifier.token()), method=method))
            assert (response.status, tuple(response.identity)) == (200, IDENTITY)
            assert wire.ask(request(method=method)).status == 401


@pytest.mark.parametrize("option", ["close", "Close", "close, X-Other", "keep-alive, close"])
def test_connection_close_is_obeyed_and_announced(verifier: SubrequestListener, option: str) -> None:
    with verifier.connect() as wire:
        wire.send(request("/verify", bearer(verifier.token()), f"Connection: {option}") + request() * 3)
        responses = wire.rest()
    assert [(response.status, response.closes) for response in responses] == [(200, True)]


def test_connection_close_ends_a_pipeline_after_earlier_responses(verifier: SubrequestListener) -> None:
    token = bearer(verifier.token())
    with verifier.connect() as wire:
        wire.send(request("/verify", token) * 3 + request("/verify", token, "Connection: close") + request() * 3)
        responses = wire.rest()
    assert [(response.status, response.closes) for response in responses] == [(200, False)] * 3 + [(200, True)]


def test_http_1_0_closes_after_one_response(verifier: SubrequestListener) -> None:
    with verifier.connect() as wire:
        wire.send(request("/verify", bearer(verifier.token()), version="HTTP/1.0"))
        responses = wire.rest()
    assert [(response.status, response.closes) for response in responses] == [(200, True)]


def test_http_1_0_with_keep_alive_stays_open(verifier: SubrequestListener) -> None:
    with verifier.connect() as wire:
        for _ in range(3):
            response = wire.ask(
                request("/verify", bearer(verifier.token()), "Connection: keep-alive", version="HTTP/1.0")
            )
            assert (response.status, response["connection"]) == (200, "keep-alive")
        response = wire.ask(request("/verify", bearer(verifier.token())))
        assert (response.status, response["connection"]) == (200, None)


def test_a_connection_option_applies_to_one_request(verifier: SubrequestListener) -> None:
    with verifier.connect() as wire:
        wire.send(request("/verify", "Connection: keep-alive", version="HTTP/1.0") + request() * 2)
        assert [response["connection"] for response in wire.responses(3)] == ["keep-alive", None, None]
        # HTTP/1.1 keeps the connection without an option.
        assert wire.ask(request("/verify", "Connection: keep-alive"))["connection"] is None


@pytest.mark.parametrize("fields", [
    ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    ("Upgrade: TLS/1.0", "Connection: Upgrade"),
])  # fmt: skip
def test_an_upgrade_gets_the_plain_decision_and_opens_no_tunnel(
    verifier: SubrequestListener, fields: tuple[str, ...]
) -> None:
    token = bearer(verifier.token())
    with verifier.connect() as wire:
        assert wire.ask(request("/verify", token, *fields)).status == 200
        assert wire.ask(request("/verify", *fields)).status == 401
        wire.send(request("/verify/admin", token, *fields) + request("/verify", token) + b"\x81\x05hello")
        assert [response.status for response in wire.rest()] == [403, 200, 400]


def test_expect_gets_a_response_at_once_and_closes(verifier: SubrequestListener) -> None:
    with verifier.connect() as wire:
        response = wire.ask(
            request("/verify", bearer(verifier.token()), "Expect: 100-continue", "Content-Length: 5", method="POST")
        )
        assert (response.status, response.closes) == (200, True)
        # Whether or not the body is sent after all, nothing in it is a request.
        assert wire.send(b"GET /verify HTTP/1.1\r\nHost: v\r\n\r\n").rest() == []


def test_requests_behind_one_with_expect_get_no_response(verifier: SubrequestListener) -> None:
    with verifier.connect() as wire:
        wire.send(request("/verify", "Expect: 100-continue") + request("/verify", bearer(verifier.token())) * 3)
        assert [response.status for response in wire.rest()] == [401]


def test_a_half_closed_client_still_gets_its_responses(verifier: SubrequestListener) -> None:
    with verifier.connect() as wire:
        responses = wire.send(request("/verify", bearer(verifier.token())) * 50).finish().rest()
    assert [response.status for response in responses] == [200] * 50


def test_an_aborted_connection_leaves_nothing_behind(verifier: VerifierProcess) -> None:
    data = request("/verify", bearer(verifier.token()))
    for at in range(0, len(data), 10):
        with verifier.connect() as wire:
            wire.send(data[:at])
    wait_until(lambda: verifier.metric("connections") == 0, "no connection is counted")


def test_a_long_lived_connection_does_not_grow(verifier: VerifierProcess) -> None:
    data = request("/verify", bearer(verifier.token())) * 100

    def serve(wire: Wire, times: int) -> None:
        for _ in range(times):
            wire.send(data)
            assert all(response.status == 200 for response in wire.responses(100))

    with verifier.connect() as wire:
        serve(wire, 50)
        before = resident_bytes(verifier.process.pid)
        serve(wire, 300)
        assert resident_bytes(verifier.process.pid) - before < 2**20


def test_pipelined_responses_wait_for_their_turn(verifier: VerifierProcess) -> None:
    # More than the transport reads at once, so that the last request comes alone, behind responses not yet written.
    read_bytes = 256_000
    known, other = request("/verify", bearer(verifier.token(sub="known"))), request("/verify", "X: ")
    with verifier.connect() as wire:
        for _ in range(3):
            assert wire.ask(known).status == 200
        filler = read_bytes % len(other)
        for _ in range(10):
            # What a connection carries at once grows with what it has carried.
            wire.send(request("/verify", "X: " + "x" * 10_000) * 100)
            assert all(response.status == 401 for response in wire.responses(100))
        count = read_bytes // len(other)
        flood = other * (count - 1) + request("/verify", "X: " + "x" * filler)
        assert len(flood) == read_bytes
        with paused(verifier.process):
            writing = threading.Thread(target=wire.send, args=(flood + known,))
            writing.start()
            time.sleep(0.2)
        statuses = [response.status for response in wire.responses(count + 1)]
        writing.join()
    assert statuses == [401] * count + [200]
