"""Reads the metadata and the key set of an issuer, and writes the tables of the policy file for it.

Everything that is fetched is untrusted: what is printed of it is checked or quoted.
"""

import json
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import urlsplit

from shared.jwks import JwksError, JwkSet, parse_jwks
from shared.signatures import KEY_TYPES
from verifier.decision.profile import RFC9068, Profile
from verifier.policy_file import is_issuer_name
from verifier.profile_file import BUILT_IN, built_in
from verifier.refresh.http_fetch import HttpSource
from verifier.refresh.metadata import (
    MAX_METADATA_BYTES,
    build_key_set_source,
    build_metadata_source,
    escape,
    read_jwks_uri,
)
from verifier.refresh.source import RefreshError, read_json
from verifier.urls import check_link, check_url, redact_url

_WELL_KNOWN: Final = "/.well-known/"
_NO_RESPONSE: Final = frozenset({"unreachable", "timeout"})
_STATUS_LISTS: Final = "status_list_aggregation_endpoint"
_GUIDE: Final = "docs/guides/other-issuers.md"

PROFILE_PATTERNS: Final = (
    # Hosts that belong to one provider.
    ("auth0", "issuer", "https://*.auth0.com/"),
    ("clerk", "issuer", "https://*.clerk.accounts.dev"),
    ("cognito", "issuer", "https://cognito-idp.*.amazonaws.com/*"),
    ("entra", "issuer", "https://login.microsoftonline.com/*"),
    ("entra", "issuer", "https://sts.windows.net/*"),
    ("firebase", "issuer", "https://securetoken.google.com/*"),
    ("github-actions", "issuer", "https://token.actions.githubusercontent.com*"),
    ("google", "issuer", "https://accounts.google.com"),
    ("hydra", "issuer", "https://*.projects.oryapis.com"),
    ("logto", "issuer", "https://*.logto.app/oidc"),
    ("okta", "issuer", "https://*.okta.com/oauth2/*"),
    ("okta", "issuer", "https://*.oktapreview.com/oauth2/*"),
    ("supabase", "issuer", "https://*.supabase.co/auth/v1"),
    # Paths that belong to one program, wherever it runs.
    ("hydra", "authorization_endpoint", "*/oauth2/auth"),
    ("keycloak", "jwks_uri", "*/protocol/openid-connect/certs"),
    ("kubernetes", "jwks_uri", "*/openid/v1/jwks"),
    ("rauthy", "jwks_uri", "*/auth/v1/oidc/certs"),
    ("rfc9068", _STATUS_LISTS, "*/status-lists"),
)
"""Profile, member of the metadata, and a pattern of its value by which the provider is recognised."""


class DiscoveryError(Exception):
    """The reason why no tables can be written, in one line. `unreachable`: the issuer did not respond."""

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


@dataclass(frozen=True, slots=True)
class Discovered:
    """The metadata and the keys of an issuer.

    Attributes:
        issuer: as the metadata name it.
        url: of the metadata.
        members: of the metadata; only the issuer and `jwks_uri` were checked.
        keys: of all algorithms that the verifier knows.
        status_lists: URL of the status list aggregation, if there is one that may be fetched.
    """

    issuer: str
    url: str
    members: Mapping[str, Any]
    keys: JwkSet
    status_lists: str | None


async def discover(url: str, ssl_context: Callable[[], ssl.SSLContext], *, allow_http: bool) -> Discovered:
    """Fetch the metadata of an issuer, and its key set. `url` is the issuer, or the URL of its metadata.

    Raises:
        DiscoveryError: the verifier could not use this issuer.
    """
    if problem := check_url(url, allow_http=allow_http):
        raise DiscoveryError(f"{escape(redact_url(url))}: {problem}")
    source, members = await _fetch_metadata(url, ssl_context)
    issuer = _read_issuer(members, url, source.url)
    try:
        jwks_uri = read_jwks_uri(members, issuer, source.url, allow_http=allow_http)
    except RefreshError as error:
        raise DiscoveryError(f"{redact_url(source.url)}: {error}") from error
    keys = await _fetch_keys(build_key_set_source(jwks_uri, ssl_context))
    lists = members.get(_STATUS_LISTS)
    is_usable = isinstance(lists, str) and check_link(lists, source.url, allow_http=allow_http) is None
    return Discovered(issuer, source.url, members, keys, lists if is_usable else None)


def metadata_urls(url: str) -> list[str]:
    """Return the URLs at which the metadata can be. `url` is the issuer, or the URL of the metadata."""
    parts = urlsplit(url)
    if _WELL_KNOWN in parts.path:
        return [url]
    issuer = url.rstrip("/")
    path = f"{_WELL_KNOWN}oauth-authorization-server{parts.path.rstrip('/')}"
    return [f"{issuer}{_WELL_KNOWN}openid-configuration", parts._replace(path=path).geturl()]


