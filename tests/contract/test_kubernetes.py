"""The Kubernetes manifests, rendered and held to their promises without a cluster to run them."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped] # it has no stubs
import pytest
import yaml

from issuer import __main__ as issuer_commands
from issuer.admission import check_memory
from issuer.listeners import _DRAIN_SECONDS
from issuer.passwords import ARGON2_COSTS
from issuer.settings import IssuerSettings
from tests.support import alert_rules
from tests.support.manifests import KUBERNETES, SCHEMAS, render, validate
from tests.support.processes import ROOT, free_port
from verifier import __main__ as verifier_commands
from verifier.settings import VerifierSettings
from verifier.supervisor import _STOP_GRACE_SECONDS

FOLDER: Final = ROOT / "deploy/kubernetes"
README: Final = (FOLDER / "README.md").read_text(encoding="utf-8")
NEWEST: Final[str] = kubernetes_validate.latest_version()
UNITS: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
PARSERS: Final = {"gatepass-issuer": issuer_commands._parser, "gatepass-verifier": verifier_commands._parser}
SETTINGS: Final[dict[str, type[IssuerSettings | VerifierSettings]]] = {
    "gatepass-issuer": IssuerSettings,
    "gatepass-verifier": VerifierSettings,
}
SECRETS: Final = {
    "database_url": "postgresql://issuer:p@postgres-rw.gatepass:5432/gatepass",
    "mail_url": "smtps://gatepass:p@mail.example.com",
}
RESTRICTED_VOLUMES: Final = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}

Object = dict[str, Any]
Labels = Mapping[str, str]

DNS: Final = {("kube-dns in kube-system", 53, "TCP"), ("kube-dns in kube-system", 53, "UDP")}
ISSUER, VERIFIER = {"app.kubernetes.io/name": "gatepass-issuer"}, {"app.kubernetes.io/name": "gatepass-verifier"}
GATEWAY: Final = {"app.kubernetes.io/name": "gatepass-gateway"}
POSTGRES: Final = {"cnpg.io/cluster": "postgres"}


@dataclass(frozen=True)
class Container:
    """A container, and whether it is there for as long as its pod."""

    described: Object
    serves: bool

    @property
    def image(self) -> str:
        return str(self.described["image"].partition(":")[0])


@dataclass(frozen=True)
class Pod:
    """What a Deployment or a CronJob starts."""

    name: str
    labels: Labels
    spec: Object
    is_job: bool

    @property
    def containers(self) -> list[Container]:
        before = [
            Container(described, described.get("restartPolicy") == "Always")
            for described in self.spec.get("initContainers", [])
        ]
        return before + [Container(described, not self.is_job) for described in self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        described = [port for container in self.containers for port in container.described.get("ports", [])]
        return {port["name"]: port["containerPort"] for port in described}

    def mounts(self, container: Container) -> dict[str, tuple[Object, bool]]:
        """Volume and whether it is read-only, by path."""
        volumes = {volume["name"]: volume for volume in self.spec.get("volumes", [])}
        mounts = container.described.get("volumeMounts", [])
        return {mount["mountPath"]: (volumes[mount["name"]], mount.get("readOnly", False)) for mount in mounts}


@dataclass(frozen=True)
class Rendered:
    """The objects of an overlay."""

    objects: list[Object]

    def of(self, kind: str) -> dict[str, Object]:
        """Objects of a kind by name, without the hash that kustomize appends."""
        found = [described for described in self.objects if described["kind"] == kind]
        return {re.sub(r"-[a-z0-9]{10}$", "", described["metadata"]["name"]): described for described in found}

    @property
    def pods(self) -> list[Pod]:
        templates = [(name, described["spec"], False) for name, described in self.of("Deployment").items()]
        templates += [
            (name, described["spec"]["jobTemplate"]["spec"], True) for name, described in self.of("CronJob").items()
        ]
        return [
            Pod(name, spec["template"]["metadata"]["labels"], spec["template"]["spec"], is_job)
            for name, spec, is_job in templates
        ]

    def selected(self, selector: Labels) -> list[Pod]:
        return [pod for pod in self.pods if selector.items() <= pod.labels.items()]

    def ours(self, image: str = "gatepass-") -> Iterator[tuple[Pod, Container]]:
        """Containers of our images."""
        for pod in self.pods:
            for container in pod.containers:
                if container.image.rpartition("/")[2].startswith(image):
                    yield pod, container

    def environment(self, container: Container) -> dict[str, str]:
        """The variables that a container gets; from ConfigMaps of this overlay, or as they stand."""
        maps = {described["metadata"]["name"]: described["data"] for described in self.of("ConfigMap").values()}
        environ: dict[str, str] = {}
        for source in container.described.get("envFrom", []):
            environ |= maps[source["configMapRef"]["name"]]
        return environ | {variable["name"]: variable["value"] for variable in container.described.get("env", [])}

    def reach(self, direction: str, labels: Labels) -> set[tuple[str, int, str]]:
        """Whom pods with these labels may talk to (`egress`), or who may talk to them (`ingress`): peer, port."""
        reached: set[tuple[str, int, str]] = set()
        for policy in self.of("NetworkPolicy").values():
            spec = policy["spec"]
            if spec["podSelector"].get("matchLabels", {}).items() <= labels.items():
                for rule in spec.get(direction, []):
                    peers = rule.get("to" if direction == "egress" else "from", [{}])
                    ports = rule["ports"]
                    reached |= {
                        (_peer(peer), port["port"], port.get("protocol", "TCP")) for peer in peers for port in ports
                    }
        return reached


def _peer(peer: Object) -> str:
    """A peer of a network policy in words, by the values of its labels."""
    pods, namespaces = (peer.get(kind, {}).get("matchLabels", {}) for kind in ("podSelector", "namespaceSelector"))
    [who] = pods.values() or ["all"]
    if not peer:
        return "anybody"
    if not namespaces:
        return str(who)
    [(label, value)] = namespaces.items()
    return f"{who} in {'gateways' if label == 'gatepass/gateway' else value}"


@pytest.fixture(scope="module", params=["central", "sidecar", "mail"])
def overlay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Each overlay as it stands, and one with mail, added as the README says."""
    if request.param != "mail":
        return Rendered(render(FOLDER / "overlays" / request.param))
    deploy = tmp_path_factory.mktemp("mail") / "deploy"
    shutil.copytree(ROOT / "deploy", deploy)
    kustomization = deploy / "kubernetes/overlays/central/kustomization.yaml"
    kustomization.write_text(f"{kustomization.read_text()}  - ../../mail\n")
    return Rendered(render(kustomization.parent))


