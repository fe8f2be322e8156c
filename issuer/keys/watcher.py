"""The key set of a running issuer: reloaded when the keys folder changes, never replaced by a bad or an empty one."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from issuer.errors import KeyringError, NoSigningKeyError
from issuer.keys.models import KeyState, key_in_state, ring_file
from issuer.keys.store import Keyring, SigningKey, load_keyring, public_file
from issuer.telemetry.metrics import Metrics

_POLL_SECONDS: Final = 1.0

_REPEAT_SECONDS: Final = 300.0
"""An operator who looks at recent log lines only must see a fault that persists."""

_Stamp = frozenset[tuple[str, int, int, int, int]]

_log = structlog.get_logger(__name__)


class LiveKeyring:
    """The key set that the folder holds, at most a second late.

    A folder that was unmounted looks exactly like one in which nothing was generated yet. So once there is a signing
    key, a folder without one is a fault like any other: the last good key set keeps signing and being published.
    Only a process that starts without keys has none.

    Args:
        folder: with `private/` and `public/`.
        metrics: where state, age and number of the keys are shown.
        passphrase: opens what is private.
        monotonic: seconds, for repeating the log line of a fault.

    Raises:
        KeyringError: at construction only; later a bad folder is reported.
    """

    def __init__(
        self,
        folder: Path,
        metrics: Metrics,
        passphrase: bytes | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._metrics = metrics
        self._passphrase = passphrase
        self._monotonic = monotonic
        self._fault = ""
        self._reported_at = 0.0
        self._stamp = self._look()
        self._ring = Keyring()
        self._take(load_keyring(folder, passphrase))

    @property
    def ring(self) -> Keyring:
        """The ring of this moment."""
        return self._ring

    @property
    def is_current(self) -> bool:
        """Whether the folder holds a signing key and the key set in memory is the folder's."""
        return not self._fault and self._ring.signing is not None

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
            self._take(self._load())
        except KeyringError as error:
            self._report(str(error))

    def _load(self) -> Keyring:
        ring = load_keyring(self._folder, self._passphrase)
        if ring.signing is None and self._ring.signing is not None:
            raise KeyringError(
                f"{self._folder}: holds no signing key any more: mount it again or restore it, and do not restart"
                " the issuer before"
            )
        return ring

    def _take(self, ring: Keyring) -> None:
        self._ring, self._fault = ring, ""
        self._metrics.keys_folder_usable.set(self.is_current)
        states = Counter(key.state for key in ring.keys)
        for state in KeyState:
            self._metrics.signing_keys.labels(state).set(states[state])
        current = key_in_state(ring.keys, KeyState.CURRENT)
        activated_at = current and current.activated_at
        self._metrics.signing_key_activated_timestamp_seconds.set(activated_at.timestamp() if activated_at else 0)
        _log.info("key set loaded", kids=[key.kid for key in ring.keys])
        if self._passphrase and ring.plain:
            _log.warning("private files are not encrypted: run `keys rewrap`", files=ring.plain)

    def _report(self, fault: str) -> None:
        """Log a fault when it begins or changes and every five minutes, though the folder is tried every second."""
        self._metrics.keys_folder_usable.set(0)
        now, changed = self._monotonic(), fault != self._fault
        if changed:
            self._metrics.keyring_failures.inc()
        if changed or now - self._reported_at >= _REPEAT_SECONDS:
            self._reported_at = now
            _log.error("key set not loaded: the last good one stays", reason=fault)
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
