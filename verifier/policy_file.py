"""Reads the policy file: named policies, which are demands on a token, and issuers besides that of the settings.

The TOML document is parsed strictly into frozen values. The gateway's configuration chooses the policy of a request
by the path of the subrequest; nothing that a client can write does.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AnyHttpUrl, BeforeValidator, Field, StringConstraints, ValidationError

from shared.access_token import MAX_LIFETIME_SECONDS, TOKEN_TYPE
from shared.identity_headers import CLAIM_HEADER_NAME
from shared.jws import normalise_type
from shared.settings import ConfigurationError
from verifier.decision.claim_headers import ClaimHeader, HeaderType
from verifier.decision.policy import DEFAULT_MAX_LIFETIME_SECONDS, Policy
from verifier.decision.profile import RFC9068, Profile
from verifier.profile_file import (
    MEDIA_TYPE,
    LocationField,
    ProfileError,
    ProfileTable,
    RuleTable,
    StrictTable,
    describe_error,
    matches,
    read_profile,
)
from verifier.urls import check_url, redact_url

DEFAULT_POLICY: Final = "default"
MAX_POLICIES: Final = 64
MAX_HEADERS: Final = 16
"""Additional identity headers of all policies together."""
MAX_RULES: Final = 32
NAME_PATTERN: Final = r"[a-z0-9][a-z0-9_-]{0,62}"

MAX_ISSUER_CHARACTERS: Final = 512
"""Longest issuer name; it becomes a response header."""

PolicyName = Annotated[
    str, matches(NAME_PATTERN, "1 to 63 lower-case letters, digits, - and _, beginning with a letter or digit")
]
# The grammar of a scope token, RFC 6749 §3.3, so it needs no escape in a quoted challenge parameter.
ScopeToken = Annotated[
    str, matches(r"[\x21\x23-\x5B\x5D-\x7E]{1,128}", '1 to 128 visible ASCII characters without " and \\')
]
RoleName = Annotated[str, matches(r"[\x21-\x2B\x2D-\x7E]{1,128}", "1 to 128 visible ASCII characters without comma")]
Identifier = Annotated[str, matches(r"(?s:.{1,512})", "1 to 512 characters")]
# An issuer name becomes a response header, so no character in it may end a line.
_ISSUER_PATTERN: Final = rf"[\x21-\x7E]{{1,{MAX_ISSUER_CHARACTERS}}}"
IssuerName = Annotated[
    str, matches(_ISSUER_PATTERN, f"the `iss` of its tokens, 1 to {MAX_ISSUER_CHARACTERS} visible ASCII characters")
]
# Never empty, which would accept a token without `typ`.
TokenType = Annotated[str, matches(MEDIA_TYPE, "a media type such as at+jwt")]
# A browser accepts a cookie of this prefix only from the host itself and by https (RFC 6265bis §4.1.3.2), so no
# subdomain can set it.
CookieName = Annotated[
    str, matches(r"__Host-[A-Za-z0-9_.-]{1,64}", "a name that begins with __Host-, such as __Host-access_token")
]
# As in the field `Origin`. Plain http is for the loopback of a developer's machine.
Origin = Annotated[
    str,
    StringConstraints(max_length=262),
    matches(
        r"(https://[a-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[1-9][0-9]{0,4})?",
        "an origin such as https://app.example, in lower case and without path; http is for loopback only",
    ),
]
HeaderName = Annotated[
    str,
    StringConstraints(max_length=64),
    matches(CLAIM_HEADER_NAME, "a name such as X-Auth-Claim-Tenant: X-Auth-Claim- and words joined by -"),
]


class PolicyError(ConfigurationError):
    """The policy file is invalid, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer whose tokens are accepted.

    Attributes:
        jwks_file, jwks_url, discovery: the location of its key set: exactly one of a file, a URL, and the URL of
            metadata that name it.
        status_lists: URL of its aggregation document; None: its tokens have no status.
        profile: of its tokens.
    """

    jwks_file: Path | None = None
    jwks_url: str | None = None
    discovery: str | None = None
    status_lists: str | None = None
    profile: Profile = RFC9068


@dataclass(frozen=True, slots=True)
class Configuration:
    """The policies and the issuers, by name. Replaced whole, never edited."""

    policies: Mapping[str, Policy]
    issuers: Mapping[str, Issuer]


def is_issuer_name(value: str) -> bool:
    """Return whether `value` can be the `iss` of an issuer in the policy file."""
    return re.fullmatch(_ISSUER_PATTERN, value) is not None


class _Issuer(StrictTable):
    jwks_file: Path | None = None
    jwks_url: AnyHttpUrl | None = None
    discovery: AnyHttpUrl | None = None
    status_lists: AnyHttpUrl | None = None
    profile: str | dict[str, Any] = RFC9068.name


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_header_table(value: Any) -> Any:
    return value if isinstance(value, dict) else {"at": value}


class _Header(StrictTable):
    at: LocationField
    type: HeaderType = "string"


class _Policy(StrictTable):
    # An empty list is an error: it could be meant to permit nothing, and would demand nothing.
    audience: Annotated[list[Identifier], BeforeValidator(_as_list)] | None = Field(default=None, min_length=1)
    issuers: list[IssuerName] | None = Field(default=None, min_length=1)
    token_types: list[TokenType] = Field(default=[TOKEN_TYPE], min_length=1)
    scopes_all: list[ScopeToken] = Field(default=[], min_length=1)
    scopes_any: list[ScopeToken] = Field(default=[], min_length=1)
    roles_any: list[RoleName] = Field(default=[], min_length=1)
    roles_all: list[RoleName] = Field(default=[], min_length=1)
    claims: list[RuleTable] = Field(default=[], min_length=1, max_length=MAX_RULES)
    headers: dict[HeaderName, Annotated[_Header, BeforeValidator(_as_header_table)]] = Field(default={})
    leeway_seconds: int | None = Field(default=None, ge=0, le=60, strict=True)
    max_lifetime_seconds: int | None = Field(default=None, ge=1, le=31_536_000, strict=True)
    max_age_seconds: int | None = Field(default=None, ge=1, le=86_400, strict=True)
    anonymous: bool = Field(default=False, strict=True)
    cookie: CookieName | None = None
    origins: list[Origin] = Field(default=[], min_length=1)


class _Document(StrictTable):
    issuers: dict[IssuerName, _Issuer] = Field(default={})
    policies: dict[PolicyName, _Policy] = Field(default={}, max_length=MAX_POLICIES - 1)


def parse_configuration(
    document: str, *, issuers: Mapping[str, Issuer], audience: str, leeway_seconds: int, allow_http: bool = False
) -> Configuration:
    """Read a policy document.

    Args:
        document: TOML; empty means one policy, `default`.
        issuers: the one of the settings, if they name one. They have checked its URLs. The document names the others.
        audience: for policies that name none.
        leeway_seconds: for policies that name none.
        allow_http: the document may name plain http URLs.

    Raises:
        PolicyError: with every error that was found.
    """
    parsed = _read(document)
    known = frozenset({*issuers, *parsed.issuers})
    others, errors = _issuers(parsed)
    errors += [*_semantic_errors(parsed, known, frozenset(issuers)), *_url_errors(parsed, allow_http=allow_http)]
    if errors:
        raise PolicyError("\n".join(errors))
    headers = _header_names(parsed)
    profiles = {name: issuer.profile for name, issuer in others.items() if issuer.profile is not RFC9068}
    lifetimes = {name: MAX_LIFETIME_SECONDS if name in issuers else DEFAULT_MAX_LIFETIME_SECONDS for name in known}
    policies = {
        name: _policy(name, policy, lifetimes, profiles, headers, audience, leeway_seconds)
        for name, policy in _with_default(parsed).items()
    }
    return Configuration(policies, {**issuers, **others})


def _with_default(parsed: _Document) -> dict[str, _Policy]:
    """Return the policies of the document, and `default`, which the document may omit."""
    return {DEFAULT_POLICY: _Policy(), **parsed.policies}


def _read(document: str) -> _Document:
    try:
        return _Document.model_validate(tomllib.loads(document))
    except ValidationError as error:
        tables = (_Document, _Issuer, _Policy, _Header, ProfileTable, RuleTable)
        raise PolicyError("\n".join(describe_error(error, tables) for error in error.errors())) from None
    except ValueError as error:
        # Not only TOMLDecodeError: Python converts no integer of more than 4,300 digits.
        raise PolicyError(f"the policy file is not TOML: {error}") from None


def _semantic_errors(parsed: _Document, known: frozenset[str], in_settings: frozenset[str]) -> list[str]:
    """Return the errors that the types of the members do not exclude."""
    errors = [] if known else ["no issuer: set VERIFIER_ISSUER and a key set, or write an [issuers.…] table"]
    for name, issuer in parsed.issuers.items():
        if sum(location is not None for location in (issuer.jwks_file, issuer.jwks_url, issuer.discovery)) != 1:
            errors.append(f'issuers."{name}": name exactly one of jwks_file, jwks_url and discovery')
        if name in in_settings:
            errors.append(f'issuers."{name}": VERIFIER_ISSUER names it already')
    for name, policy in _with_default(parsed).items():
        if policy.issuers is None and len(known) > 1:
            # Two issuers may use one subject for two users, so the operator must say which issuers a policy accepts.
            errors.append(
                f"policies.{name}.issuers: required, since there is more than one issuer; "
                f"name one or more of {', '.join(sorted(known))}"
            )
        if (policy.cookie is None) != (not policy.origins):
            errors.append(f"policies.{name}: cookie and origins belong together; name both or none")
        if unknown := frozenset(policy.issuers or ()) - known:
            errors.append(f"policies.{name}.issuers: {', '.join(sorted(unknown))}: no such issuer")
    return errors + _header_errors(parsed)


def _header_names(parsed: _Document) -> list[str]:
    """Return the additional headers of all policies: each policy's responses have all of them."""
    return sorted({header for policy in parsed.policies.values() for header in policy.headers})


