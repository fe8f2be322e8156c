"""Reads documents from files: regular ones only, bounded, and without ever waiting for a writer."""

import asyncio
import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from verifier.refresh.source import FetchResult, RefreshError


@contextlib.contextmanager
def open_regular_file(path: Path, flags: int = 0) -> Iterator[tuple[int, os.stat_result]]:
    """Open `path` for reading and give its descriptor and state.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    # O_NONBLOCK: opening a FIFO that has no writer must not block.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError("not a regular file")
        yield descriptor, state
    finally:
        os.close(descriptor)


def read_all(descriptor: int, max_bytes: int) -> bytes:
    """Read up to one byte more than `max_bytes`, so that a longer file is seen to be too long."""
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(max_bytes + 1)


class FileSource:
    """A document in a file. Its version is the file's modification time, size and inode."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes

    async def fetch(self, version: bytes | None) -> FetchResult:
        """Read the file if it changed; in a thread, since a network file system can hang."""
        try:
            return await asyncio.to_thread(self._read, version)
        except OSError as error:
            raise RefreshError("unreadable", f"cannot be read ({error.strerror or error})") from error

    def _read(self, version: bytes | None) -> FetchResult:
        with open_regular_file(self._path) as (descriptor, state):
            current = b"%d %d %d %d" % (state.st_mtime_ns, state.st_size, state.st_ino, state.st_dev)
            body = None if current == version else read_all(descriptor, self._max_bytes)
            return FetchResult(body, current)
