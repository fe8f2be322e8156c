"""How a change of the keys folder is written, so that crashing anywhere it leaves a ring that loads.

Private halves come first, then the key set with all that is old and new, then `ring.json`, which is the moment
at which it happens, then the key set without what is gone, then the deletions. So no key ever signs
unpublished. What a crash leaves is a key set with one key too many, which the next writer mends, or a private
half that never was in the ring, which nobody can use.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from issuer.errors import KeyringError
from issuer.keys.atomic_files import delete, write_whole
from issuer.keys.mac_secrets import SecretEntries, format_mac_secrets, is_sealed, mac_secrets_file, read_mac_secrets
from issuer.keys.models import KeyState, Ring, RingKey, format_ring, key_in_state, ring_file
from issuer.keys.private_files import read_private
from issuer.keys.store import format_private, is_encrypted, open_private, private_file, public_file
from shared.jwks import format_jwks


def store_ring(
    folder: Path, before: Ring, after: Ring, made: Mapping[str, RSAPrivateKey], passphrase: bytes | None
) -> None:
    """Make `after` of `before`; the same twice mends what a crash has left.

    Args:
        folder: locked by the caller.
        before: what it holds.
        after: what it is to hold.
        made: the private halves of new keys by name.
        passphrase: encrypts those.

    Raises:
        KeyringError: a key that is to sign does not open.
        OSError: and then `before` or `after` holds.
    """
    for kid, private in made.items():
        write_whole(private_file(folder, kid), format_private(private, passphrase), 0o600)
    current = key_in_state(after, KeyState.CURRENT)
    if current is not None and current not in before:
        # A ring whose current key does not open would load nowhere: issuers would stay with the old one.
        open_private(folder, current, passphrase)
    if after != before:
        known = {key.kid for key in before}
        _publish(folder, (*before, *(key for key in after if key.kid not in known)))
        write_whole(ring_file(folder), format_ring(after), 0o600)
    if after:
        _publish(folder, after)
    signing = {key.kid for key in after if key.state is not KeyState.RETIRED}
    for kid in {key.kid for key in (*before, *after)} - signing:
        delete(private_file(folder, kid))


def is_left(folder: Path, kid: str) -> bool:
    """Whether a crash has left a key there that is in the ring no more."""
    published = public_file(folder)
    return private_file(folder, kid).exists() or (published.exists() and kid.encode() in published.read_bytes())


def _publish(folder: Path, ring: Iterable[RingKey]) -> None:
    path, document = public_file(folder), format_jwks(key.public for key in ring)
    if not path.exists() or path.read_bytes() != document:
        write_whole(path, document, 0o644)


def store_secrets(folder: Path, entries: SecretEntries, passphrase: bytes | None) -> None:
    """Replace the MAC secrets.

    Raises:
        OSError: and then they are as they were.
    """
    write_whole(mac_secrets_file(folder), format_mac_secrets(entries, passphrase), 0o600)


def rewrap_key(folder: Path, key: RingKey, old: bytes | None, new: bytes | None) -> bool:
    """Encrypt a private half with another passphrase, or none; whether that was necessary.

    Raises:
        KeyringError: neither opens it.
    """
    path = private_file(folder, key.kid)
    try:
        encrypted = is_encrypted(read_private(path))
    except FileNotFoundError:
        return False
    try:
        private = open_private(folder, key, new)
        if encrypted == (new is not None):
            return False
    except KeyringError:
        private = open_private(folder, key, old)
    write_whole(path, format_private(private, new), 0o600)
    return True


def rewrap_secrets(folder: Path, old: bytes | None, new: bytes | None) -> tuple[str, ...]:
    """Encrypt the MAC secrets likewise; the ids, if that was necessary.

    Raises:
        KeyringError: neither opens them.
    """
    try:
        entries = read_mac_secrets(folder, new)
        if not entries or is_sealed(read_private(mac_secrets_file(folder))) == (new is not None):
            return ()
    except KeyringError:
        entries = read_mac_secrets(folder, old)
    store_secrets(folder, entries, new)
    return tuple(entry.name for entry in entries)
