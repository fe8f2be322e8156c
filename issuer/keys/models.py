"""The ring: which signing key is in what state, since when. Its values, and `keys/private/ring.json`.

A key is published before it signs, and stays published until the last token it signed is dead. What moves a
key on is `key_lifecycle`'s; here it is only read and written down.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from issuer.errors import KeyringError
from shared.jwks import JwksError, parse_jwks, thumbprint, to_jwk
from shared.strict_json import StrictJsonError, parse_object

_FORMAT: Final = 1


class KeyState(StrEnum):
    """Where a key is in its life."""

    NEXT = "next"
    """Published, so that verifiers learn it; does not sign yet. At most one."""
    CURRENT = "current"
    """Signs. At most one."""
    RETIRED = "retired"
    """Signs no more; published until its last token is dead."""


@dataclass(frozen=True, slots=True)
class RingKey:
    """One key of the ring: its public half and its life so far. Shows only its name and state.

    Attributes:
        kid: the RFC 7638 thumbprint of `public`.
        created_at: when it was made and published.
        activated_at: when it began to sign.
        retired_at: when it ceased to.
    """

    kid: str
    state: KeyState
    public: rsa.RSAPublicKey = field(repr=False)
    created_at: datetime = field(repr=False)
    activated_at: datetime | None = field(default=None, repr=False)
    retired_at: datetime | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What an operator calls it by."""
        return self.kid


Ring = tuple[RingKey, ...]
"""All keys, in the order in which they were made. Every one of them is published."""


def ring_file(folder: Path) -> Path:
    """The file whose replacement is the moment at which a change of the ring happens."""
    return folder / "private" / "ring.json"


def key_in_state(ring: Ring, state: KeyState) -> RingKey | None:
    """The first key in that state."""
    return next((key for key in ring if key.state is state), None)


def read_ring(folder: Path) -> Ring:
    """The ring; empty if there is no file.

    Raises:
        KeyringError: what is there is no ring.
    """
    path = ring_file(folder)
    try:
        document = parse_object(path.read_bytes())
        if document["format"] != _FORMAT:
            raise KeyringError(f"{path}: written by another version of Gatepass")
        ring = tuple(_parse_entry(entry) for entry in document["keys"])
        if sum(key.state is KeyState.CURRENT for key in ring) > 1:
            raise KeyringError(f"{path}: more than one current key")
        _check_times(ring)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeyringError(f"{path}: cannot be read ({error.strerror})") from error
    except (StrictJsonError, JwksError, KeyError, TypeError, ValueError) as error:
        raise KeyringError(f"{path}: not a ring: restore it from a backup") from error
    return ring


def format_ring(ring: Iterable[RingKey]) -> bytes:
    """The content of `ring.json`."""
    entries = [
        {
            "kid": key.kid,
            "state": key.state,
            "created_at": key.created_at.isoformat(),
            "activated_at": key.activated_at and key.activated_at.isoformat(),
            "retired_at": key.retired_at and key.retired_at.isoformat(),
            "public": to_jwk(key.public),
        }
        for key in ring
    ]
    return json.dumps({"format": _FORMAT, "keys": entries}, indent=2).encode() + b"\n"


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


def _check_times(ring: Ring) -> None:
    """A life that lacks its dates could not be ended; one without a zone could not be compared."""
    for key in ring:
        since = {KeyState.CURRENT: key.activated_at, KeyState.RETIRED: key.retired_at}.get(key.state, key.created_at)
        if since is None or since.tzinfo is None or key.created_at.tzinfo is None:
            raise ValueError("a time is missing")


def _optional_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
