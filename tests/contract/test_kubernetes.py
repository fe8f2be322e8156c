"""The rendered Kubernetes manifests: what pods may do, mount and reach."""

import json
import re
from typing import Final

import kubernetes_validate  # type: ignore[import-untyped] # it has no stubs
import pytest
import yaml

from tests.support import alert_rules
from tests.support.manifests import KUBERNETES, validate
from tests.support.monitoring import RULES
from tests.support.overlays import OVERLAYS, Rendered, rendered

NEWEST: Final[str] = kubernetes_validate.latest_version()
RESTRICTED_VOLUMES: Final = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")

ISSUER: Final = {"app.kubernetes.io/name": "gatepass-issuer"}
POSTGRES: Final = {"cnpg.io/cluster": "postgres"}
DNS: Final = {("kube-dns in kube-system", 53, "TCP"), ("kube-dns in kube-system", 53, "UDP")}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Rendered:
    return rendered(request.param)


@pytest.mark.parametrize("kubernetes", [KUBERNETES, NEWEST])
def test_every_object_is_valid_by_the_schemas(overlay: Rendered, kubernetes: str) -> None:
    kinds = {described["kind"] for described in overlay.objects}
    assert {"Deployment", "CronJob", "Cluster", "NetworkPolicy", "PodDisruptionBudget", "PodMonitor"} <= kinds
    problems = {
        f"{described['kind']} {described['metadata']['name']}": validate(described, kubernetes)
        for described in overlay.objects
    }
    assert {name: found for name, found in problems.items() if found} == {}


def test_pods_run_unprivileged(overlay: Rendered) -> None:
    for pod in overlay.pods:
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True, pod.name
        assert context["runAsUser"] > 0, pod.name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, pod.name
        assert pod.spec["automountServiceAccountToken"] is False, pod.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), pod.name
        for volume in pod.volumes.values():
            assert volume.keys() - {"name"} <= RESTRICTED_VOLUMES, pod.name


def test_a_service_does_not_become_a_setting(overlay: Rendered) -> None:
    # Kubernetes would set ISSUER_PORT=tcp://10.0.0.1:8000 for a Service named `issuer`.
    for pod in overlay.pods:
        assert pod.spec["enableServiceLinks"] is False, pod.name


def test_containers_are_read_only_and_unprivileged(overlay: Rendered) -> None:
    for pod in overlay.pods:
        for container in pod.containers:
            allowed = container.described["securityContext"]
            assert allowed["readOnlyRootFilesystem"] is True, container.name
            assert allowed["allowPrivilegeEscalation"] is False, container.name
            assert allowed["capabilities"] == {"drop": ["ALL"]}, container.name
            assert allowed.keys().isdisjoint({"privileged", "procMount", "runAsNonRoot", "seccompProfile"})
            assert allowed.get("runAsUser", 1) > 0, container.name
            assert not any("hostPort" in port for port in container.described.get("ports", [])), container.name


