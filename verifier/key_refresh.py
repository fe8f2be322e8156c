"""Keeps the keys fresh, beside the request path: one task for each issuer.

A key set that was taken stays until a better one is: failures are counted, logged and retried, and only
when a URL has not answered for `max_stale_seconds` do its keys stop to count. An unknown `kid` brings the
next look forward, at most once in `REFETCH_SECONDS` however many such tokens come.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from shared.jwks import MAX_DOCUMENT_BYTES, JwksError, JwkSet, parse_jwks
from verifier.background import BackgroundTasks
from verifier.fetch import SourceError
from verifier.kept_documents import Kept, KeptDocuments
from verifier.key_sources import KeySource, Reading
from verifier.keyset import KeySet
from verifier.metrics import Metrics

REFETCH_SECONDS: Final = 10.0
_REPEAT_LOG_SECONDS: Final = 60.0

_log = structlog.get_logger()


@dataclass(slots=True)
class _Followed:
    """One issuer.

    Attributes:
        jwks: the last that was taken.
        good_until: when it stops to count, if its source goes stale; seconds since the epoch.
        sooner: set when a token named a key that we lack.
        tried: set when there was a first attempt, good or bad.
        said, said_at: the failure that was logged last, and when by the monotonic clock.
    """

    issuer: str
    source: KeySource
    good_until: float
    jwks: JwkSet | None = None
    sooner: asyncio.Event = field(default_factory=asyncio.Event)
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    said: str = ""
    said_at: float = 0.0


class KeyRefresh:
    """The keys of all issuers, and the tasks that look after them.

    Args:
        on_change: given the new snapshot, each time there is one.
        metrics: of ages and failures.
        max_stale_seconds: how long keys of a URL count after its last good answer.
        cache_dir: where fetched documents are kept for a cold start, if anywhere.
    """

    def __init__(
        self,
        on_change: Callable[[KeySet], None],
        *,
        metrics: Metrics,
        max_stale_seconds: float,
        cache_dir: Path | None = None,
    ) -> None:
        self._on_change, self._metrics, self._max_stale_seconds = on_change, metrics, max_stale_seconds
        self._kept = KeptDocuments(cache_dir, "jwks", ".json", MAX_DOCUMENT_BYTES) if cache_dir else None
        self._published: dict[str, JwkSet] = {}
        self._followed: dict[str, _Followed] = {}
        self._tasks = BackgroundTasks()

    def follow(self, sources: Mapping[str, KeySource]) -> None:
        """Look after these issuers from now on, and forget the others together with their keys.

        Keys that are held already count no longer than they would have: asking again refreshes nothing.
        """
        self._tasks.cancel()
        before, self._followed = self._followed, {}
        for issuer in before.keys() - sources.keys():
            self._withdraw(issuer, "no longer followed")
            self._metrics.jwks_keys.remove(issuer)
            self._metrics.jwks_refreshed_at.remove(issuer)
        for issuer, source in sources.items():
            followed = _Followed(issuer, source, time.time() + self._max_stale_seconds)
            if issuer in self._published:
                followed.jwks, followed.good_until = before[issuer].jwks, before[issuer].good_until
            else:
                self._recall(followed)
            self._followed[issuer] = followed
        for issuer, followed in self._followed.items():
            self._tasks.start(f"keys of {issuer}", self._look_after(followed))

    async def first_look(self, seconds: float) -> None:
        """Wait until every source that we hold no key of was tried once, for `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for followed in self._followed.values():
                    if followed.issuer not in self._published:
                        await followed.tried.wait()

    def look_sooner(self) -> None:
        """A token named a key that we lack. Returns at once."""
        for followed in self._followed.values():
            followed.sooner.set()

    def ended_tasks(self) -> list[str]:
        """Return the names of refresh tasks that have ended, which they never should."""
        return self._tasks.ended()

    def missing(self, issuers: frozenset[str]) -> frozenset[str]:
        """The issuers without a key."""
        return issuers - self._published.keys()

    async def _look_after(self, followed: _Followed) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            followed.sooner.clear()
            try:
                reading = await followed.source.read()
            except Exception as error:  # noqa: BLE001 - whatever a source did, the next look may be better
                failures += 1
                self._report(followed, error)
                pause = min(2.0 ** (failures - 1), followed.source.max_retry_seconds) * _jitter(0.5, 1.0)
            else:
                failures = 0
                self._take(followed, reading)
                pause = reading.next_seconds * _jitter(0.75, 0.95)
            followed.tried.set()
            await self._pause(followed, started, pause)

    async def _pause(self, followed: _Followed, started: float, pause: float) -> None:
        """Sleep for `pause`, less if an unknown key is asked for; drop keys that go stale meanwhile."""
        deadline = started + pause
        while (left := deadline - time.monotonic()) > 0:
            if followed.source.goes_stale and time.time() >= followed.good_until:
                self._withdraw(followed.issuer, "stale beyond the limit")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(followed.sooner.wait(), min(left, 1.0))
                followed.sooner.clear()
                deadline = min(deadline, started + REFETCH_SECONDS)

    def _take(self, followed: _Followed, reading: Reading) -> None:
        followed.good_until = time.time() + self._max_stale_seconds
        followed.said = ""
        self._metrics.jwks_refreshed_at.labels(followed.issuer).set(time.time())
        if reading.jwks is not None:
            self._publish(followed, reading.jwks)
        elif followed.jwks is not None and followed.issuer not in self._published:
            # It went stale, and its source is back and says that it never changed.
            self._publish(followed, followed.jwks)
        if self._kept and followed.source.goes_stale:
            self._kept.keep(reading.document, followed.issuer)

    def _recall(self, followed: _Followed) -> None:
        """Start with what a former run kept, if it still counts."""
        kept = self._kept.recall(followed.issuer) if self._kept and followed.source.goes_stale else None
        jwks = _parse_kept(followed.issuer, kept) if kept is not None else None
        if kept is not None and jwks is not None and time.time() < kept.confirmed_at + self._max_stale_seconds:
            followed.good_until = kept.confirmed_at + self._max_stale_seconds
            self._metrics.jwks_refreshed_at.labels(followed.issuer).set(kept.confirmed_at)
            self._publish(followed, jwks)

    def _publish(self, followed: _Followed, jwks: JwkSet) -> None:
        followed.jwks = self._published[followed.issuer] = jwks
        self._metrics.jwks_keys.labels(followed.issuer).set(len(jwks.keys))
        self._on_change(KeySet.of(self._published))
        _log.info("jwks_taken", issuer=followed.issuer, kids=sorted(jwks.keys), skipped=jwks.skipped)

    def _withdraw(self, issuer: str, why: str) -> None:
        if self._published.pop(issuer, None) is not None:
            self._metrics.jwks_keys.labels(issuer).set(0)
            self._on_change(KeySet.of(self._published))
            _log.error("jwks_withdrawn", issuer=issuer, why=why)

    def _report(self, followed: _Followed, error: Exception) -> None:
        cause = error.cause if isinstance(error, SourceError) else "unexpected"
        detail = str(error) if isinstance(error, SourceError) else type(error).__name__
        self._metrics.jwks_failures.labels(followed.issuer, cause).inc()
        if followed.said != detail or time.monotonic() - followed.said_at >= _REPEAT_LOG_SECONDS:
            followed.said, followed.said_at = detail, time.monotonic()
            kept = len(self._published[followed.issuer].keys) if followed.issuer in self._published else 0
            _log.warning("jwks_not_taken", issuer=followed.issuer, cause=cause, detail=detail, keys_kept=kept)


def _parse_kept(issuer: str, kept: Kept) -> JwkSet | None:
    try:
        return parse_jwks(kept.document)
    except JwksError as error:
        _log.warning("jwks_not_recalled", issuer=issuer, detail=str(error))
        return None


def _jitter(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311 - spreads load, guards nothing
