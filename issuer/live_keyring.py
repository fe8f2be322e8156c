"""The key ring of a running issuer: reloaded when the folder changes, and never replaced by a bad one."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Final

import structlog

from issuer.errors import KeyringError, NoSigningKeyError
from issuer.keyring import Keyring, SigningKey, load_keyring, public_file
from issuer.metrics import Metrics
from issuer.ring import KeyState, key_in_state, ring_file

_POLL_SECONDS: Final = 1.0
_Stamp = frozenset[tuple[str, int, int, int, int]]

_log = structlog.get_logger(__name__)


class LiveKeyring:
    """What the folder holds, at most a second late.

    Args:
        folder: with `private/` and `public/`.
        metrics: where age and number of the keys are shown.
        passphrase: opens what is private.

    Raises:
        KeyringError: at construction; later a bad folder is reported and the good ring kept.
    """

    def __init__(self, folder: Path, metrics: Metrics, passphrase: bytes | None = None) -> None:
        self._folder = folder
        self._metrics = metrics
        self._passphrase = passphrase
        self._fault = ""
        self._stamp = self._look()
        self._ring = Keyring()
        self._take(load_keyring(folder, passphrase))

    @property
    def ring(self) -> Keyring:
        """The ring of this moment."""
        return self._ring

    @property
    def signing(self) -> SigningKey:
        """The key to sign with.

        Raises:
            NoSigningKeyError: there is none.
        """
        if self._ring.signing is None:
            raise NoSigningKeyError
        return self._ring.signing

    async def watch(self) -> None:
        """Reload on change, until cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            # In a thread: a disk may be slow, and opening what is encrypted is meant to be.
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Look at the folder and reload it if it has changed."""
        stamp = self._look()
        if stamp == self._stamp and not self._fault:
            return
        self._stamp = stamp
        try:
            self._take(load_keyring(self._folder, self._passphrase))
        except KeyringError as error:
            self._report(str(error))

    def _take(self, ring: Keyring) -> None:
        self._ring, self._fault = ring, ""
        states = Counter(key.state for key in ring.keys)
        for state in KeyState:
            self._metrics.signing_keys.labels(state).set(states[state])
        current = key_in_state(ring.keys, KeyState.CURRENT)
        activated_at = current and current.activated_at
        self._metrics.signing_key_activated_timestamp_seconds.set(activated_at.timestamp() if activated_at else 0)
        _log.info("key ring loaded", kids=[key.kid for key in ring.keys])
        if self._passphrase and ring.plain:
            _log.warning("private files are not encrypted: run `keys rewrap`", files=ring.plain)

    def _report(self, fault: str) -> None:
        """Once for each fault, though it is tried again every second: what is wrong may be another file."""
        if fault != self._fault:
            self._metrics.keyring_failures.inc()
            _log.error("key ring not loaded: the last good one stays", reason=fault)
        self._fault = fault

    def _look(self) -> _Stamp:
        """What tells one state of the folder from another; a change of mode counts."""
        try:
            names = [*ring_file(self._folder).parent.glob("[!.]*"), public_file(self._folder)]
            return frozenset(_stamp(path) for path in names if path.exists())
        except OSError:
            return frozenset()


def _stamp(path: Path) -> tuple[str, int, int, int, int]:
    found = path.stat()
    return path.name, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
