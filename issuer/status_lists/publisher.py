"""Publishes the status lists: reads them from the database, packs and signs them, and holds them in memory.

Revocations are read twice a second, and at once when this process has revoked something. A list is built again when
its bits, its age or the signing key require it, at most once in each second of the clock.

- `iat` is the second in which the database was read, by the clock of the database, taken before the rows were read:
  a list is never older than its `iat`. All issuers share that clock. Verifiers ignore a list that is older than one
  they have; if issuers used their own clocks, a revocation would wait until the slower clock caught up.
- `iat` never decreases. If the database clock is set back (another server was promoted), the last `iat` is used until
  the clock has reached it: verifiers merge lists of the same second, so a revocation does not wait. ADR 0098.
- While the database is unavailable, the last lists are served unchanged. A list is valid until its `exp`, when every
  access token that was issued before it has expired.
- Bits are compared by a sum of hashes over the visible rows, not by the newest time among them: a commit that becomes
  visible late can have an older time than rows that were read before.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import jwt
import structlog

from issuer.errors import DatabaseUnavailableError, NoSigningKeyError
from issuer.keys.store import SigningKey
from issuer.keys.watcher import KeyWatcher
from issuer.status_lists.models import PublishedList, StatusListSnapshot
from issuer.status_lists.store import StatusListStore
from issuer.telemetry.metrics import Metrics
from issuer.tokens.models import status_list_uri
from shared.access_token import ALGORITHM, MAX_LIFETIME_SECONDS
from shared.status_list import STATUS_LIST_TYPE, encode, pack

POLL_SECONDS: Final = 0.5
MAX_AGE_SECONDS: Final = 60
"""A list is signed again at this age, while the database is available."""

TTL_SECONDS: Final = 15
TOLERATED_SKEW_SECONDS: Final = 60
"""Verifiers reject an `iat` that is further in the future (contract E, check 11)."""

STATUS_LIST_LIFETIME_SECONDS: Final = MAX_LIFETIME_SECONDS + 300
"""Time for which a verifier may use a list without a newer one: until every older token has expired."""

_log = structlog.get_logger(__name__)


class StatusListPublisher:
    """The current signed lists; `run` is the background task that refreshes them.

    Args:
        issuer: the issuer's URL.
    """

    def __init__(self, store: StatusListStore, key_watcher: KeyWatcher, metrics: Metrics, issuer: str) -> None:
        self._store = store
        self._key_watcher = key_watcher
        self._metrics = metrics
        self._issuer = issuer
        self._lists: dict[int, PublishedList] | None = None
        self._notified = asyncio.Event()

    def uris(self) -> list[str]:
        """Return the URIs of the lists.

        Raises:
            DatabaseUnavailableError: the lists have not been read yet.
        """
        return [status_list_uri(self._issuer, list_id) for list_id in self._known()]

    def token(self, list_id: int) -> bytes | None:
        """Return the signed list; None if there is no list with this id.

        Raises:
            DatabaseUnavailableError: the lists have not been read yet.
        """
        published = self._known().get(list_id)
        return None if published is None else published.token

    def is_closed(self, list_id: int) -> bool:
        """Return whether every bit of a list was set when it was last read."""
        published = (self._lists or {}).get(list_id)
        return published is not None and published.state.all_revoked

    def notify(self) -> None:
        """Refresh the lists at once, since a bit was set."""
        self._notified.set()

    async def run(self) -> None:
        """Refresh the lists until cancelled."""
        while True:
            self._notified.clear()
            seconds = 0.0
            try:
                seconds = await self.refresh()
            except (DatabaseUnavailableError, NoSigningKeyError) as error:
                _log.warning("status_list_refresh_failed", kind=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - no error may end this task
                _log.error("status_list_refresh_failed", kind=type(error).__name__)
            await self._pause(seconds)

    async def refresh(self) -> float:
        """Read the database and build stale lists. Return the seconds until a postponed build, or 0.

        Raises:
            DatabaseUnavailableError: the database is unavailable.
            NoSigningKeyError: there is no signing key.
        """
        states = await self._store.list_states()
        if not states:
            # Add a list before the first login, so that verifiers have fetched it by then.
            await self._store.extend()
            states = await self._store.list_states()
        key = self._key_watcher.signing
        lists, postponed = dict(self._lists or {}), 0.0
        for state in states:
            previous = lists.get(state.list_id)
            if not _is_stale(previous, state, key):
                continue
            if previous is not None and int(state.read_at.timestamp()) == previous.read_in:
                # Until just after the next second of the clock begins.
                postponed = 1.001 - state.read_at.microsecond / 1_000_000
                continue
            lists[state.list_id] = await self._build(state, key, previous)
        # Replace all at once, so that the aggregation names only lists that can be fetched.
        self._lists = {state.list_id: lists[state.list_id] for state in states}
        self._metrics.status_lists_read_at.set(max(state.read_at.timestamp() for state in states))
        self._metrics.status_list_bytes.set(sum(len(published.token) for published in self._lists.values()))
        return postponed

    async def _build(
        self, state: StatusListSnapshot, key: SigningKey, previous: PublishedList | None
    ) -> PublishedList:
        """Build a list. Its snapshot is older than its bits, so the next refresh detects a change between the two."""
        indices = None if state.all_revoked else await self._store.revoked_indices(state.list_id)
        started_at = time.perf_counter()
        issued_at = _issued_at(state, previous)
        uri = status_list_uri(self._issuer, state.list_id)
        # Off the event loop: packing and compressing a million bits takes milliseconds.
        token = await asyncio.to_thread(sign_list, indices, state.size, uri, self._issuer, issued_at, key)
        self._metrics.status_list_build_seconds.observe(time.perf_counter() - started_at)
        return PublishedList(token, issued_at, state, key.kid)

    async def _pause(self, postponed: float) -> None:
        if postponed:
            # Nothing can be built before the next second of the clock, even when notified.
            await asyncio.sleep(min(POLL_SECONDS, postponed))
            return
        # Not wait_for(), which in Python 3.11 ignores a cancellation that comes together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._notified.wait()

    def _known(self) -> dict[int, PublishedList]:
        if self._lists is None:
            raise DatabaseUnavailableError("the status lists have not been read yet")
        return self._lists


def sign_list(
    indices: Iterable[int] | None, size: int, uri: str, issuer: str, issued_at: int, key: SigningKey
) -> bytes:
    """Sign a Status List Token (draft-ietf-oauth-status-list-20 §5.1) with these bits set, or all of them if None."""
    octets = b"\xff" * (size // 8) if indices is None else pack(indices, size)
    claims = {
        "iss": issuer,
        "sub": uri,
        "iat": issued_at,
        "exp": issued_at + STATUS_LIST_LIFETIME_SECONDS,
        "ttl": TTL_SECONDS,
        "status_list": {"bits": 1, "lst": encode(octets)},
    }
    return jwt.encode(claims, key.private, ALGORITHM, {"kid": key.kid, "typ": STATUS_LIST_TYPE}).encode()


def _issued_at(state: StatusListSnapshot, previous: PublishedList | None) -> int:
    """Return the second of the snapshot, or the previous `iat` if that is later."""
    read_in = int(state.read_at.timestamp())
    # Verifiers reject an `iat` further in the future, so none of them has the previous list.
    if previous is None or previous.issued_at > read_in + TOLERATED_SKEW_SECONDS:
        return read_in
    return max(read_in, previous.issued_at)


def _is_stale(previous: PublishedList | None, state: StatusListSnapshot, key: SigningKey) -> bool:
    if previous is None:
        return True
    # The age is negative after the clock was set back.
    aged = not 0 <= int(state.read_at.timestamp()) - previous.read_in < MAX_AGE_SECONDS
    changed = (previous.state.fingerprint, previous.state.all_revoked) != (state.fingerprint, state.all_revoked)
    return aged or changed or previous.kid != key.kid
