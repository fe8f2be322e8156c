"""When keys of a URL stop to count: the bound is a minute at least, so here a scripted source has a shorter one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from shared.jwks import parse_jwks
from tests.support.token_forge import ISSUER, Forge
from verifier.fetch import SourceError
from verifier.key_refresh import KeyRefresh
from verifier.key_sources import Reading
from verifier.keyset import KeySet
from verifier.metrics import Metrics

_NOBODY = frozenset[str]()
_BOUND_SECONDS = 0.3


@dataclass
class Script:
    """A source that answers as it is told."""

    reading: Reading | Exception
    goes_stale: bool = True
    max_retry_seconds: float = 0.1
    looks: int = field(default=0)

    async def read(self) -> Reading:
        self.looks += 1
        if isinstance(self.reading, Exception):
            raise self.reading
        return self.reading


@dataclass
class Watch:
    """The latest snapshot, and how to wait for another."""

    keys: KeySet = field(default_factory=KeySet)

    def take(self, keys: KeySet) -> None:
        self.keys = keys

    async def until(self, issuers: frozenset[str]) -> None:
        await _until(lambda: self.keys.issuers == issuers)


async def _until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if happened():
                return
            await asyncio.sleep(0.01)


_GOOD = Reading(parse_jwks(Forge().jwks), b"document", 0.05)
_UNCHANGED = Reading(None, b"", 0.05)
_DOWN = SourceError("unreachable", "ConnectionRefusedError")
_OURS = frozenset({ISSUER})


def _run(source: Script, story: Callable[[KeyRefresh, Watch], Awaitable[None]]) -> None:
    async def told() -> None:
        watch = Watch()
        refresh = KeyRefresh(watch.take, metrics=Metrics(), max_stale_seconds=_BOUND_SECONDS)
        refresh.follow({ISSUER: source})
        await watch.until(_OURS)
        await story(refresh, watch)
        refresh.follow({})

    asyncio.run(told())


def test_keys_that_can_not_be_fetched_count_until_the_bound_and_no_longer() -> None:
    source = Script(_GOOD)

    async def story(_: KeyRefresh, watch: Watch) -> None:
        source.reading = _DOWN
        looks = source.looks
        await asyncio.sleep(_BOUND_SECONDS / 2)
        assert source.looks > looks
        assert watch.keys.issuers == _OURS
        await watch.until(_NOBODY)

    _run(source, story)


def test_a_source_that_says_unchanged_keeps_its_keys_fresh() -> None:
    source = Script(_GOOD)

    async def story(_: KeyRefresh, watch: Watch) -> None:
        source.reading = _UNCHANGED
        await asyncio.sleep(3 * _BOUND_SECONDS)
        assert watch.keys.issuers == _OURS

    _run(source, story)


def test_keys_that_went_stale_are_back_when_the_source_says_that_they_never_changed() -> None:
    source = Script(_GOOD)

    async def story(_: KeyRefresh, watch: Watch) -> None:
        source.reading = _DOWN
        await watch.until(_NOBODY)
        source.reading = _UNCHANGED
        await watch.until(_OURS)

    _run(source, story)


def test_following_anew_makes_no_key_younger() -> None:
    source = Script(_GOOD)

    async def story(refresh: KeyRefresh, watch: Watch) -> None:
        source.reading = _DOWN
        started = time.monotonic()
        while watch.keys.issuers:
            refresh.follow({ISSUER: source})
            await asyncio.sleep(0.05)
            assert time.monotonic() - started < 10 * _BOUND_SECONDS

    _run(source, story)


def test_a_file_never_goes_stale() -> None:
    source = Script(_GOOD, goes_stale=False)

    async def story(_: KeyRefresh, watch: Watch) -> None:
        source.reading = _DOWN
        await asyncio.sleep(2 * _BOUND_SECONDS)
        assert watch.keys.issuers == _OURS

    _run(source, story)


def test_an_unexpected_fault_of_a_source_is_one_failure_and_not_the_last_look() -> None:
    source = Script(_GOOD)

    async def story(_: KeyRefresh, watch: Watch) -> None:
        source.reading = ZeroDivisionError()
        looks = source.looks
        await _until(lambda: source.looks >= looks + 3)
        source.reading = _GOOD
        await watch.until(_OURS)

    _run(source, story)
