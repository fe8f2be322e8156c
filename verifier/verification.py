"""Is this an access token that we accept? The checks, by number; the only way to `Accepted` is past them all.

Pure: `verify` does no I/O and reads no clock. Keys, policy, revocations and the time are handed in.

 1. size         8 KiB at most, its header 1 KiB: before anything is parsed
 2. form         compact JWS of three canonical, unpadded base64url segments          RFC 7515 §2, §3.1
 3. header       strict JSON object; nothing in it that would change the reading      RFC 7515 §4, §4.1.11
 4. algorithm    `alg` is RS256, always                                               RFC 8725 §3.1
 5. type         `typ` is one that the policy accepts, `at+jwt` as a rule             RFC 9068 §4, RFC 8725 §3.11
 6. key          `kid` names a key that we hold                                       RFC 7515 §4.1.4
 7. signature    RSASSA-PKCS1-v1_5 with SHA-256 by that key, over the bytes received  RFC 7518 §3.3
 8. claims       strict JSON object; all required claims; each that we use of its
                 exact type, the others anything                                      RFC 7519 §4, RFC 9068 §2.2
 9. sender       no `cnf`: a bound token is no bearer token                           RFC 7800 §3.1
10. issuer       `iss` owns the key, and the policy accepts it                        RFC 9068 §4, RFC 8725 §3.8
11. audience     `aud` contains one of ours                                           RFC 9068 §4, RFC 8725 §3.9
12. time         after `nbf` and `iat`, before `exp`; neither made to live longer, nor
                 older, than the policy allows                                       RFC 7519 §4.1.4-6
13. status       the status list that it refers to, if its issuer's are followed, is
                 known and holds nothing against it                                  draft-ietf-oauth-status-list §8.3
14. permission   the scopes and roles that the policy demands

What the caller still owes: the one token of the request (`decider`), and an answer (`answers`).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from sys import intern
from typing import Any, Final, NamedTuple, cast

from shared.access_token import ALGORITHM, MAX_HEADER_BYTES, MAX_TOKEN_BYTES
from shared.strict_json import MAX_INTEGER, StrictJsonError, parse_open_object
from verifier.jws import BASE64URL, decode, read_header
from verifier.keyset import KeySet
from verifier.policies import DEFAULT_MAX_LIFETIME_SECONDS, Policy
from verifier.reasons import Reason
from verifier.status import Status, StatusLists, StatusReference

MAX_IDENTIFIER_CHARACTERS: Final = 255
MAX_LIST_CHARACTERS: Final = 800
"""Of `scope`, and of all `roles` together: with the identifiers, the answer stays under 3.5 KiB."""


class Claims(NamedTuple):
    """What a verified token says; holding one means that every type and length was checked.

    Times are seconds since the epoch, and may have fractions (RFC 7519 §2).
    """

    issuer: str
    subject: str
    audience: tuple[str, ...]
    expires_at: float
    issued_at: float
    not_before: float
    token_id: str
    client_id: str
    scope: str
    roles: tuple[str, ...]
    session: str
    status: StatusReference | None


class Accepted(NamedTuple):
    """The token passes, from `valid_from` until before `valid_until` (seconds since the epoch)."""

    claims: Claims
    valid_from: float
    valid_until: float


class Rejected(NamedTuple):
    """The token does not pass. A value and not an exception: a caller can't forget to catch it."""

    reason: Reason


class _InvalidClaimsError(ValueError):
    """Check 8 failed. Raised and caught inside this module."""


