"""A keys folder at a stated moment."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from issuer.keys.manager import KeyManager
from issuer.keys.models import KeyRecord
from issuer.keys.rotation import RotationPolicy


def key_manager(
    path: Path,
    now: datetime | Callable[[], datetime],
    passphrase: bytes | None = None,
    policy: RotationPolicy | None = None,
) -> KeyManager:
    """The folder as a command at that moment has it."""
    return KeyManager(path, policy or RotationPolicy(), now if callable(now) else lambda: now, passphrase)


def generate_key(
    path: Path, now: datetime, *, only_first: bool = False, passphrase: bytes | None = None
) -> KeyRecord:
    """`keys generate` at that moment."""
    return key_manager(path, now, passphrase).generate(only_first=only_first)
