"""Clients that prove themselves with a key: what they register, and the assertions they sign with it.

`private_key_jwt` of RFC 7523 §2.2 and §3. The client holds the private key, we hold the public one: nothing here
can be stolen that would let anybody pass for the client. PyJWT checks signatures; what a JWT says is read in our
own strict way. Whether an assertion was used before is not known here.

An assertion is checked in this order, and nothing of it is believed before 4:

1. size and compact form (RFC 7515 §3.1);
2. the header: strict JSON, a type that no other JWT here has, no member that we do not know (RFC 7515 §4.1.11);
3. the key: by its `kid`, and under the one algorithm that it was registered for (RFC 8725 §3.1);
4. the signature;
5. `iss` and `sub` are the client, `aud` is us and nobody else (RFC 7523 §3 (1) to (3));
6. the time (4) to (6), bounded from both sides, and a `jti` (7).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.jwks import JwksError, parse_jwks
from shared.jws import CompactJws, Header, JwsFault, read_compact
from shared.strict_json import JsonObject, StrictJsonError, parse_object

ALGORITHMS: Final = ("RS256", "PS256", "ES256")
"""What a client may sign with. Its key is registered for one of them, so a header has nothing to choose."""

LONGEST_LIFE: Final = timedelta(minutes=5)
"""From `iat`, or from now where there is none: `exp` may say an hour, as common libraries do by default."""

LEEWAY: Final = timedelta(seconds=30)
"""How far the client's clock may be from ours."""

MAX_ASSERTION_BYTES: Final = 4096
MAX_KEYS: Final = 8
_MAX_NAME_CHARACTERS: Final = 256
_TYPES: Final = frozenset({"jwt", "client-authentication+jwt"})
_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
"""All that the header of an assertion may have. Members that we do not know could change what is signed or whose key
counts (`b64` of RFC 7797, `crit`, `jwk`, `x5c`), so they are rejected although RFC 7515 §4 has unknown ones ignored.
The certificate thumbprints, which some libraries add, only repeat what `kid` says and are not used."""
_SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_RSA_MEMBERS: Final = ("kty", "n", "e")
_EC_MEMBERS: Final = ("kty", "crv", "x", "y")


class ClientKeysError(ValueError):
    """The key set must not be registered. The message says why and never quotes key material."""


class RefusedAssertionError(ValueError):
    """The assertion proves nothing. The message is for the log: a closed phrase, nothing that was sent."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A registered public key, good under one algorithm."""

    kid: str
    algorithm: str
    public: RSAPublicKey | EllipticCurvePublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnverifiedAssertion:
    """What an assertion says of itself: enough to look up who could have signed it. Shows nothing."""

    client_id: str = field(repr=False)
    claims: JsonObject = field(repr=False)
    jws: CompactJws = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifiedAssertion:
    """An assertion that the client has signed for us. Good once, until `expires_at`.

    Attributes:
        jti: its own name, unique for the client.
        expires_at: when it would be refused anyhow, so that its `jti` need be known no longer.
    """

    jti: str = field(repr=False)
    expires_at: datetime


def register_keys(document: bytes) -> tuple[dict[str, str], ...]:
    """The members that count of a client's JWK Set (RFC 7517), each key with a `kid` and its one `alg`.

    Raises:
        ClientKeysError: anything in it is of no use or has no business there. An operator can mend a file.
    """
    try:
        entries = parse_object(document).get("keys")
    except StrictJsonError as error:
        raise ClientKeysError(str(error)) from error
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_KEYS:
        raise ClientKeysError(f'needs a "keys" array of 1 to {MAX_KEYS} keys')
    keys = tuple(_registered(entry) for entry in entries)
    if len({key["kid"] for key in keys}) != len(keys):
        raise ClientKeysError("two keys have one kid")
    return keys


def load_keys(registered: tuple[dict[str, str], ...]) -> tuple[ClientKey, ...]:
    """What `register_keys` gave, ready to check signatures."""
    return tuple(ClientKey(key["kid"], key["alg"], _public(key, key["alg"])) for key in registered)


def read_assertion(text: str) -> UnverifiedAssertion:
    """Who an assertion says that it is from. Nothing of it is proven.

    Raises:
        RefusedAssertionError: it is not an assertion.
    """
    jws = read_compact(text.encode("ascii", "replace"), MAX_ASSERTION_BYTES)
    if isinstance(jws, JwsFault) or not jws.signature:
        raise RefusedAssertionError("not a compact JWS")
    if not _is_of_an_assertion(jws.header):
        raise RefusedAssertionError("not the header of an assertion")
    try:
        claims = parse_object(jws.payload)
    except StrictJsonError:
        raise RefusedAssertionError("not strict JSON") from None
    client_id = claims.get("sub")
    if not isinstance(client_id, str):
        raise RefusedAssertionError("sub of a wrong type")
    return UnverifiedAssertion(client_id, claims, jws)


