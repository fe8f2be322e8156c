"""The rendered overlays of `deploy/kubernetes`: objects, pods and network policies."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.support.manifests import render
from tests.support.processes import ROOT

FOLDER: Final = ROOT / "deploy/kubernetes"
OVERLAYS: Final = ("central", "sidecar", "mail")
"""The overlays, and `mail`: central with mail, as the README describes."""

Object = dict[str, Any]
Labels = Mapping[str, str]
Way = tuple[str, int, str]
"""Description of the peer, port, protocol."""

_ROLES: Final = {"gatepass/gateway": "gateways", "gatepass/verifier": "verifiers"}


@dataclass(frozen=True)
class Container:
    """A container, and whether it runs as long as its pod."""

    described: Object
    serves: bool

    @property
    def name(self) -> str:
        return str(self.described["name"])

    @property
    def image(self) -> str:
        """Without the version."""
        return str(self.described["image"].partition(":")[0])

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.described.get("ports", [])}


@dataclass(frozen=True)
class Pod:
    """A pod of a Deployment or a CronJob."""

    name: str
    labels: Labels
    spec: Object
    is_job: bool

    @property
    def containers(self) -> list[Container]:
        before = self.spec.get("initContainers", [])
        return [
            *(Container(described, described.get("restartPolicy") == "Always") for described in before),
            *(Container(described, not self.is_job) for described in self.spec["containers"]),
        ]

    @property
    def ports(self) -> dict[str, int]:
        return {name: port for container in self.containers for name, port in container.ports.items()}

    @property
    def volumes(self) -> dict[str, Object]:
        return {volume["name"]: volume for volume in self.spec.get("volumes", [])}

    def mounts(self, container: Container) -> dict[str, tuple[Object, bool]]:
        """Return the volume and whether it is read-only, by path."""
        return {
            mount["mountPath"]: (self.volumes[mount["name"]], mount.get("readOnly", False))
            for mount in container.described.get("volumeMounts", [])
        }


@dataclass(frozen=True)
class Rendered:
    """The objects of an overlay."""

    objects: list[Object]

    def of(self, kind: str) -> dict[str, Object]:
        """Return the objects of a kind by name, without the hash that kustomize appends."""
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

    def pod(self, name: str) -> Pod:
        [pod] = [pod for pod in self.pods if pod.name == name]
        return pod

    def selected(self, selector: Object) -> list[Pod]:
        """Return the pods that a selector matches."""
        return [pod for pod in self.pods if _labels(selector).items() <= pod.labels.items()]

    def ours(self, image: str = "gatepass-") -> Iterator[tuple[Pod, Container]]:
        """Yield the containers of our images, or of one of them."""
        for pod in self.pods:
            for container in pod.containers:
                if container.image.rpartition("/")[2].startswith(image):
                    yield pod, container

    def environment(self, container: Container) -> dict[str, str]:
        """Return the environment of a container, from ConfigMaps of this overlay and its own values."""
        maps = {described["metadata"]["name"]: described["data"] for described in self.of("ConfigMap").values()}
        environ: dict[str, str] = {}
        for source in container.described.get("envFrom", []):
            environ |= maps[source["configMapRef"]["name"]]
        return environ | {variable["name"]: variable["value"] for variable in container.described.get("env", [])}

    def egress(self, labels: Labels) -> set[Way]:
        """Return the peers that pods with these labels may connect to."""
        return self._ways("egress", "to", labels)

    def ingress(self, labels: Labels) -> set[Way]:
        """Return the peers that may connect to pods with these labels, and the ports."""
        return self._ways("ingress", "from", labels)

    def _ways(self, direction: str, peers: str, labels: Labels) -> set[Way]:
        policies = [policy["spec"] for policy in self.of("NetworkPolicy").values()]
        rules = [
            rule
            for policy in policies
            if _labels(policy["podSelector"]).items() <= labels.items()
            for rule in policy.get(direction, [])
        ]
        return {
            (_in_words(peer), port["port"], port.get("protocol", "TCP"))
            for rule in rules
            for peer in rule.get(peers, [{}])
            for port in rule["ports"]
        }


def rendered(name: str) -> Rendered:
    """Return a copy of one of `OVERLAYS`: the caller may change its objects."""
    return Rendered(deepcopy(_objects(name)))


@cache
def _objects(name: str) -> list[Object]:
    if name != "mail":
        return render(FOLDER / "overlays" / name)
    with tempfile.TemporaryDirectory() as folder:
        deploy = Path(folder).resolve() / "deploy"
        shutil.copytree(ROOT / "deploy", deploy)
        kustomization = deploy / "kubernetes/overlays/central/kustomization.yaml"
        kustomization.write_text(kustomization.read_text(encoding="utf-8") + "  - ../../mail\n", encoding="utf-8")
        return render(kustomization.parent)


def _labels(selector: Object) -> Labels:
    """Return the labels of a selector; AssertionError for other kinds of selectors."""
    assert selector.keys() <= {"matchLabels"}, selector
    labels: Labels = selector.get("matchLabels", {})
    return labels


def _in_words(peer: Object) -> str:
    """Return a description of a peer of a network policy, from the values of its labels."""
    assert peer.keys() <= {"podSelector", "namespaceSelector"}, peer
    if not peer:
        return "any peer"
    [pods] = [_role(label) for label in _labels(peer.get("podSelector", {})).items()] or ["all"]
    if "namespaceSelector" not in peer:
        return pods
    [namespace] = [_role(label) for label in _labels(peer["namespaceSelector"]).items()]
    return f"{pods} in {namespace}"


def _role(label: tuple[str, str]) -> str:
    name, value = label
    return _ROLES.get(name, value)
