"""A request in bytes that came before is answered without being parsed: never out of place, never out of turn."""

import asyncio

import pytest
import uvloop

from tests.support.listening_front import listening_front
from tests.support.raw_http import bearer, parse, request
from tests.support.verifier_process import VerifierProcess
from verifier.cache import DecisionCache


def _known_by_heart(verifier: VerifierProcess) -> bytes:
    """A request that the verifier would answer from its bytes alone."""
    known = request("/verify", bearer(verifier.token()))
    with verifier.connect() as wire:
        assert [wire.ask(known).status for _ in range(4)] == [200] * 4
    return known


@pytest.mark.parametrize("framing", ["Content-Length: {}", "Transfer-Encoding: chunked"])
def test_a_body_of_such_bytes_is_no_request(verifier: VerifierProcess, framing: str) -> None:
    known = _known_by_heart(verifier)
    before, after = (b"%x\r\n" % len(known), b"\r\n0\r\n\r\n") if "chunked" in framing else (b"", b"")
    with verifier.connect() as wire:
        # Each piece is waited for, so that the bytes arrive alone: what the parser is spared is one whole read.
        assert wire.ask(request("/verify", framing.format(len(known))) + before).status == 401
        wire.send(known)
        wire.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            wire.socket.recv(1)
        wire.socket.settimeout(5)
        wire.send(after)
        assert wire.ask(request("/verify/nowhere")).status == 403


def test_a_head_whose_body_is_still_to_come_is_never_one(verifier: VerifierProcess) -> None:
    inner = request("/verify/nowhere")
    head = request("/verify", bearer(verifier.token()), f"Content-Length: {len(inner)}")
    with verifier.connect() as wire:
        # Were the head answered from its bytes, its body would be the next request.
        for _ in range(6):
            assert wire.ask(head).status == 200
            wire.send(inner)
        assert wire.ask(request("/verify")).status == 401


def test_its_answer_does_not_overtake_one_that_waits() -> None:
    async def scene() -> list[int]:
        async with listening_front(DecisionCache(100, 2**20)) as fixture:
            known = request("/verify", fixture.token)
            for _ in range(4):
                await fixture.send(known)
                assert (await fixture.answer()).status == 200
            (connection,) = fixture.front.connections
            # Two reads of one turn of the event loop.
            connection.data_received(request("/verify"))
            connection.data_received(known)
            async with asyncio.timeout(5):
                return [parse(await fixture.reader.readuntil(b"\r\n\r\n"))[0].status for _ in range(2)]

    assert uvloop.run(scene()) == [401, 200]
