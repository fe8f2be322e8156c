"""One document that is kept current in the background: the one mechanism behind key sets and status lists.

States: no value → current → expired → current …; `discard` goes back to no value. Each attempt gives one of

    a new version     is parsed, merged with the value, published and stored
    unchanged         confirms the value, also one that had expired
    an error          leaves the value, its version and its expiry as they are

so a bad document never replaces a good one. A subclass says how to parse and how long a value is valid, and
publishes each transition.
"""

import asyncio
import contextlib
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from verifier.background import BackgroundTasks
from verifier.refresh.document_cache import DocumentCache
from verifier.refresh.document_log import Change, DocumentLog
from verifier.refresh.schedule import RequestLimiter, Schedule
from verifier.refresh.source import RefreshError, Source

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class DocumentOptions:
    """The options of a document.

    Attributes:
        log: of this kind of documents.
        schedule: when to refresh the document.
        cache: stores a copy for the next start; None for no copy.
        now: seconds since the epoch.
    """

    log: DocumentLog
    schedule: Schedule
    cache: DocumentCache | None = None
    now: Callable[[], float] = time.time


class Document(ABC, Generic[T]):
    """A document and the task that refreshes it.

    Args:
        fields: identify the document in the log, among those of the issuer.

    Attributes:
        value: the last version that passed, whether it has expired or not.
        validated_at: when the source last confirmed it, in seconds since the epoch; 0 if never.
        valid_until: when it expires, in seconds since the epoch.
        attempted: set when a valid copy was loaded or the first attempt has ended.
    """

    def __init__(self, source: Source, options: DocumentOptions, issuer: str, **fields: str) -> None:
        self.value: T | None = None
        self.validated_at = self.valid_until = 0.0
        self.attempted = asyncio.Event()
        self._error: RefreshError | None = None
        self._source, self._options, self._issuer, self._fields = source, options, issuer, fields
        self._now = options.now
        self._version: bytes | None = None
        self._failures = 0
        self._expired = False
        self._requested = asyncio.Event()
        self._request_limiter = RequestLimiter(options.schedule.request_interval)
        self._tasks = BackgroundTasks()

    @abstractmethod
    async def parse(self, body: bytes) -> T:
        """Validate untrusted bytes without blocking the event loop, or raise `RefreshError`."""

    def merge(self, new: T) -> T:
        """Return the value to use from now on: `self.value` if `new` is older. May raise `RefreshError`."""
        return new

    @abstractmethod
    def expiry(self, value: T, validated_at: float) -> float:
        """Return when a value that was confirmed at `validated_at` expires."""

    @abstractmethod
    def on_change(self, change: Change) -> None:
        """Publish a transition."""

    def on_failure(self, error: RefreshError) -> None:
        """React to a failed attempt, which is counted and logged already."""

    def log_fields(self) -> dict[str, object]:
        """Return further fields for each logged transition and failure, such as the keys in use."""
        return {}

    def current(self) -> T | None:
        """Return the value, or None if there is none or it has expired."""
        return self.value if self._now() < self.valid_until else None

    def inherit(self, previous: Self) -> None:
        """Take over the value of `previous`, which may have had another source. It is valid no longer than before."""
        if previous.value is not None:
            self.value, self.validated_at, self._expired = previous.value, previous.validated_at, previous._expired
            self.valid_until = min(previous.valid_until, self.expiry(previous.value, previous.validated_at))

    def error(self) -> str | None:
        """Return what is wrong since the last attempt, or None if nothing is."""
        if not self.attempted.is_set():
            return "not fetched"
        return None if self._error is None else f"{self._error} ({self._error.code})"

    def start(self) -> None:
        """Refresh in a task, until `stop`."""
        self._tasks.start(f"refresh of {' '.join([self._issuer, *self._fields.values()])}", self.run())

    def stop(self) -> None:
        """Cancel the task; the value stays."""
        self._tasks.cancel()

    def ended_tasks(self) -> list[str]:
        """Return the name of the task if it has ended, which it never should."""
        return self._tasks.ended()

    def request_refresh(self) -> None:
        """Refresh as soon as the schedule's `min_interval` and `request_interval` permit. Does not block."""
        self._requested.set()

    def discard(self) -> None:
        """Drop the value, and its version, so that the next attempt fetches in full."""
        self.value, self._version, self.valid_until, self._expired = None, None, 0.0, False

    def delete_cached(self) -> None:
        """Remove the cached copy."""
        self._with_cache("write", DocumentCache.delete)

    async def run(self) -> None:
        """Load the cached copy, then refresh until cancelled."""
        clock = asyncio.get_running_loop().time
        if self.value is None:
            await self._load()
        while True:
            started, held, requested = clock(), self.value, self._requested.is_set()
            self._requested.clear()
            delay = await self.refresh()
            self.attempted.set()
            if requested:
                self._count_request(started, found_new=self.value != held)
            await self._wait(started + self._options.schedule.min_interval, started + delay)

    def _count_request(self, started: float, *, found_new: bool) -> None:
        self._request_limiter.attempted(started, found_new=found_new)
        if found_new and self._options.schedule.request_interval:
            # Requests that came meanwhile were most likely for what was just found. Another attempt would find
            # nothing new, and the limiter would then delay the next one.
            self._requested.clear()

    async def refresh(self) -> float:
        """Make one attempt. Return the seconds between its start and the next."""
        max_age = failure = None
        try:
            result = await self._source.fetch(self._version)
            max_age = result.max_age_seconds
            if result.body is None:
                self._confirm()
            else:
                await self._update(result.body, result.version)
        except RefreshError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever the reason, the next attempt may succeed
            failure = RefreshError("unexpected", type(error).__name__)
        self._error, self._failures = failure, 0 if failure is None else self._failures + 1
        if failure is not None:
            self._log_failure(failure)
            self.on_failure(failure)
        return self._options.schedule.delay(self._failures, max_age, random.random())  # noqa: S311 - spreads load

    async def _update(self, body: bytes, version: bytes | None) -> None:
        merged = self.merge(await self.parse(body))
        self._version = version
        if merged is self.value:
            self._confirm()
            return
        self._set(merged, self._now(), Change.UPDATED)
        self._with_cache("write", lambda cache: cache.store(body))

    def _confirm(self) -> None:
        now = self._now()
        if self.value is None or now >= self.expiry(self.value, now):
            # The source says 304 but our copy has expired; drop the ETag to force a full fetch.
            self._version = None
            raise RefreshError("expired", "unchanged at its source, but our copy has expired")
        self._set(self.value, now, Change.RESTORED if self._expired else Change.CONFIRMED)
        self._with_cache("write", DocumentCache.touch)

    async def _load(self) -> None:
        cached = self._with_cache("read", DocumentCache.load)
        if cached is None:
            return
        try:
            value = self.merge(await self.parse(cached.body))
        except RefreshError as error:
            self._options.log.cache_failed("read", str(error), self._issuer, **self._fields)
            return
        self._set(value, cached.validated_at, Change.LOADED)
        self._expire_if_due()
        if self.current() is not None:
            self.attempted.set()

    def _set(self, value: T, validated_at: float, change: Change) -> None:
        is_first = self.value is None
        self.value, self.validated_at = value, validated_at
        self.valid_until, self._expired = self.expiry(value, validated_at), False
        self._changed(change, is_first=is_first)

    def _expire_if_due(self) -> None:
        if self.value is not None and not self._expired and self._now() >= self.valid_until:
            self._expired = True
            self._changed(Change.EXPIRED)

    def _changed(self, change: Change, *, is_first: bool = False) -> None:
        fields = {**self._fields, "validated_at": self.validated_at, **self.log_fields()}
        self._options.log.changed(change, self._issuer, is_first=is_first, **fields)
        self.on_change(change)

    def _log_failure(self, error: RefreshError) -> None:
        self._options.log.failed(error, self._issuer, **self._fields, **self.log_fields())

    async def _wait(self, earliest: float, due: float) -> None:
        """Sleep until `due`, or until a requested refresh may begin. Publish meanwhile that the value expires.

        Both are times of the event loop. A requested refresh does not begin before `earliest`.
        """
        clock = asyncio.get_running_loop().time
        requested = False
        while True:
            self._expire_if_due()
            if not requested and self._requested.is_set():
                requested = True
                due = min(max(earliest, self._request_limiter.earliest(clock())), due)
            remaining = due - clock()
            if remaining <= 0:
                return
            if self.value is not None and not self._expired:
                remaining = min(remaining, self.valid_until - self._now())
            if requested:
                await asyncio.sleep(remaining)
            else:
                # Not wait_for(), which in Python 3.11 ignores a cancellation that comes together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(remaining):
                        await self._requested.wait()

    def _with_cache(self, action: str, use: Callable[[DocumentCache], R]) -> R | None:
        if self._options.cache is None:
            return None
        try:
            return use(self._options.cache)
        except OSError as error:
            self._options.log.cache_failed(action, error.strerror or str(error), self._issuer, **self._fields)
            return None
