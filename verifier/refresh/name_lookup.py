"""Looks up host names, each in a thread of its own.

A lookup cannot be cancelled, and an event loop makes only a few at once. So a name whose servers do not respond would
also stop the fetches of all other issuers, and with them their revocations.
"""

import asyncio
import socket
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Thread
from typing import Final

_pending: Final[dict[str, Future[list[str]]]] = {}
"""The one lookup of each name. It is there until it ends, also if no attempt waits for it any more."""


async def look_up(host: str) -> list[str]:
    """Return the IP addresses of a host, the preferred one first.

    Raises:
        OSError: they cannot be found.
        UnicodeError: the host cannot be a name, for example because of an empty label (RFC 1035 §2.3.4).
    """
    if _is_ip_address(host):
        return [host]
    # An attempt that is cancelled must not cancel the lookup for others.
    return await asyncio.shield(asyncio.wrap_future(_pending.get(host) or _start(host)))


def _start(host: str) -> "Future[list[str]]":
    lookup = _pending[host] = Future()
    lookup.add_done_callback(lambda _: _pending.pop(host))
    try:
        Thread(target=_run, args=(host, lookup), daemon=True).start()
    except RuntimeError as error:  # the system has no thread left
        lookup.set_exception(error)
    return lookup


def _run(host: str, lookup: "Future[list[str]]") -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except Exception as error:  # noqa: BLE001 - every attempt that waits raises it
        lookup.set_exception(error)
    else:
        lookup.set_result([str(address[0]) for *_, address in found])


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
