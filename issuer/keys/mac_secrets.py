"""MAC secrets: the keys of refresh tokens and rate-limit counters, and their file `keys/private/mac-secrets.json`.

A leaked secret allows forging refresh tokens, so secrets are stored beside the signing keys and not in the database.
Tokens of all secrets are accepted; new tokens are signed with the current one:

    next       signs no tokens yet: an issuer that has not loaded it would reject them
    current    signs new tokens
    retired    its tokens are accepted until all sessions that may have one have expired
"""

import base64
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from issuer.errors import KeyStoreError
from issuer.keys.private_files import read_private
from shared.strict_json import StrictJsonError, parse_object

MAX_SESSION: Final = timedelta(days=90)
"""The longest session that can be configured. A retired secret is stored for as long."""

PROPAGATION_DELAY: Final = timedelta(seconds=60)
"""From creation to first use. Issuers load a secret within a second; the rest is for clock skew and slow disks."""

_REFRESH_TOKENS: Final = b"gatepass refresh token 1"
_COUNTERS: Final = b"throttle"
"""RFC 5869 §3.2 `info`: separates the keys that are derived from one secret."""

_FORMAT: Final = 1
_VALUE_BYTES: Final = 32
_ID_BYTES: Final = 4
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class MacSecret:
    """One secret and its id. Its repr shows only the id.

    Attributes:
        id: 8 hexadecimal characters; no secret.
        value: 32 random bytes, from which each use derives a key of its own.
        refresh_token_key: the key of refresh tokens. It is derived once, when the key set is loaded, as the others
            are: every refresh needs it twice.
        counter_key: the key of rate-limit counters.
    """

    id: str
    value: bytes = field(repr=False)
    refresh_token_key: bytes = field(init=False, repr=False, compare=False)
    counter_key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, label in (("refresh_token_key", _REFRESH_TOKENS), ("counter_key", _COUNTERS)):
            object.__setattr__(self, name, HKDF(SHA256(), length=32, salt=None, info=label).derive(self.value))


@dataclass(frozen=True, slots=True)
class MacSecretRecord:
    """A MAC secret with the times of its states."""

    secret: MacSecret
    created_at: datetime
    activated_at: datetime | None = None
    retired_at: datetime | None = None

    @property
    def name(self) -> str:
        """The id that operators use in commands."""
        return self.secret.id

    @property
    def state(self) -> str:
        """`next`, `current` or `retired`."""
        if self.retired_at is not None:
            return "retired"
        return "next" if self.activated_at is None else "current"


MacSecretRecords = tuple[MacSecretRecord, ...]
"""The current one first, then the others, newest first."""


def mac_secrets_file(folder: Path) -> Path:
    """Return the file of the MAC secrets."""
    return folder / "private" / "mac-secrets.json"


def new_secret(random_bytes: Callable[[int], bytes]) -> MacSecret:
    """Create a secret."""
    return MacSecret(random_bytes(_ID_BYTES).hex(), random_bytes(_VALUE_BYTES))


def add_secret(records: MacSecretRecords, secret: MacSecret, now: datetime) -> MacSecretRecords:
    """Add a secret: as current if it is the first, else as next."""
    if not records:
        return (MacSecretRecord(secret, now, activated_at=now),)
    return (records[0], MacSecretRecord(secret, now), *records[1:])


def next_secret(records: MacSecretRecords) -> MacSecretRecord | None:
    """Return the next secret, if there is one."""
    return next((record for record in records if record.state == "next"), None)


def advance_secrets(records: MacSecretRecords, now: datetime) -> MacSecretRecords:
    """Promote a next secret that every issuer has loaded; remove retired secrets whose tokens have all expired."""
    next_record = next_secret(records)
    if next_record is not None and now >= next_record.created_at + PROPAGATION_DELAY:
        rest = (_retire(record, now) for record in records if record is not next_record)
        records = (replace(next_record, activated_at=now), *rest)
    return tuple(record for record in records if record.retired_at is None or now < record.retired_at + MAX_SESSION)


def remove_secret(records: MacSecretRecords, name: str, replacement: MacSecret, now: datetime) -> MacSecretRecords:
    """Remove the secret; if it was the current one, promote the next one or else the replacement."""
    remaining = tuple(record for record in records if record.secret.id != name)
    if remaining and remaining[0].state == "current":
        return remaining
    next_record = next_secret(remaining) or MacSecretRecord(replacement, now)
    return (replace(next_record, activated_at=now), *(record for record in remaining if record is not next_record))


