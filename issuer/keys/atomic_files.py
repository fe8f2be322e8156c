"""Files that other processes read while we write them: whole or not at all, and one writer at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_HALF: Final = ".half"


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Replace `path` by `content` at once, durably, with exactly `mode`.

    The content is never readable under a wider mode, and no reader ever sees half of it.

    Raises:
        OSError: and then `path` is as it was.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_HALF)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def delete(path: Path) -> None:
    """Remove `path`, durably, if it is there.

    Raises:
        OSError: it may be there still.
    """
    if path.exists():
        path.unlink()
        _sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Delete what a writer that died left half written. Only for the sole writer."""
    for path in folder.glob(f".*{_HALF}"):
        path.unlink()


@contextmanager
def sole_writer(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the folder's lock; other writers, in any process, wait their turn.

    Yields:
        Whether we hold it: False only if another does and we do not `wait`.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _lock(descriptor, wait=wait)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """A rename lasts through a power cut only once its folder is on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
