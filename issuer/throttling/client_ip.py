"""Which address a request comes from: the socket's, or what a stated number of trusted proxies vouch for.

Each trusted proxy appends to X-Forwarded-For the address that it was asked from. So with *n* of them the
n-th entry from the right was written by the outermost, and whatever stands left of it by nobody we know.
Where that entry is missing or no address, the answer is the socket's own: the nearest proxy, whom all such
requests share, so that leaving the field out or spoiling it never escapes a limit. ADR 0084.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

MAX_TRUSTED_PROXY_HOPS: Final = 10

_IPV6_PREFIX: Final = 64
"""What one customer is given at least: whoever has one address of it has them all."""


def client_ip(peer: str | None, forwarded: Sequence[str], trusted_proxy_hops: int) -> str | None:
    """The address of the client, in its one spelling; None where the socket has none.

    Args:
        peer: the other end of the socket.
        forwarded: every X-Forwarded-For field of the request, in order.
        trusted_proxy_hops: how many proxies of ours stand in front; none of the fields counts at 0.
    """
    entries = ",".join(forwarded).split(",") if forwarded and trusted_proxy_hops else []
    vouched = entries[-trusted_proxy_hops].strip() if 0 < trusted_proxy_hops <= len(entries) else ""
    return _read(vouched) or _read(peer or "")


@lru_cache(maxsize=4096)
def network_of(address: str) -> tuple[str, str]:
    """First and last address of what is counted as one client: an IPv4 address, or an IPv6 /64.

    Remembered, since a login asks for it three times.

    Args:
        address: as `client_ip` gives it.
    """
    found = ip_address(address)
    if isinstance(found, IPv4Address):
        return str(found), str(found)
    network = IPv6Network((int(found), _IPV6_PREFIX), strict=False)
    return str(network[0]), str(network[-1])


@lru_cache(maxsize=4096)
def _read(text: str) -> str | None:
    """An address, alone or with a port as some proxies write it: `192.0.2.1:443`, `[2001:db8::1]:443`."""
    host, bracket, rest = text.removeprefix("[").partition("]")
    if text.startswith("["):
        readable = bool(bracket) and (not rest or _is_port(rest)) and ":" in host
    else:
        host, colon, port = text.partition(":") if text.count(":") == 1 else (text, "", "")
        readable = not colon or _is_port(f":{port}")
    try:
        return str(_plain(ip_address(host))) if readable else None
    except ValueError:
        return None


def _is_port(text: str) -> bool:
    digits = text.removeprefix(":")
    return text.startswith(":") and digits.isascii() and digits.isdecimal() and len(digits) <= len("65535")


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """`::ffff:192.0.2.1` is 192.0.2.1, and a zone (`fe80::1%eth0`) names our interface, not the client."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))