def verify(  # noqa: C901, PLR0911, PLR0912 - one flat list of checks, in their numbered order, is the point
    token: bytes, *, keys: KeySet, policy: Policy, now: float, revocations: StatusLists
) -> Accepted | Rejected:
    """Judge `token`, the credentials after `Bearer`, as received.

    Args:
        token: any bytes.
        keys: the public keys of every issuer, as they are now.
        policy: what is demanded.
        now: seconds since the epoch.
        revocations: the status lists that are followed, as they are now.
    """
    # 1 size
    if len(token) > MAX_TOKEN_BYTES or token.find(b".") > MAX_HEADER_BYTES:
        return Rejected(Reason.TOO_LARGE)

    # 2 form: every byte that is not of the base64url alphabet is one of exactly two dots
    if token.translate(None, BASE64URL) != b"..":
        return Rejected(Reason.MALFORMED)
    encoded_header, encoded_claims, encoded_signature = token.split(b".")
    try:
        signature, payload = decode(encoded_signature), decode(encoded_claims)
    except ValueError:
        return Rejected(Reason.MALFORMED)

    # 3 header (and 2 for its segment)
    header = read_header(encoded_header)
    if isinstance(header, Reason):
        return Rejected(header)

    # 4 algorithm
    if header.algorithm != ALGORITHM:
        return Rejected(Reason.UNSUPPORTED_ALGORITHM)

    # 5 type
    if header.type not in policy.token_types:
        return Rejected(Reason.WRONG_TYPE)

    # 6 key: several issuers may use one `kid`; no more than one candidate each
    candidates = keys.find(header.kid)
    if not candidates:
        return Rejected(Reason.UNKNOWN_KEY if keys.covers(policy.issuers) else Reason.KEYS_UNAVAILABLE)

    # 7 signature
    signing_input = token[: -1 - len(encoded_signature)]
    owners = [key.issuer for key in candidates if key.verifies(signature, signing_input)]
    if not owners:
        return Rejected(Reason.BAD_SIGNATURE)

    # 8 claims
    try:
        members = parse_open_object(payload)
        claims = _read_claims(members)
    except (StrictJsonError, _InvalidClaimsError, KeyError):
        return Rejected(Reason.INVALID_CLAIMS)

    # 9 sender
    if "cnf" in members:
        return Rejected(Reason.SENDER_CONSTRAINED)

    # 10 issuer
    if claims.issuer not in owners or claims.issuer not in policy.issuers:
        return Rejected(Reason.WRONG_ISSUER)

    # 11 audience
    if policy.audiences.isdisjoint(claims.audience):
        return Rejected(Reason.WRONG_AUDIENCE)

    # 12 time
    valid_from = max(claims.not_before, claims.issued_at) - policy.leeway_seconds
    valid_until = claims.expires_at + policy.leeway_seconds
    if now >= valid_until:
        return Rejected(Reason.EXPIRED)
    if now < valid_from:
        return Rejected(Reason.NOT_YET_VALID)
    # A token that lives for years is a password that cannot be changed.
    lifetime = claims.expires_at - claims.issued_at
    if lifetime > policy.max_lifetime_seconds.get(claims.issuer, DEFAULT_MAX_LIFETIME_SECONDS):
        return Rejected(Reason.LIFETIME_TOO_LONG)
    if policy.max_age_seconds is not None:
        valid_until = min(valid_until, claims.issued_at + policy.max_age_seconds + policy.leeway_seconds)
        if now >= valid_until:
            return Rejected(Reason.TOO_OLD)

    # 13 status
    if claims.status is not None and (status := revocations.status(claims.status, now)) is not Status.VALID:
        if status is Status.REVOKED:
            return Rejected(Reason.REVOKED)
        return Rejected(Reason.STATUS_UNAVAILABLE)

    # 14 permission
    if policy.scopes_all or policy.scopes_any:
        granted = frozenset(claims.scope.split(" "))
        if not policy.scopes_all <= granted or (policy.scopes_any and policy.scopes_any.isdisjoint(granted)):
            return Rejected(Reason.INSUFFICIENT_SCOPE)
    if policy.roles_any and policy.roles_any.isdisjoint(claims.roles):
        return Rejected(Reason.INSUFFICIENT_ROLE)

    return Accepted(claims, valid_from, valid_until)


