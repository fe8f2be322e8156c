"""Key records: the times and state of each signing key, and the file `keys/private/keys.json` that holds them.

A key is published before it signs, and stays published until the last token that it signed has expired.
`rotation` computes the transitions.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter

from issuer.errors import KeyStoreError
from shared.jwks import JwksError, parse_key, thumbprint, to_jwk
from shared.strict_json import StrictJsonError, parse_object

_FORMAT: Final = 1


class KeyState(StrEnum):
    """State of a signing key or a MAC secret."""

    NEXT = "next"
    """Published, so that verifiers fetch it; does not sign yet. At most one."""
    CURRENT = "current"
    """Signs. At most one."""
    RETIRED = "retired"
    """Does not sign any more; published until its last token has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedRecord:
    """The times of a signing key or a MAC secret, from which its state follows.

    Attributes:
        created_at: when it was created and published.
        activated_at: when it began to sign.
        retired_at: when it stopped signing.
    """

    created_at: datetime = field(repr=False)
    activated_at: datetime | None = field(default=None, repr=False)
    retired_at: datetime | None = field(default=None, repr=False)

    @property
    def state(self) -> KeyState:
        """The state that follows from the times."""
        if self.retired_at is not None:
            return KeyState.RETIRED
        return KeyState.NEXT if self.activated_at is None else KeyState.CURRENT


@dataclass(frozen=True, slots=True)
class KeyRecord(RotatedRecord):
    """One signing key: its public half and its times. Its repr shows only the kid.

    Attributes:
        kid: the RFC 7638 thumbprint of `public`.
    """

    kid: str
    public: rsa.RSAPublicKey = field(repr=False)

    @property
    def name(self) -> str:
        """The id that operators use in commands."""
        return self.kid


R = TypeVar("R", bound=RotatedRecord)
KeyRecords = tuple[KeyRecord, ...]
"""All keys, oldest first. Every one of them is published."""


def key_records_file(folder: Path) -> Path:
    """Return the file of the key records. Replacing it commits a change."""
    return folder / "private" / "keys.json"


def in_state(records: Iterable[R], state: KeyState) -> R | None:
    """Return the first key or secret in that state."""
    return next((record for record in records if record.state is state), None)


class _Entry(BaseModel):
    """An entry of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kid: str
    state: KeyState
    created_at: AwareDatetime
    activated_at: AwareDatetime | None
    retired_at: AwareDatetime | None
    public: dict[str, str]

    def record(self) -> KeyRecord:
        """Return the record. Check that `kid` is the thumbprint of the key, and `state` the state of the times."""
        key = parse_key(self.public)
        if not thumbprint(key.rsa) == key.kid == self.kid:
            raise ValueError("kid is not the thumbprint")
        record = KeyRecord(
            self.kid,
            key.rsa,
            created_at=self.created_at,
            activated_at=self.activated_at,
            retired_at=self.retired_at,
        )
        if record.state is not self.state:
            raise ValueError("the times are of another state")
        return record


_ENTRIES: Final = TypeAdapter(list[_Entry])


def read_key_records(folder: Path) -> KeyRecords:
    """Read the key records; empty if there is no file.

    Raises:
        KeyStoreError: the file is invalid.
    """
    path = key_records_file(folder)
    try:
        document = parse_object(path.read_bytes())
        if document["format"] != _FORMAT:
            raise KeyStoreError(f"{path}: written by another version of Gatepass; use that version")
        records = tuple(entry.record() for entry in _ENTRIES.validate_python(document["keys"]))
        if sum(key.state is KeyState.CURRENT for key in records) > 1:
            raise KeyStoreError(f"{path}: more than one current key")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeyStoreError(f"{path}: cannot be read ({error.strerror})") from error
    except (StrictJsonError, JwksError, KeyError, ValueError) as error:
        raise KeyStoreError(f"{path}: invalid key records; restore the file from a backup") from error
    return records


def format_key_records(records: Iterable[KeyRecord]) -> bytes:
    """Return the content of the file."""
    entries = [
        {
            "kid": key.kid,
            "state": key.state,
            "created_at": key.created_at.isoformat(),
            "activated_at": key.activated_at and key.activated_at.isoformat(),
            "retired_at": key.retired_at and key.retired_at.isoformat(),
            "public": to_jwk(key.public),
        }
        for key in records
    ]
    return json.dumps({"format": _FORMAT, "keys": entries}, indent=2).encode() + b"\n"
