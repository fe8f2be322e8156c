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
from collections.abc import Iterable
from dataclasses import dataclass, field
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
from issuer.keys.models import KeyState, RotatedRecord
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
        id: 8 hexadecimal characters; not secret.
        value: 32 random bytes, from which each use derives a key of its own.
        refresh_token_key: the key of refresh tokens. Derived when the key set is loaded, since each refresh needs it
            twice.
        counter_key: the key of rate-limit counters, derived at the same time.
    """

    id: str
    value: bytes = field(repr=False)
    refresh_token_key: bytes = field(init=False, repr=False, compare=False)
    counter_key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, label in (("refresh_token_key", _REFRESH_TOKENS), ("counter_key", _COUNTERS)):
            object.__setattr__(self, name, HKDF(SHA256(), length=32, salt=None, info=label).derive(self.value))


@dataclass(frozen=True, slots=True)
class MacSecretRecord(RotatedRecord):
    """A MAC secret with its times."""

    secret: MacSecret

    @property
    def name(self) -> str:
        """The id that operators use in commands."""
        return self.secret.id


MacSecretRecords = tuple[MacSecretRecord, ...]
"""All MAC secrets. In the file, the current one is the first."""


def mac_secrets_file(folder: Path) -> Path:
    """Return the file of the MAC secrets."""
    return folder / "private" / "mac-secrets.json"


def new_secret() -> MacSecret:
    """Create a secret."""
    return MacSecret(os.urandom(_ID_BYTES).hex(), os.urandom(_VALUE_BYTES))


def is_secret_due(record: MacSecretRecord, now: datetime) -> bool:
    """Return whether a next secret has been loaded by every issuer, or all tokens of a retired one have expired."""
    if record.retired_at is not None:
        return now >= record.retired_at + MAX_SESSION
    return record.activated_at is None and now >= record.created_at + PROPAGATION_DELAY


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
        return MacSecretRecord(
            MacSecret(self.id, self.value),
            created_at=self.created_at,
            activated_at=self.activated_at,
            retired_at=self.retired_at,
        )


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
    if [number for number, record in enumerate(records) if record.state is KeyState.CURRENT] != [0]:
        raise KeyStoreError(f"{path}: the first MAC secret is not current; restore the file from a backup")
    return records


def is_sealed(content: bytes) -> bool:
    """Return whether this content of the file is encrypted."""
    return b'"sealed"' in content


def format_mac_secrets(records: Iterable[MacSecretRecord], passphrase: bytes | None) -> bytes:
    """Return the content of the file, encrypted if there is a passphrase. The current secret is the first."""
    ordered = sorted(records, key=lambda record: (record.state is KeyState.CURRENT, record.created_at), reverse=True)
    secrets = [
        {
            "id": record.secret.id,
            "created_at": record.created_at.isoformat(),
            "activated_at": record.activated_at and record.activated_at.isoformat(),
            "retired_at": record.retired_at and record.retired_at.isoformat(),
            "value": base64.b64encode(record.secret.value).decode(),
        }
        for record in ordered
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
        raise KeyStoreError(f"{path}: wrong passphrase; check the file that holds it") from None


def _derive_key(passphrase: bytes, salt: bytes) -> bytes:
    """Derive the key by scrypt (RFC 7914) with 32 MiB: about 0.1 s, once for each reload."""
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(passphrase)