def _retire(record: MacSecretRecord, now: datetime) -> MacSecretRecord:
    return replace(record, retired_at=record.retired_at or now)


def _decode(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


class _Entry(BaseModel):
    """An entry of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * _ID_BYTES}}}$")]
    created_at: AwareDatetime
    activated_at: AwareDatetime | None
    retired_at: AwareDatetime | None
    value: Annotated[
        bytes, BeforeValidator(_decode), Field(min_length=_VALUE_BYTES, max_length=_VALUE_BYTES, repr=False)
    ]

    def record(self) -> MacSecretRecord:
        """Return the record."""
        return MacSecretRecord(MacSecret(self.id, self.value), self.created_at, self.activated_at, self.retired_at)


_ENTRIES: Final = TypeAdapter(list[_Entry])


def read_mac_secrets(folder: Path, passphrase: bytes | None) -> MacSecretRecords:
    """Read the MAC secrets; return none if there is no file.

    Raises:
        KeyStoreError: the file is invalid or accessible to others, or `passphrase` does not open it.
    """
    path = mac_secrets_file(folder)
    try:
        document = parse_object(read_private(path))
        if document["format"] != _FORMAT:
            raise KeyStoreError(f"{path}: written by another version of Gatepass; use that version")
        if "sealed" in document:
            document = parse_object(_decrypt(path, document["sealed"], passphrase))
        records = tuple(entry.record() for entry in _ENTRIES.validate_python(document["secrets"]))
    except FileNotFoundError:
        return ()
    except (StrictJsonError, KeyError, TypeError, ValueError, AttributeError):
        # Without its cause: a parser's message may quote a secret.
        raise KeyStoreError(f"{path}: invalid MAC secrets; restore the file from a backup") from None
    if [number for number, record in enumerate(records) if record.state == "current"] != [0]:
        raise KeyStoreError(f"{path}: the first MAC secret is not current; restore the file from a backup")
    return records


def is_sealed(content: bytes) -> bool:
    """Return whether this content of the file is encrypted."""
    return b'"sealed"' in content


def format_mac_secrets(records: Iterable[MacSecretRecord], passphrase: bytes | None) -> bytes:
    """Return the content of the file, encrypted if there is a passphrase."""
    secrets = [
        {
            "id": record.secret.id,
            "created_at": record.created_at.isoformat(),
            "activated_at": record.activated_at and record.activated_at.isoformat(),
            "retired_at": record.retired_at and record.retired_at.isoformat(),
            "value": base64.b64encode(record.secret.value).decode(),
        }
        for record in records
    ]
    plain = {"secrets": secrets}
    content = {"sealed": _encrypt(json.dumps(plain).encode(), passphrase)} if passphrase else plain
    return json.dumps({"format": _FORMAT, **content}, indent=2).encode() + b"\n"


def _encrypt(plain: bytes, passphrase: bytes) -> dict[str, str]:
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    ciphertext = AESGCM(_derive_key(passphrase, salt)).encrypt(nonce, plain, None)
    parts = {"salt": salt, "nonce": nonce, "ciphertext": ciphertext}
    return {name: base64.b64encode(part).decode() for name, part in parts.items()}


def _decrypt(path: Path, sealed: dict[str, str], passphrase: bytes | None) -> bytes:
    if passphrase is None:
        raise KeyStoreError(f"{path} is encrypted; set ISSUER_KEYS_PASSPHRASE_FILE")
    salt, nonce, ciphertext = (
        base64.b64decode(sealed[name], validate=True) for name in ("salt", "nonce", "ciphertext")
    )
    try:
        return AESGCM(_derive_key(passphrase, salt)).decrypt(nonce, ciphertext, None)
    except InvalidTag:
        raise KeyStoreError(f"{path}: wrong passphrase; check ISSUER_KEYS_PASSPHRASE_FILE") from None


def _derive_key(passphrase: bytes, salt: bytes) -> bytes:
    """Derive the key by scrypt (RFC 7914) with 32 MiB: about 0.1 s, once for each reload."""
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase)
