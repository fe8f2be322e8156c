"""The key ring of a running issuer: reloaded when the folder changes, and never replaced by a bad one."""

import asyncio
from pathlib import Path
from typing import Final

import structlog

from issuer.errors import KeyringError, NoSigningKeyError
from issuer.keyring import Keyring, SigningKey, load_keyring, ring_file
from issuer.metrics import Metrics

_POLL_SECONDS: Final = 1.0
_Stamp = tuple[int, int, int] | None

_log = structlog.get_logger(__name__)


class LiveKeyring:
    """What the folder holds, at most a second late.

    Raises:
        KeyringError: at construction; later a bad folder is reported and the good ring kept.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder = folder
        self._failures = metrics.keyring_failures
        self._fault = ""
        self._stamp = self._look()
        self._ring = load_keyring(folder)

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
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Look at the folder and reload it if it has changed."""
        stamp = self._look()
        if stamp == self._stamp and not self._fault:
            return
        self._stamp = stamp
        try:
            self._ring, self._fault = load_keyring(self._folder), ""
            _log.info("key ring loaded", kids=[key.kid for key in self._ring.keys])
        except KeyringError as error:
            self._report(str(error))

    def _report(self, fault: str) -> None:
        """Once for each fault, though it is tried again every second: what is wrong may be another file."""
        if fault != self._fault:
            self._failures.inc()
            _log.error("key ring not loaded: the last good one stays", reason=fault)
        self._fault = fault

    def _look(self) -> _Stamp:
        try:
            found = ring_file(self._folder).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
