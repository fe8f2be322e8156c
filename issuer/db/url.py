"""Parses `ISSUER_DATABASE_URL`, a connection URI of libpq.

asyncpg tries several hosts one after the other without a time limit for each, so it may never reach the host after
one that is down. So `connect` tries the hosts, and asyncpg gets the rest of the URL. Error messages never quote the
URL, since it may hold a password.
https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urlencode

_URL: Final = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^@/?#]*)@)?(?P<hosts>[^@/?#]*)(?:/(?P<database>[^/?#]*))?(?:\?(?P<query>[^?#]*))?"
)
_HOST: Final = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>[0-9]*))?")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

_DEFAULT_PORT: Final = 5432
_MAX_PORT: Final = 65_535

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    # The other values of libpq choose a server that rejects writes.
    "target_session_attrs": ("any", "primary", "read-write"),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
}

_UNSUPPORTED: Final = frozenset(
    {
        "channel_binding",
        "connect_timeout",
        "fallback_application_name",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "replication",
        "require_auth",
        "requirepeer",
        "requiressl",
        "service",
        "sslcertmode",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
"""Parameters of libpq that asyncpg would send to the server as settings, so that the server rejects the
connection; and `service`, which would read hosts from a file."""


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server: a host, or the directory of a Unix socket, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A parsed URL.

    Attributes:
        dsn: everything but the servers, for asyncpg; may hold a password.
        servers: in the order in which they are tried; none where libpq's environment or defaults choose.
        name: servers and database, for messages and logs; never holds a password.
    """

    dsn: str = field(repr=False)
    servers: tuple[Server, ...]
    name: str


def parse_database_url(url: str) -> DatabaseUrl:
    """Read a `postgresql://` URL.

    Raises:
        ValueError: it is malformed or has unsupported parameters; the message quotes no value of it.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError(
            "must be postgresql://user:password@host:port,host:port/database?parameter=value;"
            " write @ : / ? # % in a user or password as %40 %3A %2F %3F %23 %25"
        )
    if _BROKEN_ESCAPE.search(url):
        raise ValueError("has a % that is not followed by two hexadecimal digits; write % as %25")
    parameters = _parameters(parts["query"])
    servers = _servers(parts["hosts"], parameters.pop("host", None), parameters.pop("port", None))
    if len(servers) > 1 and parameters.get("target_session_attrs", "any") == "any":
        # Of several servers an issuer can only use the one that accepts writes.
        parameters["target_session_attrs"] = "read-write"
    database = parts["database"] or ""
    user = f"{parts['user']}@" if parts["user"] else ""
    path = f"/{database}" if database else ""
    query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
    dsn = f"postgresql://{user}{path}{query}"
    return DatabaseUrl(dsn, servers, _name(servers, parameters.get("dbname") or unquote(database)))


def _parameters(query: str | None) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    names = [unquote(name) for name, _, _ in pairs]
    for name, separator, value in pairs:
        if not name or not separator or "=" in value:
            raise ValueError("must have parameters of the form name=value, joined by &")
    if len(set(names)) < len(names):
        raise ValueError("has a parameter twice")
    if unsupported := sorted(_UNSUPPORTED & set(names)):
        raise ValueError(f"has parameters that are not supported, remove them: {', '.join(unsupported)}")
    parameters = {name: unquote(value) for name, (_, _, value) in zip(names, pairs, strict=True)}
    for name, choices in _CHOICES.items():
        if parameters.get(name, choices[0]) not in choices:
            raise ValueError(f"must have {name} of {', '.join(choices)}")
    return parameters


def _servers(authority: str, hosts: str | None, ports: str | None) -> tuple[Server, ...]:
    if authority and hosts:
        raise ValueError("must name its hosts once: before the database or in the parameter host")
    if hosts:
        listed = [_server(item) if "/" not in item else (item, None) for item in hosts.split(",")]
    elif authority:
        listed = [_server(item) for item in authority.split(",")]
    elif ports:
        raise ValueError("must name a host where it names a port")
    else:
        return ()
    given = [_port(port) for port in ports.split(",")] if ports else []
    if given and len(given) not in {1, len(listed)}:
        raise ValueError("must have as many ports as hosts, or one for all")
    if given and any(port for _, port in listed):
        raise ValueError("must name its ports once: after each host or in the parameter port")
    defaults = given * len(listed) if len(given) == 1 else given or [_DEFAULT_PORT] * len(listed)
    return tuple(Server(host, port or default) for (host, port), default in zip(listed, defaults, strict=True))


def _server(item: str) -> tuple[str, int | None]:
    match = _HOST.fullmatch(item)
    if match is None:
        raise ValueError("must have hosts of the form name, name:port or [IPv6 address]:port, joined by commas")
    return unquote(match["ipv6"] or match["name"]), _port(match["port"]) if match["port"] else None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MAX_PORT:
        raise ValueError(f"must have ports of 1 to {_MAX_PORT}")
    return int(text)


def _name(servers: tuple[Server, ...], database: str) -> str:
    location = ", ".join(map(str, servers)) or "the default server"
    return f"{location}, database {database or 'of the same name as the user'}"
