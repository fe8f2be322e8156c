"""Where the one-machine stack listens and keeps its state, from the environment. Reads nothing else."""

import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
"""Everything listens on loopback: this is for one machine, and the application trusts whoever reaches it."""

ROOT: Final = Path(__file__).resolve().parents[1]

# 0 is any free port: nobody but the gateway needs to know the application's.
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
    """The stack can't start or can't go on. The message is for the operator: what, and what to do."""


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What `python -m stack` was told.

    Attributes:
        home: the state folder (`GATEPASS_HOME`): database, keys, logs, generated gateway configuration.
        keys: the folder with `private/` and `public/` (`ISSUER_KEYS_DIR`).
        ports: by the name of the variable that sets each.
        environ: what the processes get beside what the stack decides.
    """

    home: Path
    keys: Path
    ports: dict[str, int]
    environ: Mapping[str, str]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "StackSettings":
        """Read the settings.

        Raises:
            StackError: a port is not a port, or two are the same.
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
        """The base URL behind the variable `port`."""
        return f"http://{HOST}:{self.ports[port]}"

    @property
    def issuer_url(self) -> str:
        """The `iss` that the issuer writes and the verifier expects."""
        return self.environ.get("ISSUER_URL") or self.url("ISSUER_PORT")

    @property
    def logs(self) -> Path:
        """The folder with one log file for each process."""
        return self.home / "logs"


def _port(name: str, value: str | None) -> int:
    if not value:
        return DEFAULT_PORTS[name]
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= _LAST_PORT):
        raise StackError(f"{name} must be a port from 1 to {_LAST_PORT}")
    return int(value)


def _free_port(taken: Collection[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
