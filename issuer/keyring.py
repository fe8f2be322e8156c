"""The signing keys: the only room that opens private keys. Contract C: `keys/README.md`.

    keys/private/<kid>.pem     PKCS#8, 0600
    keys/private/ring.json     which key is in what state, since when
    keys/private/mac-secrets.json   what refresh tokens and throttle keys are made with
    keys/public/jwks.json      derived: what verifiers need, and nothing else

A key is published before it signs, and stays published until the last token it signed is dead. The first
key of all signs at once: nobody can hold an older key set yet.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

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

from issuer.atomic_files import sole_writer, write_whole
from issuer.errors import KeyringError
from issuer.mac_secrets import (
    MacSecret,
    add_secret,
    format_mac_secrets,
    mac_secrets_file,
    new_secret,
    read_mac_secrets,
)
from issuer.private_files import read_private
from shared.access_token import MIN_KEY_BITS
from shared.jwks import JwksError, format_jwks, parse_jwks, thumbprint, to_jwk
from shared.strict_json import StrictJsonError, parse_object

_FORMAT: Final = 1
_EXPONENT: Final = 65537


class KeyState(StrEnum):
    """Where a key is in its life."""

    NEXT = "next"
    """Published, so that verifiers learn it; does not sign yet."""
    CURRENT = "current"
    """Signs. At most one."""
    RETIRED = "retired"
    """Signs no more; published until its last token is dead."""


@dataclass(frozen=True, slots=True)
class RingKey:
    """One key of the ring: its public half and its life so far. Shows only its name and state."""

    kid: str
    state: KeyState
    public: rsa.RSAPublicKey = field(repr=False)
    created_at: datetime = field(repr=False)
    activated_at: datetime | None = field(default=None, repr=False)
    retired_at: datetime | None = field(default=None, repr=False)


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
    """

    keys: tuple[RingKey, ...] = ()
    signing: SigningKey | None = None
    jwks: bytes = field(default=b'{"keys":[]}', repr=False)
    mac_secrets: tuple[MacSecret, ...] = ()

    def public_key(self, kid: str) -> rsa.RSAPublicKey | None:
        """The published key of that name."""
        return next((key.public for key in self.keys if key.kid == kid), None)


def ring_file(folder: Path) -> Path:
    """The file whose change means that the ring has changed."""
    return folder / "private" / "ring.json"


def load_keyring(folder: Path, passphrase: bytes | None = None) -> Keyring:
    """Read and check the folder; an empty ring if there is none yet.

    Raises:
        KeyringError: what is there must not be used, and what to do about it.
    """
    keys = _read_ring(folder)
    current = [key for key in keys if key.state is KeyState.CURRENT]
    if len(current) > 1:
        raise KeyringError(f"{ring_file(folder)}: more than one current key")
    _check_published(folder, keys)
    signing = SigningKey(current[0].kid, _open_private(folder, current[0], passphrase)) if current else None
    mac_secrets = tuple(entry.secret for entry in read_mac_secrets(folder, passphrase))
    if keys and not mac_secrets:
        raise KeyringError(f"{mac_secrets_file(folder)}: is missing: restore it, or run `keys generate --if-missing`")
    return Keyring(keys, signing, format_jwks(key.public for key in keys), mac_secrets)


def generate_key(
    folder: Path, now: datetime, *, only_first: bool = False, passphrase: bytes | None = None
) -> RingKey:
    """Make a key and publish it: current if there is none, else next. A folder without MAC secret gets one.

    Args:
        folder: made if it does not exist.
        now: the moment that the ring records.
        only_first: make none where a current key is, and return that one.
        passphrase: encrypts what is written.

    Raises:
        KeyringError: the folder cannot be used or written.
    """
    private_dir, public_dir = folder / "private", folder / "public"
    try:
        private_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        public_dir.mkdir(mode=0o755, exist_ok=True)
        with sole_writer(private_dir):
            _supply_mac_secret(folder, now, passphrase)
            keys = _read_ring(folder)
            current = next((key for key in keys if key.state is KeyState.CURRENT), None)
            if current is not None and only_first:
                return current
            private = rsa.generate_private_key(_EXPONENT, MIN_KEY_BITS)
            new = _new_ring_key(private.public_key(), now, first=current is None)
            # In this order a crash leaves a file too many, never a key that signs unpublished.
            write_whole(private_dir / f"{new.kid}.pem", _to_pem(private, passphrase), 0o600)
            write_whole(public_dir / "jwks.json", format_jwks(key.public for key in (*keys, new)), 0o644)
            write_whole(ring_file(folder), _format_ring((*keys, new)), 0o600)
    except OSError as error:
        raise KeyringError(f"{folder}: cannot be written ({error.strerror})") from error
    return new


