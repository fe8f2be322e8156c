"""The signing keys: the only room that opens private keys. Contract C: `keys/README.md`.

    keys/private/<kid>.pem          PKCS#8, 0600, encrypted if there is a passphrase
    keys/private/ring.json          which key is in what state, since when
    keys/private/mac-secrets.json   what refresh tokens and throttle keys are made with
    keys/public/jwks.json           derived: what verifiers need, and nothing else

Reads and checks; what changes the folder is in `key_folder`.
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
    load_pem_private_key,  # noqa: TID251 - this is the one place
)

from issuer.errors import KeyringError
from issuer.keys.mac_secrets import MacSecret, is_sealed, mac_secrets_file, read_mac_secrets
from issuer.keys.models import KeyState, Ring, RingKey, key_in_state, read_ring
from issuer.keys.private_files import read_private
from shared.access_token import MIN_KEY_BITS
from shared.jwks import JwksError, format_jwks, parse_jwks, thumbprint

_EXPONENT: Final = 65537


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The current private key. Shows only its name."""

    kid: str
    private: rsa.RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keyring:
    """One consistent reading of the folder.

    Attributes:
        keys: all keys of the ring, every one of them published.
        signing: the current private key, checked; None while there is none.
        jwks: the public key set as a document (RFC 7517).
        mac_secrets: the first makes, all are accepted; at least one where there is a key.
        plain: names of the private files in use that are not encrypted.
    """

    keys: Ring = ()
    signing: SigningKey | None = None
    jwks: bytes = field(default=b'{"keys":[]}', repr=False)
    mac_secrets: tuple[MacSecret, ...] = ()
    plain: tuple[str, ...] = field(default=(), repr=False)

    def public_key(self, kid: str) -> rsa.RSAPublicKey | None:
        """The published key of that name."""
        return next((key.public for key in self.keys if key.kid == kid), None)


def load_keyring(folder: Path, passphrase: bytes | None = None) -> Keyring:
    """Read and check the folder; an empty ring if there is none yet.

    Raises:
        KeyringError: what is there must not be used, and what to do about it.
    """
    ring = read_ring(folder)
    while True:
        try:
            return _load(folder, ring, passphrase)
        except KeyringError:
            # A writer may have been between two files: then there is another ring now, and that one is to be judged.
            before, ring = ring, read_ring(folder)
            if ring == before:
                raise


def _load(folder: Path, ring: Ring, passphrase: bytes | None) -> Keyring:
    _check_published(folder, ring)
    current = key_in_state(ring, KeyState.CURRENT)
    signing = SigningKey(current.kid, open_private(folder, current, passphrase)) if current else None
    mac_secrets = tuple(entry.secret for entry in read_mac_secrets(folder, passphrase))
    if ring and not mac_secrets:
        raise KeyringError(f"{mac_secrets_file(folder)}: is missing: restore it, or run `keys generate --if-missing`")
    jwks = format_jwks(key.public for key in ring)
    return Keyring(ring, signing, jwks, mac_secrets, tuple(_plain_files(folder, ring)))


def _plain_files(folder: Path, ring: Ring) -> Iterator[str]:
    """For a warning alone: what cannot be read now is not counted."""
    for path in (*(private_file(folder, key.kid) for key in ring), mac_secrets_file(folder)):
        with suppress(OSError):
            if not is_encrypted(content := path.read_bytes()) and not is_sealed(content):
                yield path.name


def private_file(folder: Path, kid: str) -> Path:
    """Where the private half of a key lies."""
    return folder / "private" / f"{kid}.pem"


def public_file(folder: Path) -> Path:
    """The key set for verifiers that read a file."""
    return folder / "public" / "jwks.json"


def new_private() -> rsa.RSAPrivateKey:
    """A fresh key."""
    return rsa.generate_private_key(_EXPONENT, MIN_KEY_BITS)


def format_private(private: rsa.RSAPrivateKey, passphrase: bytes | None) -> bytes:
    """PKCS#8 in PEM, encrypted if there is a passphrase."""
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def is_encrypted(pem: bytes) -> bool:
    """By its label (RFC 7468 §11)."""
    return pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def open_private(folder: Path, key: RingKey, passphrase: bytes | None) -> rsa.RSAPrivateKey:
    """The private half of `key`, checked by a signature.

    Raises:
        KeyringError: it must not be used.
    """
    path = private_file(folder, key.kid)
    try:
        private = _parse_private(path, read_private(path), passphrase)
    except FileNotFoundError as error:
        raise KeyringError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(private, rsa.RSAPrivateKey) or private.key_size < MIN_KEY_BITS:
        raise KeyringError(f"{path}: not an RSA key of at least {MIN_KEY_BITS} bits")
    _self_test(path, private, key)
    return private


def _check_published(folder: Path, ring: Ring) -> None:
    """A key that verifiers cannot know must not sign. Where there is no file, they read the issuer's URL."""
    path = public_file(folder)
    try:
        published = parse_jwks(path.read_bytes()).keys
    except FileNotFoundError:
        return
    except (OSError, JwksError) as error:
        raise KeyringError(f"{path}: not a readable key set ({error})") from error
    for key in ring:
        if key.kid not in published or thumbprint(published[key.kid].rsa) != key.kid:
            raise KeyringError(f"{path}: does not publish {key.kid}: restore it, or delete it if nobody reads it")


def _parse_private(path: Path, pem: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
    """Causes are left out: a parser's message may quote what it read."""
    encrypted = is_encrypted(pem)
    if encrypted and passphrase is None:
        raise KeyringError(f"{path}: is encrypted: set ISSUER_KEYS_PASSPHRASE_FILE")
    try:
        return load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise KeyringError(f"{path}: does not open with the passphrase that was given") from None
        raise KeyringError(f"{path}: not an unencrypted PKCS#8 key") from None


def _self_test(path: Path, private: rsa.RSAPrivateKey, key: RingKey) -> None:
    """What it signs must verify under the half that we publish, not only under its own."""
    try:
        key.public.verify(private.sign(b"gatepass", PKCS1v15(), SHA256()), b"gatepass", PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        raise KeyringError(f"{path}: does not belong to its public half in ring.json") from None