def _header_errors(parsed: _Document) -> list[str]:
    names = _header_names(parsed)
    errors = []
    if len(names) > MAX_HEADERS:
        errors.append(f"policies: {len(names)} additional headers; at most {MAX_HEADERS} are accepted")
    for name, following in pairwise(sorted(names, key=str.lower)):
        if name.lower() == following.lower():
            errors.append(f"policies: {name} and {following} are one header; spell it one way")
    return errors


def _issuers(parsed: _Document) -> tuple[dict[str, Issuer], list[str]]:
    """Return the issuers of the document whose profiles are valid, and the errors of the other profiles."""
    issuers: dict[str, Issuer] = {}
    errors: list[str] = []
    for name, table in parsed.issuers.items():
        try:
            profile = read_profile(table.profile)
        except ProfileError as error:
            errors += [f'issuers."{name}".profile: {fault}' for fault in error.faults]
        else:
            urls = _text(table.jwks_url), _text(table.discovery), _text(table.status_lists)
            issuers[name] = Issuer(table.jwks_file, *urls, profile)
    return issuers, errors


def _url_errors(parsed: _Document, *, allow_http: bool) -> list[str]:
    return [
        f'issuers."{name}".{member}: {redact_url(url)!r}: {problem}'
        for name, table in parsed.issuers.items()
        for member in ("jwks_url", "discovery", "status_lists")
        if (url := _text(getattr(table, member))) and (problem := check_url(url, allow_http=allow_http))
    ]


