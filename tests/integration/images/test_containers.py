"""The images and compose.yaml in real containers: the gateway tests, and the restrictions of the containers.

Then the pod with a verifier beside its gateway, from the Kubernetes manifests.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: TID251 - as the issuer

from tests.integration.gateways.conftest import Gateway
from tests.integration.gateways.test_decisions import *  # noqa: F403 - all its tests
from tests.integration.gateways.test_spoofing import *  # noqa: F403 - all its tests
from tests.support.gateways import Verifier, ask
from tests.support.images.engine import Engine, running_engine
from tests.support.overlays import rendered

# The suite's own tests, which run here on the gateway of compose.yaml.
from tests.support.plain_http import HTTP
from tests.support.processes import ROOT, free_port, wait_until
from tests.support.token_forge import Forge, claims_of

pytestmark = pytest.mark.timeout(1200)  # the first test waits for the images and, on a new machine, for packages

VERIFIERS: Final = ("verifier-1", "verifier-2", "verifier-3")
SERVICES: Final = ("postgres-1", "issuer-1", "application-1", "nginx-1", *VERIFIERS)
LIMITS: Final = {
    name: service["deploy"]["resources"]["limits"]
    for name, service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].items()
}
UNITS: Final = {"M": 1 << 20, "G": 1 << 30}
_SECONDS: Final = 90.0
PASSWORD: Final = "Kestrel-over-7-quiet-harbours"


@dataclass(frozen=True)
class Site:
    """compose.yaml in containers: three verifiers, and free ports on loopback."""

    engine: Engine
    folder: Path
    project: str
    issuer: str
    gateway_port: int

    def container(self, name: str) -> str:
        return f"{self.project}-{name}"

    def exec(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        return self.engine.exec(self.container(name), *command)

    def pid(self, name: str) -> int:
        return self.engine.pid(self.container(name))

    def session(self) -> dict[str, Any]:
        """Register an account and log in; return the token response."""
        account = {"email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD}
        assert HTTP.post(f"{self.issuer}/register", json=account).status_code in {201, 202}
        response = HTTP.post(f"{self.issuer}/login", json=account)
        assert response.status_code == 200, response.text
        return cast("dict[str, Any]", response.json())

    def status(self, token: str) -> int:
        """Return the gateway's status for a request with a token; 0 without a response."""
        try:
            return ask(self.gateway_port, token=token.encode()).status
        except OSError:
            return 0

    def kill(self, name: str) -> None:
        """Kill the first process of a container, and wait until it runs again."""
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: self.pid(name) not in {0, before}, f"{name} runs again", _SECONDS)

    def wait_for_verdict(self, name: str, token: str, status: int) -> None:
        """Wait until a verifier itself responds to a token with this status."""
        program = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", 8001)
connection.request("GET", "/verify/default", headers={"Authorization": "Bearer " + sys.argv[1]})
print(connection.getresponse().status)
"""
        command = ["python", "-c", program, token]
        wait_until(lambda: self.exec(name, *command).stdout == f"{status}\n", f"{name} returns {status}", _SECONDS)

    def decisions(self, name: str) -> float:
        """Return how many requests a verifier has decided."""
        program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9001/metrics').read().decode())"
        lines = self.exec(name, "python", "-c", program).stdout.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("gatepass_verifier_decisions_total"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def site(engine: Engine) -> Iterator[Site]:
    folder = engine.folder / "site"
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    shutil.copy(ROOT / "compose.yaml", folder)
    header = (ROOT / "compose.yaml").read_text(encoding="utf-8").partition("\nname:")[0]
    commands = [line[4:] for line in header.splitlines() if line.startswith("#   ") and "docker" not in line]
    subprocess.run(["sh", "-euc", "\n".join(commands)], cwd=folder, check=True)
    issuer_port, gateway_port = free_port(), free_port()
    project = f"gatepass-{secrets.token_hex(4)}"  # part of the names of networks, which all engines share
    issuer = f"http://127.0.0.1:{issuer_port}"
    environ = {
        "COMPOSE_PROJECT_NAME": project,
        "GATEWAY_PORT": str(gateway_port),
        "ISSUER_PORT": str(issuer_port),
        "ISSUER_URL": issuer,
        "VERIFIERS": str(len(VERIFIERS)),
    }
    engine.compose(folder, environ, "up", "--detach", "--no-build", "--pull=never")
    site = Site(engine, folder, project, issuer, gateway_port)
    wait_until(lambda: site.status("x") == 401, "the gateway", _SECONDS)
    yield site
    engine.compose(folder, environ, "down", "--volumes")


@pytest.fixture(scope="module")
def gateway(site: Site) -> Gateway:
    """Return the gateway of the site, and the issuer's own key."""
    volume = Path(site.engine.podman("volume", "inspect", f"{site.project}_keys-private", "--format={{.Mountpoint}}"))
    (key,) = volume.glob("*.pem")
    private = cast("RSAPrivateKey", load_pem_private_key(key.read_bytes(), None))
    return Gateway("nginx", site.gateway_port, Verifier(site.folder, Forge(site.issuer, private)))


def test_users_log_in_and_out_at_the_gateway(site: Site) -> None:
    session = site.session()
    response = ask(site.gateway_port, "/hello", token=session["access_token"].encode())
    assert response.identity["X-Auth-Subject"] == claims_of(session["access_token"])["sub"]
    form = {"grant_type": "refresh_token", "refresh_token": session["refresh_token"]}
    refreshed = HTTP.post(f"{site.issuer}/token", data=form).json()["access_token"]
    assert site.status(refreshed) == 200
    credentials = {"Authorization": f"Bearer {refreshed}"}
    assert HTTP.post(f"{site.issuer}/logout", headers=credentials).status_code == 204
    wait_until(lambda: site.status(refreshed) == 401, "the session is revoked at the gateway", _SECONDS)


