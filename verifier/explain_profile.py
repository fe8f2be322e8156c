"""Explains claim by claim how the profile of an issuer reads a token. Prints names of claims, never their values."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from shared.access_token import MAX_TOKEN_BYTES
from shared.claims import InvalidClaimsError, read_claims
from shared.jws import JoseHeader, JwsFault, read_compact
from shared.strict_json import StrictJsonError, parse_open_object
from verifier.decision.claim_headers import ClaimHeader
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.decision.profile import ABSENT, CLAIM_NAMES, RFC9068, ClaimRule, Location, Profile

_IS_SHORT_NAME: Final = re.compile(r"[A-Za-z0-9+._-]{1,32}").fullmatch
# Valid claims. To check one claim of a token alone, it replaces the claim of the same name here.
_VALID_CLAIMS: Final = {"iss": "i", "sub": "s", "aud": "a", "exp": 2, "iat": 1, "jti": "j", "client_id": "c"}
_FORMS: Final = {
    "subject": "1 to 255 visible ASCII characters",
    "audience": "a string, or a list of strings",
    "client": "1 to 255 visible ASCII characters",
    "scopes": "scopes separated by single spaces, or a list of them, at most 800 characters",
    "roles": "a list of visible ASCII strings without comma, or one, at most 800 characters",
    "session": "1 to 255 visible ASCII characters",
    "token_id": "1 to 255 visible ASCII characters",
}


def describe(profile: Profile) -> Iterator[str]:
    """Yield the tokens that a profile accepts, and the locations of their claims, in words."""
    kinds = {"access": "access tokens", "id": "ID tokens, which are the bearer tokens of this issuer"}
    algorithms, types = _names(profile.algorithms), _types(profile.token_types)
    yield f"accepts {kinds[profile.token_kind]}; algorithms {algorithms}; typ {types}"
    yield "; ".join(f"{_label(member)} {profile.location(member) or 'none'}" for member in CLAIM_NAMES)
    for rule in profile.mark:
        yield f"mark: {rule}"


def explain_profile(token: bytes, *, keys: TrustedKeys, policy: Policy) -> list[str]:
    """Return lines that explain how the profile of its issuer reads a token, even if the signature is invalid.

    There is no line for a token that cannot be read, and none for the default profile, whose checks say enough. The
    further claims and headers of the policy follow for every profile.
    """
    jws = read_compact(token, MAX_TOKEN_BYTES)
    if isinstance(jws, JwsFault):
        return []
    try:
        claims = parse_open_object(jws.payload)
    except StrictJsonError:
        return []
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in policy.issuers:
        # A missing or additional slash at the end is the usual mistake. Without other issuers the checks say enough.
        unknown = f"claim /iss is none of the issuers of policy {policy.name}: {_names(policy.issuers)}"
        return [unknown] if policy.profiles else []
    profile, lines = policy.profile_of(issuer), []
    if profile is not RFC9068:
        lines.append(f"profile {profile.name} of issuer {issuer}:")
        lines += _header_lines(jws.header, issuer, profile, policy, keys)
        lines += _claim_lines(claims, profile)
        lines += _audience_lines(claims, profile, policy)
    lines += [f"policy {policy.name}: {_outcome(rule, claims)}" for rule in policy.claims]
    lines += [
        f"header {header.name}: {_header_value(header, claims)}" for header in policy.headers if header.location
    ]
    return lines


def _header_lines(
    header: JoseHeader, issuer: str, profile: Profile, policy: Policy, keys: TrustedKeys
) -> Iterator[str]:
    types = policy.types_of(profile)
    accepts = "accepts it" if header.type in types else f"accepts {_types(types)}"
    yield f"  typ is {_printable(header.type)}; profile {profile.name} {accepts}"
    listed = header.algorithm in profile.algorithms
    accepts = "accepts it" if listed else f"accepts {_names(profile.algorithms)}"
    yield f"  alg is {_printable(header.algorithm)}; profile {profile.name} {accepts}"
    key = next((key for key in keys.find(header.kid) if key.issuer == issuer), None)
    if key is None:
        yield "  kid names no key in the key set of this issuer"
    elif not key.is_for(header.algorithm):
        yield f"  kid names a key for {_names(key.algorithms)}"


def _claim_lines(claims: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    for rule in profile.mark:
        yield f"  mark of an access token: {_outcome(rule, claims)}"
    for pointer in profile.required:
        if pointer.find(claims) is ABSENT:
            yield f"  claim {pointer.text} is missing; profile {profile.name} requires it"
    for member in CLAIM_NAMES:
        location = profile.location(member)
        if location is not None:
            yield f"  {_claim_line(profile, member, location, claims)}"


def _claim_line(profile: Profile, member: str, location: Location, claims: Mapping[str, Any]) -> str:
    found = next((pointer for pointer in location.pointers if pointer.find(claims) is not ABSENT), None)
    if found is None:
        needed = "; it is required" if member in ("subject", "audience") else ""
        return f"claim {location} is missing: no {_label(member)}{needed}"
    if not _is_valid(profile, member, claims):
        return f"claim {found.text} is no {_label(member)}: accepted are {_FORMS[member]}"
    return f"claim {found.text} → {_label(member)}"


def _is_valid(profile: Profile, member: str, claims: Mapping[str, Any]) -> bool:
    """Return whether one claim is valid by itself, whatever the others are."""
    claim = CLAIM_NAMES[member]
    alone = replace(profile, required=(), scopes=profile.scopes if member == "scopes" else None)
    try:
        read_claims({**_VALID_CLAIMS, claim: alone.contract_claims(claims)[claim]})
    except InvalidClaimsError:
        return False
    return True


def _audience_lines(claims: Mapping[str, Any], profile: Profile, policy: Policy) -> Iterator[str]:
    found = profile.audience.find(claims)
    audiences = found if type(found) is list else [found]
    if not any(type(one) is str and one in policy.audiences for one in audiences):
        accepted = f"the audiences of policy {policy.name}: {_names(policy.audiences)}"
        yield f"  claim {profile.audience} has none of {accepted}"


def _outcome(rule: ClaimRule, claims: Mapping[str, Any]) -> str:
    return f"{rule}: {'holds' if rule.holds(claims) else 'does not hold'}"


def _header_value(header: ClaimHeader, claims: Mapping[str, Any]) -> str:
    if header.location is None or header.location.find(claims) is ABSENT:
        return f"empty, claim {header.location} is missing"
    try:
        header.value(claims)
    except InvalidClaimsError:
        return f"claim {header.location} is no {header.type}, or cannot be a header value"
    return f"claim {header.location}"


def _label(member: str) -> str:
    return member.replace("_", " ")


def _names(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))


def _types(types: frozenset[str] | None) -> str:
    if types is None:
        return "as the policy says"
    return ", ".join(sorted(name or "none" for name in types))


def _printable(value: str) -> str:
    """Return a value of the header if it is short and harmless, so that it can be printed."""
    if not value:
        return "missing"
    return value if _IS_SHORT_NAME(value) else "unusual"
