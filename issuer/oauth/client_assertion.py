"""Client authentication by `private_key_jwt` (RFC 7523 §2.2 and §3): registered public keys, and signed assertions.

The issuer has only the public key of a client, so nothing that is stolen from it lets an attacker impersonate the
client. The code of `shared` reads keys and JWT, and checks signatures. The store records which assertions were used.

An assertion is checked in this order, and nothing in it is trusted before step 4:

1. size and compact form (RFC 7515 §3.1);
2. the header: strict JSON, a `typ` that no other JWT here has, no unknown member (RFC 7515 §4.1.11);
3. the key: by its `kid`, and under the one algorithm that it was registered for (RFC 8725 §3.1);
4. the signature;
5. `iss` and `sub` are the client, `aud` is only this issuer (RFC 7523 §3 (1) to (3));
6. `exp`, `nbf` and `iat` ((4) to (6)), and a `jti` (7).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cachetools import LRUCache, cached

from shared.jwks import PublicKey, UnusableKeyError, has_secret, parse_key
from shared.jws import CompactJws, JoseHeader, JwsFault, read_compact
from shared.strict_json import JsonObject, StrictJsonError, parse_object

ALGORITHMS: Final = ("RS256", "PS256", "ES256")
"""The algorithms of client keys. A key is registered for one of them, so the header cannot choose another."""

MAX_ASSERTION_LIFETIME: Final = timedelta(minutes=5)
"""Counted from `iat`. A later `exp` has no effect, since common libraries set an hour by default. Without `iat`, an
`exp` that is further in the future is rejected."""

LEEWAY: Final = timedelta(seconds=30)
"""Tolerated difference between a client's clock and ours."""

MAX_ASSERTION_BYTES: Final = 4096
MAX_KEYS: Final = 8
CACHED_KEY_SETS: Final = 256
"""Maximum number of parsed key sets, a few KiB each."""
_MAX_NAME_CHARACTERS: Final = 256
_TYPES: Final = frozenset({"jwt", "client-authentication+jwt"})
_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
"""The allowed header members of an assertion. Unknown members could change what is signed or which key is used (`b64`
of RFC 7797, `crit`, `jwk`, `x5c`), so they are rejected, although RFC 7515 §4 ignores unknown ones. The certificate
thumbprints, which some libraries add, repeat `kid` and are not used."""
_RSA_MEMBERS: Final = ("kty", "n", "e")
_EC_MEMBERS: Final = ("kty", "crv", "x", "y")


class ClientKeysError(ValueError):
    """A key set that must not be registered. The message has the reason and never quotes key material."""


class InvalidAssertionError(ValueError):
    """An invalid assertion. The message is a fixed phrase for the log, and never quotes what was sent."""


@dataclass(frozen=True, slots=True)
class UnverifiedAssertion:
    """A parsed assertion. Its `sub` names the client that may have signed it. Its repr omits everything."""

    client_id: str = field(repr=False)
    claims: JsonObject = field(repr=False)
    jws: CompactJws = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifiedAssertion:
    """An assertion that the client has signed for this issuer. It is valid once, until `expires_at`.

    Attributes:
        jti: its id, unique for the client.
        expires_at: when it expires, including leeway. Then its `jti` can be deleted.
    """

    jti: str = field(repr=False)
    expires_at: datetime


def register_keys(document: bytes) -> tuple[dict[str, str], ...]:
    """Return the relevant members of a client's JWK Set (RFC 7517): each key has a `kid` and one `alg`.

    Raises:
        ClientKeysError: a key is unusable or private. The operator must correct the file.
    """
    try:
        entries = parse_object(document).get("keys")
    except StrictJsonError as error:
        raise ClientKeysError(str(error)) from error
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_KEYS:
        raise ClientKeysError(f'needs a "keys" array of 1 to {MAX_KEYS} keys')
    keys = tuple(_registered(entry) for entry in entries)
    if len({key["kid"] for key in keys}) != len(keys):
        raise ClientKeysError("two keys have the same kid")
    return keys


# Keyed by content, not by client, so that a change of a client cannot leave an old key in use.
@cached(LRUCache(CACHED_KEY_SETS), key=lambda registered: tuple(tuple(key.items()) for key in registered))
def load_keys(registered: tuple[dict[str, str], ...]) -> tuple[PublicKey, ...]:
    """Parse the keys that `register_keys` returned. Cached, since it takes longer than a signature check.

    Raises:
        ClientKeysError: a key is unusable. An earlier version may have stored it.
    """
    return tuple(_parse(key, key["alg"]) for key in registered)


def read_assertion(text: str) -> UnverifiedAssertion:
    """Parse an assertion without verifying it.

    Raises:
        InvalidAssertionError: the text is not an assertion.
    """
    jws = read_compact(text.encode("ascii", "replace"), MAX_ASSERTION_BYTES)
    if isinstance(jws, JwsFault) or not jws.signature:
        raise InvalidAssertionError("not a compact JWS")
    if not _is_assertion_header(jws.header):
        raise InvalidAssertionError("not the header of an assertion")
    try:
        claims = parse_object(jws.payload)
    except StrictJsonError:
        raise InvalidAssertionError("not strict JSON") from None
    client_id = claims.get("sub")
    if not isinstance(client_id, str):
        raise InvalidAssertionError("no usable sub")
    return UnverifiedAssertion(client_id, claims, jws)


