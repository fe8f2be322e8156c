"""CHANGELOG and CONTRIBUTING agree with the project."""

import re
import tomllib
from typing import Final

from tests.support.processes import ROOT

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_newest_version_of_the_changelog_is_the_projects() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.*?)\] - (unreleased|\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert versions[0][0] == PROJECT["version"]
    kinds = set(re.findall(r"^### (.*)$", changelog, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_contributing_names_targets_that_exist() -> None:
    contributing = (ROOT / ".github/CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"test", "lint", "check", "lock"} <= set(re.findall(r"\bmake ([a-z-]+)", contributing)) <= set(targets)
