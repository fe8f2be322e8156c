"""The last good documents on disk, so that a verifier can start while their source is down.

A file's modification time says when its source last confirmed it. Nothing here fails: without the folder a
cold start takes longer, and a log line says so. What is recalled is to be judged as if it came from the source.
"""

import contextlib
import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

_REPEAT_LOG_SECONDS: Final = 60.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Kept:
    """A document, and when it was confirmed last: seconds since the epoch, never in the future."""

    document: bytes
    confirmed_at: float


class KeptDocuments:
    """Documents of one kind in `folder`, each under the names it goes by.

    Args:
        folder: shared by kinds, workers and runs.
        kind: such as `jwks`; log lines begin with it.
        suffix: of the files of this kind alone.
        max_bytes: no more of a file is read than one byte beyond.
    """

    def __init__(self, folder: Path, kind: str, suffix: str, max_bytes: int) -> None:
        self._folder, self._kind, self._suffix, self._max_bytes = folder, kind, suffix, max_bytes
        self._said_at = -_REPEAT_LOG_SECONDS

    def keep(self, document: bytes, *names: str) -> None:
        """Replace what is kept in one step; an empty `document` confirms it as it is."""
        path = self._path(names)
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
            if time.monotonic() - self._said_at >= _REPEAT_LOG_SECONDS:
                self._said_at = time.monotonic()
                _log.warning(f"{self._kind}_not_kept", issuer=names[0], detail=error.strerror)

    def recall(self, *names: str) -> Kept | None:
        """What a former run kept, None if that is nothing or can't be read."""
        try:
            with self._path(names).open("rb") as file:
                confirmed_at = min(os.fstat(file.fileno()).st_mtime, time.time())
                return Kept(file.read(self._max_bytes + 1), confirmed_at)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning(f"{self._kind}_not_recalled", issuer=names[0], detail=str(error))
            return None

    def forget(self, *names: str) -> None:
        """Keep it no longer."""
        with contextlib.suppress(OSError):
            self._path(names).unlink()

    def _path(self, names: tuple[str, ...]) -> Path:
        return self._folder / (hashlib.sha256("\0".join(names).encode()).hexdigest() + self._suffix)