def test_every_verifier_serves(site: Site) -> None:
    before = {name: site.decisions(name) for name in VERIFIERS}
    token = site.session()["access_token"]
    for _ in range(30):
        site.status(token)
    assert all(site.decisions(name) > before[name] for name in VERIFIERS)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_write_nothing_and_gain_nothing(site: Site, name: str) -> None:
    for path in ("/written", "/etc/passwd", "/usr/bin/python3"):
        done = site.exec(name, "sh", "-c", f"echo >> {path}")
        assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr, path
    assert re.search(r"^\S+ / \S+ ro,", Path(f"/proc/{site.pid(name)}/mounts").read_text(), re.MULTILINE)
    for process in site.engine.podman("top", site.container(name), "hpid").split()[1:]:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        assert "0" not in status["Uid"].split() + status["Gid"].split()
        assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
        assert status["NoNewPrivs"].strip() == "1"


@pytest.mark.parametrize("name", SERVICES)
def test_limits_are_in_force(site: Site, name: str) -> None:
    described = LIMITS[name.rpartition("-")[0]]
    memory = int(described["memory"][:-1]) * UNITS[described["memory"][-1]]
    found = site.exec(
        name,
        "sh",
        "-c",
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max || cat memory.max pids.max",
    )
    assert found.stdout.split() == [str(memory), str(described["pids"])]


@pytest.mark.parametrize("name", VERIFIERS)
def test_a_verifier_sees_no_secret(site: Site, name: str) -> None:
    assert site.exec(name, "sh", "-c", "cd /keys && find . -type f").stdout.split() == ["./public/jwks.json"]
    assert site.exec(name, "ls", "/run/secrets").returncode != 0
    assert "DATABASE" not in site.exec(name, "env").stdout
    resolve = "import socket; socket.getaddrinfo('postgres', 5432)"
    assert "gaierror" in site.exec(name, "python", "-c", resolve).stderr


def test_an_image_has_only_its_own_packages(site: Site) -> None:
    for name, absent in {
        "verifier-1": ("issuer", "asyncpg", "argon2", "starlette", "pip"),
        "issuer-1": ("verifier", "doctor", "pip"),
    }.items():
        for package in absent:
            assert "ModuleNotFoundError" in site.exec(name, "python", "-c", f"import {package}").stderr, package


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "application-1"])
def test_health_checks_pass(site: Site, name: str) -> None:
    wait_until(lambda: site.engine.is_healthy(site.container(name)), name, _SECONDS)


@pytest.mark.parametrize("name", [service for service in SERVICES if service.endswith("-1")])
def test_a_killed_container_is_restarted(site: Site, name: str) -> None:
    site.kill(name)
    wait_until(lambda: site.status(_token(site)) == 200, "users log in and pass the gateway", _SECONDS)


def _token(site: Site) -> str:
    """Return the access token of a new session; an empty string while the issuer cannot create one."""
    try:
        return str(site.session()["access_token"])
    except (AssertionError, httpx.TransportError):
        return ""


def test_verifiers_that_restart_while_the_issuer_is_down_cannot_decide_until_it_is_back(site: Site) -> None:
    token = site.session()["access_token"]
    site.engine.podman("stop", site.container("issuer-1"))
    for name in VERIFIERS:
        site.kill(name)
        site.wait_for_verdict(name, token, 503)
        assert not site.engine.is_healthy(site.container(name))
    site.engine.podman("start", site.container("issuer-1"))
    for name in VERIFIERS:
        site.wait_for_verdict(name, token, 200)
    wait_until(lambda: site.status(token) == 200, "the gateway accepts it", _SECONDS)


def test_the_pod_with_a_verifier_beside_its_gateway(site: Site) -> None:
    manifests, port = site.engine.folder / "pod.yaml", free_port()
    manifests.write_text(yaml.safe_dump_all(_pod(site.issuer, port)), encoding="utf-8")
    networks = ",".join(f"{site.project}_{name}" for name in ("gateway", "status-lists", "application"))
    site.engine.podman("kube", "play", f"--network={networks}", manifests)
    beside = replace(site, gateway_port=port)
    token = site.session()["access_token"]
    wait_until(lambda: beside.status(token) == 200, "the pod serves", _SECONDS)
    assert beside.status(f"{token}x") == 401
    assert ask(port, token=token.encode()).identity["X-Auth-Subject"] == claims_of(token)["sub"]


def _pod(issuer: str, port: int) -> Iterator[dict[str, Any]]:
    """Return the objects of the overlay `sidecar` that its gateway needs, as Podman 4.3 reads them.

    One pod, since they would share this machine's ports; the verifier as an ordinary container, since Podman does not
    know those that start before others and stay; and the URL of our issuer.
    """
    overlay = rendered("sidecar")
    for config in overlay.of("ConfigMap").values():
        if "VERIFIER_ISSUER" in config["data"]:
            config["data"] |= {"VERIFIER_ISSUER": issuer}
        yield config
    gateway = overlay.of("Deployment")["gateway"]
    gateway["spec"]["replicas"] = 1
    spec = gateway["spec"]["template"]["spec"]
    [verifier], [nginx] = spec.pop("initContainers"), spec["containers"]
    del verifier["restartPolicy"], verifier["ports"]
    nginx["ports"][0] |= {"hostPort": port, "hostIP": "127.0.0.1"}
    spec["containers"].append(verifier)
    yield gateway