@pytest.fixture(scope="module")
def central() -> Rendered:
    return Rendered(render(FOLDER / "overlays/central"))


@pytest.fixture(scope="module")
def sidecar() -> Rendered:
    return Rendered(render(FOLDER / "overlays/sidecar"))


@pytest.mark.parametrize("kubernetes", [KUBERNETES, NEWEST])
def test_every_object_is_valid_by_the_schemas(overlay: Rendered, kubernetes: str) -> None:
    kinds = {described["kind"] for described in overlay.objects}
    assert {"Deployment", "CronJob", "Cluster", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor"} <= kinds
    problems = {
        f"{described['kind']} {described['metadata']['name']}": validate(described, kubernetes)
        for described in overlay.objects
    }
    assert {name: found for name, found in problems.items() if found} == {}


def test_the_readme_names_the_releases_whose_schemas_were_asked() -> None:
    assert f"Kubernetes {KUBERNETES} and {NEWEST.removesuffix('.0')}" in README
    tags = dict(re.findall(r"\| (\S+)/\S+, .* \| v(\d+\.\d+)\.", (SCHEMAS / "README.md").read_text(encoding="utf-8")))
    assert f"CloudNativePG {tags['cloudnative-pg']}" in README
    assert f"Prometheus operator {tags['prometheus-operator']}" in README


def test_every_schema_says_where_it_was_published_and_under_which_licence() -> None:
    rows = re.findall(r"^\|(.*)\|$", (SCHEMAS / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = [row.split("|")[0] for row in rows if len([cell for cell in row.split("|") if cell.strip()]) == 4]
    for path in SCHEMAS.glob("*/*.json"):
        assert any(f"`{path.relative_to(SCHEMAS)}`" in files for files in told), path


def test_a_pod_can_gain_nothing(overlay: Rendered) -> None:
    for pod in overlay.pods:
        spec, context = pod.spec, pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True, pod.name
        assert context["runAsUser"] > 0, pod.name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, pod.name
        assert spec["automountServiceAccountToken"] is False, pod.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), pod.name
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= RESTRICTED_VOLUMES, pod.name
        for container in pod.containers:
            described = container.described
            allowed = described["securityContext"]
            assert allowed["allowPrivilegeEscalation"] is False, described["name"]
            assert allowed["readOnlyRootFilesystem"] is True, described["name"]
            assert allowed["capabilities"] == {"drop": ["ALL"]}, described["name"]
            assert allowed.get("runAsUser", 1) > 0, described["name"]
            assert "privileged" not in allowed, described["name"]
            assert not any("hostPort" in port for port in described.get("ports", [])), described["name"]


def test_the_namespace_refuses_pods_that_could_gain_more(overlay: Rendered) -> None:
    labels = overlay.of("Namespace")["gatepass"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    namespaces = {described["metadata"].get("namespace", "gatepass") for described in overlay.objects}
    assert namespaces == {"gatepass"}


def test_a_service_does_not_become_a_setting(overlay: Rendered) -> None:
    # ISSUER_PORT=tcp://10.0.0.1:8000 is what Kubernetes makes of a Service named `issuer`.
    for pod in overlay.pods:
        assert pod.spec["enableServiceLinks"] is False, pod.name


def test_a_container_says_how_much_it_needs_and_how_it_is(overlay: Rendered) -> None:
    for pod in overlay.pods:
        for container in pod.containers:
            described = container.described
            for bound in ("requests", "limits"):
                assert described["resources"][bound].keys() == {"cpu", "memory"}, described["name"]
            probes = {"startupProbe", "livenessProbe", "readinessProbe"}
            assert probes & described.keys() == (probes if container.serves else set()), described["name"]


def test_an_issuer_is_alive_without_its_database_and_a_verifier_without_keys(overlay: Rendered) -> None:
    for _, container in overlay.ours():
        if container.serves:
            asked = {
                probe: container.described[probe]["httpGet"]
                for probe in ("startupProbe", "livenessProbe", "readinessProbe")
            }
            assert {probe["port"] for probe in asked.values()} == {"admin"}
            paths = [probe["path"] for probe in asked.values()]
            assert paths == ["/healthz", "/healthz", "/readyz"]


def test_every_port_that_is_named_is_there(overlay: Rendered) -> None:
    for _, container in overlay.ours():
        if container.serves:
            settings = _settings_of(overlay, container)
            listening = {settings.admin_port, settings.port}
            ports = {port["name"]: port["containerPort"] for port in container.described["ports"]}
            assert set(ports.values()) <= listening
            assert settings.admin_host == "0.0.0.0"
            assert (settings.host == "0.0.0.0") is (settings.port in ports.values())
            assert ports["admin"] == settings.admin_port
    for service in overlay.of("Service").values():
        [pod] = overlay.selected(service["spec"]["selector"])
        assert all(port["targetPort"] in pod.ports for port in service["spec"]["ports"]), service["metadata"]["name"]
    for pod in overlay.pods:
        for container in pod.containers:
            named = json.dumps([value for name, value in container.described.items() if name.endswith("Probe")])
            assert set(re.findall(r'"port": "(\w+)"', named)) <= pod.ports.keys()
    for name, monitor in overlay.of("PodMonitor").items():
        for pod in overlay.selected(monitor["spec"]["selector"]["matchLabels"]):
            assert all(endpoint["port"] in pod.ports for endpoint in monitor["spec"]["podMetricsEndpoints"]), name


def test_every_selector_selects_what_it_is_for(overlay: Rendered) -> None:
    for name, deployment in overlay.of("Deployment").items():
        assert [pod.name for pod in overlay.selected(deployment["spec"]["selector"]["matchLabels"])] == [name]
        for spread in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert name in [pod.name for pod in overlay.selected(spread["labelSelector"]["matchLabels"])]
    budgets = {
        pod.name: budget["spec"]
        for budget in overlay.of("PodDisruptionBudget").values()
        for pod in overlay.selected(budget["spec"]["selector"]["matchLabels"])
    }
    assert budgets.keys() == overlay.of("Deployment").keys()
    watched = {
        pod.name
        for monitor in overlay.of("PodMonitor").values()
        for pod in overlay.selected(monitor["spec"]["selector"]["matchLabels"])
    }
    assert watched == {pod.name for pod, container in overlay.ours() if container.serves}
    assert overlay.of("PodMonitor")["postgres"]["spec"]["selector"]["matchLabels"] == POSTGRES


def test_every_object_says_what_it_belongs_to(overlay: Rendered) -> None:
    for described in overlay.objects:
        assert described["metadata"]["labels"]["app.kubernetes.io/part-of"] == "gatepass"
    # GatepassTargetDown knows targets by the beginning of their job.
    for monitor in overlay.of("PodMonitor").values():
        if monitor["spec"]["selector"]["matchLabels"] != POSTGRES:
            assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/name"
    assert all(pod.labels["app.kubernetes.io/name"].startswith("gatepass-") for pod, _ in overlay.ours())


def test_a_rollout_takes_nobody_away(overlay: Rendered) -> None:
    for name, deployment in overlay.of("Deployment").items():
        scaled = name in [
            scaler["spec"]["scaleTargetRef"]["name"] for scaler in overlay.of("HorizontalPodAutoscaler").values()
        ]
        assert ("replicas" in deployment["spec"]) is not scaled, name
        assert deployment["spec"].get("replicas", 2) >= 2, name
        if name != "application":
            assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, name


def test_verifiers_of_their_own_are_scaled_by_what_they_use(central: Rendered) -> None:
    scaler = central.of("HorizontalPodAutoscaler")["verifier"]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "verifier"}
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert [metric["resource"]["name"] for metric in scaler["metrics"]] == ["cpu"]
    assert scaler["behavior"].keys() == {"scaleUp", "scaleDown"}


def test_who_stops_has_time_for_those_who_were_connected(overlay: Rendered) -> None:
    for pod in overlay.pods:
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        stop = [
            container.described["lifecycle"]["preStop"]
            for container in pod.containers
            if "lifecycle" in container.described
        ]
        sleep = sum(hook["sleep"]["seconds"] for hook in stop)
        for container in (container for owner, container in overlay.ours() if owner == pod and container.serves):
            assert sleep > 0, pod.name
            settings = _settings_of(overlay, container)
            needs = (
                settings.drain_seconds + _STOP_GRACE_SECONDS
                if isinstance(settings, VerifierSettings)
                else _DRAIN_SECONDS
            )
            assert grace >= sleep + needs + 1, pod.name


def test_the_tree_holds_no_secret_and_no_variable_does(overlay: Rendered) -> None:
    assert not overlay.of("Secret")
    for pod in overlay.pods:
        for container in pod.containers:
            assert all(source.keys() == {"configMapRef"} for source in container.described.get("envFrom", []))
            assert all(variable.keys() == {"name", "value"} for variable in container.described.get("env", []))
            for name, value in overlay.environment(container).items():
                assert not re.search("PASSWORD|PASSPHRASE|SECRET|DATABASE_URL|MAIL_URL", name) or name.endswith(
                    "_FILE"
                )
                assert not re.search("://[^/]*@", value), name
    for described in overlay.of("ConfigMap").values():
        assert not re.search("://[^/ ]*@|PRIVATE KEY", json.dumps(described["data"]))


def test_a_verifier_holds_nothing_worth_stealing(overlay: Rendered) -> None:
    verifiers = [pod for pod, _ in overlay.ours("gatepass-verifier")]
    assert verifiers
    for pod in verifiers:
        assert pod.labels["gatepass/verifier"] == "true"
        kinds = {kind for volume in pod.spec["volumes"] for kind in volume.keys() - {"name"}}
        assert kinds == {"configMap", "emptyDir"}
    for _, container in overlay.ours("gatepass-verifier"):
        assert all(name.startswith("VERIFIER_") for name in overlay.environment(container))


def test_private_keys_are_the_issuers_and_one_job_writes_them(overlay: Rendered) -> None:
    mounted = {
        (pod.name, container.described["name"]): (path, read_only)
        for pod in overlay.pods
        for container in pod.containers
        for path, (volume, read_only) in pod.mounts(container).items()
        if volume.get("persistentVolumeClaim") == {"claimName": "keys"}
    }
    assert mounted == {
        ("issuer", "keys"): ("/keys", False),
        ("issuer", "issuer"): ("/keys", True),
        ("keys", "keys"): ("/keys", False),
    }
    assert overlay.of("PersistentVolumeClaim")["keys"]["spec"]["accessModes"] == ["ReadWriteMany"]
    for name in ("issuer", "keys"):
        [pod] = [pod for pod in overlay.pods if pod.name == name]
        # Else the kubelet opens private keys to a group at each mount, and the issuer refuses them.
        assert pod.spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_of_the_database_the_issuer_gets_its_own_url_and_the_public_half_of_the_authority(overlay: Rendered) -> None:
    secrets = [
        (volume["secret"]["secretName"], item["key"])
        for pod in overlay.pods
        for volume in pod.spec.get("volumes", [])
        if "secret" in volume
        for item in volume["secret"]["items"]
    ]
    projected = [
        (source["secret"]["name"], item["key"])
        for pod in overlay.pods
        for volume in pod.spec.get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    ]
    assert projected == [("postgres-app", "uri"), ("postgres-ca", "ca.crt")]
    assert secrets in ([], [("mail", "mail_url")])
    assert overlay.of("Cluster")["postgres"]["spec"]["bootstrap"]["initdb"] == {
        "database": "gatepass",
        "owner": "issuer",
    }


def test_nobody_may_talk_to_anybody_unless_it_says_so(overlay: Rendered) -> None:
    denied = overlay.of("NetworkPolicy")["default-deny"]["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in overlay.of("NetworkPolicy").values():
        directions = {direction.lower() for direction in policy["spec"]["policyTypes"]}
        assert policy["spec"].keys() & {"ingress", "egress"} <= directions
    [keys] = [pod for pod in overlay.pods if pod.name == "keys"]
    assert overlay.reach("egress", keys.labels) == overlay.reach("ingress", keys.labels) == set()


def test_a_verifier_reaches_the_issuers_public_port_and_nothing_else(central: Rendered, sidecar: Rendered) -> None:
    issuer = ("gatepass-issuer", IssuerSettings().port, "TCP")
    [pod] = [pod for pod in central.pods if pod.name == "verifier"]
    assert central.reach("egress", pod.labels) == {issuer, *DNS}
    [pod] = [pod for pod in sidecar.pods if pod.name == "gateway"]
    assert sidecar.reach("egress", pod.labels) == {issuer, *DNS, ("application", 8080, "TCP")}


def test_gateways_come_in_by_public_ports_and_prometheus_by_the_others(central: Rendered, sidecar: Rendered) -> None:
    [pod] = [pod for pod in central.pods if pod.name == "verifier"]
    asked = {("all in gateways", 8001, "TCP"), ("all in monitoring", 9001, "TCP")}
    assert central.reach("ingress", pod.labels) == asked
    [pod] = [pod for pod in sidecar.pods if pod.name == "gateway"]
    asked = {("all in gateways", 8080, "TCP"), ("all in monitoring", 9001, "TCP")}
    assert sidecar.reach("ingress", pod.labels) == asked
    [pod] = [pod for pod in sidecar.pods if pod.name == "application"]
    assert sidecar.reach("ingress", pod.labels) == {("gatepass-gateway", 8080, "TCP")}
    assert sidecar.reach("egress", pod.labels) == set()


def test_the_issuer_reaches_its_database_and_the_database_knows_nobody_else(overlay: Rendered) -> None:
    asked = {("all in gateways", 8000, "TCP"), ("true", 8000, "TCP"), ("all in monitoring", 9000, "TCP")}
    assert overlay.reach("ingress", ISSUER) == asked
    mail = {("anybody", 465, "TCP"), ("anybody", 587, "TCP")}
    asks = {("postgres", 5432, "TCP"), *DNS}
    assert overlay.reach("egress", ISSUER) in (asks, asks | mail)
    operator = "cloudnative-pg in cnpg-system"
    assert overlay.reach("ingress", POSTGRES) == {
        ("gatepass-issuer", 5432, "TCP"),
        ("all in monitoring", 9187, "TCP"),
        *((peer, port, "TCP") for peer in ("postgres", operator) for port in (5432, 8000)),
    }


def _settings_of(overlay: Rendered, container: Container) -> IssuerSettings | VerifierSettings:
    """The settings that the program of a container reads; secrets, which come by file, are made up."""
    environ = overlay.environment(container)
    for name in [name for name in environ if name in {"ISSUER_DATABASE_URL_FILE", "ISSUER_MAIL_URL_FILE"}]:
        environ[name.removesuffix("_FILE")] = SECRETS[Path(environ.pop(name)).name]
    return SETTINGS[container.image].from_environment(environ)


def test_every_program_takes_its_settings_and_its_command(overlay: Rendered) -> None:
    for pod, container in overlay.ours():
        for name, value in overlay.environment(container).items():
            assert not name.endswith("_URL_FILE") or str(Path(value).parent) in pod.mounts(container), name
        settings = _settings_of(overlay, container)
        PARSERS[container.image]().parse_args(container.described["args"])
        if isinstance(settings, IssuerSettings) and container.described["args"][0] in {"serve", "migrate"}:
            assert settings.require_database() == SECRETS["database_url"]


def test_issuer_and_verifiers_speak_of_the_same_things(overlay: Rendered) -> None:
    issuers = [_settings_of(overlay, container) for _, container in overlay.ours("gatepass-issuer")]
    verifiers = [_settings_of(overlay, container) for _, container in overlay.ours("gatepass-verifier")]
    assert {settings.audience for settings in issuers} == {settings.audience for settings in verifiers}
    assert {settings.url for settings in issuers if isinstance(settings, IssuerSettings)} == {
        settings.issuer for settings in verifiers if isinstance(settings, VerifierSettings)
    }
    [port] = overlay.of("Service")["issuer"]["spec"]["ports"]
    for settings in verifiers:
        assert isinstance(settings, VerifierSettings)
        assert settings.jwks_url == f"http://issuer:{port['port']}/.well-known/jwks.json"
        assert settings.status_lists == f"http://issuer:{port['port']}/status-lists"


def test_the_verifier_reads_its_policies_and_says_what_else_it_lacks(overlay: Rendered, tmp_path: Path) -> None:
    for pod, container in overlay.ours("gatepass-verifier"):
        environ = overlay.environment(container)
        volume, read_only = pod.mounts(container)[str(Path(environ["VERIFIER_POLICIES_FILE"]).parent)]
        data = overlay.of("ConfigMap")["policies"]["data"]
        assert (volume["configMap"]["name"], read_only) == (
            overlay.of("ConfigMap")["policies"]["metadata"]["name"],
            True,
        )
        policies = tmp_path / Path(environ["VERIFIER_POLICIES_FILE"]).name
        policies.write_text(data[policies.name])
        assert pod.mounts(container)[environ["VERIFIER_JWKS_CACHE_DIR"]][0].keys() >= {"emptyDir"}
        nobody = f"127.0.0.1:{free_port()}"
        environ |= {"VERIFIER_POLICIES_FILE": str(policies), "VERIFIER_JWKS_CACHE_DIR": str(tmp_path)}
        environ = {name: value.replace("issuer:8000", nobody) for name, value in environ.items()}
        done = _run("verifier", ["check-config"], environ)
        assert done.returncode == 1, done.stderr
        assert "policy admin: issuers https://auth.example.com" in done.stdout
        assert re.findall(r"^issuer https://auth.example.com: ", done.stderr, re.MULTILINE)


def _run(side: str, arguments: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", side, *arguments]
    path = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=ROOT, env={**path, **environ}, capture_output=True, text=True, check=False)


def test_the_first_issuer_makes_the_keys_and_the_job_moves_them_on(central: Rendered, tmp_path: Path) -> None:
    environs = {}
    for name in ("issuer", "keys"):
        [(pod, container)] = [(p, c) for p, c in central.ours() if p.name == name and c.described["name"] == "keys"]
        environs[name] = central.environment(container)
        assert environs[name]["ISSUER_KEYS_DIR"] in pod.mounts(container)
        done = _run("issuer", container.described["args"], environs[name] | {"ISSUER_KEYS_DIR": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    assert environs["issuer"] == environs["keys"]
    assert (tmp_path / "public/jwks.json").is_file()


def test_the_issuer_speaks_to_no_database_that_cannot_prove_itself(central: Rendered, tmp_path: Path) -> None:
    [migrate] = [c for p, c in central.ours("gatepass-issuer") if c.described["args"] == ["migrate"]]
    authority = tmp_path / "ca.crt"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=ca",
            "-keyout",
            tmp_path / "ca.key",
            "-out",
            authority,
        ],
        check=True,
        capture_output=True,
    )
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        plain = threading.Thread(target=_refuse_tls, args=(server, heard))
        plain.start()
        environ = central.environment(migrate)
        environ.pop("ISSUER_DATABASE_URL_FILE")
        environ |= {
            "ISSUER_DATABASE_URL": f"postgresql://issuer:p@127.0.0.1:{server.getsockname()[1]}/gatepass",
            "PGSSLROOTCERT": str(authority),
        }
        done = _run("issuer", migrate.described["args"], environ)
        plain.join()
    assert (done.returncode, done.stdout) == (1, "")
    # SSLRequest (PostgreSQL protocol §54.7), and after the refusal no name, no password.
    assert heard == [bytes.fromhex("0000000804d2162f"), b""]


def _refuse_tls(server: socket.socket, heard: list[bytes]) -> None:
    connection, _ = server.accept()
    with connection:
        heard.append(connection.recv(1024))
        connection.sendall(b"N")
        heard.append(connection.recv(1024))


def test_an_issuer_has_memory_for_as_many_hashes_as_its_limit_has_cores(overlay: Rendered) -> None:
    [(_, issuer)] = [(pod, container) for pod, container in overlay.ours("gatepass-issuer") if container.serves]
    settings = _settings_of(overlay, issuer)
    assert isinstance(settings, IssuerSettings)
    limits, requests = (issuer.described["resources"][bound] for bound in ("limits", "requests"))
    for memory in (limits["memory"], requests["memory"]):
        amount = int(memory[:-2]) * UNITS[memory[-2:]]
        check_memory(int(limits["cpu"]), ARGON2_COSTS[settings.argon2].memory_cost * 1024, amount)


def test_the_gateway_is_told_where_verifier_and_application_are(sidecar: Rendered) -> None:
    [pod] = [pod for pod in sidecar.pods if pod.name == "gateway"]
    verifier, nginx = pod.containers
    environ = sidecar.environment(nginx)
    template = sidecar.of("ConfigMap")["nginx"]["data"]["default.conf.template"]
    assert template == (ROOT / "deploy/gateways/nginx/gatepass.conf.template").read_text(encoding="utf-8")
    placeholders = set(re.findall(r"\$\{(\w+)\}", template))
    assert placeholders == {name for name in environ if re.search(environ["NGINX_ENVSUBST_FILTER"], name)}
    settings = _settings_of(sidecar, verifier)
    assert (environ["VERIFIER_HOST"], environ["VERIFIER_PORT"]) == (settings.host, str(settings.port))
    assert settings.host == "127.0.0.1"
    [port] = sidecar.of("Service")[environ["APPLICATION_HOST"]]["spec"]["ports"]
    assert environ["APPLICATION_PORT"] == str(port["port"])
    assert environ["GATEWAY_PORT"] == str(pod.ports["http"])
    assert pod.spec["initContainers"] == [verifier.described]
    assert verifier.described["restartPolicy"] == "Always"


def test_every_image_has_a_version_and_ours_that_of_the_project(overlay: Rendered) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    images = {container.described["image"] for pod in overlay.pods for container in pod.containers}
    images.add(overlay.of("Cluster")["postgres"]["spec"]["imageName"])
    assert all(re.search(r":v?\d+\.\d+", image) for image in images), images
    assert {image for image in images if "gatepass" in image} == {
        f"gatepass-{side}:{version}" for side in ("issuer", "verifier")
    }


def test_the_alerts_are_those_of_the_rule_file(overlay: Rendered) -> None:
    rules = alert_rules.RULES.read_text(encoding="utf-8")
    assert alert_rules.OBJECT.read_text(encoding="utf-8") == alert_rules.as_object(rules), (
        "run `python -m tests.support.alert_rules`"
    )
    [rule] = overlay.of("PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load(rules)


def test_what_the_readme_does_about_a_leaked_key_can_be_done(central: Rendered) -> None:
    [patch] = [json.loads(found) for found in re.findall(r"-p '(.*)'", README)]
    assert [change["op"] for change in patch] == ["replace"]
    place: Any = central.of("CronJob")["keys"]["spec"]["jobTemplate"]
    for step in patch[0]["path"].strip("/").split("/"):
        place = place[int(step) if step.isdigit() else step]
    assert place == ["keys", "tick"]
    issuer_commands._parser().parse_args(patch[0]["value"])


def test_the_readme_names_folders_and_objects_that_exist(central: Rendered) -> None:
    folders = re.findall(r"^\| `(\S+)` \|", README, re.MULTILINE)
    assert {str(path.parent.relative_to(FOLDER)) for path in FOLDER.glob("**/kustomization.yaml")} == set(folders)
    assert set(re.findall(r"(?:-k|kustomize) deploy/kubernetes/(\S+)", README)) == {"overlays/central"}
    assert {"keys"} == set(re.findall(r"--from=cronjob/(\w+)", README)) == central.of("CronJob").keys()
    assert set(re.findall(r"deploy/(\w+) --", README)) <= central.of("Deployment").keys()
