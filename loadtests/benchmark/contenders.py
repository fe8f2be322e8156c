"""Who is compared, as data: what each one runs, and whether it verifies anything at all.

`${…}` in a command, a variable or a configuration is filled in when the server starts (`servers.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Server:
    """One process.

    Attributes:
        command: its arguments.
        template: the file in `configurations/` that becomes its `${config}`.
        environment: its variables.
        values: what this one fills in for a `${…}` of the template.
    """

    command: tuple[str, ...]
    template: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of the report.

    Attributes:
        name: how reports, targets and `--only` call it.
        label: how the table and the chart call it.
        servers: what it runs; each may reach the one before it at `${upstream_port}`, the last is loaded.
        verifies: it must refuse every bad token; false only for what shows the ceiling.
        varied: each request carries an `X-Request-Id` of its own.
        half_load: latency is measured at half its peak too.
    """

    name: str
    label: str
    servers: tuple[Server, ...]
    verifies: bool = True
    varied: bool = False
    half_load: bool = False

    @property
    def behind_nginx(self) -> bool:
        """Asked by nginx's `auth_request` instead of by the load itself."""
        return self.name.startswith("nginx+")


def _nginx(template: str) -> Server:
    return Server(("${nginx}", "-e", "stderr", "-p", "${directory}", "-c", "${config}"), template)


def _envoy(jwt_cache: str) -> Server:
    command = ("${envoy}", "-c", "${config}", "--concurrency", "1", "--disable-hot-restart", "-l", "error")
    return Server(command, "envoy.yaml", values={"jwt_cache": jwt_cache})


def _verifier(**settings: str) -> Server:
    environment = {
        "VERIFIER_PORT": "${port}",
        "VERIFIER_ADMIN_PORT": "${admin_port}",
        "VERIFIER_ISSUER": "${issuer}",
        "VERIFIER_AUDIENCE": "${audience}",
        "VERIFIER_JWKS_FILE": "${jwks}",
        "VERIFIER_LOG_LEVEL": "warning",
        **settings,
    }
    return Server(("${python}", "-m", "verifier"), environment=environment)


def _uvicorn(app: str) -> Server:
    options = ("--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning")
    environment = {
        "BENCHMARK_JWKS_FILE": "${jwks}",
        "BENCHMARK_ISSUER": "${issuer}",
        "BENCHMARK_AUDIENCE": "${audience}",
    }
    return Server(("${python}", "-m", "uvicorn", app, "--port", "${port}", *options), environment=environment)


_NGINX_204: Final = _nginx("nginx_204.conf")
_STATIC_SUBREQUEST: Final = _nginx("nginx_static_subrequest.conf")
_AUTH_REQUEST: Final = _nginx("nginx_auth_request.conf")
_VERIFIER: Final = _verifier()
_VERIFIER_UNCACHED: Final = _verifier(VERIFIER_CACHE_ENTRIES="0")
_ENVOY: Final = _envoy("")
# Its default of 100 tokens would miss nearly always with 1,000.
_ENVOY_CACHED: Final = _envoy("jwt_cache_config: { jwt_cache_size: 2048 }")
_HAPROXY: Final = Server(("${haproxy}", "-db", "-f", "${config}"), "haproxy.cfg")
_STARLETTE: Final = _uvicorn("loadtests.benchmark.starlette_app:app")

CONTENDERS: Final = (
    Contender("nginx-204", "no check: nginx return 204", (_NGINX_204,), verifies=False, half_load=True),
    Contender("verifier", "Gatepass", (_VERIFIER,), half_load=True),
    Contender("verifier-varied", "Gatepass, no two heads alike", (_VERIFIER,), varied=True),
    Contender("verifier-uncached", "Gatepass, cache off", (_VERIFIER_UNCACHED,)),
    Contender("envoy-cached", "Envoy jwt_authn, with its cache", (_ENVOY_CACHED,)),
    Contender("envoy", "Envoy jwt_authn", (_ENVOY,)),
    Contender("haproxy", "HAProxy jwt_verify", (_HAPROXY,)),
    Contender("starlette", "Starlette + PyJWT", (_STARLETTE,)),
    Contender("nginx+static", "no check: 204 by the same nginx", (_STATIC_SUBREQUEST,), verifies=False),
    Contender("nginx+204", "no check: 204 by another nginx", (_NGINX_204, _AUTH_REQUEST), verifies=False),
    Contender("nginx+verifier", "Gatepass", (_VERIFIER, _AUTH_REQUEST)),
    Contender("nginx+envoy-cached", "Envoy jwt_authn, with its cache", (_ENVOY_CACHED, _AUTH_REQUEST)),
    Contender("nginx+haproxy", "HAProxy jwt_verify", (_HAPROXY, _AUTH_REQUEST)),
    Contender("nginx+starlette", "Starlette + PyJWT", (_STARLETTE, _AUTH_REQUEST)),
)
