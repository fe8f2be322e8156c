"""Verifies an access token by numbered checks; the only way to `Accepted` is past them all.

Pure: `verify` does no I/O and reads no clock. Keys, policy, revocations and the time are arguments. What differs
between issuers is data, a `Profile` for each; that of our own issuer is `RFC9068`.

 1. size         8 KiB at most, its header 1 KiB: before anything is parsed
 2. form         compact JWS of three canonical, unpadded base64url segments          RFC 7515 §2, §3.1
 3. header       strict JSON object; nothing in it that would change the reading      RFC 7515 §4, §4.1.11
 4. algorithm    `alg` is one by which an accepted issuer signs, RS256 as a rule      RFC 8725 §3.1
 5. type         `typ` is one of an accepted issuer's access tokens, `at+jwt` as a
                 rule                                                                 RFC 9068 §4, RFC 8725 §3.11
 6. key          `kid` names a key that we hold, and the key is for `alg`             RFC 7515 §4.1.4, RFC 8725 §3.1
 7. signature    by that key and that algorithm, over the bytes received              RFC 7518 §3
 8. claims       strict JSON object; `alg`, `typ` and mark are those of access tokens
                 in its issuer's profile; no required claim is missing, and each that
                 we use has its exact type                                            RFC 7519 §4, RFC 9068 §2.2
 9. sender       no `cnf`: a bound token is no bearer token                           RFC 7800 §3.1
10. issuer       `iss` is the issuer of the key, and the policy accepts it            RFC 9068 §4, RFC 8725 §3.8
11. audience     `aud` contains an audience of the policy                             RFC 9068 §4, RFC 8725 §3.9
12. time         after `nbf` and `iat`, before `exp`; lifetime and age are within the
                 bounds of the policy                                                 RFC 7519 §4.1.4-6
13. status       if status lists are configured for its issuer: the list that it
                 refers to is known, and does not revoke it                          draft-ietf-oauth-status-list §8.3
14. permission   the scopes, roles and other claims that the policy demands

The caller (`verifier.subrequest`) extracts the one token of the request before, and makes the response afterwards.
"""

from typing import NamedTuple

from shared.access_token import MAX_TOKEN_BYTES
from shared.claims import Claims, InvalidClaimsError
from shared.jws import JwsFault, read_compact
from shared.strict_json import StrictJsonError, parse_open_object
from verifier.decision.claim_headers import read_headers
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import DEFAULT_MAX_LIFETIME_SECONDS, Policy
from verifier.decision.reasons import RejectionReason
from verifier.decision.status import Status, StatusLists


class Accepted(NamedTuple):
    """The token passes, from `valid_from` until before `valid_until` (seconds since the epoch).

    `additional` are the values of the policy's additional identity headers, in their order.
    """

    claims: Claims
    valid_from: float
    valid_until: float
    additional: tuple[str, ...] = ()


class Rejected(NamedTuple):
    """The token does not pass. A value and not an exception: a caller can't forget to catch it."""

    reason: RejectionReason


