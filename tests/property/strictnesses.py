"""The complete list of differences in which the verifier is stricter than PyJWT and joserfc, with the reasons.

Each depends on the token alone and not on the verifier's code, so that a rejection for a wrong reason is not
explained by it.
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, Final

import jwt

from verifier.decision.policy import Policy
from verifier.decision.reasons import RejectionReason


@dataclass(frozen=True)
class Lax:
    """A token that a library accepts, as the library reads it."""

    token: bytes
    policy: Policy
    keys: list[dict[str, Any]]
    owners: dict[str, str]
    """Issuers by the modulus of their published keys."""

    def _segment(self, position: int) -> bytes:
        return urlsafe_b64decode(self.token.split(b".")[position].rstrip(b"=") + b"==")

    @cached_property
    def header(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self._segment(0))
        return read

    @cached_property
    def claims(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self._segment(1))
        return read

    def ambiguous(self, position: int, *, values: bool) -> bool:
        """Return whether the segment is ambiguous JSON (RFC 8725 §2.6), by a reader that is independent of our code.

        With `values`, also report numbers and strings that implementations represent differently.
        """
        document = self._segment(position)
        found: list[str] = []

        def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            if len({name for name, _ in pairs}) < len(pairs):
                found.append("duplicate name")
            return dict(pairs)

        def number(digits: str) -> float:
            if values and (not abs(float(digits)) < 2**53 or digits == "-0" or len(digits) > 32):
                found.append("number")
            return float(digits)

        def constant(name: str) -> float:
            found.append(name)
            return 0

        value = json.loads(
            document, object_pairs_hook=members, parse_int=number, parse_float=number, parse_constant=constant
        )
        if values and "\\ud" in document.decode("latin-1").lower() and _lone_surrogate(value):
            found.append("surrogate")
        return bool(found) or not _is_utf8(document) or depth(value) > 16


def _lone_surrogate(value: Any) -> bool:
    return re.search("[\ud800-\udfff]", json.dumps(value, ensure_ascii=False)) is not None


def _is_utf8(document: bytes) -> bool:
    try:
        return document.decode("utf-8")[0] != "\ufeff" and document[1:2] != b"\0" and document[:1] != b"\0"
    except UnicodeDecodeError:
        return False


def depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth, children), default=0)


@dataclass(frozen=True)
class Strictness:
    """A rejection of a token that a library accepts, with its reason and justification."""

    name: str
    reason: RejectionReason
    why: str
    applies: Callable[[Lax], bool]


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 2**53


def _seconds(value: Any) -> float:
    """Return a time as PyJWT reads it, also from a string."""
    return inf if type(value) is int and value > 2**1023 else float(value)


def _is_text(value: Any) -> bool:
    return type(value) is str and value != "" and not _lone_surrogate(value)


def _is_identifier(value: Any) -> bool:
    return type(value) is str and re.fullmatch(r"[!-~]{1,255}", value) is not None


def _is_scope(value: Any) -> bool:
    return (
        type(value) is str
        and len(value) <= 800
        and all(re.fullmatch(r"[!#-\[\]-~]+", t) for t in value.split(" ") if value)
    )


def _are_roles(value: Any) -> bool:
    return (
        type(value) is list
        and all(type(role) is str and re.fullmatch(r"[!-+\--~]+", role) for role in value)
        and len(",".join(value)) < 800
    )


def _is_status(value: Any) -> bool:
    reference = value.get("status_list") if type(value) is dict else None
    return (
        type(reference) is dict
        and _is_text(reference.get("uri"))
        and type(reference.get("idx")) is int
        and _is_time(reference.get("idx"))
    )


def _fails(check: Callable[[Any], bool], *names: str) -> Callable[[Lax], bool]:
    return lambda lax: any(name in lax.claims and not check(lax.claims[name]) for name in names)


def _key_of(lax: Lax) -> dict[str, Any]:
    return next(key for key in lax.keys if key.get("kid") == lax.header["kid"])


def _owner_of(lax: Lax) -> str:
    """Return the issuer whose key made the signature, found by trying all keys."""
    signing_input, _, signature = lax.token.rpartition(b".")
    for key in lax.keys:
        public = jwt.PyJWK(key, algorithm="RS256")
        if public.Algorithm.verify(signing_input, public.key, urlsafe_b64decode(signature + b"==")):
            return lax.owners[key["n"]]
    raise LookupError


def _is_meant_for_rs256(key: dict[str, Any]) -> bool:
    bits = int.from_bytes(urlsafe_b64decode(key["n"] + "=="), "big").bit_length()
    return key.get("alg", "RS256") == "RS256" and key.get("use", "sig") == "sig" and bits >= 2048


_CHANGES_THE_READING: Final = frozenset(
    ["crit", "b64", "zip", "cty", "jwk", "jku", "x5u", "x5c", "enc", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c"]
)

STRICTNESSES: Final = (
    Strictness(
        "size",
        RejectionReason.TOO_LARGE,
        "work is bounded before anything is parsed (CVE-2025-61920)",
        lambda lax: len(lax.token) > 8192 or len(lax.token.split(b".")[0]) > 1024,
    ),
    Strictness(
        "padding",
        RejectionReason.MALFORMED,
        "RFC 7515 §2 leaves `=` out; a second spelling dodges a denial by hash",
        lambda lax: b"=" in lax.token,
    ),
    Strictness(
        "ambiguous header", RejectionReason.INVALID_HEADER, "RFC 8725 §2.6", lambda lax: lax.ambiguous(0, values=True)
    ),
    Strictness(
        "header members",
        RejectionReason.INVALID_HEADER,
        "they say that the token is to be read or verified in another way",
        lambda lax: not _CHANGES_THE_READING.isdisjoint(lax.header),
    ),
    Strictness(
        "header types",
        RejectionReason.INVALID_HEADER,
        "RFC 7515 §4.1.9: `typ` is a string",
        lambda lax: type(lax.header.get("typ", "")) is not str,
    ),
    Strictness(
        "type",
        RejectionReason.WRONG_TYPE,
        "RFC 9068 §4: an access token says that it is one; the libraries leave it to us",
        lambda lax: (
            re.fullmatch(
                "|".join(f"(application/)?{re.escape(kind)}" for kind in lax.policy.token_types),
                str(lax.header.get("typ")),
                re.IGNORECASE | re.ASCII,
            )
            is None
        ),
    ),
    Strictness(
        "key",
        RejectionReason.UNKNOWN_KEY,
        "a key serves what it was published for (CVE-2026-48523), with 2048 bits (RFC 7518 §3.3)",
        lambda lax: not _is_meant_for_rs256(_key_of(lax)),
    ),
    Strictness(
        "ambiguous claims",
        RejectionReason.INVALID_CLAIMS,
        "RFC 8725 §2.6",
        lambda lax: lax.ambiguous(1, values=False),
    ),
    Strictness(
        "times",
        RejectionReason.INVALID_CLAIMS,
        "RFC 7519 §2: strings and truth values are no NumericDate; times beyond 2^53 are a mistake",
        _fails(_is_time, "exp", "iat", "nbf", "auth_time"),
    ),
    Strictness(
        "times in order",
        RejectionReason.INVALID_CLAIMS,
        "a token that expires before it was issued has no valid meaning",
        lambda lax: _seconds(lax.claims["iat"]) >= _seconds(lax.claims["exp"]),
    ),
    Strictness(
        "fractions",
        RejectionReason.NOT_YET_VALID,
        "RFC 7519 §4.1.5: before the exact time, of which PyJWT cuts the fraction off",
        lambda lax: any(_seconds(lax.claims.get(name, 0)) % 1 for name in ("iat", "nbf")),
    ),
    Strictness(
        "identifiers",
        RejectionReason.INVALID_CLAIMS,
        "they become response headers: visible ASCII, 255 characters",
        _fails(_is_identifier, "sub", "jti", "client_id", "sid"),
    ),
    Strictness(
        "scope", RejectionReason.INVALID_CLAIMS, "RFC 6749 §3.3, and a response header", _fails(_is_scope, "scope")
    ),
    Strictness("roles", RejectionReason.INVALID_CLAIMS, "a list, and a response header", _fails(_are_roles, "roles")),
    Strictness(
        "status",
        RejectionReason.INVALID_CLAIMS,
        "a status that we can't look up is not clear",
        _fails(_is_status, "status"),
    ),
    Strictness(
        "audiences",
        RejectionReason.INVALID_CLAIMS,
        "RFC 7519 §4.1.3: every member is a StringOrURI",
        lambda lax: (
            not all(
                _is_text(name)
                for name in (lax.claims["aud"] if type(lax.claims["aud"]) is list else [lax.claims["aud"]])
            )
        ),
    ),
    Strictness(
        "sender",
        RejectionReason.SENDER_CONSTRAINED,
        "RFC 7800 §3.1: its presenter must prove a key, and we don't ask for that",
        lambda lax: "cnf" in lax.claims,
    ),
    Strictness(
        "issuer owns the key",
        RejectionReason.WRONG_ISSUER,
        "the libraries know keys, not whose they are (RFC 8725 §3.8)",
        lambda lax: _owner_of(lax) != lax.claims["iss"],
    ),
    Strictness(
        "lifetime",
        RejectionReason.LIFETIME_TOO_LONG,
        "a token that lives for years is a password that cannot be changed (RFC 6750 §5.3)",
        lambda lax: (
            lax.claims["exp"] - lax.claims["iat"] > lax.policy.max_lifetime_seconds.get(lax.claims["iss"], 86_400)
        ),
    ),
    Strictness(
        "age",
        RejectionReason.TOO_OLD,
        "the policy demands a fresh token",
        lambda lax: lax.policy.max_age_seconds is not None,
    ),
    Strictness(
        "revocation",
        RejectionReason.REVOKED,
        "the libraries follow no status list",
        lambda lax: "status" in lax.claims,
    ),
    Strictness(
        "list unknown",
        RejectionReason.STATUS_UNAVAILABLE,
        "the libraries follow no status list, and miss none",
        lambda lax: "status" in lax.claims,
    ),
    Strictness(
        "scope demanded",
        RejectionReason.INSUFFICIENT_SCOPE,
        "permission is ours to decide",
        lambda lax: bool(lax.policy.scopes_all or lax.policy.scopes_any),
    ),
    Strictness(
        "role demanded",
        RejectionReason.INSUFFICIENT_ROLE,
        "permission is ours to decide",
        lambda lax: bool(lax.policy.roles_all or lax.policy.roles_any),
    ),
    Strictness(
        "claim demanded",
        RejectionReason.INSUFFICIENT_CLAIM,
        "permission is ours to decide",
        lambda lax: bool(lax.policy.claims),
    ),
)