def _read_claims(members: Mapping[str, Any]) -> Claims:
    """Check 8. A claim that we act upon or pass on has its exact type, or the token is rejected.

    Raises:
        _InvalidClaimsError: one has not.
        KeyError: a required claim is missing.
    """
    issued_at, expires_at = _time(members["iat"]), _time(members["exp"])
    if expires_at <= issued_at:
        raise _InvalidClaimsError
    _time(members.get("auth_time", 0))
    issuer = _string(members["iss"])
    return Claims(
        issuer=issuer,
        subject=_identifier(members["sub"]),
        audience=_audience(members["aud"]),
        expires_at=expires_at,
        issued_at=issued_at,
        not_before=_time(members.get("nbf", issued_at)),
        token_id=_identifier(members["jti"]),
        client_id=_identifier(members["client_id"]),
        scope=_scope(members.get("scope", "")),
        roles=_roles(members["roles"]) if "roles" in members else (),
        session=_identifier(members["sid"]) if "sid" in members else "",
        status=_status(issuer, members["status"]) if "status" in members else None,
    )


def _time(value: Any) -> float:
    """NumericDate: a JSON number, whole or not (RFC 7519 §2); not `true`, not `"1"`.

    Fractions are kept and not rounded. The clock is a double as well, so a double that stands for a time between two
    doubles is still never after a moment that is before that time, and adding the leeway does not change this.
    """
    if (type(value) is not int and type(value) is not float) or not 0 <= value <= MAX_INTEGER:
        raise _InvalidClaimsError
    return cast("float", value)


def _index(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise _InvalidClaimsError
    return value


def _string(value: Any) -> str:
    """Text: lone surrogates, which JSON can escape, are none."""
    if type(value) is not str or not value or not (value.isascii() or _is_text(value)):
        raise _InvalidClaimsError
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _identifier(value: Any) -> str:
    """A value that becomes one response header: visible ASCII, so that it can end no line and join no other."""
    if (
        type(value) is not str
        or not 0 < len(value) <= MAX_IDENTIFIER_CHARACTERS
        or not (value.isascii() and value.isprintable())
        or " " in value
    ):
        raise _InvalidClaimsError
    return value


def _audience(value: Any) -> tuple[str, ...]:
    """StringOrURI, or an array of them (RFC 7519 §4.1.3)."""
    return tuple(map(_string, value)) if type(value) is list else (_string(value),)


def _scope(value: Any) -> str:
    """Scope tokens with single spaces between them (RFC 6749 §3.3); empty when none is granted."""
    if type(value) is not str or len(value) > MAX_LIST_CHARACTERS or not _is_scope(value):
        raise _InvalidClaimsError
    return value


@lru_cache(maxsize=256)
def _is_scope(value: str) -> bool:
    return _SCOPE(value) is not None


def _roles(value: Any) -> tuple[str, ...]:
    """Visible ASCII without the comma that separates them in the identity header."""
    if type(value) is not list or not all(type(role) is str and _ROLE(role) for role in value):
        raise _InvalidClaimsError
    if sum(len(role) + 1 for role in value) > MAX_LIST_CHARACTERS:
        raise _InvalidClaimsError
    return tuple(value)


def _status(issuer: str, value: Any) -> StatusReference:
    """The only status mechanism that we know (draft-ietf-oauth-status-list §6.2); another can't be checked."""
    reference = value.get("status_list") if type(value) is dict else None
    if type(reference) is not dict:
        raise _InvalidClaimsError
    # Interned: an issuer's tokens name a handful of lists, and each remembered decision holds the names.
    return StatusReference(intern(issuer), intern(_string(reference.get("uri"))), _index(reference.get("idx")))


_SCOPE: Final = re.compile(r"(?:[\x21\x23-\x5B\x5D-\x7E]+(?: (?!$)|$))*").fullmatch
_ROLE: Final = re.compile(r"[\x21-\x2B\x2D-\x7E]+").fullmatch
