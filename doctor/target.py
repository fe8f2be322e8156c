"""The target of the tests, parsed from a URL. Names are resolved in `raw_client`, not here."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import urlsplit

from doctor.errors import DoctorError

_is_visible_ascii: Final = re.compile(r"[\x21-\x7E]+").fullmatch
_has_plain_characters: Final = re.compile(r"/[A-Za-z0-9._~/-]*").fullmatch


@dataclass(frozen=True)
class Target:
    """A test route behind a gateway.

    Attributes:
        secure: https rather than http.
        host: a name or an IP address, without brackets.
        port: the TCP port.
        authority: host and port as in the `Host` field (RFC 9110 §7.2).
        path: the path of the route; starts with a slash, has no query.
    """

    secure: bool
    host: str
    port: int
    authority: str
    path: str

    @property
    def origin(self) -> str:
        """Return scheme, host and port."""
        return f"{'https' if self.secure else 'http'}://{self.authority}"

    @classmethod
    def parse(cls, url: str, *, allow_http: bool) -> Self:
        """Parse `url`.

        Raises:
            DoctorError: it is not a usable URL, or a token must not be sent to it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise DoctorError("URL: malformed; give one such as https://app.example/hello") from error
        if not _is_visible_ascii(url) or parts.scheme not in ("https", "http") or not parts.hostname:
            raise DoctorError("URL: not an http(s) URL in ASCII; give one such as https://app.example/hello")
        if "@" in parts.netloc or parts.query or parts.fragment or not _is_unambiguous(parts.path or "/"):
            raise DoctorError(
                "URL: must not contain credentials, a query, a fragment or an ambiguous path; give the URL of a plain"
                " route such as https://app.example/hello"
            )
        secure = parts.scheme == "https"
        if not secure and not allow_http and not _is_loopback(parts.hostname):
            raise DoctorError(
                "URL: plain http is allowed to loopback only; use https, or --allow-http in a private network"
            )
        return cls(
            secure=secure,
            host=parts.hostname,
            port=port or (443 if secure else 80),
            authority=parts.netloc.lower(),
            path=parts.path or "/",
        )


def parse_admin_path(path: str, target: Target) -> str:
    """Return `path`, which requires a scope that the token lacks, with a trailing slash.

    Raises:
        DoctorError: it is ambiguous, or the test route is below it.
    """
    prefix = path.rstrip("/") + "/"
    if not _is_unambiguous(path) or prefix == "/":
        raise DoctorError("--admin-path: give a plain path such as /admin/")
    if f"{target.path}/".startswith(prefix):
        raise DoctorError("--admin-path: the URL is below it; give the URL of a route that any valid token may reach")
    return prefix


def _is_unambiguous(path: str) -> bool:
    """Return whether every parser reads `path` alike, so that its variants can be distinguished from it."""
    return bool(_has_plain_characters(path)) and "//" not in path and {".", ".."}.isdisjoint(path.split("/"))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
