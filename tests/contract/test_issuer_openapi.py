"""The issuer's contract is a valid document, and the one that the issuer holds."""

import re
from typing import Any

from openapi_spec_validator import validate

from issuer.problems import PROBLEMS
from tests.support.openapi import SERVED, contract, served_form


def test_the_contract_is_valid_openapi() -> None:
    validate(contract())


def test_the_served_document_is_the_contract() -> None:
    assert SERVED.read_text(encoding="utf-8") == served_form(), "run `python -m tests.support.openapi`"


def test_every_problem_but_those_of_any_path_is_documented() -> None:
    responses: dict[str, Any] = contract()["components"]["responses"]
    named = set(re.findall(r"`([a-z-]+)`:?", " ".join(entry["description"] for entry in responses.values())))
    everywhere = {"method-not-allowed"}
    assert {problem.slug for problem in PROBLEMS.values()} - everywhere == named - {"errors"}
