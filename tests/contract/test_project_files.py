"""The files that a newcomer opens first say what is so: licence, changelog, how to contribute."""

import hashlib
import re
import tomllib
from typing import Final

from tests.support.processes import ROOT

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_APACHE_2: Final = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""SHA-256 of the text of the Apache Software Foundation, as Debian has it in its common licences."""


def test_the_licence_is_the_unmodified_text_of_apache_2() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == _APACHE_2
    assert PROJECT["license"] == "Apache-2.0"


def test_the_newest_version_of_the_changelog_is_the_projects() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.*?)\] - (unreleased|\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert versions[0][0] == PROJECT["version"]
    kinds = set(re.findall(r"^### (.*)$", changelog, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_contributors_are_told_of_targets_that_there_are_on_one_screen() -> None:
    contributing = (ROOT / ".github/CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"test", "lint", "check", "lock"} <= set(re.findall(r"\bmake ([a-z-]+)", contributing)) <= set(targets)
    assert len(contributing.splitlines()) <= 50
