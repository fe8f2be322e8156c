"""Policies: the demands on a token. Values only; `verifier.policy_file` reads them from a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.access_token import TOKEN_TYPE
from verifier.decision.claim_headers import ClaimHeader
from verifier.decision.profile import RFC9068, ClaimRule, Profile

DEFAULT_MAX_LIFETIME_SECONDS: Final = 86_400
"""Longest lifetime of tokens of other issuers. Those of our own never live longer than `MAX_LIFETIME_SECONDS`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Demands on a token.

    Attributes:
        name: the path segment after `/verify/`.
        issuers: accepted `iss` values, compared whole; visible ASCII.
        audiences: at least one must be in the token's `aud`.
        token_types: accepted `typ`, lower case and without `application/` (RFC 9068 §2.1), of issuers whose profile
            leaves it to the policy.
        scopes_all: every one must be granted.
        scopes_any: one at least must be granted, if any is named.
        roles_any: one at least must be held, if any is named.
        roles_all: every one must be held.
        claims: literal demands on further claims; every one must be met.
        headers: the additional identity headers of all policies of the verifier, in the same order for each policy.
        leeway_seconds: tolerance for clocks that differ, on `exp`, `nbf` and `iat`.
        max_lifetime_seconds: longest time from `iat` to `exp`, by issuer; `DEFAULT_MAX_LIFETIME_SECONDS` for others.
        max_age_seconds: longest time since `iat`, or None for what `exp` allows.
        anonymous: let a request without credentials through, with an empty identity.
        cookie: name of the cookie that may carry the token; None: only `Authorization` may.
        origins: of the pages whose requests may carry the cookie.
        profiles: of all issuers that are configured, by issuer; `RFC9068` for others.
        accepted_algorithms, accepted_types: every `alg` and `typ` that the profile of one of `issuers` accepts.
    """

    name: str
    issuers: frozenset[str]
    audiences: frozenset[str]
    token_types: frozenset[str] = frozenset({TOKEN_TYPE})
    scopes_all: frozenset[str] = frozenset()
    scopes_any: frozenset[str] = frozenset()
    roles_any: frozenset[str] = frozenset()
    roles_all: frozenset[str] = frozenset()
    claims: tuple[ClaimRule, ...] = ()
    headers: tuple[ClaimHeader, ...] = ()
    leeway_seconds: int = 5
    max_lifetime_seconds: Mapping[str, int] = field(default_factory=dict)
    max_age_seconds: int | None = None
    anonymous: bool = False
    cookie: str | None = None
    origins: frozenset[str] = frozenset()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    accepted_algorithms: frozenset[str] = field(init=False, repr=False, compare=False)
    accepted_types: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        accepted = [self.profile_of(issuer) for issuer in self.issuers]
        accepted_algorithms = frozenset().union(*(profile.algorithms for profile in accepted))
        accepted_types = frozenset().union(*(self.types_of(profile) for profile in accepted))
        object.__setattr__(self, "accepted_algorithms", accepted_algorithms)
        object.__setattr__(self, "accepted_types", accepted_types)

    def profile_of(self, issuer: str) -> Profile:
        """Return the profile by which tokens of `issuer` are verified."""
        return self.profiles.get(issuer, RFC9068)

    def types_of(self, profile: Profile) -> frozenset[str]:
        """Return the accepted `typ` values of tokens with this profile."""
        return self.token_types if profile.token_types is None else profile.token_types