def _supply_mac_secret(folder: Path, now: datetime, passphrase: bytes | None) -> None:
    if not read_mac_secrets(folder, passphrase):
        entries = add_secret((), new_secret(secrets.token_bytes), now)
        write_whole(mac_secrets_file(folder), format_mac_secrets(entries, passphrase), 0o600)


def _new_ring_key(public: rsa.RSAPublicKey, now: datetime, *, first: bool) -> RingKey:
    state = KeyState.CURRENT if first else KeyState.NEXT
    return RingKey(thumbprint(public), state, public, now, activated_at=now if first else None)


def _to_pem(private: rsa.RSAPrivateKey, passphrase: bytes | None) -> bytes:
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def _format_ring(keys: Iterable[RingKey]) -> bytes:
    entries = [
        {
            "kid": key.kid,
            "state": key.state,
            "created_at": key.created_at.isoformat(),
            "activated_at": key.activated_at and key.activated_at.isoformat(),
            "retired_at": key.retired_at and key.retired_at.isoformat(),
            "public": to_jwk(key.public),
        }
        for key in keys
    ]
    return json.dumps({"format": _FORMAT, "keys": entries}, indent=2).encode() + b"\n"


def _read_ring(folder: Path) -> tuple[RingKey, ...]:
    path = ring_file(folder)
    try:
        document = parse_object(path.read_bytes())
        if document["format"] != _FORMAT:
            raise KeyringError(f"{path}: written by another version of Gatepass")
        return tuple(_parse_entry(entry) for entry in document["keys"])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeyringError(f"{path}: cannot be read ({error.strerror})") from error
    except (StrictJsonError, JwksError, KeyError, TypeError, ValueError) as error:
        raise KeyringError(f"{path}: not a ring: restore it from a backup") from error


def _parse_entry(entry: dict[str, Any]) -> RingKey:
    """Names follow from keys and not the other way round: a wrong `kid` is found here."""
    public = parse_jwks(json.dumps({"keys": [entry["public"]]}).encode()).keys[entry["kid"]].rsa
    if thumbprint(public) != entry["kid"]:
        raise ValueError("kid is not the thumbprint")
    return RingKey(
        kid=entry["kid"],
        state=KeyState(entry["state"]),
        public=public,
        created_at=datetime.fromisoformat(entry["created_at"]),
        activated_at=_optional_time(entry["activated_at"]),
        retired_at=_optional_time(entry["retired_at"]),
    )


def _optional_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _check_published(folder: Path, keys: tuple[RingKey, ...]) -> None:
    """A key that verifiers cannot know must not sign. Where there is no file, they read the issuer's URL."""
    path = folder / "public" / "jwks.json"
    try:
        published = parse_jwks(path.read_bytes()).keys
    except FileNotFoundError:
        return
    except (OSError, JwksError) as error:
        raise KeyringError(f"{path}: not a readable key set ({error})") from error
    for key in keys:
        if key.kid not in published or thumbprint(published[key.kid].rsa) != key.kid:
            raise KeyringError(f"{path}: does not publish {key.kid}: restore it, or delete it if nobody reads it")


def _open_private(folder: Path, key: RingKey, passphrase: bytes | None) -> rsa.RSAPrivateKey:
    path = folder / "private" / f"{key.kid}.pem"
    try:
        private = _parse_private(path, read_private(path), passphrase)
    except FileNotFoundError as error:
        raise KeyringError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(private, rsa.RSAPrivateKey) or private.key_size < MIN_KEY_BITS:
        raise KeyringError(f"{path}: not an RSA key of at least {MIN_KEY_BITS} bits")
    _self_test(path, private, key)
    return private


def _parse_private(path: Path, pem: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
    """Causes are left out: a parser's message may quote what it read."""
    encrypted = is_encrypted(pem)
    if encrypted and passphrase is None:
        raise KeyringError(f"{path}: is encrypted: set ISSUER_KEYS_PASSPHRASE_FILE")
    try:
        return load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise KeyringError(f"{path}: does not open with the passphrase of ISSUER_KEYS_PASSPHRASE") from None
        raise KeyringError(f"{path}: not an unencrypted PKCS#8 key") from None


def is_encrypted(pem: bytes) -> bool:
    """By its label (RFC 7468 §11)."""
    return pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def _self_test(path: Path, private: rsa.RSAPrivateKey, key: RingKey) -> None:
    """What it signs must verify under the half that we publish, not only under its own."""
    try:
        key.public.verify(private.sign(b"gatepass", PKCS1v15(), SHA256()), b"gatepass", PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        raise KeyringError(f"{path}: does not belong to its public half in ring.json") from None
