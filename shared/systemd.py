"""The protocol of a service manager: inherited sockets (sd_listen_fds) and notifications (sd_notify).

It uses environment variables, file descriptors and datagrams, so other programs than systemd can use it too.
"""

import contextlib
import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import Final

FIRST_FD: Final = 3
MAX_FDS: Final = 64


class InheritedSocketError(Exception):
    """An inherited socket cannot be used. The message says what to change."""


def take_inherited_sockets(environ: MutableMapping[str, str], pid: int) -> list[tuple[str, socket.socket]]:
    """Return the listening sockets that the parent process passed to this one, each with its name.

    The variables are removed, so that a child process does not use our sockets as its own.

    Args:
        environ: with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES, as in sd_listen_fds(3).
        pid: of this process; sockets for another process are ignored.

    Raises:
        InheritedSocketError: one of them cannot be used.
    """
    given = {name: environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")}
    if not given["LISTEN_FDS"] or given["LISTEN_PID"] != str(pid):
        return []
    if not given["LISTEN_FDS"].isdecimal() or int(given["LISTEN_FDS"]) > MAX_FDS:
        raise InheritedSocketError(f"LISTEN_FDS={given['LISTEN_FDS']!r}: not a number from 0 to {MAX_FDS}")
    count = int(given["LISTEN_FDS"])
    names = given["LISTEN_FDNAMES"].split(":") if given["LISTEN_FDNAMES"] else [""] * count
    if len(names) != count:
        raise InheritedSocketError(f"LISTEN_FDNAMES has {len(names)} names for {count} sockets")
    return [(name, _inherited_socket(FIRST_FD + index, name)) for index, name in enumerate(names)]


def notify(environ: Mapping[str, str], state: str) -> None:
    """Send `state`, such as `READY=1`, to the service manager, if there is one. Errors are ignored."""
    path = environ.get("NOTIFY_SOCKET", "")
    if path[:1] in ("/", "@"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.setblocking(False)  # noqa: FBT003 - the standard library's signature
            datagrams.sendto(state.encode(), path.replace("@", "\0", 1) if path[0] == "@" else path)


def _inherited_socket(fd: int, name: str) -> socket.socket:
    label = f"inherited socket {fd}" + (f" ({name})" if name else "")
    try:
        inherited = socket.socket(fileno=fd)
    except OSError as error:
        raise InheritedSocketError(
            f"{label} is not a socket ({os.strerror(error.errno or 0)}): see LISTEN_FDS"
        ) from error
    is_stream = inherited.type == socket.SOCK_STREAM
    if not is_stream or not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        inherited.detach()
        raise InheritedSocketError(f"{label} is not a listening stream socket: use ListenStream= and Accept=no")
    inherited.set_inheritable(False)
    return inherited
