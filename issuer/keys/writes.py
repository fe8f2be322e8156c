"""Writes to the key directory, ordered so that a crash at any point leaves records that load.

    1. the new private key
    2. the key set with both old and new keys
    3. `keys.json`, which commits the change
    4. the key set without the removed keys
    5. the deletion of removed private keys

So no key signs before it is published. A crash may leave a published key without a record, which the next writer
removes, or a private key without a record, which is never used.
"""

from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from issuer.errors import KeyStoreError
from issuer.keys.atomic_files import atomic_write, delete
from issuer.keys.mac_secrets import (
    MacSecretRecords,
    format_mac_secrets,
    is_sealed,
    mac_secrets_file,
    read_mac_secrets,
)
from issuer.keys.models import KeyRecord, KeyRecords, KeyState, format_key_records, in_state, key_records_file
from issuer.keys.private_files import read_private
from issuer.keys.store import format_private, is_encrypted, open_private, private_file, public_file
from shared.jwks import format_jwks, thumbprint


def store_key_records(
    folder: Path,
    before: KeyRecords,
    after: KeyRecords,
    passphrase: bytes | None,
    created: RSAPrivateKey | None = None,
) -> None:
    """Replace the records `before` by `after`. After a crash, a repeated call completes the change.

    Args:
        folder: locked by the caller.
        before: the stored records.
        after: the new records.
        passphrase: encrypts and decrypts private keys.
        created: the private key of the new record, if there is one.

    Raises:
        KeyStoreError: the new current key does not open.
        OSError: either `before` or `after` is stored.
    """
    if created is not None:
        path = private_file(folder, thumbprint(created.public_key()))
        atomic_write(path, format_private(created, passphrase), 0o600)
    current = in_state(after, KeyState.CURRENT)
    if current is not None and current not in before:
        # Check it first: no issuer could load records whose current key does not open.
        try:
            open_private(folder, current, passphrase)
        except KeyStoreError as error:
            raise KeyStoreError(f"{error}; or run `keys revoke {current.kid}` first, to use another key") from error
    if after != before:
        known = {key.kid for key in before}
        _publish(folder, (*before, *(key for key in after if key.kid not in known)))
        atomic_write(key_records_file(folder), format_key_records(after), 0o600)
    if after:
        _publish(folder, after)
    signing = {key.kid for key in after if key.state is not KeyState.RETIRED}
    for kid in {key.kid for key in (*before, *after)} - signing:
        delete(private_file(folder, kid))


def has_leftovers(folder: Path, kid: str) -> bool:
    """Return whether there are files of a key without a record, as after a crash."""
    published = public_file(folder)
    return private_file(folder, kid).exists() or (published.exists() and kid.encode() in published.read_bytes())


def _publish(folder: Path, records: Iterable[KeyRecord]) -> None:
    path, document = public_file(folder), format_jwks(key.public for key in records)
    if not path.exists() or path.read_bytes() != document:
        atomic_write(path, document, 0o644)


def store_mac_secrets(folder: Path, records: MacSecretRecords, passphrase: bytes | None) -> None:
    """Replace the MAC secrets.

    Raises:
        OSError: the MAC secrets are unchanged.
    """
    atomic_write(mac_secrets_file(folder), format_mac_secrets(records, passphrase), 0o600)


def rewrap_key(folder: Path, key: KeyRecord, old: bytes | None, new: bytes | None) -> bool:
    """Encrypt a private key with the passphrase `new`, or decrypt it if that is None. Return whether it was changed.

    Raises:
        KeyStoreError: neither passphrase opens it.
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
    except KeyStoreError:
        if encrypted and old is None:
            raise KeyStoreError(f"{path}: pass the passphrase that opens it now by --old-passphrase-file") from None
        private = open_private(folder, key, old)
    atomic_write(path, format_private(private, new), 0o600)
    return True


def rewrap_secrets(folder: Path, old: bytes | None, new: bytes | None) -> tuple[str, ...]:
    """Encrypt the MAC secrets with the passphrase `new`, or decrypt them if that is None. Return the changed ids.

    Raises:
        KeyStoreError: neither passphrase opens them.
    """
    try:
        records = read_mac_secrets(folder, new)
        if not records or is_sealed(read_private(mac_secrets_file(folder))) == (new is not None):
            return ()
    except KeyStoreError:
        records = read_mac_secrets(folder, old)
    store_mac_secrets(folder, records, new)
    return tuple(entry.name for entry in records)
