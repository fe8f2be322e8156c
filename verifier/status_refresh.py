"""Keeps the status lists fresh, beside the request path: one task for each issuer, a look each poll.

A look asks for the aggregation and for every list that it named, side by side, so that what hangs holds up
nothing but itself. A list that was taken stays until a newer one is: failures are counted and logged. When one
can't be refreshed it counts until its own `exp`, or, if the operator chose so, only while it is confirmed. A
token that refers to a list that we lack brings the next look forward, at most once in `SOONER_SECONDS`.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from shared.status_list import MAX_LIST_TOKEN_BYTES
from verifier.background import BackgroundTasks
from verifier.fetch import SourceError
from verifier.kept_documents import Kept, KeptDocuments
from verifier.keyset import KeySet
from verifier.metrics import Metrics
from verifier.status import CurrentStatusList, StatusLists
from verifier.status_list_token import ListFault, StatusList, read_status_list
from verifier.status_sources import (
    MAX_AGGREGATION_BYTES,
    Aggregation,
    AggregationSource,
    ListReading,
    ListSource,
    parse_aggregation,
)

SOONER_SECONDS: Final = 1.0
MAX_BYTES_PER_ISSUER: Final = 64 * 2**20
MISSED_POLLS: Final = 3
"""How many polls in a row may fail before a list is stale, if its `ttl` does not allow for more."""
_AT_ONCE: Final = 16
_REPEAT_LOG_SECONDS: Final = 60.0

_log = structlog.get_logger()


@dataclass(slots=True)
class _List:
    """One list.

    Attributes:
        held: the last that was taken.
        confirmed_at: when its source last said that it is good; seconds since the epoch.
        tried: whether there was an attempt, good or bad.
    """

    source: ListSource
    held: StatusList | None = None
    confirmed_at: float = 0.0
    tried: bool = False


@dataclass(slots=True)
class _Followed:
    """One issuer.

    Attributes:
        lists: those that its aggregation names, by URI.
        named: whether an aggregation was ever taken.
        asked: whether there was an attempt at it, good or bad.
        confirmed_at: when it was last taken or unchanged; seconds since the epoch.
        keyed: set when we hold a key of this issuer: before, no list can be judged.
        sooner: set when a token referred to a list that we lack.
        tried: set when the aggregation and all that it names were tried.
        looks: the attempts that are under way, by URI; the empty one is the aggregation.
        said: when a failure of each cause was logged last, by the monotonic clock.
    """

    issuer: str
    source: AggregationSource
    lists: dict[str, _List] = field(default_factory=dict)
    named: bool = False
    asked: bool = False
    confirmed_at: float = 0.0
    keyed: asyncio.Event = field(default_factory=asyncio.Event)
    sooner: asyncio.Event = field(default_factory=asyncio.Event)
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    looks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    said: dict[str, float] = field(default_factory=dict)


class StatusRefresh:
    """The lists of all issuers that are followed, and the tasks that look after them.

    Args:
        on_change: given the new snapshot, each time there is one.
        metrics: of ages and failures.
        poll_seconds: between two looks, at most.
        refuse_stale: a list that can't be refreshed stops to count before its `exp`.
        cache_dir: where documents are kept for a cold start, if anywhere.
        on_unknown_key: told when a list names a key that we lack; must return at once.
    """

    def __init__(
        self,
        on_change: Callable[[StatusLists], None],
        *,
        metrics: Metrics,
        poll_seconds: float,
        refuse_stale: bool = False,
        cache_dir: Path | None = None,
        on_unknown_key: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_change, self._metrics = on_change, metrics
        self._snapshot = StatusLists()
        self._poll_seconds, self._refuse_stale = poll_seconds, refuse_stale
        self._on_unknown_key = on_unknown_key
        self._kept_aggregations = _kept(cache_dir, "status_lists", ".lists.json", MAX_AGGREGATION_BYTES)
        self._kept_lists = _kept(cache_dir, "status_list", ".jwt", MAX_LIST_TOKEN_BYTES)
        self._keys = KeySet()
        self._followed: dict[str, _Followed] = {}
        self._tasks = BackgroundTasks()

    def follow(self, sources: Mapping[str, AggregationSource]) -> None:
        """Look after these issuers from now on, and forget the others together with their lists.

        Lists that are held already count no longer than they would have. A new issuer's tokens that have a
        status are undecidable until its lists are there.
        """
        self._tasks.cancel()
        for look in (look for known in self._followed.values() for look in known.looks.values()):
            look.cancel()
        before, self._followed = self._followed, {}
        for issuer in before.keys() - sources.keys():
            self._publish(self._snapshot.without_issuer(issuer))
            metrics = self._metrics
            for gauge in (metrics.status_lists, metrics.status_list_bytes, metrics.status_lists_refreshed_at):
                gauge.remove(issuer)
            _log.warning("status_lists_forgotten", issuer=issuer, why="no longer followed")
        for issuer, source in sources.items():
            followed = self._followed[issuer] = _Followed(issuer, source)
            if issuer in before:
                _carry_over(before[issuer], followed)
            else:
                self._publish(self._snapshot.with_lists(issuer, {}))
            if issuer in self._keys.issuers:
                followed.keyed.set()
        for issuer, followed in self._followed.items():
            self._tasks.start(f"status lists of {issuer}", self._look_after(followed))

    def use_keys(self, keys: KeySet) -> None:
        """Believe by other keys from now on; one that is gone takes its lists with it."""
        self._keys = keys
        for followed in self._followed.values():
            for uri, known in followed.lists.items():
                if known.held is not None and not keys.holds(known.held.key):
                    known.held = None
                    known.source.forget()
                    self._publish_lists(followed)
                    _log.warning("status_list_dropped", issuer=followed.issuer, uri=uri, why="its key is gone")
            if followed.issuer in keys.issuers:
                if followed.keyed.is_set() and any(known.held is None for known in followed.lists.values()):
                    self._look(followed)
                followed.keyed.set()

    async def first_look(self, seconds: float) -> None:
        """Wait until everything that we hold no list of was tried once, for `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for followed in self._followed.values():
                    if not self._counts(followed):
                        await followed.tried.wait()

    def look_sooner(self) -> None:
        """A token referred to a list that we lack. Returns at once."""
        for followed in self._followed.values():
            followed.sooner.set()

    def ended_tasks(self) -> list[str]:
        """Return the names of refresh tasks that have ended, which they never should."""
        return self._tasks.ended()

    def missing(self) -> frozenset[str]:
        """The issuers whose aggregation is not known, or that have lists of which none counts."""
        return frozenset(issuer for issuer, followed in self._followed.items() if not self._counts(followed))

    def report(self) -> None:
        """Bring the gauges up to date."""
        for followed in self._followed.values():
            self._measure(followed)

    async def _look_after(self, followed: _Followed) -> None:
        await followed.keyed.wait()
        self._recall(followed)
        while True:
            started = time.monotonic()
            followed.sooner.clear()
            self._look(followed)
            await _pause(followed, started, self._poll_seconds * random.uniform(0.75, 1.0))  # noqa: S311 - spreads load

    def _look(self, followed: _Followed) -> None:
        """Begin an attempt at everything, but for those of which one is under way."""
        self._begin(followed, "", self._look_at_aggregation(followed))
        for uri, known in followed.lists.items():
            self._begin(followed, uri, self._look_at_list(followed, uri, known))

    def _begin(self, followed: _Followed, uri: str, attempt: Coroutine[Any, Any, None]) -> None:
        if uri in followed.looks:
            attempt.close()
            return
        followed.looks[uri] = asyncio.create_task(attempt)
        followed.looks[uri].add_done_callback(lambda _: self._end(followed, uri))

    def _end(self, followed: _Followed, uri: str) -> None:
        del followed.looks[uri]
        if followed.asked and all(known.tried for known in followed.lists.values()):
            followed.tried.set()

    async def _look_at_aggregation(self, followed: _Followed) -> None:
        try:
            aggregation = await followed.source.read()
        except Exception as error:  # noqa: BLE001 - whatever a source did, the next look may be better
            self._report(followed, "", error)
        else:
            self._take_aggregation(followed, aggregation)
        followed.asked = True

    def _take_aggregation(self, followed: _Followed, aggregation: Aggregation | None) -> None:
        followed.confirmed_at = time.time()
        if aggregation is not None:
            self._name(followed, aggregation)
            for uri, known in followed.lists.items():
                if not known.tried:
                    self._begin(followed, uri, self._look_at_list(followed, uri, known))
        if self._kept_aggregations:
            self._kept_aggregations.keep(aggregation.document if aggregation else b"", followed.issuer)

    def _name(self, followed: _Followed, aggregation: Aggregation) -> None:
        """From now on these are the lists of the issuer."""
        followed.named = True
        if aggregation.skipped:
            self._report(
                followed, "", SourceError("entry", f"{aggregation.skipped} entries that are no URI of a list")
            )
        for uri in followed.lists.keys() - set(aggregation.uris):
            del followed.lists[uri]
            if look := followed.looks.get(uri):
                look.cancel()
            if self._kept_lists:
                self._kept_lists.forget(followed.issuer, uri)
            _log.info("status_list_dropped", issuer=followed.issuer, uri=uri, why="no longer named")
        self._publish_lists(followed)
        for uri in aggregation.uris:
            if uri not in followed.lists:
                followed.lists[uri] = _List(followed.source.list_source(uri))

    async def _look_at_list(self, followed: _Followed, uri: str, known: _List) -> None:
        try:
            async with followed.turns:
                reading = await known.source.read(lambda: self._keys)
        except Exception as error:  # noqa: BLE001 - whatever a source did, the next look may be better
            self._report(followed, uri, error)
        else:
            self._take(followed, uri, known, reading)
        known.tried = True

    def _take(self, followed: _Followed, uri: str, known: _List, reading: ListReading | None) -> None:
        if reading is None and known.held is None:
            known.source.forget()
            return
        if reading is not None:
            taken = join(known.held, reading.status_list)
            if self._bytes(followed) - _size(known.held) + _size(taken) > MAX_BYTES_PER_ISSUER:
                known.source.forget()
                self._report(
                    followed, uri, SourceError("too_many", f"more than {MAX_BYTES_PER_ISSUER} bytes of lists")
                )
                return
            if known.held is None:
                _log.info("status_list_taken", issuer=followed.issuer, uri=uri, bytes=len(taken.octets))
            known.held = taken
        known.confirmed_at = time.time()
        self._confirm(followed, known)
        if self._kept_lists:
            # An older one confirms what we hold and does not replace it.
            newest = (
                reading is not None
                and known.held is not None
                and reading.status_list.issued_at >= known.held.issued_at
            )
            self._kept_lists.keep(reading.token if reading and newest else b"", followed.issuer, uri)

    def _confirm(self, followed: _Followed, known: _List) -> None:
        if known.held is not None and time.time() >= known.held.expires_at:
            # The source says 304 but our copy has expired; drop the ETag to force a full fetch.
            known.source.forget()
        self._publish_lists(followed)

    def _publish_lists(self, followed: _Followed) -> None:
        current = {
            uri: CurrentStatusList(known.held.octets, known.held.bits, self._counts_until(known))
            for uri, known in followed.lists.items()
            if known.held is not None
        }
        self._publish(self._snapshot.with_lists(followed.issuer, current))

    def _publish(self, snapshot: StatusLists) -> None:
        self._snapshot = snapshot
        self._on_change(snapshot)

    def _counts_until(self, known: _List) -> float:
        assert known.held is not None
        if not self._refuse_stale:
            return known.held.expires_at
        fresh_seconds = max(known.held.ttl, MISSED_POLLS * self._poll_seconds)
        return min(known.held.expires_at, known.confirmed_at + fresh_seconds)

    def _recall(self, followed: _Followed) -> None:
        """Start with what a former run kept, if it still counts and nothing newer is here."""
        if followed.named or not self._kept_aggregations or not self._kept_lists:
            return
        kept = self._kept_aggregations.recall(followed.issuer)
        if kept is None:
            return
        try:
            self._name(followed, parse_aggregation(kept.document))
        except SourceError as error:
            _log.warning("status_lists_not_recalled", issuer=followed.issuer, detail=str(error))
            return
        followed.confirmed_at = kept.confirmed_at
        for uri, known in followed.lists.items():
            if (token := self._kept_lists.recall(followed.issuer, uri)) is not None:
                self._recall_list(followed, uri, known, token)

    def _recall_list(self, followed: _Followed, uri: str, known: _List, kept: Kept) -> None:
        taken = read_status_list(kept.document, issuer=followed.issuer, uri=uri, keys=self._keys, now=time.time())
        if isinstance(taken, ListFault):
            _log.warning("status_list_not_recalled", issuer=followed.issuer, uri=uri, detail=taken)
            return
        known.held, known.confirmed_at = taken, kept.confirmed_at
        self._confirm(followed, known)
        _log.info("status_list_recalled", issuer=followed.issuer, uri=uri, confirmed_at=kept.confirmed_at)

    def _counts(self, followed: _Followed) -> bool:
        """Whether the issuer's tokens can be decided: before its first token an issuer may have no list at all."""
        held = [known for known in followed.lists.values() if known.held is not None]
        return followed.named and (
            not followed.lists or any(time.time() < self._counts_until(known) for known in held)
        )

    def _bytes(self, followed: _Followed) -> int:
        return sum(_size(known.held) for known in followed.lists.values())

    def _measure(self, followed: _Followed) -> None:
        held = [known for known in followed.lists.values() if known.held is not None]
        self._metrics.status_lists.labels(followed.issuer).set(len(held))
        self._metrics.status_list_bytes.labels(followed.issuer).set(self._bytes(followed))
        if followed.named:
            oldest = min([followed.confirmed_at, *(known.confirmed_at for known in followed.lists.values())])
            self._metrics.status_lists_refreshed_at.labels(followed.issuer).set(oldest)

    def _report(self, followed: _Followed, uri: str, error: Exception) -> None:
        cause = str(error.cause) if isinstance(error, SourceError) else "unexpected"
        detail = str(error) if isinstance(error, SourceError) else type(error).__name__
        if cause == ListFault.UNKNOWN_KEY:
            self._on_unknown_key()
        self._metrics.status_list_failures.labels(followed.issuer, cause).inc()
        if time.monotonic() - followed.said.get(cause, -_REPEAT_LOG_SECONDS) >= _REPEAT_LOG_SECONDS:
            followed.said[cause] = time.monotonic()
            held = sum(known.held is not None for known in followed.lists.values())
            _log.warning(
                "status_list_not_taken", issuer=followed.issuer, uri=uri, cause=cause, detail=detail, lists_kept=held
            )


def join(held: StatusList | None, new: StatusList) -> StatusList:
    """What to go by: the newer of the two, never an older one again.

    Two processes of an issuer may publish within one second: of lists of the same second, the bits of both.
    """
    if held is None or new.issued_at > held.issued_at:
        return new
    if new.issued_at < held.issued_at or new.bits != held.bits:
        return held
    size = max(len(held.octets), len(new.octets))
    both = int.from_bytes(held.octets, "little") | int.from_bytes(new.octets, "little")
    return new._replace(octets=both.to_bytes(size, "little"))


async def _pause(followed: _Followed, started: float, seconds: float) -> None:
    """Sleep until `seconds` after `started`, less if a list is asked for that we lack."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(followed.sooner.wait(), started + seconds - time.monotonic())
    await asyncio.sleep(started + min(seconds, SOONER_SECONDS) - time.monotonic())


def _carry_over(before: _Followed, followed: _Followed) -> None:
    """Keep what is held of an issuer, though it may be looked for elsewhere from now on."""
    followed.named, followed.confirmed_at = before.named, before.confirmed_at
    for uri, known in before.lists.items():
        followed.lists[uri] = _List(followed.source.list_source(uri), known.held, known.confirmed_at)


def _size(held: StatusList | None) -> int:
    return 0 if held is None else len(held.octets)


def _kept(folder: Path | None, kind: str, suffix: str, max_bytes: int) -> KeptDocuments | None:
    return KeptDocuments(folder, kind, suffix, max_bytes) if folder else None
