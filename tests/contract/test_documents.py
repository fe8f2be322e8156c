"""What our documents say is true of the code: links, tables, requirements, decisions."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final, cast

import pytest

from issuer.routes.account import AccountRoutes
from issuer.routes.documents import DocumentRoutes
from issuer.routes.metadata import MetadataRoutes
from issuer.routes.oauth import OAuthRoutes
from issuer.routes.recovery import RecoveryRoutes
from issuer.routes.sessions import SessionRoutes
from issuer.routes.status_lists import StatusListRoutes
from tests.support import documents, tables
from tests.support.documents import ADRS, SPECS, anchors, files, links, proofs, requirements
from tests.support.openapi import contract
from tests.support.processes import ROOT
from verifier.answers import IDENTITY_HEADERS
from verifier.policies import _Policy
from verifier.reasons import Reason

README: Final = tables.README.read_text(encoding="utf-8")
_NOT_OURS: Final = re.compile(r"/\.(venv|gatepass|bench|[a-z_]+_cache)/")
MARKDOWN: Final = sorted(path for path in ROOT.glob("**/*.md") if not _NOT_OURS.search(str(path)))
PLANS: Final = [spec / "plan.md" for spec in SPECS]
PARTS: Final = ("spec.md", "plan.md", "research.md", "quickstart.md", "tasks.md")
_INDEX_HOSTS: Final = re.compile(r"pypi\.org|pythonhosted|index-url|registry\.npmjs|proxy\.golang", re.IGNORECASE)
_SOMEBODYS_HOME: Final = re.compile(r"(?<![\w.~}>])/(?:home|Users|root|work)/\w")


@pytest.mark.parametrize("document", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target, fragment in links(document):
        assert target.exists(), target
        assert not fragment or fragment in anchors(target), f"{target}#{fragment}"


def test_the_tables_of_the_readme_are_those_of_the_code() -> None:
    assert tables.updated(README) == README, "run `python -m tests.support.tables`"
    assert all(table in README for table in tables.tables())


def test_the_endpoints_of_the_readme_are_served_and_in_the_contract() -> None:
    told = set(re.findall(r"^\| `(GET|POST|DELETE) (/\S*)`", README, re.MULTILINE))
    nobody = cast("Any", None)
    routes = [
        *AccountRoutes(nobody, nobody, nobody, nobody).routes(),
        *SessionRoutes(nobody, nobody).routes(),
        *OAuthRoutes(nobody, nobody, nobody, nobody, nobody).routes(),
        *StatusListRoutes(nobody).routes(),
        *DocumentRoutes(nobody, nobody).routes(),
        *RecoveryRoutes(nobody, nobody, nobody).routes(),
        *MetadataRoutes("https://issuer.example", set()).routes(),
    ]
    served = {(method, route.path) for route in routes for method in (route.methods or set()) - {"HEAD"}}
    contracted = {(method.upper(), path) for path, methods in contract()["paths"].items() for method in methods}
    assert told == served == contracted


def test_the_readme_names_every_identity_header_and_every_member_of_a_policy() -> None:
    assert set(re.findall(r"`(X-Auth-\w+)`", README)) == set(IDENTITY_HEADERS)
    demands = re.search(r"A policy may demand(.*?)\.\s", README, re.DOTALL)
    assert demands
    assert set(re.findall(r"`(\w+)`", demands[1])) == set(_Policy.model_fields)


def test_the_contract_of_the_subrequest_names_every_reason_and_every_identity_header() -> None:
    subrequest = documents.text(ROOT / "specs/001-register-login-verify/contracts/verify-subrequest.md")
    assert {reason.value for reason in Reason} <= set(re.findall(r"`(\w+)`", subrequest))
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


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("Access and authentication", "access token"),
        ("Authentication flow", "Log in"),
        ("User data model", "`id` `email` `password_hash` `created_at`"),
        ("Security", "private key"),
        ("Errors reveal nothing", "never which"),
        ("What the backend is responsible for", "There is no user interface"),
        ("How this is kept, and how it changes", "changes by a commit"),
        ("Principles", "Refuse by default"),
    ],
)
def test_the_constitution_rules_on_each_topic(heading: str, words: str) -> None:
    constitution = documents.text(ROOT / "specs/constitution.md")
    articles = dict(re.findall(r"^## [IVX]+\. (.*?)\n(.*?)(?=^## |\Z)", constitution, re.DOTALL | re.MULTILINE))
    assert all(word in articles[heading] for word in (words.split() if "`" in words else [words]))


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.name)
def test_a_specification_has_all_its_parts(spec: Path) -> None:
    assert {part for part in PARTS if not (spec / part).is_file()} == set()


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.name)
def test_every_requirement_names_tests_that_exist_or_is_an_open_task(spec: Path) -> None:
    named = proofs(spec)
    assert list(named) == requirements(spec)
    open_tasks = set(re.findall(r"FR-\d{3}", "".join(re.findall(r"^- \[ \] .*$", _tasks(spec), re.MULTILINE))))
    assert {number for number, tests in named.items() if not tests} <= open_tasks
    for test in (test for tests in named.values() for test in tests):
        path, _, name = test.partition("::")
        assert (ROOT / path).is_file(), test
        assert not name or name in documents.test_names(ROOT / path), test


def test_no_requirement_has_the_number_of_another() -> None:
    numbers = [number for spec in SPECS for number in requirements(spec)]
    assert sorted(set(numbers)) == sorted(numbers)


@pytest.mark.parametrize("record", ADRS, ids=lambda path: path.stem)
def test_a_decision_has_its_number_context_decision_and_consequences(record: Path) -> None:
    written = documents.text(record)
    assert written.startswith(f"# {record.name[:4]}: ")
    assert re.findall(r"^## (.*)$", written, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert len(written.splitlines()) < 60


def test_every_decision_is_listed_once_in_the_plan_that_it_belongs_to() -> None:
    assert len({record.name[:4] for record in ADRS}) == len(ADRS)
    for plan in PLANS:
        listed = [path.name for path, _ in links(plan) if path.parent.name == "adr"]
        assert sorted(set(listed)) == sorted(listed)
    everywhere = {path.resolve() for plan in PLANS for path, _ in links(plan)}
    assert set(ADRS) <= everywhere


def test_no_file_names_a_package_index_or_somebodys_home() -> None:
    for path in files():
        written = documents.text(path)
        assert not _INDEX_HOSTS.search(written) or path == Path(__file__), path
        assert not _SOMEBODYS_HOME.search(written), path


def _tasks(spec: Path) -> str:
    return documents.text(spec / "tasks.md")
