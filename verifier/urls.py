"""Checks which URLs may be a source of keys, metadata and status lists."""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_IS_VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7E]+").fullmatch


def check_url(url: str, *, allow_http: bool) -> str | None:
    """Return why `url` must not be a source of keys, metadata or status lists, or None if it may.

    Over plain http an attacker on the network path can choose the keys, so it needs loopback or explicit permission.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return "malformed"
    if not _IS_VISIBLE_ASCII(url):
        return "contains characters that a URL cannot have (RFC 3986, section 2)"
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return "not an https URL"
    if parts.username or parts.password or parts.fragment:
        return "must not contain credentials or fragments"
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        return "plain http beyond loopback: use https, or VERIFIER_ALLOW_HTTP=true in a private network"
    return None


def check_link(url: str, document_url: str, *, allow_http: bool) -> str | None:
    """Return why `url` must not be followed from a document at `document_url`, or None if it may.

    Besides the rules of `check_url`, a document that came by https may name a plain http URL only by explicit
    permission, even on loopback, where other programs of this machine listen.
    """
    problem = check_url(url, allow_http=allow_http)
    if problem is not None or allow_http:
        return problem
    downgrades = urlsplit(document_url).scheme == "https" and urlsplit(url).scheme == "http"
    return "not an https URL" if downgrades else None


def redact_url(url: str) -> str:
    """Return `url` without credentials and query, to be logged."""
    return re.sub(r"//[^/]*@", "//***@", url.partition("?")[0])


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
