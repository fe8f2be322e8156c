"""The last good version of a document on disk, so that a verifier can start while the source is down.

A file's modification time says when the source last confirmed the document. Treat what is loaded as untrusted input.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from verifier.refresh.file_source import open_regular_file, read_all


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """A cached document. `validated_at` is in seconds since the epoch, never in the future."""

    body: bytes
    validated_at: float


class DocumentCache:
    """The cache file of one document. Every method can raise an `OSError` of the file system.

    Args:
        directory: of all documents of one verifier; two verifiers must not share it.
        suffix: of the files of this kind of document.
        max_bytes: at most one byte more is read.
        names: identify the document among those of its kind.
    """

    def __init__(self, directory: Path, suffix: str, max_bytes: int, *names: str) -> None:
        self._path = directory / (hashlib.sha256("\0".join(names).encode()).hexdigest() + suffix)
        self._max_bytes = max_bytes
        self._is_outdated = False

    def store(self, body: bytes) -> None:
        """Replace the file in one step. Only the owner may read it."""
        self._is_outdated = True
        with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
            new = Path(file.name)
            try:
                file.write(body)
                file.flush()
                new.replace(self._path)
            except OSError:
                with contextlib.suppress(OSError):
                    new.unlink()
                raise
        self._is_outdated = False

    def touch(self) -> None:
        """Record that the source has confirmed the document, unless the file still has the version before it."""
        if not self._is_outdated:
            os.utime(self._path)

    def delete(self) -> None:
        """Remove the file, if there is one."""
        self._path.unlink(missing_ok=True)

    def load(self) -> CachedDocument | None:
        """Return the document, or None if there is none.

        A file of another system user, or a world-writable one, could hold keys of an attacker. The group is not
        checked: Kubernetes gives a volume's files a writable group (`fsGroup`).
        """
        try:
            with open_regular_file(self._path, os.O_NOFOLLOW) as (descriptor, state):
                if state.st_uid != os.geteuid() or state.st_mode & stat.S_IWOTH:
                    raise OSError("owned by another user, or world-writable")
                return CachedDocument(read_all(descriptor, self._max_bytes), min(state.st_mtime, time.time()))
        except FileNotFoundError:
            return None
