"""The listening sockets: inherited from a service manager, or bound by the settings."""

import grp
import os
import socket
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.systemd import InheritedSocketError, take_inherited_sockets
from verifier.settings import VerifierSettings

BACKLOG: Final = 2048
ADMIN_NAME: Final = "admin"
"""The name (FileDescriptorName=) of an inherited socket for the admin listener; all others serve subrequests."""


class BindError(Exception):
    """A socket is not available. The message says which setting to change."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Listening sockets.

    Attributes:
        subrequests: one or several.
        admin: one.
        bound_path: the UNIX socket that we made and must remove, if any.
    """

    subrequests: tuple[socket.socket, ...]
    admin: socket.socket
    bound_path: Path | None

    def addresses(self) -> dict[str, list[str]]:
        """Return the listen addresses, for the log."""
        return {
            "subrequests": [_address(listener) for listener in self.subrequests],
            "admin": [_address(self.admin)],
        }


def open_listeners(settings: VerifierSettings, environ: MutableMapping[str, str]) -> Listeners:
    """Use the inherited sockets, and bind those that are not inherited, by the settings.

    Raises:
        BindError: a socket is not available.
    """
    try:
        inherited = take_inherited_sockets(environ, os.getpid())
    except InheritedSocketError as error:
        raise BindError(str(error)) from error
    subrequests = tuple(listener for name, listener in inherited if name != ADMIN_NAME)
    admins = [listener for name, listener in inherited if name == ADMIN_NAME]
    if len(admins) > 1:
        raise BindError(f"{len(admins)} inherited sockets are named {ADMIN_NAME}: pass one")
    admin = admins[0] if admins else _bind_tcp(settings.admin_host, settings.admin_port, "VERIFIER_ADMIN_PORT")
    if subrequests:
        return Listeners(subrequests, admin, None)
    if settings.uds is None:
        return Listeners((_bind_tcp(settings.host, settings.port, "VERIFIER_PORT"),), admin, None)
    listener = _bind_unix(settings.uds, int(settings.uds_mode, 8), settings.uds_group)
    return Listeners((listener,), admin, settings.uds)


def _bind_tcp(host: str, port: int, variable: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise BindError(
            f"cannot listen on {host} port {port}: {_strerror(error)}; free the port, or set {variable} to another"
        ) from error


def _bind_unix(path: Path, mode: int, group: str | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        # Before listen(): at no moment can a process without permission connect.
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(mode)
        listener.listen(BACKLOG)
    except (OSError, KeyError) as error:
        listener.close()
        reason = f"no group {group!r}" if isinstance(error, KeyError) else _strerror(error)
        raise BindError(f"cannot listen on {path}: {reason}; see VERIFIER_UDS, VERIFIER_UDS_GROUP") from error
    return listener


def _strerror(error: OSError) -> str:
    # Some libraries put more into `strerror` than the system's message, or nothing.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _remove_stale(path: Path) -> None:
    """Remove the socket of a run that was killed; never one that a process listens on, never another file."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _address(listener: socket.socket) -> str:
    name = listener.getsockname()
    if isinstance(name, tuple):
        return f"{name[0]}:{name[1]}"
    # An abstract UNIX socket has a name of bytes that begins with NUL.
    return "@" + name[1:].decode(errors="replace") if isinstance(name, bytes) else name
