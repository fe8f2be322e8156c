"""Names of issuers whose name servers do not respond, or that have several IP addresses."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.jwks_server import JwksServer, running_jwks_server, serves
from verifier.refresh.http_fetch import HttpSource
from verifier.refresh.name_lookup import look_up
from verifier.refresh.source import RefreshError

pytestmark = pytest.mark.anyio

_DOCUMENT: Final = b"{}"


class Names:
    """A resolver: names that begin with `silent` are looked up without end, others have these addresses."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.addresses = ["127.0.0.1"]
        self.responding = threading.Event()

    def find(self, host: str, port: int | None, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if host.startswith("silent"):
            self.responding.wait(60)
        if host.startswith("unknown"):
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in self.addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.find)
    yield found
    found.responding.set()


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with running_jwks_server(serves(_DOCUMENT)) as running:
        yield running


def _source(host: str, port: int) -> HttpSource:
    def no_tls() -> Any:
        raise AssertionError("only https needs it")

    return HttpSource(f"http://{host}:{port}/keys", "application/json", 1000, no_tls)


async def test_names_that_are_never_found_delay_no_other_name(names: Names, server: JwksServer) -> None:
    silent = [asyncio.create_task(_source(f"silent{n}.example", server.port).fetch(None)) for n in range(100)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(4):
        result = await _source("issuer.example", server.port).fetch(None)
    assert result.body == _DOCUMENT
    assert b"\r\nhost: issuer.example:" in server.requests[0].lower()
    names.responding.set()
    assert {attempt.body for attempt in await asyncio.gather(*silent)} == {_DOCUMENT}


async def test_a_name_is_looked_up_once_however_many_attempts_wait_for_it(names: Names) -> None:
    attempts = [asyncio.create_task(look_up("silent.example")) for _ in range(10)]
    await asyncio.sleep(0.05)
    for attempt in attempts[:9]:
        attempt.cancel()
    attempts.append(asyncio.create_task(look_up("silent.example")))
    await asyncio.sleep(0.05)
    names.responding.set()
    assert await attempts[9] == await attempts[10] == ["127.0.0.1"]
    assert names.asked == ["silent.example"]
    assert await look_up("silent.example") == ["127.0.0.1"]
    assert names.asked == ["silent.example"] * 2


async def test_every_ip_address_of_a_name_is_tried(names: Names, server: JwksServer) -> None:
    names.addresses = ["127.0.0.2", "127.0.0.1"]
    assert (await _source("issuer.example", server.port).fetch(None)).body == _DOCUMENT
    names.addresses = ["127.0.0.2", "127.0.0.3"]
    with pytest.raises(RefreshError, match="ConnectionRefusedError"):
        await _source("issuer.example", server.port).fetch(None)


async def test_an_unknown_name_is_unreachable(names: Names) -> None:
    del names
    with pytest.raises(RefreshError, match="the host name cannot be resolved") as error:
        await _source("unknown.example", 80).fetch(None)
    assert error.value.code == "unreachable"


async def test_without_a_free_thread_an_attempt_fails_and_the_next_may_succeed(
    names: Names, server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del names

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            await look_up("issuer.example")
    assert (await _source("issuer.example", server.port).fetch(None)).body == _DOCUMENT


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_an_ip_address_is_not_looked_up(names: Names, address: str) -> None:
    assert await look_up(address) == [address]
    assert names.asked == []
