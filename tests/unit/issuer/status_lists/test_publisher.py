"""Signed status lists, and the times at which they are rebuilt, with a store in memory."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from issuer.errors import DatabaseUnavailableError
from issuer.keys.watcher import KeyWatcher
from issuer.status_lists.models import StatusListSnapshot
from issuer.status_lists.publisher import StatusListPublisher
from issuer.status_lists.store import StatusListStore
from issuer.telemetry.metrics import Metrics
from shared.access_token import MAX_LIFETIME_SECONDS, REVOCATION_RETENTION_SECONDS
from shared.status_list import decode
from tests.support.signing_keys import generate_key

ISSUER = "https://issuer.example"
URI = "https://issuer.example/status-lists/1"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIZE = 1024


class Revocations(StatusListStore):
    """Status list bits in memory, and a database outage that a test sets."""

    def __init__(self) -> None:
        self.lists: dict[int, set[int]] = {1: set()}
        self.unreachable = False
        self.now = NOW
        self.closed: set[int] = set()

    async def list_states(self) -> list[StatusListSnapshot]:
        if self.unreachable:
            raise DatabaseUnavailableError
        return [
            StatusListSnapshot(list_id, SIZE, repr(sorted(bits)), list_id in self.closed, self.now)
            for list_id, bits in self.lists.items()
        ]

    async def revoked_indices(self, list_id: int) -> list[int]:
        return list(self.lists[list_id])

    async def extend(self) -> None:
        self.lists.setdefault(1, set())


class Publisher:
    """The publisher of one issuer, with a database time that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.store = Revocations()
        self.key_watcher = KeyWatcher(folder, Metrics())
        self.lists = StatusListPublisher(self.store, self.key_watcher, Metrics(), ISSUER)

    def refresh(self, seconds: float = 0) -> float:
        self.store.now = NOW + timedelta(seconds=seconds)
        return asyncio.run(self.lists.refresh())

    def is_published(self) -> bool:
        with suppress(DatabaseUnavailableError):
            return self.lists.token(1) is not None
        return False

    def claims(self, list_id: int = 1) -> dict[str, Any]:
        token = self.lists.token(list_id)
        assert token is not None
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})  # noqa: TID251 - looks inside
        return claims

    def bits(self) -> list[int]:
        octets = decode(self.claims()["status_list"]["lst"])
        return [index for index in range(SIZE) if octets[index >> 3] >> (index & 7) & 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    generate_key(folder, NOW)
    return folder


@pytest.fixture
def publisher(folder: Path) -> Publisher:
    return Publisher(folder)


def test_a_status_list_is_signed_as_the_draft_requires(publisher: Publisher) -> None:
    publisher.store.lists[1] = {0, 3, 1023}
    publisher.refresh()
    token = publisher.lists.token(1)
    assert token is not None
    header = jwt.get_unverified_header(token)
    key = publisher.key_watcher.signing
    assert header == {"alg": "RS256", "kid": key.kid, "typ": "statuslist+jwt"}
    options: Any = {"verify_exp": False, "verify_iat": False, "require": ["iss", "sub", "iat", "exp"]}
    claims = jwt.decode(token, key.private.public_key(), ["RS256"], issuer=ISSUER, options=options)  # noqa: TID251 - the reference
    assert claims["sub"] == URI
    assert claims["iat"] == int(NOW.timestamp())
    assert claims["ttl"] == 15
    assert claims["status_list"]["bits"] == 1
    assert set(claims) == {"iss", "sub", "iat", "exp", "ttl", "status_list"}
    assert publisher.bits() == [0, 3, 1023]


def test_a_clock_set_back_delays_no_revocation(publisher: Publisher) -> None:
    """Verifiers combine lists of the same second, so the time may stay until the clock has caught up."""
    publisher.refresh()
    for second, bits in ((-45, {1}), (-44, {1, 2}), (-1, {2})):
        publisher.store.lists[1] = bits
        assert not publisher.refresh(second)
        assert publisher.bits() == sorted(bits)
        assert publisher.claims()["iat"] == int(NOW.timestamp())
    publisher.store.lists[1] = {3}
    assert publisher.refresh(-0.5)
    assert publisher.bits() == [2]
    assert not publisher.refresh(7)
    assert publisher.claims()["iat"] == int(NOW.timestamp()) + 7


def test_a_time_that_no_verifier_accepted_is_not_kept(publisher: Publisher) -> None:
    publisher.refresh(3600)
    publisher.refresh(0)
    assert publisher.claims()["iat"] == int(NOW.timestamp())


def test_a_closed_list_has_every_bit_set(publisher: Publisher) -> None:
    publisher.store.lists[1] = {7}
    publisher.refresh()
    publisher.store.closed = {1}
    publisher.refresh(1)
    assert publisher.bits() == list(range(SIZE))


def test_a_list_is_valid_until_every_earlier_token_has_expired(publisher: Publisher) -> None:
    publisher.refresh()
    claims = publisher.claims()
    assert claims["exp"] - claims["iat"] >= max(MAX_LIFETIME_SECONDS, REVOCATION_RETENTION_SECONDS)


def test_nothing_is_published_before_the_database_was_read(publisher: Publisher) -> None:
    with pytest.raises(DatabaseUnavailableError):
        publisher.lists.uris()
    with pytest.raises(DatabaseUnavailableError):
        publisher.lists.token(1)
    publisher.refresh()
    assert publisher.lists.uris() == [URI]
    assert publisher.lists.token(2) is None


def test_the_first_list_exists_before_the_first_login(publisher: Publisher) -> None:
    publisher.store.lists.clear()
    publisher.refresh()
    assert publisher.lists.uris() == [URI]


def test_a_list_is_rebuilt_only_when_its_bits_change(publisher: Publisher) -> None:
    publisher.refresh()
    first = publisher.lists.token(1)
    publisher.refresh(5)
    assert publisher.lists.token(1) == first
    publisher.store.lists[1] = {7}
    publisher.refresh(6)
    assert publisher.bits() == [7]
    publisher.store.lists[1] = set()
    publisher.refresh(7)
    assert publisher.bits() == []


def test_of_two_changes_in_one_second_the_later_waits_for_the_next(publisher: Publisher) -> None:
    publisher.refresh()
    publisher.store.lists[1] = {7}
    assert publisher.refresh(0.9)
    assert publisher.bits() == []
    assert not publisher.refresh(1.0)
    assert publisher.bits() == [7]


def test_issue_times_increase_and_are_never_in_the_future(publisher: Publisher) -> None:
    seen = []
    for step in range(40):
        publisher.store.lists[1] ^= {step}
        publisher.refresh(step / 4)
        issued_at = publisher.claims()["iat"]
        assert issued_at <= publisher.store.now.timestamp()
        seen.append((issued_at, publisher.lists.token(1)))
    builds = list(dict.fromkeys(seen))
    times = [issued_at for issued_at, _ in builds]
    assert times == sorted(set(times))
    assert len(builds) == 10


def test_a_list_is_signed_again_each_minute(publisher: Publisher) -> None:
    publisher.refresh()
    publisher.refresh(59)
    assert publisher.claims()["iat"] == int(NOW.timestamp())
    publisher.refresh(60)
    assert publisher.claims()["iat"] == int(NOW.timestamp()) + 60


def test_during_an_outage_the_last_list_stays_with_its_age(publisher: Publisher) -> None:
    publisher.store.lists[1] = {7}
    publisher.refresh()
    before = publisher.lists.token(1)
    publisher.store.unreachable = True
    for seconds in (1, 61, 4000):
        with pytest.raises(DatabaseUnavailableError):
            publisher.refresh(seconds)
        assert publisher.lists.token(1) == before


def test_an_unreferenced_list_is_removed_and_a_new_one_added(publisher: Publisher) -> None:
    publisher.refresh()
    publisher.store.lists = {2: {1}}
    publisher.refresh(1)
    assert publisher.lists.uris() == ["https://issuer.example/status-lists/2"]
    assert publisher.lists.token(1) is None
    assert publisher.lists.token(2) is not None


@pytest.mark.anyio
async def test_the_publisher_continues_after_any_error(publisher: Publisher) -> None:
    publisher.store.unreachable = True
    running = asyncio.create_task(publisher.lists.run())
    await asyncio.sleep(0)
    publisher.store.unreachable = False
    publisher.store.lists[1] = {SIZE + 1}
    publisher.lists.notify()
    await asyncio.sleep(0.02)
    publisher.store.lists[1] = {1}
    async with asyncio.timeout(10):
        while not publisher.is_published():
            publisher.lists.notify()
            await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert publisher.bits() == [1]


@pytest.mark.anyio
@pytest.mark.parametrize("steps", range(6))
async def test_a_publisher_that_is_cancelled_when_it_is_notified_ends(tmp_path: Path, steps: int) -> None:
    publisher = Publisher(tmp_path)
    publisher.store.unreachable = True
    running = asyncio.create_task(publisher.lists.run())
    await asyncio.sleep(0.05)
    publisher.lists.notify()
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running}, timeout=1)
    assert running.cancelled()