def test_the_namespace_enforces_restricted_pods(overlay: Rendered) -> None:
    labels = overlay.of("Namespace")["gatepass"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {described["metadata"].get("namespace", "gatepass") for described in overlay.objects} == {"gatepass"}


def test_liveness_does_not_depend_on_database_or_keys(overlay: Rendered) -> None:
    for _, container in overlay.ours():
        if container.serves:
            asked = [container.described[probe]["httpGet"] for probe in PROBES]
            assert [probe["path"] for probe in asked] == ["/healthz", "/healthz", "/readyz"]
            assert {probe["port"] for probe in asked} == {"admin"}


def test_every_named_port_exists(overlay: Rendered) -> None:
    for name, service in overlay.of("Service").items():
        [pod] = overlay.selected({"matchLabels": service["spec"]["selector"]})
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= pod.ports.keys(), name
    for name, monitor in overlay.of("PodMonitor").items():
        for pod in overlay.selected(monitor["spec"]["selector"]):
            assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= pod.ports.keys(), name
    for container in (container for pod in overlay.pods for container in pod.containers):
        probes = json.dumps([container.described.get(probe) for probe in PROBES])
        assert set(re.findall(r'"port": "(\w+)"', probes)) <= container.ports.keys(), container.name


def test_every_selector_matches_its_pods(overlay: Rendered) -> None:
    deployments = overlay.of("Deployment")
    for name, deployment in deployments.items():
        assert [pod.name for pod in overlay.selected(deployment["spec"]["selector"])] == [name]
        for spread in overlay.pod(name).spec.get("topologySpreadConstraints", []):
            assert [pod.name for pod in overlay.selected(spread["labelSelector"])] == [name]
    assert _selected_by(overlay, "PodDisruptionBudget") == deployments.keys()
    assert _selected_by(overlay, "PodMonitor") == {pod.name for pod, container in overlay.ours() if container.serves}
    assert overlay.of("PodMonitor")["postgres"]["spec"]["selector"] == {"matchLabels": POSTGRES}


def _selected_by(overlay: Rendered, kind: str) -> set[str]:
    selectors = [described["spec"]["selector"] for described in overlay.of(kind).values()]
    return {pod.name for selector in selectors for pod in overlay.selected(selector)}


def test_manifests_and_variables_hold_no_secret(overlay: Rendered) -> None:
    assert not overlay.of("Secret")
    for container in (container for pod in overlay.pods for container in pod.containers):
        assert all(source.keys() == {"configMapRef"} for source in container.described.get("envFrom", []))
        assert all(variable.keys() == {"name", "value"} for variable in container.described.get("env", []))
        for name, value in overlay.environment(container).items():
            is_secret = re.search("PASSWORD|PASSPHRASE|SECRET|DATABASE_URL|MAIL_URL", name)
            assert not is_secret or name.endswith("_FILE"), name
            assert not re.search("://[^/]*@", value), name


def test_a_verifier_holds_no_secret(overlay: Rendered) -> None:
    verifiers = list(overlay.ours("gatepass-verifier"))
    assert verifiers
    for pod, container in verifiers:
        assert pod.labels["gatepass/verifier"] == "true"
        assert {kind for volume in pod.volumes.values() for kind in volume.keys() - {"name"}} == {
            "configMap",
            "emptyDir",
        }
        assert all(name.startswith("VERIFIER_") for name in overlay.environment(container))


def test_only_the_issuer_mounts_private_keys_and_one_job_writes_them(overlay: Rendered) -> None:
    mounted = {
        (pod.name, container.name): (path, read_only)
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
        # Otherwise the kubelet makes private keys readable by a group at each mount, and the issuer rejects them.
        assert overlay.pod(name).spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_traffic_is_denied_by_default(overlay: Rendered) -> None:
    policies = {name: policy["spec"] for name, policy in overlay.of("NetworkPolicy").items()}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        declared = {direction.lower() for direction in policy["policyTypes"]}
        assert policy.keys() & {"ingress", "egress"} <= declared, name
    keys = overlay.pod("keys").labels
    assert overlay.egress(keys) == overlay.ingress(keys) == set()


def test_a_verifier_reaches_only_the_issuers_public_port() -> None:
    allowed = {("gatepass-issuer", 8000, "TCP"), *DNS}
    central, sidecar = rendered("central"), rendered("sidecar")
    assert central.egress(central.pod("verifier").labels) == allowed
    # A policy is about a pod, and in this one is nginx too.
    assert sidecar.egress(sidecar.pod("gateway").labels) == {*allowed, ("application", 8080, "TCP")}
    assert sidecar.egress(sidecar.pod("application").labels) == set()


def test_gateways_reach_public_ports_and_prometheus_admin_ports(overlay: Rendered) -> None:
    gateways, prometheus = "all in gateways", "all in monitoring"
    ways = {pod.name: overlay.ingress(pod.labels) for pod in overlay.pods if not pod.is_job}
    expected = {
        "issuer": {(gateways, 8000, "TCP"), ("verifiers", 8000, "TCP"), (prometheus, 9000, "TCP")},
        "verifier": {(gateways, 8001, "TCP"), (prometheus, 9001, "TCP")},
        "gateway": {(gateways, 8080, "TCP"), (prometheus, 9001, "TCP")},
        "application": {("gatepass-gateway", 8080, "TCP")},
    }
    assert ways == {name: expected[name] for name in overlay.of("Deployment")}
    for pod in overlay.pods:
        assert {port for _, port, _ in overlay.ingress(pod.labels)} == set(pod.ports.values()), pod.name


def test_only_the_issuer_reaches_the_database(overlay: Rendered) -> None:
    database, mail = ("postgres", 5432, "TCP"), {("any peer", 465, "TCP"), ("any peer", 587, "TCP")}
    assert overlay.egress(ISSUER) in ({database, *DNS}, {database, *DNS, *mail})
    operator = "cloudnative-pg in cnpg-system"
    assert overlay.ingress(POSTGRES) == {
        ("gatepass-issuer", 5432, "TCP"),
        ("all in monitoring", 9187, "TCP"),
        *((peer, port, "TCP") for peer in ("postgres", operator) for port in (5432, 8000)),
    }


def test_the_alerts_are_those_of_the_rule_file() -> None:
    rules = RULES.read_text(encoding="utf-8")
    written = alert_rules.OBJECT.read_text(encoding="utf-8")
    assert written == alert_rules.as_object(rules), "run `python -m tests.support.alert_rules`"
    [rule] = rendered("central").of("PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load(rules)
