"""Transitions of a document that its property test does not reach."""

import asyncio
import errno
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from tests.support.virtual_time import VirtualTimeLoop, now
from verifier.refresh.document import Document, DocumentOptions
from verifier.refresh.document_cache import CachedDocument, DocumentCache
from verifier.refresh.document_log import Change, DocumentLog
from verifier.refresh.schedule import Schedule
from verifier.refresh.source import FetchResult, RefreshError

pytestmark = pytest.mark.anyio

SCHEDULE = Schedule(interval=10, max_age_bounds=None, max_backoff=10, min_interval=1)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, type[VirtualTimeLoop]]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


class Versions:
    """A source of one version, which records the versions that it was asked about."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[bytes | None] = []
        self.responding = asyncio.Event()
        self.responding.set()

    async def fetch(self, version: bytes | None) -> FetchResult:
        self.asked.append(version)
        await self.responding.wait()
        return FetchResult(None if version == self.body else self.body, self.body)


class Expiring(Document[float]):
    """A document that is the time when it expires."""

    never_expires = False

    async def parse(self, body: bytes) -> float:
        if float(body) <= now():
            raise RefreshError("expired", "expired")
        return float(body)

    def expiry(self, value: float, validated_at: float) -> float:
        del validated_at
        return math.inf if self.never_expires else value

    def on_change(self, change: Change) -> None:
        del change


def options(cache: DocumentCache | None = None) -> DocumentOptions:
    failures = Counter("failures", "", ("issuer", "cause"), registry=CollectorRegistry())
    return DocumentOptions(DocumentLog("time", failures, detailed=False), SCHEDULE, cache, now)


async def test_a_304_for_an_expired_copy_leads_to_a_full_fetch() -> None:
    body = b"%f" % (now() + 15)
    source = Versions(body)
    document = Expiring(source, options(), "issuer")
    with capture_logs() as lines:
        document.start()
        await asyncio.sleep(16)
        assert document.current() is None
        await asyncio.sleep(10)
        assert source.asked[:4] == [None, body, body, None]
        assert {line.get("cause") for line in lines if line["event"] == "time_fetch_failed"} == {"expired"}
        source.body = b"%f" % (now() + 1000)
        await asyncio.sleep(10)
    assert document.current() == float(source.body)
    document.stop()


async def test_a_copy_discarded_during_a_refresh_is_fetched_in_full() -> None:
    source = Versions(b"%f" % (now() + 1000))
    document = Expiring(source, options(), "issuer")
    document.start()
    await asyncio.sleep(5)
    source.responding.clear()
    await asyncio.sleep(10)
    document.discard()
    source.responding.set()
    await asyncio.sleep(2)
    assert document.current() is not None
    assert source.asked == [None, source.body, None]
    document.stop()


async def test_a_request_during_an_attempt_is_kept_for_the_next() -> None:
    source = Versions(b"%f" % (now() + 1000))
    document = Expiring(source, options(), "issuer")
    source.responding.clear()
    document.start()
    await asyncio.sleep(0.5)
    document.request_refresh()
    source.responding.set()
    await asyncio.sleep(1)
    assert len(source.asked) == 2
    document.stop()


async def test_requests_that_find_nothing_new_cause_one_attempt_per_interval() -> None:
    source = Versions(b"%f" % (now() + 1000))
    schedule = replace(SCHEDULE, interval=300, request_interval=10)
    document = Expiring(source, replace(options(), schedule=schedule), "issuer")
    document.start()
    await asyncio.sleep(5)
    for _ in range(48):
        document.request_refresh()
        await asyncio.sleep(1)
    assert len(source.asked) == 1 + 5
    document.stop()


@pytest.mark.parametrize("steps", range(6))
async def test_a_document_that_is_stopped_while_a_refresh_is_requested_stops(steps: int) -> None:
    source = Versions(b"%f" % (now() + 1000))
    document = Expiring(source, options(), "issuer")
    document.start()
    await asyncio.sleep(5)
    document.request_refresh()
    for _ in range(steps):
        await asyncio.sleep(0)
    document.stop()
    await asyncio.sleep(0.5)
    asked = len(source.asked)
    await asyncio.sleep(100)
    assert len(source.asked) == asked


@pytest.mark.parametrize("longer_valid", ["previous", "document"])
async def test_an_inherited_value_is_valid_no_longer_than_in_either_document(longer_valid: str) -> None:
    previous = Expiring(Versions(b"%f" % (now() + 15)), options(), "issuer")
    document = Expiring(Versions(b"0"), options(), "issuer")
    (previous if longer_valid == "previous" else document).never_expires = True
    previous.start()
    await asyncio.sleep(5)
    previous.stop()

    document.inherit(previous)
    assert document.current() == previous.value is not None
    await asyncio.sleep(11)
    assert document.current() is None


async def test_a_read_only_cache_directory_is_logged_and_harmless(tmp_path: Path) -> None:
    cache = DocumentCache(tmp_path / "absent", ".txt", 100, "time")
    document = Expiring(Versions(b"%f" % (now() + 1000)), options(cache), "issuer")
    with capture_logs() as lines:
        document.start()
        await asyncio.sleep(1)
    assert document.current() is not None
    assert [line["event"] for line in lines] == ["time_updated", "time_cache_write_failed"]
    document.stop()


def _another_users(file: Path) -> None:
    os.chown(file, 12345, -1)


def _world_writable(file: Path) -> None:
    file.chmod(0o666)


def _a_link(file: Path) -> None:
    file.rename(file.with_suffix(".elsewhere"))
    file.symlink_to(file.with_suffix(".elsewhere"))


def _a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            _another_users, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
        ),
        _world_writable,
        _a_link,
        _a_directory,
    ],
)
def test_a_cache_file_that_another_user_could_have_written_is_not_loaded(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    cache = DocumentCache(tmp_path, ".txt", 100, "document")
    cache.store(b"theirs")
    (file,) = tmp_path.iterdir()
    make(file)
    with pytest.raises(OSError, match=r"another user|symbolic links|regular file"):
        cache.load()


def test_a_cache_file_is_never_from_the_future(tmp_path: Path) -> None:
    cache = DocumentCache(tmp_path, ".txt", 100, "document")
    cache.store(b"1")
    (file,) = tmp_path.iterdir()
    os.utime(file, (2e9, 4e9))
    loaded = cache.load()
    assert loaded is not None
    assert loaded.validated_at < 4e9


def test_a_copy_that_could_not_be_replaced_is_not_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DocumentCache(tmp_path, ".txt", 100, "document")
    cache.store(b"1")
    (file,) = tmp_path.iterdir()
    os.utime(file, (1e9, 1e9))

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "NamedTemporaryFile", fail)
        with pytest.raises(OSError, match="No space"):
            cache.store(b"2")
    cache.touch()
    assert cache.load() == CachedDocument(b"1", 1e9)
    cache.store(b"2")
    cache.touch()
    loaded = cache.load()
    assert loaded is not None
    assert loaded.validated_at > 1e9
