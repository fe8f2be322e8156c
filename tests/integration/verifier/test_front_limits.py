"""Limits of a client: endless heads, held connections, exhausted descriptors, random bytes."""

import contextlib
import random
import resource
import time
from collections.abc import AsyncIterator
from typing import Final

import pytest

from tests.support.listening_server import ListeningServer, listening_server
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request, request_of
from tests.support.verifier_process import (
    SubrequestListener,
    VerifierFolder,
    VerifierProcess,
    cpu_seconds,
    open_descriptors,
    resident_bytes,
)
from verifier.subrequest.http_connection import MAX_BODY_BYTES, MAX_HEAD_BYTES

_LIMIT = 16 * 1024
_SMALL: Final = request()
_READ_AT_ONCE: Final = 4096
_SEED = 20_260_401


def test_a_head_of_exactly_16_kib_is_accepted(verifier: SubrequestListener) -> None:
    head = request_of(_LIMIT, bearer(verifier.token()))
    assert len(head) == _LIMIT
    for pieces in ([head], [head[:5000], head[5000:]], [head[:-1], head[-1:]]):
        with verifier.connect() as wire:
            assert next(wire.send(*pieces).responses(1)).status == 200
            assert wire.ask(head).status == 200


def _oversized(token: str) -> dict[str, bytes]:
    return {
        "one byte more": request_of(_LIMIT + 1, token),
        "a huge value": request_of(10 * _LIMIT, token),
        "a huge name": request("/verify", token, "x" * 2 * _LIMIT + ": x"),
        "many fields": request("/verify", token, *(f"X-{number}: x" for number in range(5000))),
        "a huge target": request("/verify?" + "x" * 2 * _LIMIT, token),
        "a huge method": b"G" * 2 * _LIMIT,
        "huge credentials": request("/verify", "Authorization: Bearer " + "x" * 2 * _LIMIT),
        "no end": b"GET /verify HTTP/1.1\r\nHost: v\r\nX: " + b"x" * 50 * _LIMIT,
        "spaces without end": b"GET /verify HTTP/1.1\r\nHost: v\r\nX:" + b" " * 50 * _LIMIT,
        "many short fields without end": b"GET /verify HTTP/1.1\r\nHost: v\r\n" + b"a:b\r\n" * 20 * _LIMIT,
    }


@pytest.mark.parametrize("case", _oversized("").keys())
def test_a_head_over_16_kib_gets_431_and_is_closed(verifier: SubrequestListener, case: str) -> None:
    data = _oversized(bearer(verifier.token()))[case]
    for pieces in ([data], [data[:4000], data[4000:]]):
        with verifier.connect() as wire:
            responses = wire.send_until_closed(*pieces)
        assert [response.closes for response in responses] == [True]
        assert responses[0].status == 431 or (case == "a huge method" and responses[0].status == 400)


def test_an_oversized_head_is_rejected_also_after_accepted_requests(verifier: SubrequestListener) -> None:
    token = bearer(verifier.token())
    with verifier.connect() as wire:
        responses = wire.send_until_closed(request("/verify", token) * 3 + request_of(3 * _LIMIT, token))
    assert [response.status for response in responses] == [200, 200, 200, 431]


def test_a_long_pipeline_is_not_a_long_head(verifier: SubrequestListener) -> None:
    data = request("/verify", bearer(verifier.token())) * 200
    with verifier.connect() as wire:
        wire.send(data[:-10])
        assert all(response.status == 200 for response in wire.responses(199))
        wire.send(data[-10:])
        assert next(wire.responses(1)).status == 200


@pytest.fixture
async def it() -> AsyncIterator[ListeningServer]:
    async with listening_server() as server:
        yield server


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("between", [0, 2])
@pytest.mark.anyio
async def test_no_byte_of_another_request_counts_for_a_head(it: ListeningServer, cut: int, between: int) -> None:
    largest = request_of(MAX_HEAD_BYTES, it.token)
    await it.send(_SMALL * 2 + largest[:1000])
    await it.send(largest[1000:-cut])
    await it.send(largest[-cut:] + _SMALL * between + largest[:1000])
    await it.send(largest[1000:-cut])
    await it.send(largest[-cut:] + _SMALL * 2)
    statuses = [(await it.response()).status for _ in range(6 + between)]
    assert statuses == [401, 401, 200, *[401] * between, 200, 401, 401]


_BODIES: Final = {
    "a short body": request("/verify", "Content-Length: 5") + b"hello",
    "a long body": request("/verify", f"Content-Length: {MAX_BODY_BYTES}") + b"x" * MAX_BODY_BYTES,
    "a chunked body": request("/verify", "Transfer-Encoding: chunked") + b"2000\r\n%b\r\n0\r\n\r\n" % (b"x" * 8192),
}


@pytest.mark.parametrize("split", [-2, 0, 1, 1000])
@pytest.mark.parametrize("body", _BODIES)
@pytest.mark.anyio
async def test_no_byte_of_a_body_counts_for_a_head(it: ListeningServer, body: str, split: int) -> None:
    for largest, status in (
        (request_of(MAX_HEAD_BYTES, it.token), 200),
        (request_of(MAX_HEAD_BYTES + 1, it.token), 431),
    ):
        data = _BODIES[body] + largest
        cut = len(_BODIES[body]) + split
        await it.send(data[:cut])
        await it.send(data[cut:])
        assert [(await it.response()).status for _ in range(2)] == [401, status]


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 100])
@pytest.mark.anyio
async def test_one_byte_too_many_is_one_wherever_the_head_is_cut(it: ListeningServer, cut: int) -> None:
    larger = request_of(MAX_HEAD_BYTES + 1, it.token)
    for part in (_SMALL + larger[:1000], larger[1000:-cut], larger[-cut:]):
        await it.send(part)
    assert await it.rest() == [401, 431]


