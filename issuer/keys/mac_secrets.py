"""The secrets that refresh tokens and throttle keys are made with, and `keys/private/mac-secrets.json`.

Whoever holds one can make refresh tokens, so they lie beside the signing keys and not in the database. The
current one makes; all of them are accepted:

    waiting    accepted, does not make yet: an issuer that has not read it would refuse what others made
    current    makes
    retired    accepted until no session can be left that holds a token of it
"""

import base64
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from issuer.errors import KeyringError
from issuer.keys.private_files import read_private
from shared.strict_json import StrictJsonError, parse_object

MAX_SESSION: Final = timedelta(days=90)
"""The longest that any session may be set to live, and so the longest that a secret is needed after the last use."""

SETTLING: Final = timedelta(seconds=60)
"""Issuers take up a new secret within a second; the rest is for clocks that differ and folders that are slow."""

_REFRESH_TOKENS: Final = b"gatepass refresh token 1"
"""RFC 5869 `info`: what else the secret is used for says nothing about refresh tokens."""

_FORMAT: Final = 1
_VALUE_BYTES: Final = 32
_ID_BYTES: Final = 4
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class MacSecret:
    """One secret and its name. Shows only the name.

    Attributes:
        id: 8 hexadecimal characters; no secret.
        value: 32 random bytes, from which each use derives a key of its own (HKDF with its own label).
        refresh_token_key: the key of refresh tokens. It is derived here, when the key set is loaded, since every
            refresh needs it twice.
    """

    id: str
    value: bytes = field(repr=False)
    refresh_token_key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        key = HKDF(SHA256(), length=32, salt=None, info=_REFRESH_TOKENS).derive(self.value)
        object.__setattr__(self, "refresh_token_key", key)


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """A secret and its life so far."""

    secret: MacSecret
    created_at: datetime
    activated_at: datetime | None = None
    retired_at: datetime | None = None

    @property
    def name(self) -> str:
        """What an operator calls it by."""
        return self.secret.id

    @property
    def state(self) -> str:
        """`waiting`, `current` or `retired`."""
        if self.retired_at is not None:
            return "retired"
        return "waiting" if self.activated_at is None else "current"


SecretEntries = tuple[SecretEntry, ...]
"""The current one first, then the others, newest first."""


def mac_secrets_file(folder: Path) -> Path:
    """Where they lie."""
    return folder / "private" / "mac-secrets.json"


def new_secret(random_bytes: Callable[[int], bytes]) -> MacSecret:
    """A fresh one."""
    return MacSecret(random_bytes(_ID_BYTES).hex(), random_bytes(_VALUE_BYTES))


def add_secret(entries: SecretEntries, secret: MacSecret, now: datetime) -> SecretEntries:
    """The first is current at once: nothing was made with another. Every further one waits."""
    if not entries:
        return (SecretEntry(secret, now, activated_at=now),)
    return (entries[0], SecretEntry(secret, now), *entries[1:])


def waiting_secret(entries: SecretEntries) -> SecretEntry | None:
    """The one that will be current next."""
    return next((entry for entry in entries if entry.state == "waiting"), None)


def advance_secrets(entries: SecretEntries, now: datetime) -> SecretEntries:
    """Whatever is due: a waiting one that has settled makes from now on, one that nobody can hold a token of goes."""
    waiting = waiting_secret(entries)
    if waiting is not None and now >= waiting.created_at + SETTLING:
        rest = (_retire(entry, now) for entry in entries if entry is not waiting)
        entries = (replace(waiting, activated_at=now), *rest)
    return tuple(entry for entry in entries if entry.retired_at is None or now < entry.retired_at + MAX_SESSION)


def drop_secret(entries: SecretEntries, name: str, replacement: MacSecret, now: datetime) -> SecretEntries:
    """Without the secret of that name, at once; if it was the current one, a waiting or else a new one makes."""
    left = tuple(entry for entry in entries if entry.secret.id != name)
    if left and left[0].state == "current":
        return left
    waiting = waiting_secret(left) or SecretEntry(replacement, now)
    return (replace(waiting, activated_at=now), *(entry for entry in left if entry is not waiting))