async def _fetch_metadata(url: str, ssl_context: Callable[[], ssl.SSLContext]) -> tuple[HttpSource, dict[str, Any]]:
    """Return the metadata at the first URL that has some, and their source."""
    errors = []
    for candidate in metadata_urls(url):
        source = build_metadata_source(candidate, ssl_context)
        try:
            result = await source.fetch(None)
            return source, read_json(result.body or b"", MAX_METADATA_BYTES)
        except RefreshError as error:
            errors.append(f"{redact_url(source.url)}: {error}")
            if error.code in _NO_RESPONSE:
                raise DiscoveryError(f"no response: {errors[-1]}", unreachable=True) from error
    raise DiscoveryError(f"no metadata: {'; '.join(errors)}")


async def _fetch_keys(source: HttpSource) -> JwkSet:
    try:
        result = await source.fetch(None)
        return parse_jwks(result.body or b"", KEY_TYPES.keys())
    except (RefreshError, JwksError) as error:
        unreachable = isinstance(error, RefreshError) and error.code in _NO_RESPONSE
        raise DiscoveryError(f"key set: {redact_url(source.url)}: {error}", unreachable=unreachable) from error


def _read_issuer(members: Mapping[str, Any], given: str, metadata_url: str) -> str:
    """Return the issuer that the metadata name. Unless `given` is the URL of the metadata, it must be this issuer."""
    issuer = members.get("issuer")
    if not isinstance(issuer, str) or not is_issuer_name(issuer):
        raise DiscoveryError(f"{redact_url(metadata_url)}: its issuer is {escape(issuer)}, not a valid issuer name")
    if "{" in issuer:
        raise DiscoveryError(
            f"{redact_url(metadata_url)}: its issuer is {issuer}, a template: give the URL of one tenant"
        )
    # A missing final slash is a common mistake, and the only difference that cannot mean another issuer.
    if metadata_url != given and issuer.rstrip("/") != given.rstrip("/"):
        raise DiscoveryError(
            f"{redact_url(metadata_url)}: its issuer is {escape(issuer)}; "
            "if that is meant, give the URL of the metadata"
        )
    return issuer


def recognise(members: Mapping[str, Any]) -> str | None:
    """Return the profile of the provider to which the URLs in the metadata belong, or None if that is not known."""
    for profile, member, pattern in PROFILE_PATTERNS:
        value = members.get(member)
        if isinstance(value, str) and fnmatchcase(value, pattern):
            return profile
    return None


def write_tables(found: Discovered) -> list[str]:
    """Return the lines of a policy file that accepts tokens of the issuer, once its blanks are filled in."""
    return [
        *_found_lines(found),
        f"[issuers.{_quote(found.issuer)}]",
        f"discovery = {_quote(found.url)}",
        *_profile_lines(found),
        *([f"status_lists = {_quote(found.status_lists)}"] if found.status_lists else []),
        "",
        "# If the file has this table already, add the issuer to the `issuers` in it.",
        "[policies.default]",
        f"issuers = [{_quote(found.issuer)}]",
        "# FILL IN. Not in the metadata: the `aud` of access tokens for your service. Look at such a token.",
        'audience = ""',
        "# Nor are these: whether access tokens are JWTs, the scopes and roles that your service should demand",
        "# (scopes_all, roles_any), and how long tokens live (a day at most, unless max_lifetime_seconds says more).",
    ]


def _found_lines(found: Discovered) -> list[str]:
    algorithms = Counter(" or ".join(sorted(key.algorithms)) for key in found.keys.keys.values())
    lines = [
        f"# Keys: {_format_counts(algorithms)}"
        + (f"; not used: {_format_counts(found.keys.skipped)}" if found.keys.skipped else "")
    ]
    if found.url not in metadata_urls(found.issuer):
        lines.append(
            "# The metadata are not where the issuer's name says. Compare the name with the `iss` of a token."
        )
    return lines


def _profile_lines(found: Discovered) -> list[str]:
    name = recognise(found.members)
    profile = RFC9068 if name is None else built_in(name)
    offered = frozenset[str]().union(*(key.algorithms for key in found.keys.keys.values()))
    value = _quote(name or "")
    if offered.isdisjoint(profile.algorithms):
        value = f"{{ extends = {value}, algorithms = [{', '.join(map(_quote, sorted(offered)))}] }}"
    return [*_profile_comments(name, profile), f"profile = {value}"]


def _profile_comments(name: str | None, profile: Profile) -> list[str]:
    if name is None:
        return [
            "# FILL IN. Not in the metadata: the profile, with the mark that tells access tokens from ID tokens.",
            '# It is "rfc9068" if the header of access tokens has the typ at+jwt. Otherwise name one of',
            f"# {', '.join(BUILT_IN)},",
            f"# or write a table with the mark: {_GUIDE}",
        ]
    comments = ["# The profile is a guess by the URLs of the issuer."]
    if profile.token_kind == "id":  # noqa: S105 - not a password
        comments.append("# It accepts ID tokens, since this issuer has no access tokens in JWT form.")
    return comments


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())


def _quote(text: str) -> str:
    # TOML has all escapes of JSON, and the text is ASCII.
    return json.dumps(text)