@pytest.mark.anyio
async def test_a_head_is_rejected_before_its_end(it: ListeningServer) -> None:
    larger = request_of(MAX_HEAD_BYTES + 100, it.token)
    for part in (larger[:1000], larger[1000:MAX_HEAD_BYTES]):
        await it.send(part)
    assert it.is_open
    await it.send(larger[MAX_HEAD_BYTES:][:1])
    assert await it.rest() == [431]


@pytest.mark.anyio
async def test_a_body_ends_the_connection_two_reads_after_its_limit(it: ListeningServer) -> None:
    await it.send(request("/verify", it.token, f"Content-Length: {2 * MAX_BODY_BYTES}"))
    assert (await it.response()).status == 200
    for _ in range(MAX_BODY_BYTES // _READ_AT_ONCE):
        await it.send(bytes(_READ_AT_ONCE))
    assert it.is_open
    for _ in range(2):
        await it.send(bytes(_READ_AT_ONCE))
    assert await it.rest() == []


def test_unfinished_heads_on_many_connections_cost_little(verifier: VerifierProcess) -> None:
    before = resident_bytes(verifier.process.pid)
    head = b"GET /verify HTTP/1.1\r\nHost: v\r\nX: " + b"x" * (_LIMIT - 100)
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(verifier.connect()).send(head)
        assert verifier.ask(token=verifier.token()).status == 200
        # Each may hold its 16 KiB and the parser's and the transport's few.
        assert resident_bytes(verifier.process.pid) - before < 200 * 64 * 1024


def test_connections_over_the_limit_get_a_503(folder: VerifierFolder) -> None:
    with folder.running(MAX_CONNECTIONS=5) as verifier, contextlib.ExitStack() as stack:
        wires = [stack.enter_context(verifier.connect()) for _ in range(5)]
        assert all(wire.ask(request()).status == 401 for wire in wires)
        with verifier.connect() as sixth:
            (response,) = sixth.send(request("/verify", bearer(verifier.token()))).rest()
            assert (response.status, response.closes, response["retry-after"]) == (503, True, "1")
        assert all(wire.ask(request()).status == 401 for wire in wires)
        wires[0].__exit__()
        wait_until(lambda: verifier.ask().status == 401, "there is room again")


def test_exhausted_descriptors_neither_spin_nor_last(folder: VerifierFolder) -> None:
    with folder.running() as verifier, contextlib.ExitStack() as stack:
        pid = verifier.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        with verifier.connect() as early:
            assert early.ask(request()).status == 401
            held = open_descriptors(pid)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + 10, hard))
            wires = [stack.enter_context(verifier.connect()) for _ in range(60)]
            time.sleep(0.2)
            used, at = cpu_seconds(pid), time.monotonic()
            time.sleep(1.5)
            assert cpu_seconds(pid) - used < 0.3 * (time.monotonic() - at), "accept() is tried again and again"
            assert early.ask(request("/verify", bearer(verifier.token()))).status == 200
        for wire in wires:
            wire.__exit__()
        wait_until(lambda: _ask_quietly(verifier) == 200, "connections are accepted again")


def _ask_quietly(verifier: VerifierProcess) -> int:
    try:
        return verifier.ask(token=verifier.token()).status
    except (OSError, AssertionError):
        return 0


def _mutations(token: str) -> list[bytes]:
    rng = random.Random(_SEED)
    seeds = [
        request("/verify", token),
        request("/verify/admin/x?y=z", token, "X-Forwarded-For: 10.0.0.1", method="POST"),
        request("/verify", token, "Content-Length: 5") + b"hello",
        request("/verify", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        request("/verify", token, "Upgrade: websocket", "Connection: Upgrade"),
        request("/verify", token, "Connection: keep-alive", version="HTTP/1.0") * 2,
    ]
    spice = b"\r|\n|\r\n|\0| |\t|:|\xff|/|%|\r\n\r\n|0|99999999999999999999|chunked".split(b"|")

    def mutated(data: bytes) -> bytes:
        for _ in range(rng.randint(1, 4)):
            at, what = rng.randrange(len(data) or 1), rng.randrange(6)
            if what == 0:
                data = data[:at]
            elif what == 1:
                data = data[:at] + rng.choice(spice) + data[at:]
            elif what == 2:
                data = data[:at] + data[at + rng.randint(1, 8) :]
            elif what == 3:
                data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
            elif what == 4:
                data = data[:at] + data[at : at + rng.randint(1, 30)] * 2 + data[at:]
            else:
                data += rng.choice(seeds)
        return data

    return [rng.randbytes(rng.randint(1, 300)) for _ in range(200)] + [mutated(rng.choice(seeds)) for _ in range(800)]


def test_random_bytes_get_a_valid_response_or_a_close(verifier: VerifierProcess) -> None:
    for number, data in enumerate(_mutations(bearer(verifier.token()))):
        with verifier.connect() as wire:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                wire.send(data)
            with contextlib.suppress(OSError):
                wire.finish()
            responses = wire.rest()
        assert {response.status for response in responses} <= {200, 400, 401, 403, 408, 431}, (number, data)
    assert verifier.ask(token=verifier.token()).status == 200
    assert not verifier.events("decision_failed")
    assert verifier.metric("decisions_total", outcome="undecidable") == 0
