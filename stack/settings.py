"""The settings of the one-machine stack: ports and folders, from environment variables."""

import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
"""All processes listen on loopback, because the application trusts every client that can connect to it."""

ROOT: Final = Path(__file__).resolve().parents[1]

# 0 means a free port: only the gateway connects to the application.
DEFAULT_PORTS: Final = {
    "GATEWAY_PORT": 8080,
    "ISSUER_PORT": 8000,
    "ISSUER_ADMIN_PORT": 9000,
    "VERIFIER_PORT": 8001,
    "VERIFIER_ADMIN_PORT": 9001,
    "APPLICATION_PORT": 0,
}

_LAST_PORT: Final = 65535


class StackError(Exception):
    """A failure to start or to continue. The message tells the operator what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class StackSettings:
    """The settings of `python -m stack`.

    Attributes:
        home: the state folder (`GATEPASS_HOME`): database, keys, logs, generated gateway configuration.
        keys: the folder with `private/` and `public/` (`ISSUER_KEYS_DIR`).
        ports: by the name of the variable that sets the port.
        environ: the environment that is passed on to the processes.
    """

    home: Path
    keys: Path
    ports: dict[str, int]
    environ: Mapping[str, str]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "StackSettings":
        """Parse the settings.

        Raises:
            StackError: a port is invalid, or used twice.
        """
        ports = {name: _port(name, environ.get(name)) for name in DEFAULT_PORTS}
        for name in [name for name, port in ports.items() if not port]:
            ports[name] = _free_port(ports.values())
        names = {port: name for name, port in ports.items()}
        for name, port in ports.items():
            if names[port] != name:
                raise StackError(f"{name} and {names[port]} are both {port}: give each its own port")
        home = Path(environ.get("GATEPASS_HOME") or ROOT / ".gatepass").absolute()
        keys = Path(environ.get("ISSUER_KEYS_DIR") or home / "keys").absolute()
        return cls(home, keys, ports, environ)

    def url(self, port: str) -> str:
        """Return the base URL of the service whose port the variable `port` sets."""
        return f"http://{HOST}:{self.ports[port]}"

    @property
    def issuer_url(self) -> str:
        """Return the `iss` claim that the issuer writes and the verifier expects."""
        return self.environ.get("ISSUER_URL") or self.url("ISSUER_PORT")

    @property
    def logs(self) -> Path:
        """Return the folder with one log file per process."""
        return self.home / "logs"


def _port(name: str, value: str | None) -> int:
    if not value:
        return DEFAULT_PORTS[name]
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= _LAST_PORT):
        raise StackError(f"{name} must be a port from 1 to {_LAST_PORT}")
    return int(value)


def _free_port(used: Collection[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in used:
            return port
