"""The one place that the doctor sends to, read from a URL. It asks no name server: `wire` does."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import urlsplit

_VISIBLE: Final = re.compile(r"[\x21-\x7E]+").fullmatch
_PATH: Final = re.compile(r"/[A-Za-z0-9._~/-]*").fullmatch


class TargetError(Exception):
    """Why nothing is sent, in one line with the next step. Never quotes what was given: it may be a token."""


@dataclass(frozen=True)
class Target:
    """A test route behind a gateway.

    Attributes:
        secure: https rather than http.
        host: a name or an address, without brackets.
        port: where it listens.
        authority: host and port as `Host` has them (RFC 9110 §7.2).
        path: of the route; begins with a slash, has no query.
        private_only: the host must be loopback or a private address, since http hides nothing.
    """

    secure: bool
    host: str
    port: int
    authority: str
    path: str
    private_only: bool

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.secure else 'http'}://{self.authority}"

    @classmethod
    def parse(cls, url: str, *, allow_http: bool) -> Self:
        """Read `url`.

        Raises:
            TargetError: it is not one, or must not be sent a token.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise TargetError("URL: malformed; give one such as https://app.example/hello") from error
        if not _VISIBLE(url) or parts.scheme not in ("https", "http") or not parts.hostname:
            raise TargetError("URL: not an http(s) URL in ASCII; give one such as https://app.example/hello")
        if "@" in parts.netloc or parts.query or parts.fragment or not _is_plain(parts.path or "/"):
            raise TargetError(
                "URL: credentials, query, fragment and odd paths have no place in it; name a plain route"
            )
        secure = parts.scheme == "https"
        if not secure and not allow_http and not _is_loopback(parts.hostname):
            raise TargetError("URL: plain http beyond loopback; use https, or --allow-http in a private network")
        return cls(
            secure=secure,
            host=parts.hostname,
            port=port or (443 if secure else 80),
            authority=parts.netloc.lower(),
            path=parts.path or "/",
            private_only=not secure,
        )


def parse_admin_path(path: str, target: Target) -> str:
    """A path that needs a scope which the token lacks, with a slash at its end.

    Raises:
        TargetError: it can't be told from the test route.
    """
    whole = path.rstrip("/") + "/"
    if not _is_plain(path) or whole == "/":
        raise TargetError("--admin-path: give a plain path such as /admin/")
    if f"{target.path}/".startswith(whole):
        raise TargetError(
            "--admin-path: the URL lies under it; give the URL of a route that needs no more than a token"
        )
    return whole


def _is_plain(path: str) -> bool:
    """Whether it has one reading only, so that it can be told from its odd spellings."""
    return bool(_PATH(path)) and "//" not in path and {".", ".."}.isdisjoint(path.split("/"))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