def _retire(entry: SecretEntry, now: datetime) -> SecretEntry:
    return replace(entry, retired_at=entry.retired_at or now)


def read_mac_secrets(folder: Path, passphrase: bytes | None) -> SecretEntries:
    """All of them; none if there is no file.

    Raises:
        KeyringError: they must not be used, or do not open with `passphrase`.
    """
    path = mac_secrets_file(folder)
    try:
        document = parse_object(read_private(path))
        if document["format"] != _FORMAT:
            raise KeyringError(f"{path}: written by another version of Gatepass")
        if "sealed" in document:
            document = parse_object(_unseal(path, document["sealed"], passphrase))
        entries = tuple(map(_parse_entry, document["secrets"]))
    except FileNotFoundError:
        return ()
    except (StrictJsonError, KeyError, TypeError, ValueError, AttributeError):
        # Without its cause: a parser's message may quote what it read.
        raise KeyringError(f"{path}: not a file of MAC secrets: restore it from a backup") from None
    if [number for number, entry in enumerate(entries) if entry.state == "current"] != [0]:
        raise KeyringError(f"{path}: does not begin with a current secret: restore it from a backup")
    return entries


def is_sealed(content: bytes) -> bool:
    """Whether this content of the file is encrypted."""
    return b'"sealed"' in content


def format_mac_secrets(entries: Iterable[SecretEntry], passphrase: bytes | None) -> bytes:
    """The file's content, encrypted if there is a passphrase."""
    secrets = [
        {
            "id": entry.secret.id,
            "created_at": entry.created_at.isoformat(),
            "activated_at": entry.activated_at and entry.activated_at.isoformat(),
            "retired_at": entry.retired_at and entry.retired_at.isoformat(),
            "value": base64.b64encode(entry.secret.value).decode(),
        }
        for entry in entries
    ]
    plain = {"secrets": secrets}
    content = {"sealed": _seal(json.dumps(plain).encode(), passphrase)} if passphrase else plain
    return json.dumps({"format": _FORMAT, **content}, indent=2).encode() + b"\n"


def _parse_entry(entry: dict[str, Any]) -> SecretEntry:
    value = base64.b64decode(entry["value"], validate=True)
    if len(value) != _VALUE_BYTES or len(bytes.fromhex(entry["id"])) != _ID_BYTES:
        raise ValueError("not of its length")
    return SecretEntry(
        MacSecret(entry["id"], value),
        datetime.fromisoformat(entry["created_at"]),
        _optional_time(entry["activated_at"]),
        _optional_time(entry["retired_at"]),
    )


def _optional_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _seal(plain: bytes, passphrase: bytes) -> dict[str, str]:
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    ciphertext = AESGCM(_stretch(passphrase, salt)).encrypt(nonce, plain, None)
    parts = {"salt": salt, "nonce": nonce, "ciphertext": ciphertext}
    return {name: base64.b64encode(part).decode() for name, part in parts.items()}


def _unseal(path: Path, sealed: dict[str, str], passphrase: bytes | None) -> bytes:
    if passphrase is None:
        raise KeyringError(f"{path}: is encrypted: set ISSUER_KEYS_PASSPHRASE_FILE")
    salt, nonce, ciphertext = (
        base64.b64decode(sealed[name], validate=True) for name in ("salt", "nonce", "ciphertext")
    )
    try:
        return AESGCM(_stretch(passphrase, salt)).decrypt(nonce, ciphertext, None)
    except InvalidTag:
        raise KeyringError(f"{path}: does not open with the passphrase that was given") from None


def _stretch(passphrase: bytes, salt: bytes) -> bytes:
    """RFC 7914 with 32 MiB: some 0.1 s, once for each change of the folder."""
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase)
