"""The expiry of keys from a URL, with a scripted source, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.support.token_forge import ISSUER, Forge
from tests.support.virtual_time import now, run_virtual
from verifier.decision.keyset import TrustedKeys
from verifier.metrics import Metrics
from verifier.refresh.key_sets import KeySource
from verifier.refresh.refresher import Refresher
from verifier.refresh.source import FetchResult, RefreshError
from verifier.settings import VerifierSettings

_NO_ISSUERS = frozenset[str]()
_BOUND_SECONDS = 86_400.0  # the default


@dataclass
class Script:
    """A source whose responses a test sets."""

    result: FetchResult | Exception
    attempts: list[float] = field(default_factory=list)

    async def fetch(self, version: bytes | None) -> FetchResult:
        del version
        self.attempts.append(now())
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@dataclass
class Watch:
    """The latest snapshot, and a way to wait for the next."""

    keys: TrustedKeys = field(default_factory=TrustedKeys)

    def take(self, keys: TrustedKeys) -> None:
        self.keys = keys

    async def until(self, issuers: frozenset[str]) -> None:
        await _until(lambda: self.keys.issuers == issuers)


async def _until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(3 * _BOUND_SECONDS):
        while True:
            if happened():
                return
            await asyncio.sleep(1)


_GOOD = FetchResult(Forge().jwks, b"1")
_UNCHANGED = FetchResult(None, b"1")
_DOWN = RefreshError("unreachable", "ConnectionRefusedError")
_OURS = frozenset({ISSUER})
_SETTINGS = VerifierSettings.from_environment(
    {
        "VERIFIER_ISSUER": ISSUER,
        "VERIFIER_JWKS_FILE": "unused",
        "VERIFIER_JWKS_MAX_STALE_SECONDS": f"{_BOUND_SECONDS:.0f}",
    }
)


def _run(source: Script, story: Callable[[Refresher, Watch], Awaitable[None]], *, remote: bool = True) -> None:
    async def scenario() -> None:
        watch = Watch()
        refresher = Refresher(
            _SETTINGS, Metrics(), publish_keys=watch.take, publish_status_lists=lambda _: None, now=now
        )
        refresher.set_sources({ISSUER: KeySource(source, remote)}, {})
        await watch.until(_OURS)
        await story(refresher, watch)
        refresher.set_sources({}, {})

    run_virtual(scenario())


def test_keys_that_cannot_be_refreshed_expire_at_the_bound() -> None:
    source = Script(_GOOD)

    async def story(_: Refresher, watch: Watch) -> None:
        await asyncio.sleep(1000)
        source.result = _DOWN
        confirmed_at = source.attempts[-1]
        await asyncio.sleep(confirmed_at + _BOUND_SECONDS - now() - 0.5)
        assert watch.keys.issuers == _OURS
        await asyncio.sleep(1)
        assert watch.keys.issuers == _NO_ISSUERS

    _run(source, story)


def test_a_304_keeps_keys_fresh() -> None:
    source = Script(_GOOD)

    async def story(_: Refresher, watch: Watch) -> None:
        source.result = _UNCHANGED
        await asyncio.sleep(3 * _BOUND_SECONDS)
        assert watch.keys.issuers == _OURS

    _run(source, story)


def test_expired_keys_are_fetched_in_full_after_a_304() -> None:
    source = Script(_GOOD)

    async def story(_: Refresher, watch: Watch) -> None:
        source.result = _DOWN
        await watch.until(_NO_ISSUERS)
        source.result = _UNCHANGED
        await watch.until(_OURS)

    _run(source, story)


def test_a_reload_does_not_renew_keys() -> None:
    source = Script(_GOOD)

    async def story(refresher: Refresher, watch: Watch) -> None:
        source.result = _DOWN
        confirmed_at = source.attempts[-1]
        while watch.keys.issuers:
            refresher.set_sources({ISSUER: KeySource(source, remote=True)}, {})
            await asyncio.sleep(60)
        assert now() - confirmed_at < _BOUND_SECONDS + 70

    _run(source, story)


def test_keys_of_a_file_never_expire() -> None:
    source = Script(_GOOD)

    async def story(_: Refresher, watch: Watch) -> None:
        source.result = _DOWN
        await asyncio.sleep(_BOUND_SECONDS + 60)
        assert watch.keys.issuers == _OURS

    _run(source, story, remote=False)


def test_an_unexpected_error_does_not_stop_refreshing() -> None:
    source = Script(_GOOD)

    async def story(_: Refresher, watch: Watch) -> None:
        source.result = ZeroDivisionError()
        attempts = len(source.attempts)
        await _until(lambda: len(source.attempts) >= attempts + 3)
        source.result = _GOOD
        await watch.until(_OURS)

    _run(source, story)


async def _flood(refresher: Refresher, seconds: float) -> None:
    """Let a token with an unknown key arrive every 10 ms."""
    for _ in range(int(seconds * 100)):
        refresher.request_keys(ISSUER)
        await asyncio.sleep(0.01)


def test_a_flood_of_unknown_keys_requests_a_refresh_every_ten_seconds() -> None:
    source = Script(_GOOD)

    async def story(refresher: Refresher, _: Watch) -> None:
        before = len(source.attempts)
        await _flood(refresher, 45)
        flooded = source.attempts[before:]
        assert [round(time - flooded[0]) for time in flooded] == [0, 10, 20, 30, 40]

    _run(source, story)


def test_a_flood_of_unknown_keys_of_another_issuer_requests_nothing() -> None:
    source = Script(_GOOD)

    async def story(refresher: Refresher, _: Watch) -> None:
        before = len(source.attempts)
        for _second in range(50):
            refresher.request_keys("https://another.example")
            await asyncio.sleep(1)
        assert len(source.attempts) == before

    _run(source, story)


async def _seconds_until_held(forge: Forge, refresher: Refresher, watch: Watch) -> float:
    """Send tokens of the key until it is known; return the seconds that this took."""
    rejected = now()
    while not watch.keys.find(forge.kid):
        refresher.request_keys(ISSUER)
        await asyncio.sleep(0.05)
    return now() - rejected


def test_a_new_key_is_found_at_once_however_often_the_issuer_rotates() -> None:
    source = Script(_GOOD)

    async def story(refresher: Refresher, watch: Watch) -> None:
        for number in range(5):
            new = Forge()
            source.result = FetchResult(new.jwks, b"%d" % number)
            assert await _seconds_until_held(new, refresher, watch) < 0.6
            if number % 2:
                await asyncio.sleep(1)

    _run(source, story)


def test_a_new_key_is_found_within_ten_seconds_during_a_flood_which_gains_no_attempt() -> None:
    source = Script(_GOOD)

    async def story(refresher: Refresher, watch: Watch) -> None:
        before = len(source.attempts)
        flood = asyncio.create_task(_flood(refresher, 35))
        await asyncio.sleep(3)
        new = Forge()
        source.result = FetchResult(new.jwks, b"2")
        assert await _seconds_until_held(new, refresher, watch) < 10.1
        await flood
        flooded = source.attempts[before:]
        assert [round(time - flooded[0]) for time in flooded] == [0, 10, 20, 30]

    _run(source, story)
