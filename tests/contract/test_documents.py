"""Documents agree with the code: links, tables, requirements, decisions."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import pytest

from issuer.accounts.routes import AccountRoutes
from issuer.http.well_known import DocumentRoutes
from issuer.oauth.metadata import MetadataRoutes
from issuer.oauth.routes import OAuthRoutes
from issuer.sessions.routes import SessionRoutes
from issuer.status_lists.routes import StatusListRoutes
from shared.identity_headers import IDENTITY_HEADERS
from tests.support import documents, tables
from tests.support.documents import ADR_INDEX, ADRS, SPECS, anchors, files, links, requirements
from tests.support.openapi import contract
from tests.support.processes import ROOT
from verifier.decision.reasons import RejectionReason
from verifier.policy_file import _Policy

_NOT_OURS: Final = re.compile(r"/\.(venv|gatepass|bench|docs|mutants|[a-z_]+_cache)/")
MARKDOWN: Final = sorted(path for path in ROOT.glob("**/*.md") if not _NOT_OURS.search(str(path)))
PARTS: Final = ("spec.md", "plan.md", "research.md", "quickstart.md", "tasks.md")
_INDEX_HOSTS: Final = re.compile(r"pypi\.org|pythonhosted|index-url|registry\.npmjs|proxy\.golang", re.IGNORECASE)
_SOMEBODYS_HOME: Final = re.compile(r"(?<![\w.~}>])/(?:home|Users|root|work)/\w")


@pytest.mark.parametrize("document", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_has_a_target(document: Path) -> None:
    for target, fragment in links(document):
        assert target.exists(), target
        assert not fragment or fragment in anchors(target), f"{target}#{fragment}"


@pytest.mark.parametrize("page", tables.pages(), ids=lambda path: path.name)
def test_a_reference_page_agrees_with_the_code(page: Path) -> None:
    assert documents.text(page) == tables.pages()[page], "run `python -m tests.support.tables`"


def test_the_documented_endpoints_are_served_and_in_the_contract() -> None:
    page = documents.text(tables.REFERENCE / "http-api.md")
    documented = set(re.findall(r"^\| `(GET|POST|DELETE) (/\S*)`", page, re.MULTILINE))
    unused = cast("Any", None)
    routes = [
        *AccountRoutes(unused, unused, unused, unused, unused, unused, unused).routes(),
        *SessionRoutes(unused, unused, unused).routes(),
        *OAuthRoutes(unused, unused, unused, unused).routes(),
        *StatusListRoutes(unused).routes(),
        *DocumentRoutes(unused, unused).routes(),
        *MetadataRoutes("https://issuer.example").routes(),
    ]
    served = {(method, route.path) for route in routes for method in (route.methods or set()) - {"HEAD"}}
    contracted = {(method.upper(), path) for path, methods in contract()["paths"].items() for method in methods}
    assert documented == served == contracted


def test_every_identity_header_and_every_member_of_a_policy_is_documented() -> None:
    headers = set(re.findall(r"`(X-Auth-\w+)`", documents.text(tables.REFERENCE / "subrequest.md")))
    assert headers == set(IDENTITY_HEADERS)
    members = re.findall(r"^\| `(\w+)` \|", documents.text(tables.REFERENCE / "policies.md"), re.MULTILINE)
    assert sorted(members) == sorted(_Policy.model_fields)


def test_the_contract_of_the_subrequest_names_every_reason_and_every_identity_header() -> None:
    subrequest = documents.text(ROOT / "specs/001-register-login-verify/contracts/verify-subrequest.md")
    assert {reason.value for reason in RejectionReason} <= set(re.findall(r"`(\w+)`", subrequest))
    assert all(f"`{header}`" in subrequest for header in IDENTITY_HEADERS)


def test_every_dependency_has_its_reason() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    wanted = {
        re.split(r"[\[>=;]", requirement)[0]
        for group in groups.values()
        for requirement in group
        if isinstance(requirement, str)
    }
    research = documents.text(ROOT / "specs/001-register-login-verify/research.md")
    reasons = set(re.findall(r"`([a-z0-9-]+)`", "".join(re.findall(r"^\|[^|]*\|", research, re.MULTILINE))))
    assert wanted <= reasons


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.name)
def test_a_specification_has_all_its_parts(spec: Path) -> None:
    assert {part for part in PARTS if not (spec / part).is_file()} == set()


def test_no_requirement_has_the_number_of_another() -> None:
    numbers = [number for spec in SPECS for number in requirements(spec)]
    assert sorted(set(numbers)) == sorted(numbers)


def test_the_index_lists_every_decision_once_with_its_title_and_status() -> None:
    rows = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+?) \| (.+?) \| ", documents.text(ADR_INDEX), re.MULTILINE)
    assert sorted(rows) == [_index_row(record) for record in ADRS]
    numbers = [row[0] for row in rows]
    assert len(numbers) == len(set(numbers))


def _index_row(record: Path) -> tuple[str, str, str, str]:
    """Return number, file, title and status of a decision, with the status as the index writes it."""
    found = re.match(r"# (\d{4}): (.+)\n\nStatus: (accepted|superseded by \[\d{4}\])", documents.text(record))
    assert found, f"{record.name}: expected a title, an empty line and a status"
    return found[1], record.name, found[2], re.sub(r"[\[\]]", "", found[3])


@pytest.mark.parametrize("page", [path for path in MARKDOWN if path.is_relative_to(ROOT / "docs")], ids=str)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert set(re.findall(r"`(test_\w+)`", documents.text(page))) <= _tests()


@cache
def _tests() -> frozenset[str]:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return frozenset(name for source in sources for name in re.findall(r"def (test_\w+)", source))


def test_no_file_names_a_package_index_or_a_home_directory() -> None:
    for path in files():
        written = documents.text(path)
        assert not _INDEX_HOSTS.search(written) or path == Path(__file__), path
        assert not _SOMEBODYS_HOME.search(written), path
