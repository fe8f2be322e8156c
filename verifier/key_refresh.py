"""Keeps one worker's keys fresh, beside the request path: one task for each issuer.

A key set that was taken stays until a better one is: failures are counted, logged and retried, and only
when a URL has not answered for `max_stale_seconds` do its keys stop to count. An unknown `kid` brings the
next look forward, at most once in `REFETCH_SECONDS` however many such tokens come.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from shared.jwks import JwksError, JwkSet, parse_jwks
from verifier.key_sources import KeySource, Reading, SourceError
from verifier.keyset import KeySet
from verifier.metrics import Name, Page

REFETCH_SECONDS: Final = 10.0
_REPEAT_LOG_SECONDS: Final = 60.0

_log = structlog.get_logger()


class KeyRefresh:
    """The keys of all issuers, and the tasks that look after them.

    Args:
        on_change: given the new snapshot, each time there is one.
        page: where ages and failures are counted.
        max_stale_seconds: how long keys of a URL count after its last good answer.
        cache_dir: where fetched documents are kept for a cold start, if anywhere.
    """

    def __init__(
        self,
        on_change: Callable[[KeySet], None],
        *,
        page: Page,
        max_stale_seconds: float,
        cache_dir: Path | None = None,
    ) -> None:
        self._on_change, self._page = on_change, page
        self._max_stale_seconds, self._cache_dir = max_stale_seconds, cache_dir
        self._published: dict[str, JwkSet] = {}
        self._tasks: dict[str, tuple[KeySource, asyncio.Task[None]]] = {}
        self._sooner: dict[str, asyncio.Event] = {}
        self._tried: dict[str, asyncio.Event] = {}
        self._logged: dict[str, tuple[str, float]] = {}

    def follow(self, sources: Mapping[str, KeySource]) -> None:
        """Look after these issuers from now on, and forget the others together with their keys."""
        for issuer in list(self._tasks):
            self._tasks.pop(issuer)[1].cancel()
            if issuer not in sources:
                self._withdraw(issuer)
        for issuer, source in sources.items():
            self._sooner[issuer], self._tried[issuer] = asyncio.Event(), asyncio.Event()
            self._tasks[issuer] = source, asyncio.create_task(self._look_after(issuer, source))

    async def first_look(self, seconds: float) -> None:
        """Wait until every source was tried once, for `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for tried in self._tried.values():
                    await tried.wait()

    def look_sooner(self) -> None:
        """A token named a key that we lack. Returns at once."""
        for event in self._sooner.values():
            event.set()

    def missing(self, issuers: frozenset[str]) -> frozenset[str]:
        """The issuers without a key."""
        return issuers - self._published.keys()

    async def _look_after(self, issuer: str, source: KeySource) -> None:
        good_until = self._recall(issuer, source)
        failures = 0
        while True:
            started = time.monotonic()
            try:
                reading = await source.read()
            except SourceError as error:
                failures += 1
                self._report(issuer, error)
                pause = min(2.0 ** (failures - 1), source.max_retry_seconds) * _jitter(0.5, 1.0)
            else:
                failures = 0
                good_until = time.time() + self._max_stale_seconds
                self._take(issuer, source, reading)
                pause = reading.next_seconds * _jitter(0.75, 0.95)
            self._tried[issuer].set()
            await self._pause(issuer, source, started, pause, good_until)

    async def _pause(self, issuer: str, source: KeySource, started: float, pause: float, good_until: float) -> None:
        """Sleep for `pause`, less if an unknown key is asked for; drop keys that go stale meanwhile."""
        event = self._sooner[issuer]
        event.clear()
        deadline = started + pause
        while (left := deadline - time.monotonic()) > 0:
            if source.goes_stale and time.time() >= good_until:
                self._withdraw(issuer)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), min(left, 1.0))
                event.clear()
                deadline = min(deadline, started + REFETCH_SECONDS)

    def _take(self, issuer: str, source: KeySource, reading: Reading) -> None:
        self._page.set(Name.JWKS_REFRESHED_TIMESTAMP_SECONDS, time.time(), issuer)
        self._logged.pop(issuer, None)
        if reading.jwks is not None:
            self._publish(issuer, reading.jwks)
            if source.goes_stale:
                self._remember(issuer, reading.document)

    def _publish(self, issuer: str, jwks: JwkSet) -> None:
        self._published[issuer] = jwks
        self._page.set(Name.JWKS_KEYS, len(jwks.keys), issuer)
        self._on_change(KeySet.of(self._published))
        _log.info("jwks_taken", issuer=issuer, kids=sorted(jwks.keys), skipped=jwks.skipped)

    def _withdraw(self, issuer: str) -> None:
        if self._published.pop(issuer, None) is not None:
            self._page.set(Name.JWKS_KEYS, 0, issuer)
            self._on_change(KeySet.of(self._published))
            _log.error("jwks_withdrawn", issuer=issuer, why="no longer followed, or stale beyond the limit")

    def _report(self, issuer: str, error: SourceError) -> None:
        self._page.add(Name.JWKS_FAILURES, issuer, error.cause)
        said, at = self._logged.get(issuer, ("", -_REPEAT_LOG_SECONDS))
        if said != str(error) or time.monotonic() - at >= _REPEAT_LOG_SECONDS:
            self._logged[issuer] = str(error), time.monotonic()
            kept = len(self._published[issuer].keys) if issuer in self._published else 0
            _log.warning("jwks_not_taken", issuer=issuer, cause=error.cause, detail=str(error), keys_kept=kept)

    def _remember(self, issuer: str, document: bytes) -> None:
        """Keep a good document for a cold start, replacing the old one in one step."""
        if self._cache_dir is None:
            return
        try:
            with tempfile.NamedTemporaryFile(dir=self._cache_dir, delete=False) as file:
                file.write(document)
            os.replace(file.name, self._kept_file(self._cache_dir, issuer))  # noqa: PTH105 - two plain names
        except OSError as error:
            _log.warning("jwks_not_kept", issuer=issuer, detail=type(error).__name__)

    def _recall(self, issuer: str, source: KeySource) -> float:
        """Start with what a former run kept, if it is not stale. Until when what we hold counts."""
        if self._cache_dir is None or not source.goes_stale:
            return time.time() + self._max_stale_seconds
        kept = self._kept_file(self._cache_dir, issuer)
        try:
            good_until = kept.stat().st_mtime + self._max_stale_seconds
            if time.time() < good_until:
                self._publish(issuer, parse_jwks(kept.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, JwksError) as error:
            _log.warning("jwks_not_recalled", issuer=issuer, detail=str(error))
        else:
            return good_until
        return time.time() + self._max_stale_seconds

    @staticmethod
    def _kept_file(folder: Path, issuer: str) -> Path:
        return folder / f"{hashlib.sha256(issuer.encode()).hexdigest()}.json"


def _jitter(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311 - spreads load, guards nothing
