"""A key directory with a test clock, and private keys that are created and opened once."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: TID251 - opens keys once

from issuer.keys.manager import KeyManager
from issuer.keys.models import KeyRecord
from issuer.keys.rotation import RotationPolicy
from issuer.keys.store import load_key_set, new_private


def key_manager(
    path: Path,
    now: datetime | Callable[[], datetime],
    passphrase: bytes | None = None,
    policy: RotationPolicy | None = None,
) -> KeyManager:
    """Return the key manager of a command at that time."""
    return KeyManager(path, policy or RotationPolicy(), now if callable(now) else lambda: now, passphrase)


def generate_key(
    path: Path, now: datetime, *, only_first: bool = False, passphrase: bytes | None = None
) -> KeyRecord:
    """Run `keys generate` at that time."""
    return key_manager(path, now, passphrase).generate(only_first=only_first)


def states(path: Path) -> list[str]:
    """Return the states of all keys."""
    return [str(key.state) for key in load_key_set(path).keys]


@cache
def load_key(pem: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
    """Open a key once, since checking its numbers takes a twentieth of a second."""
    return load_pem_private_key(pem, passphrase)


def key_pool(keys: Iterable[RSAPrivateKey]) -> Iterator[RSAPrivateKey]:
    """Yield these keys, and new ones when they are used up."""
    yield from keys
    while True:
        yield new_private()
