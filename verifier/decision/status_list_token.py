"""Verifies a status list by numbered checks; the only way to a `StatusList` is past them all.

Pure, like `verification`: `read_status_list` does no I/O and reads no clock. Numbers of sections are those of
draft-ietf-oauth-status-list-20, unless an RFC is named.

 1. size         512 KiB at most, its header 1 KiB: before anything is parsed
 2. form         compact JWS of three canonical, unpadded base64url segments          RFC 7515 §3.1
 3. header       strict JSON object; nothing in it that would change the reading      RFC 7515 §4, §4.1.11
 4. algorithm    `alg` is RS256, always                                               RFC 8725 §3.1
 5. type         `typ` is `statuslist+jwt`: an access token is never a status list    §5.1
 6. key          `kid` names a key of the issuer whose list was requested             RFC 7515 §4.1.4
 7. signature    RSASSA-PKCS1-v1_5 with SHA-256 by that key, over the bytes received  RFC 7518 §3.3
 8. claims       strict JSON object; `sub`, `iat`, `exp`, `ttl`, `iss` of their type  §5.1
 9. issuer       `iss`, where there is one, is that issuer                            RFC 8725 §3.8
10. subject      `sub` is the URI by which tokens refer to the list                   §5.1, §8.3
11. time         before `exp`; `iat` is a minute ahead of our clock at most           §8.3
12. list         `status_list`: 1, 2, 4 or 8 bits a token, 1 MiB decompressed at most §4.1, §4.2

The caller must never replace a list by an older one.
"""

from enum import StrEnum
from typing import Any, Final, NamedTuple

from shared.access_token import ALGORITHM
from shared.claims import InvalidClaimsError, read_integer, read_string
from shared.jws import JwsFault, read_compact
from shared.status_list import BITS_PER_TOKEN, MAX_LIST_TOKEN_BYTES, STATUS_LIST_TYPE, StatusListError, decode
from shared.strict_json import StrictJsonError, parse_object
from verifier.decision.keyset import TrustedKeys, VerificationKey

MAX_CLOCK_SKEW_SECONDS: Final = 60
MAX_VALIDITY_SECONDS: Final = 30 * 86_400
"""A list expires at most that long after its `iat`, whatever its `exp` says."""
MAX_TTL_SECONDS: Final = 86_400


class StatusListRejection(StrEnum):
    """A reason to reject a status list; the value is the label in metrics and logs."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    INVALID_HEADER = "invalid_header"
    UNSUPPORTED_ALGORITHM = "unsupported_algorithm"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    INVALID_CLAIMS = "invalid_claims"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_SUBJECT = "wrong_subject"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    INVALID_LIST = "invalid_list"


class StatusList(NamedTuple):
    """A status list that was verified. Times are seconds since the epoch.

    Attributes:
        key: that signed it; it names the issuer.
        octets: as published, index 0 in the low bits of byte 0.
        bits: for each token; 1, 2, 4 or 8. Any value but 0 revokes.
        issued_at: `iat`.
        expires_at: `exp`, within `MAX_VALIDITY_SECONDS`.
        ttl: how long it is fresh after it was fetched, in seconds; 0 if the list has no `ttl`.
    """

    key: VerificationKey
    octets: bytes
    bits: int
    issued_at: int
    expires_at: int
    ttl: int


def read_status_list(
    token: bytes, *, issuer: str, uri: str, keys: TrustedKeys, now: float
) -> StatusList | StatusListRejection:
    """Verify `token`, as it was fetched.

    Args:
        token: any bytes.
        issuer: whose list was requested.
        uri: the name that tokens of that issuer refer to.
        keys: the public keys of every issuer, as they are now.
        now: seconds since the epoch.
    """
    # 1 size, 2 form, 3 header
    jws = read_compact(token, MAX_LIST_TOKEN_BYTES)
    if isinstance(jws, JwsFault):
        return StatusListRejection(jws.value)
    header = jws.header

    # 4 algorithm, 5 type
    if header.algorithm != ALGORITHM:
        return StatusListRejection.UNSUPPORTED_ALGORITHM
    if header.type != STATUS_LIST_TYPE:
        return StatusListRejection.WRONG_TYPE

    # 6 key, 7 signature
    key = next((key for key in keys.find(header.kid) if key.issuer == issuer and key.is_for(ALGORITHM)), None)
    if key is None:
        return StatusListRejection.UNKNOWN_KEY
    if not jws.is_signed_by(key.material):
        return StatusListRejection.BAD_SIGNATURE

    return _read_payload(jws.payload, key, uri, now)


def _read_payload(payload: bytes, key: VerificationKey, uri: str, now: float) -> StatusList | StatusListRejection:
    """Run checks 8 to 12."""
    # 8 claims: `exp` is required, since a list without it would never expire
    try:
        members = parse_object(payload)
        subject, issuer = read_string(members["sub"]), read_string(members.get("iss", key.issuer))
        issued_at, expires_at = read_integer(members["iat"]), read_integer(members["exp"])
        ttl = read_integer(members.get("ttl", 0))
    except (StrictJsonError, InvalidClaimsError, KeyError):
        return StatusListRejection.INVALID_CLAIMS
    if expires_at <= issued_at or (ttl == 0 and "ttl" in members):
        return StatusListRejection.INVALID_CLAIMS
    expires_at = min(expires_at, issued_at + MAX_VALIDITY_SECONDS)

    # 9 issuer, 10 subject
    if issuer != key.issuer:
        return StatusListRejection.WRONG_ISSUER
    if subject != uri:
        return StatusListRejection.WRONG_SUBJECT

    # 11 time
    if now >= expires_at:
        return StatusListRejection.EXPIRED
    if issued_at > now + MAX_CLOCK_SKEW_SECONDS:
        return StatusListRejection.NOT_YET_VALID

    # 12 list
    entries = _read_list(members.get("status_list"))
    if entries is None:
        return StatusListRejection.INVALID_LIST
    return StatusList(key, *entries, issued_at, expires_at, min(ttl, MAX_TTL_SECONDS))


def _read_list(value: Any) -> tuple[bytes, int] | None:
    """Check 12: return the list and its bits for each token, or None if it is no list."""
    if type(value) is not dict or type(value.get("bits")) is not int or type(value.get("lst")) is not str:
        return None
    if value["bits"] not in BITS_PER_TOKEN:
        return None
    try:
        return decode(value["lst"]), value["bits"]
    except StatusListError:
        return None
