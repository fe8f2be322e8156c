"""Atomic file replacement for files that other processes read, and a lock for a single writer."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_TEMP_SUFFIX: Final = ".tmp"


def atomic_write(path: Path, content: bytes, mode: int) -> None:
    """Replace `path` by `content` atomically and durably, with exactly `mode`.

    The content is never readable under a wider mode, and no reader sees a partial file.

    Raises:
        OSError: `path` is unchanged.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_TEMP_SUFFIX)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            _give_to_owner(file.fileno(), path.parent)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def delete(path: Path) -> None:
    """Delete `path` durably if it exists.

    Raises:
        OSError: `path` may still exist.
    """
    if path.exists():
        path.unlink()
        _sync_folder(path.parent)


def remove_temp_files(folder: Path) -> None:
    """Delete the partial files of a writer that crashed. The caller holds the lock."""
    for path in folder.glob(f".*{_TEMP_SUFFIX}"):
        path.unlink()


@contextmanager
def exclusive_lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the folder's lock, for which other writers in any process wait.

    Yields:
        True if the lock is held; False only without `wait`, when another process holds it.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _give_to_owner(descriptor, folder)
        yield _lock(descriptor, wait=wait)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _give_to_owner(descriptor: int, folder: Path) -> None:
    """Give a file that root has opened to the owner of its folder: the issuer could not read it otherwise."""
    if os.geteuid() == 0:
        owner = folder.stat()
        with suppress(OSError):  # without the capability
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _sync_folder(folder: Path) -> None:
    """Flush the directory: a rename survives a power failure only once its directory is on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
