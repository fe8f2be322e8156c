"""The contenders, as data: the processes of each, and what it checks.

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
        values: for further `${…}` of the template.
    """

    command: tuple[str, ...]
    template: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of the report.

    Attributes:
        name: name in reports, targets and `--only`.
        label: name in the table and the chart.
        servers: its processes; each may reach the one before it at `${upstream_port}`, the last is loaded.
        verifies: it must reject every invalid token. False only for servers that check nothing, for comparison.
        hardened: it also checks everything that its configuration can express, as our verifier does.
        half_load: latency is measured at half its peak too.
        path: the path of the requests.
        peer: the program in `peers.py` that it needs; without it the contender is left out.
        lacks: vectors, as patterns, about a check that neither its configuration nor its defaults have.
        cannot_reject: tokens of `Fixtures.invalid_for_hardened` that it accepts for that reason, or rejects with 500.
    """

    name: str
    label: str
    servers: tuple[Server, ...]
    verifies: bool = True
    hardened: bool = False
    half_load: bool = False
    path: str = "/verify"
    peer: str = ""
    lacks: tuple[str, ...] = ()
    cannot_reject: frozenset[str] = frozenset()

    @property
    def behind_nginx(self) -> bool:
        """Return whether the requests come from nginx's `auth_request` instead of the load itself."""
        return self.name.startswith("nginx+")


def _nginx(template: str) -> Server:
    return Server(("${nginx}", "-e", "stderr", "-p", "${directory}", "-c", "${config}"), template)


def _envoy(template: str, jwt_cache: str = "") -> Server:
    command = ("${envoy}", "-c", "${config}", "--concurrency", "1", "--disable-hot-restart", "-l", "error")
    return Server(command, template, values={"jwt_cache": jwt_cache})


def _verifier(**settings: str) -> Server:
    environment = {
        "VERIFIER_PORT": "${port}",
        "VERIFIER_ADMIN_PORT": "${admin_port}",
        "VERIFIER_ISSUER": "${issuer}",
        "VERIFIER_AUDIENCE": "${audience}",
        "VERIFIER_JWKS_FILE": "${jwks}",
        "VERIFIER_POLICIES_FILE": "${config}",
        "VERIFIER_LOG_LEVEL": "warning",
        **settings,
    }
    return Server(("${python}", "-m", "verifier"), "verifier.toml", environment=environment)


_NGINX_204: Final = _nginx("nginx_204.conf")
_AUTH_REQUEST: Final = _nginx("nginx_auth_request.conf")
_VERIFIER: Final = _verifier()
_VERIFIER_UNCACHED: Final = _verifier(VERIFIER_CACHE_ENTRIES="0")
# With Envoy's default of 100 cached tokens nearly all requests with the 1,000 tokens would miss.
_ENVOY_CACHE: Final = "jwt_cache_config: { jwt_cache_size: 2048 }"
_ENVOY_CACHED: Final = _envoy("envoy_hardened.yaml", _ENVOY_CACHE)
_HAPROXY: Final = Server(("${haproxy}", "-db", "-f", "${config}"), "haproxy.cfg")
_HAPROXY_HARDENED: Final = Server(("${haproxy}", "-db", "-f", "${config}"), "haproxy_hardened.cfg")
# Serves the key set to contenders that cannot read it from a file.
_JWKS: Final = Server(
    ("${python}", "-m", "http.server", "${port}", "--bind", "127.0.0.1", "--directory", "${fixtures}")
)
_HEIMDALL: Final = Server(
    ("${heimdall}", "serve", "decision", "--config", "${config}", "--insecure-skip-all-tls-enforcement"),
    "heimdall.yaml",
)
_OATHKEEPER: Final = Server(
    ("${oathkeeper}", "serve", "--config", "${config}", "--disable-telemetry"), "oathkeeper.yaml"
)
_OAUTH2_PROXY: Final = Server(("${oauth2_proxy}", "--config", "${config}"), "oauth2_proxy.cfg")
_NO_TYPE: Final = ("05-type/*", "03-header/type-member-[7-9]", "03-header/type-member-1[0-3]")
_LACKING_CLAIMS: Final = frozenset({"no iat", "no jti", "no sub", "no client_id"})
_UVICORN_OPTIONS: Final = ("--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning")
_STARLETTE: Final = Server(
    ("${python}", "-m", "uvicorn", "loadtests.bench.starlette_app:app", "--port", "${port}", *_UVICORN_OPTIONS),
    environment={
        "BENCHMARK_JWKS_FILE": "${jwks}",
        "BENCHMARK_ISSUER": "${issuer}",
        "BENCHMARK_AUDIENCE": "${audience}",
    },
)

CONTENDERS: Final = (
    Contender("nginx-204", "no check: nginx return 204", (_NGINX_204,), verifies=False, half_load=True),
    Contender("verifier", "Gatepass, cache hit", (_VERIFIER,), hardened=True, half_load=True),
    Contender("verifier-uncached", "Gatepass, new token", (_VERIFIER_UNCACHED,), hardened=True),
    Contender("envoy-cached", "Envoy, cache hit, hardened", (_ENVOY_CACHED,), hardened=True),
    Contender("envoy", "Envoy, new token, hardened", (_envoy("envoy_hardened.yaml"),), hardened=True),
    Contender("envoy-cached-plain", "Envoy, cache hit, plain", (_envoy("envoy.yaml", _ENVOY_CACHE),)),
    Contender("envoy-plain", "Envoy, new token, plain", (_envoy("envoy.yaml"),)),
    Contender("haproxy", "HAProxy, new token, hardened", (_HAPROXY_HARDENED,), hardened=True),
    Contender("haproxy-plain", "HAProxy, new token, plain", (_HAPROXY,)),
    Contender(
        "heimdall",
        "Heimdall, new token, hardened",
        (_JWKS, _HEIMDALL),
        hardened=True,
        peer="heimdall",
        lacks=_NO_TYPE,
        cannot_reject=frozenset({"another type", "no sub"}),
    ),
    Contender(
        "oauth2-proxy",
        "oauth2-proxy, new token, hardened",
        (_JWKS, _OAUTH2_PROXY),
        hardened=True,
        peer="oauth2_proxy",
        path="/oauth2/auth",
        lacks=_NO_TYPE,
        cannot_reject=_LACKING_CLAIMS | {"another type"},
    ),
    Contender(
        "oathkeeper",
        "Oathkeeper, new token, hardened",
        (_JWKS, _OATHKEEPER),
        hardened=True,
        peer="oathkeeper",
        path="/decisions/verify",
        lacks=(*_NO_TYPE, "08-claims/missing-exp"),
        cannot_reject=_LACKING_CLAIMS | {"another type", "no exp"},
    ),
    Contender("starlette", "Starlette + PyJWT, new token", (_STARLETTE,)),
    Contender("nginx+204", "no check: another nginx's 204", (_NGINX_204, _AUTH_REQUEST), verifies=False),
    Contender("nginx+verifier", "Gatepass, cache hit", (_VERIFIER, _AUTH_REQUEST), hardened=True),
    Contender("nginx+verifier-uncached", "Gatepass, new token", (_VERIFIER_UNCACHED, _AUTH_REQUEST), hardened=True),
    Contender("nginx+envoy-cached", "Envoy, cache hit, hardened", (_ENVOY_CACHED, _AUTH_REQUEST), hardened=True),
    Contender("nginx+haproxy", "HAProxy, hardened", (_HAPROXY_HARDENED, _AUTH_REQUEST), hardened=True),
)
