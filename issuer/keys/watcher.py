"""The key set of a running issuer, reloaded when its directory changes. An invalid one never replaces a valid one."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from issuer.errors import KeyStoreError, NoSigningKeyError
from issuer.keys.models import KeyState, in_state, key_records_file
from issuer.keys.store import KeySet, SigningKey, load_key_set, public_file
from issuer.telemetry.metrics import Metrics

_POLL_SECONDS: Final = 1.0

_REPEAT_SECONDS: Final = 300.0
"""A fault that persists is logged again after this time, so that it is among the recent log lines."""

_Stamp = frozenset[tuple[str, int, int, int, int]]

_log = structlog.get_logger(__name__)


class KeyWatcher:
    """The key set of a key directory, reloaded within a second of a change.

    An unmounted directory looks like one without keys. So once a signing key was loaded, a directory without one is a
    fault, and the last valid key set stays in use. Only a process that started without keys can be without keys.

    Args:
        folder: the key directory, with `private/` and `public/`.
        metrics: record number and state of the keys, and when the current one began to sign.
        passphrase: opens private files.
        monotonic: clock in seconds, for repeating the log line of a fault.

    Raises:
        KeyStoreError: at construction only; later faults are logged and counted.
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
        self._stamp = self._read_stamp()
        self._key_set = KeySet()
        self._replace(load_key_set(folder, passphrase))

    @property
    def key_set(self) -> KeySet:
        """The key set that is in use now."""
        return self._key_set

    @property
    def is_current(self) -> bool:
        """True if there is a signing key and the last reload succeeded."""
        return not self._fault and self._key_set.signing is not None

    @property
    def signing(self) -> SigningKey:
        """The current signing key.

        Raises:
            NoSigningKeyError: there is none.
        """
        if self._key_set.signing is None:
            raise NoSigningKeyError
        return self._key_set.signing

    async def watch(self) -> None:
        """Reload on change, until cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            # In a thread, since disks may be slow, and scrypt always is.
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Reload the key set if the directory has changed."""
        stamp = self._read_stamp()
        if stamp == self._stamp and not self._fault:
            return
        self._stamp = stamp
        try:
            self._replace(self._load())
        except KeyStoreError as error:
            self._report(str(error))

    def _load(self) -> KeySet:
        key_set = load_key_set(self._folder, self._passphrase)
        if key_set.signing is None and self._key_set.signing is not None:
            raise KeyStoreError(
                f"{self._folder} has no signing key any more; mount or restore it before you restart the issuer"
            )
        return key_set

    def _replace(self, key_set: KeySet) -> None:
        self._key_set, self._fault = key_set, ""
        self._metrics.key_directory_usable.set(self.is_current)
        states = Counter(key.state for key in key_set.keys)
        for state in KeyState:
            self._metrics.signing_keys.labels(state).set(states[state])
        current = in_state(key_set.keys, KeyState.CURRENT)
        activated_at = current and current.activated_at
        self._metrics.signing_key_activated_timestamp_seconds.set(activated_at.timestamp() if activated_at else 0)
        _log.info("key_set_loaded", kids=[key.kid for key in key_set.keys])
        if key_set.signing is None:
            hint = "check ISSUER_KEYS_DIR, or run `keys generate`; until then no user can log in"
            _log.warning("signing_key_missing", directory=str(self._folder), hint=hint)
        if self._passphrase and key_set.plain:
            _log.warning("private_keys_not_encrypted", files=key_set.plain, hint="run `keys rewrap`")

    def _report(self, fault: str) -> None:
        """Log a fault when it begins, when it changes and every five minutes. Reloads are tried every second."""
        self._metrics.key_directory_usable.set(0)
        now, changed = self._monotonic(), fault != self._fault
        if changed:
            self._metrics.key_set_reload_failures.inc()
        if changed or now - self._reported_at >= _REPEAT_SECONDS:
            self._reported_at = now
            _log.error("key_set_reload_failed", reason=fault)
        self._fault = fault

    def _read_stamp(self) -> _Stamp:
        """Return a value that changes whenever a file of the directory, or its mode, is changed."""
        try:
            names = [*key_records_file(self._folder).parent.glob("[!.]*"), public_file(self._folder)]
            return frozenset(_stamp(path) for path in names if path.exists())
        except OSError:
            return frozenset()


def _stamp(path: Path) -> tuple[str, int, int, int, int]:
    found = path.stat()
    return path.name, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
