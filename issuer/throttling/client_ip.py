"""The client IP of a request: the peer of the socket, or the IP that a known number of trusted proxies report.

Each trusted proxy appends the IP of its own peer to X-Forwarded-For. So with *n* proxies the n-th entry from the
right was written by the outermost one, and everything to the left of it by untrusted clients. If that entry is
missing or not an IP, the peer of the socket is used, which is the nearest proxy. All such requests share its limit,
so a client cannot evade a limit by omitting or corrupting the field. ADR 0084.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

MAX_TRUSTED_PROXY_HOPS: Final = 10

_MAX_CHARACTERS: Final = 100
"""More than any IP has with its zone and port. Longer entries are not parsed, since results are cached."""

_IPV6_PREFIX: Final = 64
"""The smallest network that providers assign: one client can use every IP in it."""


def client_ip(peer: str | None, forwarded: Sequence[str], trusted_proxy_hops: int) -> str | None:
    """Return the client IP in canonical spelling; None if the socket has none.

    Args:
        peer: the IP of the socket's peer.
        forwarded: every X-Forwarded-For field of the request, in order.
        trusted_proxy_hops: the number of trusted proxies in front; at 0 the fields are ignored.
    """
    entries = ",".join(forwarded).split(",") if trusted_proxy_hops else []
    reported = entries[-trusted_proxy_hops].strip() if 0 < trusted_proxy_hops <= len(entries) else ""
    return (_parse(reported) if len(reported) <= _MAX_CHARACTERS else None) or _parse(peer or "")


@lru_cache(maxsize=4096)
def network_of(ip: str) -> str:
    """Return the first IP of a client's network, which is an IPv4 address or an IPv6 /64.

    Cached, since a login needs it three times.

    Args:
        ip: as `client_ip` returns it.
    """
    found = ip_address(ip)
    if isinstance(found, IPv4Address):
        return str(found)
    return str(IPv6Network((int(found), _IPV6_PREFIX), strict=False).network_address)


@lru_cache(maxsize=4096)
def _parse(text: str) -> str | None:
    """Parse an IP, alone or with a port as some proxies write it: `192.0.2.1:443`, `[2001:db8::1]:443`."""
    host, bracket, rest = text.removeprefix("[").partition("]")
    if text.startswith("["):
        well_formed = bool(bracket) and (not rest or _is_port(rest)) and ":" in host
    else:
        host, colon, port = text.partition(":") if text.count(":") == 1 else (text, "", "")
        well_formed = not colon or _is_port(f":{port}")
    try:
        return str(_canonical(ip_address(host))) if well_formed else None
    except ValueError:
        return None


def _is_port(text: str) -> bool:
    digits = text.removeprefix(":")
    return text.startswith(":") and digits.isascii() and digits.isdecimal() and len(digits) <= len("65535")


def _canonical(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Map `::ffff:192.0.2.1` to 192.0.2.1, and drop a zone (`fe80::1%eth0`), which names a local interface."""
    if isinstance(ip, IPv4Address):
        return ip
    return ip.ipv4_mapped or IPv6Address(int(ip))
