"""Every command in README.md, the quickstarts and some pages, run against a real stack, has the output shown."""

import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import ROOT, without_settings
from tests.support.programs import program
from tests.support.stack import Stack, running_stack
from tests.support.transcripts import addressed, follow, make_targets, matches, steps
from verifier.policy_file import Issuer, parse_configuration

DOCUMENTS: Final = (
    "README.md",
    "docs/guides/machines.md",
    "docs/reference/policies.md",
    "specs/001-register-login-verify/quickstart.md",
    "specs/002-verifier-complete/quickstart.md",
    "specs/003-issuer-complete/quickstart.md",
)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    program("curl")
    # Outside pytest's own folder, whose permissions another test session may change meanwhile.
    with (
        tempfile.TemporaryDirectory(prefix="gatepass-documents-") as folder,
        running_stack(Path(folder) / "home") as stack,
    ):
        yield stack


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_documented_session_works_as_shown(name: str, stack: Stack) -> None:
    session = steps(ROOT / name)
    assert [step.output for step in session].count(None) < len(session)
    follow(session, lambda text: addressed(text, stack), ROOT, without_settings(), seconds=60)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documented_make_targets_exist(name: str) -> None:
    offered = re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert make_targets(ROOT / name) <= set(offered)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_documented_policy_file_is_valid(name: str) -> None:
    for document in re.findall(r"```toml\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL):
        rules = parse_configuration(
            document,
            issuers={"https://issuer.example": Issuer(Path("jwks.json"))},
            audience="gatepass",
            leeway_seconds=5,
        )
        assert set(tomllib.loads(document).get("policies", {})) <= set(rules.policies)


@pytest.mark.parametrize(
    ("promised", "given", "same"),
    [
        ("a…c", "abc", True),
        ("a…c\n…", "abc\n\nmore\n", True),
        ("abc", "abc more", False),
        ("a.c", "abc", False),
        ("0", "", False),
    ],
)
def test_an_ellipsis_matches_anything(promised: str, given: str, same: bool) -> None:  # noqa: FBT001 - a table
    assert matches(promised, given) is same
