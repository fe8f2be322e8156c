"""The expiry of keys from a URL, with a scripted source, in virtual time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

import pytest

from shared.jwks import OWN_ALGORITHMS
from tests.support.jwks_server import JwksServer, running_jwks_server, serves
from tests.support.token_forge import ISSUER, Forge
from tests.support.verifier_process import VerifierFolder
from tests.support.virtual_time import VirtualTimeLoop, now
from verifier.metrics import Metrics
from verifier.refresh.document import DocumentOptions
from verifier.refresh.document_log import DocumentLog
from verifier.refresh.key_sets import URL_SCHEDULE, KeySetDocument
from verifier.refresh.refresher import Refresher
from verifier.refresh.source import FetchResult, RefreshError
from verifier.settings import VerifierSettings

pytestmark = pytest.mark.anyio

_BOUND_SECONDS: Final = 86_400.0


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


class Keys:
    """The key set of a source, and which of its keys were published last."""

    def __init__(self, source: Script) -> None:
        self.source = source
        self.published: set[str] = set()
        self.document = self._new_document()
        self.document.start()

    def _new_document(self) -> KeySetDocument:
        log = DocumentLog("jwks", Metrics().jwks_failures, detailed=True)
        return KeySetDocument(
            ISSUER,
            self.source,
            DocumentOptions(log, URL_SCHEDULE, now=now),
            algorithms=OWN_ALGORITHMS,
            valid_seconds=_BOUND_SECONDS,
            publish=self._publish,
        )

    def _publish(self) -> None:
        current = self.document.current()
        self.published = set(current.keys) if current else set()

    def reload(self) -> None:
        """Go on with another document, as a reload does."""
        self.document.stop()
        previous, self.document = self.document, self._new_document()
        self.document.inherit(previous)
        self._publish()
        self.document.start()

    async def until_published(self, *kids: str) -> None:
        await _until(lambda: self.published == set(kids))


async def _until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(3 * _BOUND_SECONDS):
        while True:
            if happened():
                return
            await asyncio.sleep(1)


_FORGE: Final = Forge()
_FETCHED: Final = FetchResult(_FORGE.jwks, b"1")
_UNCHANGED: Final = FetchResult(None, b"1")
_DOWN: Final = RefreshError("unreachable", "ConnectionRefusedError")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, type[VirtualTimeLoop]]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@pytest.fixture
async def keys() -> AsyncIterator[Keys]:
    """Yield the published keys of a source that has one key."""
    keys = Keys(Script(_FETCHED))
    await keys.until_published(_FORGE.kid)
    yield keys
    keys.document.stop()


async def test_keys_that_cannot_be_refreshed_expire_at_the_bound(keys: Keys) -> None:
    await asyncio.sleep(1000)
    keys.source.result = _DOWN
    confirmed_at = keys.source.attempts[-1]
    await asyncio.sleep(confirmed_at + _BOUND_SECONDS - now() - 0.5)
    assert keys.published
    await asyncio.sleep(1)
    assert not keys.published


async def test_a_304_keeps_keys_fresh(keys: Keys) -> None:
    keys.source.result = _UNCHANGED
    await asyncio.sleep(3 * _BOUND_SECONDS)
    assert keys.published


async def test_expired_keys_are_fetched_in_full_after_a_304(keys: Keys) -> None:
    keys.source.result = _DOWN
    await keys.until_published()
    keys.source.result = _UNCHANGED
    await keys.until_published(_FORGE.kid)


async def test_a_reload_does_not_renew_keys(keys: Keys) -> None:
    keys.source.result = _DOWN
    confirmed_at = keys.source.attempts[-1]
    while keys.published:
        keys.reload()
        await asyncio.sleep(60)
    assert now() - confirmed_at < _BOUND_SECONDS + 70


async def test_an_unexpected_error_does_not_stop_refreshing(keys: Keys) -> None:
    keys.source.result = ZeroDivisionError()
    attempts = len(keys.source.attempts)
    await _until(lambda: len(keys.source.attempts) >= attempts + 3)
    keys.source.result = _FETCHED
    await keys.until_published(_FORGE.kid)


async def _flood(keys: Keys, seconds: float) -> None:
    """Let a token with an unknown key arrive every 10 ms."""
    for _ in range(int(seconds * 100)):
        keys.document.request_refresh()
        await asyncio.sleep(0.01)


async def test_a_flood_of_unknown_keys_requests_a_refresh_every_ten_seconds(keys: Keys) -> None:
    before = len(keys.source.attempts)
    await _flood(keys, 45)
    flooded = keys.source.attempts[before:]
    assert [round(time - flooded[0]) for time in flooded] == [0, 10, 20, 30, 40]


async def _seconds_until_held(forge: Forge, keys: Keys) -> float:
    """Send tokens of the key until it is known; return the seconds that this took."""
    rejected = now()
    while forge.kid not in keys.published:
        keys.document.request_refresh()
        await asyncio.sleep(0.05)
    return now() - rejected


async def test_a_new_key_is_found_at_once_however_often_the_issuer_rotates(keys: Keys) -> None:
    for number in range(5):
        new = Forge()
        keys.source.result = FetchResult(new.jwks, b"%d" % number)
        assert await _seconds_until_held(new, keys) < 0.6
        if number % 2:
            await asyncio.sleep(1)


async def test_a_new_key_is_found_within_ten_seconds_during_a_flood_which_gains_no_attempt(keys: Keys) -> None:
    before = len(keys.source.attempts)
    flood = asyncio.create_task(_flood(keys, 35))
    await asyncio.sleep(3)
    new = Forge()
    keys.source.result = FetchResult(new.jwks, b"2")
    assert await _seconds_until_held(new, keys) < 10.1
    await flood
    flooded = keys.source.attempts[before:]
    assert [round(time - flooded[0]) for time in flooded] == [0, 10, 20, 30]


def _refresher(location: str, value: object, now: Callable[[], float] = time.time) -> Refresher:
    settings = VerifierSettings.from_environment({"VERIFIER_ISSUER": ISSUER, location: str(value)})
    refresher = Refresher(
        settings, Metrics(), publish_keys=lambda _: None, publish_status_lists=lambda _: None, now=now
    )
    refresher.configure(settings.load_configuration())
    return refresher


@pytest.mark.parametrize(("location", "expires"), [("VERIFIER_JWKS_URL", True), ("VERIFIER_JWKS_FILE", False)])
def test_keys_of_a_url_expire_and_those_of_a_file_do_not(
    folder: VerifierFolder, location: str, *, expires: bool
) -> None:
    passed = 0.0

    async def story(value: object) -> None:
        nonlocal passed
        refresher = _refresher(location, value, lambda: time.time() + passed)
        await refresher.wait_until_attempted(10)
        assert refresher.is_ready()
        passed = _BOUND_SECONDS + 60
        assert refresher.is_ready() is not expires
        refresher.stop()

    folder.publish()
    with running_jwks_server(serves(folder.forge.jwks)) as server:
        asyncio.run(story(server.url if expires else folder.jwks))


def test_a_request_for_keys_of_another_issuer_fetches_nothing(folder: VerifierFolder) -> None:
    async def story(server: JwksServer) -> None:
        refresher = _refresher("VERIFIER_JWKS_URL", server.url)
        await refresher.wait_until_attempted(10)
        for _ in range(3):
            refresher.request_keys("https://another.example")
            await asyncio.sleep(0.6)
        assert len(server.requests) == 1
        refresher.stop()

    with running_jwks_server(serves(folder.forge.jwks)) as server:
        asyncio.run(story(server))