def verify(  # noqa: C901, PLR0911, PLR0912 - one flat list of checks, in their numbered order, is the point
    token: bytes, *, keys: TrustedKeys, policy: Policy, now: float, revocations: StatusLists
) -> Accepted | Rejected:
    """Verify `token`, the credentials after `Bearer`, as received.

    Args:
        token: any bytes.
        keys: the public keys of every issuer, as they are now.
        policy: what is demanded.
        now: seconds since the epoch.
        revocations: the status lists of every issuer, as they are now.
    """
    # 1 size
    # 2 form
    # 3 header
    jws = read_compact(token, MAX_TOKEN_BYTES)
    if isinstance(jws, JwsFault):
        return Rejected(RejectionReason(jws.value))
    header = jws.header

    # 4 algorithm
    if header.algorithm not in policy.accepted_algorithms:
        return Rejected(RejectionReason.UNSUPPORTED_ALGORITHM)

    # 5 type
    if header.type not in policy.accepted_types:
        return Rejected(RejectionReason.WRONG_TYPE)

    # 6 key: several issuers may use one `kid`; no more than one candidate each
    named = keys.find(header.kid)
    candidates = [key for key in named if key.is_for(header.algorithm)]

    # 7 signature
    signers = [key.issuer for key in candidates if jws.is_signed_by(key.material, header.algorithm)]
    if not signers:
        # This `iss` is not verified, so it decides only the reason: no keys of that issuer, or an invalid token.
        issuer = claimed_issuer(jws.payload)
        if issuer in policy.issuers and issuer not in keys.issuers:
            return Rejected(RejectionReason.KEYS_UNAVAILABLE)
        if not named:
            return Rejected(RejectionReason.UNKNOWN_KEY)
        return Rejected(RejectionReason.BAD_SIGNATURE if candidates else RejectionReason.UNSUPPORTED_ALGORITHM)

    # 8 claims, by the profile of the signer that `iss` names; if it names none, check 10 rejects the token anyway
    try:
        members = parse_open_object(jws.payload)
        issuer = members.get("iss")
        profile = policy.profile_of(issuer if issuer in signers else signers[0])
        if header.algorithm not in profile.algorithms:
            return Rejected(RejectionReason.UNSUPPORTED_ALGORITHM)
        if header.type not in policy.types_of(profile):
            return Rejected(RejectionReason.WRONG_TYPE)
        if profile.mark and not profile.is_marked(members):
            return Rejected(RejectionReason.NOT_ACCESS_TOKEN)
        claims = profile.read_claims(members)
        additional = read_headers(policy.headers, members, claims) if policy.headers else ()
    except (StrictJsonError, InvalidClaimsError):
        return Rejected(RejectionReason.INVALID_CLAIMS)

    # 9 sender
    if claims.sender_constrained:
        return Rejected(RejectionReason.SENDER_CONSTRAINED)

    # 10 issuer
    if claims.issuer not in signers or claims.issuer not in policy.issuers:
        return Rejected(RejectionReason.WRONG_ISSUER)

    # 11 audience
    if policy.audiences.isdisjoint(claims.audience):
        return Rejected(RejectionReason.WRONG_AUDIENCE)

    # 12 time
    valid_from = max(claims.not_before, claims.issued_at) - policy.leeway_seconds
    valid_until = claims.expires_at + policy.leeway_seconds
    if now >= valid_until:
        return Rejected(RejectionReason.EXPIRED)
    if now < valid_from:
        return Rejected(RejectionReason.NOT_YET_VALID)
    # A leaked token that is valid for years is worse than a leaked password, which can be changed.
    lifetime = claims.expires_at - claims.issued_at
    if lifetime > policy.max_lifetime_seconds.get(claims.issuer, DEFAULT_MAX_LIFETIME_SECONDS):
        return Rejected(RejectionReason.LIFETIME_TOO_LONG)
    if policy.max_age_seconds is not None:
        valid_until = min(valid_until, claims.issued_at + policy.max_age_seconds + policy.leeway_seconds)
        if now >= valid_until:
            return Rejected(RejectionReason.TOO_OLD)

    # 13 status
    if claims.status is not None and (status := revocations.status(claims.status, now)) is not Status.VALID:
        if status is Status.REVOKED:
            return Rejected(RejectionReason.REVOKED)
        return Rejected(RejectionReason.STATUS_UNAVAILABLE)

    # 14 permission
    if policy.scopes_all or policy.scopes_any:
        granted = frozenset(claims.scope.split())
        if not policy.scopes_all <= granted or (policy.scopes_any and policy.scopes_any.isdisjoint(granted)):
            return Rejected(RejectionReason.INSUFFICIENT_SCOPE)
    if policy.roles_all or policy.roles_any:
        held = frozenset(claims.roles)
        if not policy.roles_all <= held or (policy.roles_any and policy.roles_any.isdisjoint(held)):
            return Rejected(RejectionReason.INSUFFICIENT_ROLE)
    if policy.claims and not all(rule.holds(members) for rule in policy.claims):
        return Rejected(RejectionReason.INSUFFICIENT_CLAIM)

    return Accepted(claims, valid_from, valid_until, additional)


def claimed_issuer(payload: bytes) -> str | None:
    """Return `iss` of claims that were not verified, or None if they are no JSON object with such a string.

    The value shows which issuer's keys are missing. Nothing may be granted because of it.
    """
    try:
        issuer = parse_open_object(payload).get("iss")
    except StrictJsonError:
        return None
    return issuer if type(issuer) is str else None
