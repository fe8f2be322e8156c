"""A document holds the newest valid version of any source, for as long as it is valid."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from prometheus_client import Counter

from tests.support.virtual_time import VirtualTimeLoop
from verifier.refresh.document import Document, DocumentOptions
from verifier.refresh.document_cache import DocumentCache
from verifier.refresh.document_log import Change, DocumentLog
from verifier.refresh.schedule import Schedule
from verifier.refresh.source import FetchResult, RefreshError

_SCHEDULE: Final = Schedule(interval=30, max_age_bounds=(20, 100), max_backoff=16, min_interval=5)
_VALID_SECONDS: Final = 60.0
_LATENCY_SECONDS: Final = 3.0
_LONGEST_DELAY_SECONDS: Final = 100.0


class Number(Document[int]):
    """A document that is a number; a smaller one never replaces a greater one, and nothing is above 1,000."""

    def __init__(self, source: "Source", options: DocumentOptions) -> None:
        super().__init__(source, options, "issuer")
        self.script = source
        self.published: int | None = None
        self.accepted: int | None = None

    async def parse(self, body: bytes) -> int:
        await asyncio.sleep(0)
        if not body.isdigit():
            raise RefreshError("invalid", "no number")
        return int(body)

    def merge(self, new: int) -> int:
        if new > 1000:
            raise RefreshError("too_many", "above 1000")
        return new if self.value is None or new > self.value else self.value

    def expiry(self, value: int, validated_at: float) -> float:
        del value
        return validated_at + _VALID_SECONDS

    def on_change(self, change: Change) -> None:
        self.published, self.accepted = self.current(), self.value
        if change in (Change.UPDATED, Change.CONFIRMED, Change.RESTORED):
            self.script.attempts[-1].succeeded = True


@dataclass
class Attempt:
    """The start of an attempt, and whether it confirmed or replaced the value."""

    time: float
    succeeded: bool = False


class Source:
    """A source whose behaviour a test sets, and which records the attempts."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self.loop = loop
        self.behaviour: bytes | Exception = RefreshError("unreachable", "down")
        self.max_age: float | None = None
        self.latency = 0.0
        self.attempts: list[Attempt] = []

    async def fetch(self, version: bytes | None) -> FetchResult:
        behaviour, max_age = self.behaviour, self.max_age
        self.attempts.append(Attempt(self.loop.now()))
        await asyncio.sleep(self.latency)
        if isinstance(behaviour, Exception):
            raise behaviour
        return FetchResult(None if behaviour == version else behaviour, behaviour, max_age)


class DocumentMachine(RuleBasedStateMachine):
    """A document while time passes, the source changes, refreshes are requested, and the process restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.directory = Path(tempfile.mkdtemp())
        self.source = Source(self.loop)
        self.failures = Counter("failures", "", ("issuer", "cause"), registry=None)
        self.cache = DocumentCache(self.directory, ".txt", 100, "document")
        self.greatest: int | None = None
        self._start()

    def _start(self) -> None:
        log = DocumentLog("number", self.failures, detailed=True)
        self.document = Number(self.source, DocumentOptions(log, _SCHEDULE, self.cache, self.loop.now))
        self.source.attempts.clear()

        async def start() -> None:
            self.document.start()

        self.loop.run_until_complete(start())
        self._run(0.001)

    def _run(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def _stop(self) -> None:
        self.document.stop()
        pending = asyncio.all_tasks(self.loop)
        self.loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))

    def teardown(self) -> None:
        self._stop()
        self.loop.close()
        shutil.rmtree(self.directory)

    @rule(number=st.integers(0, 20))
    def the_source_has_a_version(self, number: int) -> None:
        self.source.behaviour = b"%d" % number

    @rule(body=st.sampled_from([b"", b"x", b"-1", b"1001", b"9" * 200]))
    def the_source_has_garbage(self, body: bytes) -> None:
        self.source.behaviour = body

    @rule(error=st.sampled_from([RefreshError("timeout", "slow"), ZeroDivisionError(), OSError()]))
    def the_source_fails(self, error: Exception) -> None:
        self.source.behaviour = error

    @rule(max_age=st.sampled_from([None, 0.0, 50.0, 1e9]), latency=st.sampled_from([0.0, _LATENCY_SECONDS]))
    def the_source_changes_its_habits(self, max_age: float | None, latency: float) -> None:
        self.source.max_age, self.source.latency = max_age, latency

    @rule(seconds=st.sampled_from([0, 0.5, 4.9, 5, 17, 59, 61, 300]))
    def time_passes(self, seconds: float) -> None:
        self._run(seconds)

    @rule(times=st.integers(1, 5))
    def refreshes_are_requested(self, times: int) -> None:
        before = len(self.source.attempts)
        for _ in range(times):
            self.document.request_refresh()
        self._run(_SCHEDULE.min_interval + _LATENCY_SECONDS + 0.1)
        assert len(self.source.attempts) > before

    @rule()
    def the_value_is_discarded(self) -> None:
        self.document.discard()
        self.document.on_change(Change.EXPIRED)

    @rule()
    def the_process_restarts(self) -> None:
        value = self.document.value
        self._stop()
        kept = self.cache.load()
        self._start()
        if kept is not None and value is not None:
            assert self.document.value is not None
            assert self.document.value >= value

    @invariant()
    def what_is_published_is_current(self) -> None:
        """Check expiry, which is noticed at once, or when the attempt in progress ends."""
        current, published = self.document.current(), self.document.published
        if current is not None:
            assert published == current
        elif published is not None:
            assert self.loop.now() <= self.document.validated_at + _VALID_SECONDS + _LATENCY_SECONDS

    @invariant()
    def a_value_was_accepted_and_is_valid_for_as_long_as_it_may_be(self) -> None:
        value = self.document.value
        assert value is None or 0 <= value <= 20
        if self.document.current() is not None:
            assert self.loop.now() < self.document.validated_at + _VALID_SECONDS

    @invariant()
    def only_another_version_replaces_a_value(self) -> None:
        assert self.document.value == self.document.accepted

    @invariant()
    def no_older_version_replaces_a_newer_one(self) -> None:
        value = self.document.value
        if value is not None and self.greatest is not None:
            assert value >= self.greatest
        self.greatest = value

    @invariant()
    def attempts_are_neither_frequent_nor_rare(self) -> None:
        attempts = self.source.attempts
        assert self.loop.now() - attempts[-1].time <= _LONGEST_DELAY_SECONDS + _LATENCY_SECONDS
        for before, after in pairwise(attempts):
            assert after.time - before.time >= (_SCHEDULE.min_interval if before.succeeded else 0.75)

    @invariant()
    def the_task_never_ends(self) -> None:
        assert self.document.ended_tasks() == []


TestDocuments = DocumentMachine.TestCase
TestDocuments.settings = settings(stateful_step_count=40, deadline=None)
