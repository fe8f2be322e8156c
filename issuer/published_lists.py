"""The status lists as verifiers get them: read from the database, packed, signed and kept in memory.

Twice a second, and at once when this process has revoked something, the set of live revocations is looked at. A
list is built again when its bits, the signing key or its age call for it, at most once in a second of the clock.

- `iat` is the second in which the database was read, taken before it was: a list never looks fresher than it is.
  It rises with every build, so that verifiers can refuse to go back; also where the clock was set back, since a
  revocation must not wait for it to catch up.
- While the database is away the last lists are served as they are. Each may be relied on until its `exp`, which is
  when every access token that was issued before it is dead.
- Bits are compared by a sum of hashes over the rows that are visible, not by the newest time among them: a commit
  that becomes visible late has an older time than others that were seen already.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

import jwt
import structlog

from issuer.errors import NoSigningKeyError, StoreUnavailableError
from issuer.keys.keyring import SigningKey
from issuer.keys.live import LiveKeyring
from issuer.metrics import Metrics
from issuer.status_lists import status_list_uri
from shared.access_token import ALGORITHM, MAX_LIFETIME_SECONDS
from shared.status_list import STATUS_LIST_TYPE, encode, pack

POLL_SECONDS: Final = 0.5
RESIGN_SECONDS: Final = 60
"""The greatest age of a list while the database answers."""

TTL_SECONDS: Final = 15
RELIANCE_SECONDS: Final = MAX_LIFETIME_SECONDS + 300
"""How long a verifier that has lost us may rely on a list: until every token issued before it is dead."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ListState:
    """A list as the database has it. Two states of equal `fingerprint` have the same bits set."""

    list_id: int
    size: int
    fingerprint: str


class RevocationStore(Protocol):
    """What is asked of `store/`. Each method is one round trip."""

    async def list_states(self, now: datetime) -> list[ListState]:
        """Every list that a live token or a coming one may refer to."""

    async def revoked_indices(self, list_id: int, now: datetime) -> list[int]:
        """The bits of a list that are set."""

    async def extend(self) -> None:
        """Add a list if none has a quarter of its indices left."""


@dataclass(frozen=True, slots=True)
class PublishedList:
    """A signed list, and what it was made from; `read_in` is the second of the clock in which that was read."""

    token: bytes = field(repr=False)
    issued_at: int
    read_in: int
    kid: str
    fingerprint: str


class PublishedLists:
    """Keeps the lists up to date; `run` in the background.

    Args:
        store: what is revoked.
        keyring: signs.
        metrics: builds, bytes and age.
        issuer: the issuer's URL.
        now: the clock.
    """

    def __init__(
        self,
        store: RevocationStore,
        keyring: LiveKeyring,
        metrics: Metrics,
        issuer: str,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._metrics = metrics
        self._issuer = issuer
        self._now = now
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

    def wake(self) -> None:
        """Look now: a bit was set."""
        self._woken.set()

    async def run(self) -> None:
        """Look, and look again, until cancelled."""
        while True:
            self._woken.clear()
            postponed = False
            try:
                postponed = await self.look()
            except (StoreUnavailableError, NoSigningKeyError) as error:
                _log.warning("status lists not renewed: the last ones stay", kind=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - this task must outlive whatever comes
                _log.error("status lists not renewed: unexpected", kind=type(error).__name__)
            await self._pause(postponed=postponed)

    async def look(self) -> bool:
        """Read the database and build what calls for it; whether a build had to be put off to the next second.

        Raises:
            StoreUnavailableError: the database does not answer.
            NoSigningKeyError: there is no key to sign with.
        """
        read_at = self._now()
        states = await self._store.list_states(read_at)
        if not states:
            # Before the first login, so that verifiers know the list by then.
            await self._store.extend()
            states = await self._store.list_states(read_at)
        key = self._keyring.signing
        lists, postponed = dict(self._lists or {}), False
        for state in states:
            old = lists.get(state.list_id)
            if not _calls_for_build(old, state, key, read_at):
                continue
            if old is not None and int(read_at.timestamp()) == old.read_in:
                postponed = True
                continue
            lists[state.list_id] = await self._build(state, key, read_at, old)
        # All at once: a list is in the aggregation when it can be had.
        self._lists = {state.list_id: lists[state.list_id] for state in states}
        self._metrics.status_lists_read_at.set(read_at.timestamp())
        self._metrics.status_list_bytes.set(sum(len(published.token) for published in self._lists.values()))
        return postponed

    async def _build(
        self, state: ListState, key: SigningKey, read_at: datetime, old: PublishedList | None
    ) -> PublishedList:
        """The state is from before the bits, so that a change between the two is seen at the next look."""
        indices = await self._store.revoked_indices(state.list_id, read_at)
        begun = time.perf_counter()
        read_in = issued_at = int(read_at.timestamp())
        if old is not None:
            issued_at = max(issued_at, old.issued_at + 1)
        uri = status_list_uri(self._issuer, state.list_id)
        # Off the event loop: packing and compressing a million bits takes milliseconds.
        token = await asyncio.to_thread(sign_list, indices, state.size, uri, self._issuer, issued_at, key)
        self._metrics.status_list_build_seconds.observe(time.perf_counter() - begun)
        return PublishedList(token, issued_at, read_in, key.kid, state.fingerprint)

    async def _pause(self, *, postponed: bool) -> None:
        if postponed:
            # Until the next second of the clock, woken or not: there is nothing to be built before.
            await asyncio.sleep(min(POLL_SECONDS, 1.001 - self._now().microsecond / 1_000_000))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), POLL_SECONDS)

    def _known(self) -> dict[int, PublishedList]:
        if self._lists is None:
            raise StoreUnavailableError("the status lists were not read yet")
        return self._lists


def sign_list(indices: Iterable[int], size: int, uri: str, issuer: str, issued_at: int, key: SigningKey) -> bytes:
    """A Status List Token (draft-ietf-oauth-status-list-20 §5.1) with these bits set."""
    claims = {
        "iss": issuer,
        "sub": uri,
        "iat": issued_at,
        "exp": issued_at + RELIANCE_SECONDS,
        "ttl": TTL_SECONDS,
        "status_list": {"bits": 1, "lst": encode(pack(indices, size))},
    }
    return jwt.encode(claims, key.private, ALGORITHM, {"kid": key.kid, "typ": STATUS_LIST_TYPE}).encode()


def _calls_for_build(old: PublishedList | None, state: ListState, key: SigningKey, read_at: datetime) -> bool:
    if old is None:
        return True
    aged = int(read_at.timestamp()) - old.issued_at >= RESIGN_SECONDS
    return aged or old.fingerprint != state.fingerprint or old.kid != key.kid
