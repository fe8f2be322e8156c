"""CHANGELOG, CONTRIBUTING, RELEASING and the workflow agree with the project."""

import re
import sys
import tomllib
from typing import Final

import pytest
import yaml

from tests.support.processes import ROOT, finished

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_newest_version_of_the_changelog_is_the_projects() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.*?)\] - (unreleased|\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert versions[0][0] == PROJECT["version"]
    kinds = set(re.findall(r"^### (.*)$", changelog, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize(
    ("page", "needed"), [("CONTRIBUTING", {"test", "lint", "check", "lock"}), ("RELEASING", {"dist", "images"})]
)
def test_a_page_names_targets_that_exist(page: str, needed: set[str]) -> None:
    text = (ROOT / f".github/{page}.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert needed <= set(re.findall(r"\bmake ([a-z-]+)", text)) <= set(targets)


def test_the_workflow_is_valid_runs_ci_and_pins_what_it_uses() -> None:
    workflow = ROOT / ".github/workflows/ci.yml"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow)]
    done = finished(command)
    assert done.returncode == 0, done.stdout
    steps = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]["check"]["steps"]
    assert steps[-1]["run"].endswith(" .ci/run")
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in steps if "uses" in step)
