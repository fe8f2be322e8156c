"""The status lists as verifiers get them: read from the database, packed, signed and kept in memory.

Twice a second, and at once when this process has revoked something, the set of live revocations is looked at. A
list is built again when its bits, the signing key or its age call for it, at most once in a second of the clock.

- `iat` is the second in which the database was read, by the clock of the database, taken before it was: a list never
  looks fresher than it is. All issuers have that clock in common, and a verifier passes over a list that is older
  than one of another issuer; by their own clocks, a revocation would wait until the later clock was caught up with.
- `iat` never falls. If the database's clock goes back (another server was promoted), the last `iat` is kept until the
  clock has caught up: verifiers join lists of the same second, so a revocation does not wait. ADR 0098.
- While the database is away the last lists are served as they are. Each may be relied on until its `exp`, which is
  when every access token that was issued before it is dead.
- Bits are compared by a sum of hashes over the rows that are visible, not by the newest time among them: a commit
  that becomes visible late has an older time than others that were seen already.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import jwt
import structlog

from issuer.errors import NoSigningKeyError, StoreUnavailableError
from issuer.keys.store import SigningKey
from issuer.keys.watcher import KeyWatcher
from issuer.status_lists.models import PublishedList, StatusListSnapshot, status_list_uri
from issuer.status_lists.store import StatusListStore
from issuer.telemetry.metrics import Metrics
from shared.access_token import ALGORITHM, MAX_LIFETIME_SECONDS
from shared.status_list import STATUS_LIST_TYPE, encode, pack

POLL_SECONDS: Final = 0.5
RESIGN_SECONDS: Final = 60
"""The greatest age of a list while the database answers."""

TTL_SECONDS: Final = 15
TOLERATED_SKEW_SECONDS: Final = 60
"""What a verifier tolerates: an `iat` that is further in the future is rejected (contract E, check 11)."""

RELIANCE_SECONDS: Final = MAX_LIFETIME_SECONDS + 300
"""How long a verifier that has lost us may rely on a list: until every token issued before it is dead."""

_log = structlog.get_logger(__name__)


class StatusListPublisher:
    """Keeps the lists up to date; `run` in the background.

    Args:
        store: what is revoked.
        key_watcher: signs.
        metrics: builds, bytes and age.
        issuer: the issuer's URL.
    """

    def __init__(self, store: StatusListStore, key_watcher: KeyWatcher, metrics: Metrics, issuer: str) -> None:
        self._store = store
        self._key_watcher = key_watcher
        self._metrics = metrics
        self._issuer = issuer
        self._lists: dict[int, PublishedList] | None = None
        self._woken = asyncio.Event()

    def uris(self) -> list[str]:
        """How tokens name the lists.

        Raises:
            StoreUnavailableError: they were never read yet.
        """
        return [status_list_uri(self._issuer, list_id) for list_id in self._known()]

    def token(self, list_id: int) -> bytes | None:
        """The signed list; None if there is none of that id.

        Raises:
            StoreUnavailableError: they were never read yet.
        """
        published = self._known().get(list_id)
        return None if published is None else published.token

    def is_closed(self, list_id: int) -> bool:
        """Return whether every bit of a list is set, as far as is known here."""
        published = (self._lists or {}).get(list_id)
        return published is not None and published.state.all_revoked

    def wake(self) -> None:
        """Look now: a bit was set."""
        self._woken.set()

    async def run(self) -> None:
        """Look, and look again, until cancelled."""
        while True:
            self._woken.clear()
            seconds = 0.0
            try:
                seconds = await self.look()
            except (StoreUnavailableError, NoSigningKeyError) as error:
                _log.warning("status lists not renewed: the last ones stay", kind=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - this task must outlive whatever comes
                _log.error("status lists not renewed: unexpected", kind=type(error).__name__)
            await self._pause(seconds)

    async def look(self) -> float:
        """Read the database and build what calls for it; the seconds until a build that was postponed, or 0.

        Raises:
            StoreUnavailableError: the database does not answer.
            NoSigningKeyError: there is no key to sign with.
        """
        states = await self._store.list_states()
        if not states:
            # Before the first login, so that verifiers know the list by then.
            await self._store.extend()
            states = await self._store.list_states()
        key = self._key_watcher.signing
        lists, postponed = dict(self._lists or {}), 0.0
        for state in states:
            old = lists.get(state.list_id)
            if not _calls_for_build(old, state, key):
                continue
            if old is not None and int(state.read_at.timestamp()) == old.read_in:
                postponed = 1.001 - state.read_at.microsecond / 1_000_000
                continue
            lists[state.list_id] = await self._build(state, key, old)
        # All at once: a list is in the aggregation when it can be had.
        self._lists = {state.list_id: lists[state.list_id] for state in states}
        self._metrics.status_lists_read_at.set(max(state.read_at.timestamp() for state in states))
        self._metrics.status_list_bytes.set(sum(len(published.token) for published in self._lists.values()))
        return postponed

    async def _build(self, state: StatusListSnapshot, key: SigningKey, old: PublishedList | None) -> PublishedList:
        """The state is from before the bits, so that a change between the two is seen at the next look."""
        indices = None if state.all_revoked else await self._store.revoked_indices(state.list_id)
        begun = time.perf_counter()
        issued_at = _issued_at(state, old)
        uri = status_list_uri(self._issuer, state.list_id)
        # Off the event loop: packing and compressing a million bits takes milliseconds.
        token = await asyncio.to_thread(sign_list, indices, state.size, uri, self._issuer, issued_at, key)
        self._metrics.status_list_build_seconds.observe(time.perf_counter() - begun)
        return PublishedList(token, issued_at, state, key.kid)

    async def _pause(self, postponed: float) -> None:
        if postponed:
            # Until the next second of the clock, woken or not: there is nothing to be built before.
            await asyncio.sleep(min(POLL_SECONDS, postponed))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), POLL_SECONDS)

    def _known(self) -> dict[int, PublishedList]:
        if self._lists is None:
            raise StoreUnavailableError("the status lists were not read yet")
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
        "exp": issued_at + RELIANCE_SECONDS,
        "ttl": TTL_SECONDS,
        "status_list": {"bits": 1, "lst": encode(octets)},
    }
    return jwt.encode(claims, key.private, ALGORITHM, {"kid": key.kid, "typ": STATUS_LIST_TYPE}).encode()


def _issued_at(state: StatusListSnapshot, old: PublishedList | None) -> int:
    """Return the second of the reading, or the last `iat` while the clock is behind that."""
    read_in = int(state.read_at.timestamp())
    # Verifiers reject a list from further in the future, so they hold none that this one would have to follow.
    if old is None or old.issued_at > read_in + TOLERATED_SKEW_SECONDS:
        return read_in
    return max(read_in, old.issued_at)


def _calls_for_build(old: PublishedList | None, state: StatusListSnapshot, key: SigningKey) -> bool:
    if old is None:
        return True
    # Negative after the clock was set back.
    aged = not 0 <= int(state.read_at.timestamp()) - old.read_in < RESIGN_SECONDS
    changed = (old.state.fingerprint, old.state.all_revoked) != (state.fingerprint, state.all_revoked)
    return aged or changed or old.kid != key.kid