def verify_assertion(
    assertion: UnverifiedAssertion, keys: tuple[PublicKey, ...], audiences: frozenset[str], now: datetime
) -> VerifiedAssertion:
    """Verify the signature, the client, the audience and the time of an assertion by the keys of its client.

    Raises:
        InvalidAssertionError: a check failed.
    """
    claims, jws = assertion.claims, assertion.jws
    if not jws.is_signed_by(_key_of(jws.header, keys).material, jws.header.algorithm):
        raise InvalidAssertionError("bad signature")
    if claims.get("iss") != assertion.client_id:
        raise InvalidAssertionError("iss and sub are not the client")
    if not _is_for_us(claims.get("aud"), audiences):
        raise InvalidAssertionError("wrong audience")
    expires_at = _expiry(claims, now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_NAME_CHARACTERS:
        raise InvalidAssertionError("no usable jti")
    return VerifiedAssertion(jti, expires_at)


def _registered(entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise ClientKeysError("a key is not an object")
    if has_secret(entry):
        raise ClientKeysError("private or symmetric key material: register public keys, replace the leaked ones")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_NAME_CHARACTERS or not kid.isprintable():
        raise ClientKeysError("a key has no kid, or one that is too long or not printable")
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise ClientKeysError("a key is not for signatures")
    algorithm = _algorithm(entry)
    _parse(entry, algorithm)
    return {name: str(entry[name]) for name in _members(algorithm)} | {"kid": kid, "alg": algorithm}


def _algorithm(entry: Mapping[str, Any]) -> str:
    """Return the algorithm of a key: its `alg`, or the default of its type."""
    kty, default = entry.get("kty"), "ES256" if entry.get("kty") == "EC" else "RS256"
    match kty, entry.get("alg", default):
        case ("RSA", ("RS256" | "PS256") as algorithm) | ("EC", "ES256" as algorithm):
            return str(algorithm)
        case _:
            raise ClientKeysError(f"a key is for none of {', '.join(ALGORITHMS)}")


def _members(algorithm: str) -> tuple[str, ...]:
    return _EC_MEMBERS if algorithm == "ES256" else _RSA_MEMBERS


def _parse(entry: Mapping[str, Any], algorithm: str) -> PublicKey:
    """Parse a key and check its strength: RFC 7518 §3.3 and §3.5 for RSA, §6.2.1 for P-256."""
    key = {name: entry.get(name) for name in ("kid", *_members(algorithm))}
    try:
        return parse_key(key, {algorithm})
    except UnusableKeyError:
        raise ClientKeysError("a key is malformed or too weak: RSA of 2048 to 8192 bits, or P-256") from None


def _key_of(header: JoseHeader, keys: tuple[PublicKey, ...]) -> PublicKey:
    """Return the key that `kid` names, if it has the algorithm. Without `kid`, a client must have only one key."""
    named = [key for key in keys if key.kid == header.kid] if "kid" in header.members else list(keys)
    if len(named) != 1:
        raise InvalidAssertionError("no key of the client has this kid")
    if header.algorithm not in named[0].algorithms:
        raise InvalidAssertionError("algorithm is not that of the key")
    return named[0]


def _is_assertion_header(header: JoseHeader) -> bool:
    """Check the header members, and `typ` if present (RFC 8725 §3.11)."""
    return header.members <= _HEADER_MEMBERS and ("typ" not in header.members or header.type in _TYPES)


def _is_for_us(audience: Any, audiences: frozenset[str]) -> bool:
    """Return whether we are the only audience: another audience could replay the assertion (RFC 7523 §3 (3))."""
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    return isinstance(audience, str) and audience in audiences


def _expiry(claims: JsonObject, now: datetime) -> datetime:
    """Return the expiry, including leeway. RFC 7523 §3 (4) allows rejecting long lifetimes."""
    expires_at = _numeric_date(claims["exp"]) if "exp" in claims else None
    if expires_at is None:
        raise InvalidAssertionError("no exp")
    issued_at = _numeric_date(claims["iat"]) if "iat" in claims else None
    if "nbf" in claims and _numeric_date(claims["nbf"]) > now + LEEWAY:
        raise InvalidAssertionError("not yet valid")
    if issued_at is not None:
        if issued_at > now + LEEWAY:
            raise InvalidAssertionError("issued in the future")
        expires_at = min(expires_at, issued_at + MAX_ASSERTION_LIFETIME)
    if expires_at > now + MAX_ASSERTION_LIFETIME + LEEWAY:
        raise InvalidAssertionError("lifetime is too long")
    if expires_at + LEEWAY <= now:
        raise InvalidAssertionError("expired")
    return expires_at + LEEWAY


def _numeric_date(value: Any) -> datetime:
    """Parse a NumericDate (RFC 7519 §2). Reject strings and booleans."""
    if type(value) not in {int, float}:
        raise InvalidAssertionError("a time is not a number")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidAssertionError("a time is not a number") from None