def _text(url: AnyHttpUrl | None) -> str | None:
    return None if url is None else str(url)


def _policy(
    name: str,
    given: _Policy,
    lifetimes: Mapping[str, int],
    profiles: Mapping[str, Profile],
    headers: list[str],
    audience: str,
    leeway_seconds: int,
) -> Policy:
    """Fill in the defaults. `lifetimes` has an entry for each known issuer, `headers` the names of all policies."""
    issuers = frozenset(lifetimes if given.issuers is None else given.issuers)
    return Policy(
        name=name,
        issuers=issuers,
        audiences=frozenset(given.audience or [audience]),
        token_types=frozenset(normalise_type(value) for value in given.token_types),
        scopes_all=frozenset(given.scopes_all),
        scopes_any=frozenset(given.scopes_any),
        roles_any=frozenset(given.roles_any),
        roles_all=frozenset(given.roles_all),
        claims=tuple(rule.rule() for rule in given.claims),
        headers=tuple(_header(header, given.headers.get(header)) for header in headers),
        leeway_seconds=leeway_seconds if given.leeway_seconds is None else given.leeway_seconds,
        max_lifetime_seconds={issuer: given.max_lifetime_seconds or lifetimes[issuer] for issuer in issuers},
        max_age_seconds=given.max_age_seconds,
        anonymous=given.anonymous,
        cookie=given.cookie,
        origins=frozenset(given.origins),
        profiles=profiles,
    )


def _header(name: str, given: _Header | None) -> ClaimHeader:
    return ClaimHeader(name, None) if given is None else ClaimHeader(name, given.at, given.type)
