"""The last good key set of each issuer on disk, so that a verifier can start while the issuer is down.

A file's modification time says when its issuer last confirmed it. Nothing here fails: without the folder a
cold start takes longer, and a log line says so.
"""

import contextlib
import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from shared.jwks import MAX_DOCUMENT_BYTES, JwksError, JwkSet, parse_jwks

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Kept:
    """A key set, and when it was confirmed last: seconds since the epoch, never in the future."""

    jwks: JwkSet
    confirmed_at: float


class KeptKeys:
    """The key sets in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, issuer: str, document: bytes) -> None:
        """Replace what is kept in one step; an empty `document` confirms it as it is."""
        path = self._path(issuer)
        try:
            if not document:
                os.utime(path)
                return
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                new = Path(file.name)
                try:
                    file.write(document)
                    file.flush()
                    new.replace(path)
                except OSError:
                    with contextlib.suppress(OSError):
                        new.unlink()
                    raise
        except OSError as error:
            _log.warning("jwks_not_kept", issuer=issuer, detail=error.strerror)

    def recall(self, issuer: str) -> Kept | None:
        """What a former run kept, None if that is nothing or nothing usable."""
        try:
            with self._path(issuer).open("rb") as file:
                confirmed_at = min(os.fstat(file.fileno()).st_mtime, time.time())
                return Kept(parse_jwks(file.read(MAX_DOCUMENT_BYTES + 1)), confirmed_at)
        except FileNotFoundError:
            return None
        except (OSError, JwksError) as error:
            _log.warning("jwks_not_recalled", issuer=issuer, detail=str(error))
            return None

    def _path(self, issuer: str) -> Path:
        return self._folder / f"{hashlib.sha256(issuer.encode()).hexdigest()}.json"
