"""The files of the Kubernetes guide, rendered. Its commands need a cluster and are not run."""

import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from issuer.settings import IssuerSettings
from tests.support.manifests import render, validate
from tests.support.overlays import Rendered
from tests.support.processes import ROOT
from verifier.policy_file import Issuer, parse_configuration
from verifier.settings import VerifierSettings

GUIDE: Final = (ROOT / "docs/guides/kubernetes.md").read_text(encoding="utf-8")
FILES: Final = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```\n', GUIDE, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module", params=["central", "sidecar"])
def production(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Return the guide's overlay as rendered by kustomize."""
    folder = tmp_path_factory.mktemp("cluster").resolve()
    shutil.copytree(ROOT / "deploy", folder / "gatepass/deploy")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("overlays/central", f"overlays/{request.param}"), encoding="utf-8")
    return Rendered(render(folder / "production"))


def parsed(name: str) -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load(FILES[f"production/{name}"])
    return described


def test_every_object_is_valid(production: Rendered) -> None:
    objects = [*production.objects, parsed("issuer-route.yaml"), parsed("application-network.yaml")]
    problems = {described["metadata"]["name"]: validate(described) for described in objects}
    assert {name: found for name, found in problems.items() if found} == {}


def test_issuer_and_verifier_get_the_settings_of_the_overlay(production: Rendered) -> None:
    urls = {
        IssuerSettings.from_environment(
            {name: value for name, value in production.environment(container).items() if not name.endswith("_FILE")}
        ).url
        for _, container in production.ours("gatepass-issuer")
    }
    issuers = {
        VerifierSettings.from_environment(production.environment(container)).issuer
        for _, container in production.ours("gatepass-verifier")
    }
    assert urls == issuers == {"https://auth.example.com"}


def test_images_and_the_class_of_the_volume_are_those_of_the_overlay(production: Rendered) -> None:
    images = {container.described["image"] for _, container in production.ours()}
    assert images == {f"registry.example.com/gatepass-{side}:0.2.0" for side in ("issuer", "verifier")}
    assert production.of("PersistentVolumeClaim")["keys"]["spec"]["storageClassName"] == "nfs"


def test_the_policies_are_those_of_the_overlay(production: Rendered) -> None:
    written = FILES["production/policies.toml"]
    assert production.of("ConfigMap")["policies"]["data"] == {"policies.toml": written}
    issuers = {"https://auth.example.com": Issuer(Path("jwks.json"))}
    policies = parse_configuration(written, issuers=issuers, audience="gatepass", leeway_seconds=5).policies
    assert policies["admin"].scopes_all == {"admin"}


def test_services_and_labels_of_the_guide_are_in_the_manifests(production: Rendered) -> None:
    [backend] = parsed("issuer-route.yaml")["spec"]["rules"][0]["backendRefs"]
    assert backend["port"] in [port["port"] for port in production.of("Service")[backend["name"]]["spec"]["ports"]]
    [peer] = parsed("application-network.yaml")["spec"]["ingress"][0]["from"]
    assert peer in production.of("NetworkPolicy")["issuer"]["spec"]["ingress"][0]["from"]