def verify_assertion(
    assertion: UnverifiedAssertion, keys: tuple[ClientKey, ...], audiences: frozenset[str], now: datetime
) -> VerifiedAssertion:
    """Check that the client has signed this for us, and when.

    Args:
        assertion: as read.
        keys: of the client whose id it names.
        audiences: the URLs by which we are called.
        now: the present.

    Raises:
        RefusedAssertionError: it proves nothing.
    """
    key, claims, jws = _key_of(assertion.jws.header, keys), assertion.claims, assertion.jws
    if not jwt.get_algorithm_by_name(key.algorithm).verify(jws.signing_input, key.public, jws.signature):
        raise RefusedAssertionError("bad signature")
    if claims.get("iss") != assertion.client_id or claims.get("sub") != assertion.client_id:
        raise RefusedAssertionError("iss and sub are not the client")
    if not _is_for_us(claims.get("aud"), audiences):
        raise RefusedAssertionError("for another audience")
    expires_at = _expiry(claims, now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_NAME_CHARACTERS:
        raise RefusedAssertionError("without a usable jti")
    return VerifiedAssertion(jti, expires_at)


def _registered(entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise ClientKeysError("a key is not an object")
    if entry.get("kty") == "oct" or not _SECRET_MEMBERS.isdisjoint(entry):
        raise ClientKeysError("private or symmetric key material: register public keys, replace the leaked ones")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_NAME_CHARACTERS or not kid.isprintable():
        raise ClientKeysError("a key has no plain kid by which assertions could name it")
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise ClientKeysError("a key is not for signatures")
    algorithm = _algorithm(entry)
    _public(entry, algorithm)
    members = _EC_MEMBERS if algorithm == "ES256" else _RSA_MEMBERS
    return {name: str(entry[name]) for name in members} | {"kid": kid, "alg": algorithm}


def _algorithm(entry: Mapping[str, Any]) -> str:
    """The one that the key is good under: as it says, else what is usual for its type."""
    kty, default = entry.get("kty"), "ES256" if entry.get("kty") == "EC" else "RS256"
    match kty, entry.get("alg", default):
        case ("RSA", ("RS256" | "PS256") as algorithm) | ("EC", "ES256" as algorithm):
            return str(algorithm)
        case _:
            raise ClientKeysError(f"a key is for none of {', '.join(ALGORITHMS)}")


def _public(entry: Mapping[str, Any], algorithm: str) -> RSAPublicKey | EllipticCurvePublicKey:
    """The key, if it is one that may be trusted: RFC 7518 §3.3 and §3.5 for RSA, §6.2.1 for P-256."""
    try:
        if algorithm == "ES256":
            return _elliptic(entry)
        rsa = {name: entry.get(name) for name in _RSA_MEMBERS} | {"kid": "-"}
        return parse_jwks(json.dumps({"keys": [rsa]}).encode()).keys["-"].rsa
    except (JwksError, jwt.PyJWTError, ValueError, TypeError):
        raise ClientKeysError("a key is malformed or too weak: RSA of 2048 to 8192 bits, or P-256") from None


def _elliptic(entry: Mapping[str, Any]) -> EllipticCurvePublicKey:
    if entry.get("crv") != "P-256":
        raise ValueError
    public = jwt.PyJWK({name: entry.get(name) for name in _EC_MEMBERS}, "ES256").key
    if not isinstance(public, EllipticCurvePublicKey):
        raise TypeError
    return public


def _key_of(header: Header, keys: tuple[ClientKey, ...]) -> ClientKey:
    """By `kid`; where the assertion names none, a client of one key can only mean that one."""
    named = [key for key in keys if key.kid == header.kid] if "kid" in header.members else list(keys)
    if len(named) != 1:
        raise RefusedAssertionError("names none of the client's keys")
    if header.algorithm != named[0].algorithm:
        raise RefusedAssertionError("under another algorithm than the key's")
    return named[0]


def _is_of_an_assertion(header: Header) -> bool:
    """Check the members that there are, and the type if it is stated (RFC 8725 §3.11)."""
    return header.members <= _HEADER_MEMBERS and ("typ" not in header.members or header.type in _TYPES)


def _is_for_us(audience: Any, audiences: frozenset[str]) -> bool:
    """For one audience: an assertion that is for others too could be used by them (RFC 7523 §3 (3))."""
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    return isinstance(audience, str) and audience in audiences


def _expiry(claims: JsonObject, now: datetime) -> datetime:
    """When the assertion ends, leeway included. RFC 7523 §3 (4): one that is good for very long may be refused."""
    expires_at = _moment(claims["exp"]) if "exp" in claims else None
    if expires_at is None:
        raise RefusedAssertionError("without exp")
    issued_at = _moment(claims["iat"]) if "iat" in claims else None
    if "nbf" in claims and _moment(claims["nbf"]) > now + LEEWAY:
        raise RefusedAssertionError("not yet good")
    if issued_at is not None:
        if issued_at > now + LEEWAY:
            raise RefusedAssertionError("from the future")
        expires_at = min(expires_at, issued_at + LONGEST_LIFE)
    if expires_at > now + LONGEST_LIFE + LEEWAY:
        raise RefusedAssertionError("good for too long")
    if expires_at + LEEWAY <= now:
        raise RefusedAssertionError("expired")
    return expires_at + LEEWAY


def _moment(value: Any) -> datetime:
    """A NumericDate (RFC 7519 §2), and not a string or a truth value that looks like one."""
    if type(value) not in {int, float}:
        raise RefusedAssertionError("a time is not a number")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise RefusedAssertionError("a time is not a number") from None
