"""Loads and checks the key set. Only this module opens private keys. Contract C: `keys/README.md`.

    keys/private/<kid>.pem          PKCS#8, 0600, encrypted if there is a passphrase
    keys/private/keys.json          the state and times of each key
    keys/private/mac-secrets.json   the keys of refresh tokens and rate-limit counters
    keys/public/jwks.json           derived: the public keys, for verifiers

This module changes nothing; `manager` and `writes` do.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,  # noqa: TID251 - only this module opens private keys
)

from issuer.errors import KeyStoreError
from issuer.keys.mac_secrets import MacSecret, is_sealed, mac_secrets_file, read_mac_secrets
from issuer.keys.models import KeyRecord, KeyRecords, KeyState, in_state, read_key_records
from issuer.keys.private_files import read_private
from shared.access_token import MIN_KEY_BITS
from shared.jwks import JwksError, format_jwks, parse_jwks, thumbprint

_EXPONENT: Final = 65537


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The current private key. Its repr shows only its kid."""

    kid: str
    private: rsa.RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The key directory as loaded at one moment.

    Attributes:
        keys: all key records; every one of them is published.
        signing: the current private key; None if there is none.
        jwks: the public key set as a document (RFC 7517).
        mac_secrets: all of them verify tokens, and the first, the current one, signs. At least one if there is a key.
        plain: names of the private files that are not encrypted.
    """

    keys: KeyRecords = ()
    signing: SigningKey | None = None
    jwks: bytes = field(default=b'{"keys":[]}', repr=False)
    mac_secrets: tuple[MacSecret, ...] = ()
    plain: tuple[str, ...] = field(default=(), repr=False)

    def public_key(self, kid: str) -> rsa.RSAPublicKey | None:
        """Return the published key with this kid."""
        return next((key.public for key in self.keys if key.kid == kid), None)


def load_key_set(folder: Path, passphrase: bytes | None = None) -> KeySet:
    """Read and check the key directory; return an empty key set if there are no keys yet.

    Raises:
        KeyStoreError: the keys must not be used; the message says why and what to do.
    """
    records = read_key_records(folder)
    while True:
        try:
            return _load(folder, records, passphrase)
        except KeyStoreError:
            # A writer may have replaced one file and not yet the next. If the records have changed, try again.
            before, records = records, read_key_records(folder)
            if records == before:
                raise


def _load(folder: Path, records: KeyRecords, passphrase: bytes | None) -> KeySet:
    _check_published(folder, records)
    current = in_state(records, KeyState.CURRENT)
    signing = SigningKey(current.kid, open_private(folder, current, passphrase)) if current else None
    mac_secrets = tuple(entry.secret for entry in read_mac_secrets(folder, passphrase))
    if records and not mac_secrets:
        raise KeyStoreError(f"{mac_secrets_file(folder)} is missing; restore it, or run `keys generate --if-missing`")
    jwks = format_jwks(key.public for key in records)
    return KeySet(records, signing, jwks, mac_secrets, tuple(_plain_files(folder, records)))


def _plain_files(folder: Path, records: KeyRecords) -> Iterator[str]:
    """Yield the unencrypted private files, for a warning. Unreadable files are skipped."""
    for path in (*(private_file(folder, key.kid) for key in records), mac_secrets_file(folder)):
        with suppress(OSError):
            if not is_encrypted(content := path.read_bytes()) and not is_sealed(content):
                yield path.name


def private_file(folder: Path, kid: str) -> Path:
    """Return the file of a private key."""
    return folder / "private" / f"{kid}.pem"


def public_file(folder: Path) -> Path:
    """Return the file of the public key set, for verifiers that read a file."""
    return folder / "public" / "jwks.json"


def new_private() -> rsa.RSAPrivateKey:
    """Create a private key."""
    return rsa.generate_private_key(_EXPONENT, MIN_KEY_BITS)


def format_private(private: rsa.RSAPrivateKey, passphrase: bytes | None) -> bytes:
    """Encode a private key as PKCS#8 PEM, encrypted if there is a passphrase."""
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def is_encrypted(pem: bytes) -> bool:
    """Return whether the key is encrypted, by its PEM label (RFC 7468 §11)."""
    return pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def open_private(folder: Path, key: KeyRecord, passphrase: bytes | None) -> rsa.RSAPrivateKey:
    """Open the private key of `key` and check it by a signature.

    Raises:
        KeyStoreError: the private key must not be used.
    """
    path = private_file(folder, key.kid)
    try:
        private = _parse_private(path, read_private(path), passphrase)
    except FileNotFoundError as error:
        raise KeyStoreError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(private, rsa.RSAPrivateKey) or private.key_size < MIN_KEY_BITS:
        raise KeyStoreError(f"{path}: not an RSA key of at least {MIN_KEY_BITS} bits")
    _self_test(path, private, key)
    return private


def _check_published(folder: Path, records: KeyRecords) -> None:
    """Reject keys that are not in the public file. If there is no such file, verifiers fetch keys from the issuer."""
    path = public_file(folder)
    try:
        published = parse_jwks(path.read_bytes()).keys
    except FileNotFoundError:
        return
    except (OSError, JwksError) as error:
        raise KeyStoreError(
            f"{path}: invalid key set ({error}); restore it, or delete it if no verifier reads it"
        ) from error
    for key in records:
        if key.kid not in published or thumbprint(published[key.kid].rsa) != key.kid:
            raise KeyStoreError(
                f"{path}: does not publish {key.kid}; restore it, or delete it if no verifier reads it"
            )


def _parse_private(path: Path, pem: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
    """Parse a private key. Errors omit their cause: a parser's message may quote the key."""
    encrypted = is_encrypted(pem)
    if encrypted and passphrase is None:
        raise KeyStoreError(f"{path} is encrypted; set ISSUER_KEYS_PASSPHRASE_FILE")
    try:
        return load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise KeyStoreError(f"{path}: wrong passphrase; check the file that holds it") from None
        raise KeyStoreError(f"{path}: invalid PKCS#8 key; restore it from a backup") from None


def _self_test(path: Path, private: rsa.RSAPrivateKey, key: KeyRecord) -> None:
    """Check that the published key verifies what the private key signs."""
    try:
        key.public.verify(private.sign(b"gatepass", PKCS1v15(), SHA256()), b"gatepass", PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        raise KeyStoreError(f"{path}: does not match its public key in keys.json; restore it from a backup") from None
