"""A keys folder at a stated moment."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from issuer.keys.manager import KeyFolder
from issuer.keys.models import RingKey
from issuer.keys.rotation import Schedule


def key_folder(
    path: Path,
    now: datetime | Callable[[], datetime],
    passphrase: bytes | None = None,
    schedule: Schedule | None = None,
) -> KeyFolder:
    """The folder as a command at that moment has it."""
    return KeyFolder(path, schedule or Schedule(), now if callable(now) else lambda: now, passphrase)


def generate_key(path: Path, now: datetime, *, only_first: bool = False, passphrase: bytes | None = None) -> RingKey:
    """`keys generate` at that moment."""
    return key_folder(path, now, passphrase).generate(only_first=only_first)
