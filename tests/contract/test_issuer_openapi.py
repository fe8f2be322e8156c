"""The OpenAPI document of the issuer is valid and agrees with the code."""

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from issuer.http.problems import INTERNAL, PROBLEMS
from issuer.http.protocol import HEAD_TOO_LARGE, MALFORMED, TOO_MANY_CONNECTIONS
from issuer.oauth.errors import OAUTH_ERROR_CODES, UNAVAILABLE
from tests.support.openapi import SERVED, contract, resolved, served_form

DOCUMENT = contract()
SLUG = re.compile(r"`(?!errors`)([a-z-]+)`")
"""Problem types in a description. `errors` is a member and no type."""
ANYWHERE = re.compile(r"([45]\d\d) \(`([a-z-]+)`\)")
"""Responses of every path, as the document's introduction names them."""


def test_the_contract_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_the_served_document_is_the_contract() -> None:
    assert SERVED.read_text(encoding="utf-8") == served_form(), "run `python -m tests.support.openapi`"


def test_every_problem_is_documented_under_its_status() -> None:
    at_a_path = {(slug, int(status)) for status, response in responses() for slug in slugs(response)}
    anywhere = {(slug, int(status)) for status, slug in ANYWHERE.findall(DOCUMENT["info"]["description"])}
    of_connections = (MALFORMED, HEAD_TOO_LARGE, TOO_MANY_CONNECTIONS)
    problems = {(problem.slug, problem.status) for problem in (*PROBLEMS.values(), INTERNAL, *of_connections)}
    assert at_a_path | anywhere == problems


def test_every_oauth_error_is_documented_under_its_status() -> None:
    documented = {(code, int(status)) for status, response in responses() for code in oauth_codes(response)}
    served = {(response.code, response.status) for response in [*OAUTH_ERROR_CODES.values(), UNAVAILABLE]}
    assert documented == served


def responses() -> list[tuple[str, dict[str, Any]]]:
    """Return each status of each operation, with its response."""
    operations = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]
    return [
        (status, resolved(DOCUMENT, response))
        for entry in operations
        for status, response in entry["responses"].items()
    ]


def slugs(response: dict[str, Any]) -> list[str]:
    """Return the problem types that a response may have."""
    return SLUG.findall(response["description"]) if "application/problem+json" in response.get("content", {}) else []


def oauth_codes(response: dict[str, Any]) -> list[str]:
    """Return the values that `error` may have in a response."""
    schema = resolved(DOCUMENT, response.get("content", {}).get("application/json", {}).get("schema", {}))
    error = schema.get("properties", {}).get("error", {})
    return list(error.get("enum", [error["const"]] if "const" in error else []))


def test_every_request_and_response_body_has_valid_examples() -> None:
    found = [*media_types()]
    assert len(found) > 50
    for where, media in found:
        validator = Draft202012Validator({**media["schema"], "components": DOCUMENT["components"]})
        for example in examples_of(media):
            assert [error.message for error in validator.iter_errors(example)] == [], where


def test_every_problem_and_oauth_error_has_its_example() -> None:
    shown = [example for _, media in media_types() for example in examples_of(media)]
    for problem in PROBLEMS.values():
        if problem.slug != "method-not-allowed":  # of every path, so of none in particular
            known = {"type": f"urn:gatepass:problem:{problem.slug}", "title": problem.title, "status": problem.status}
            assert any(known.items() <= example.items() for example in shown if isinstance(example, dict)), problem
    for response in [*OAUTH_ERROR_CODES.values(), UNAVAILABLE]:
        assert {"error": response.code} in shown


def media_types() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every media type of a request or response, with its location."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for name, body in bodies.items():
                for media in resolved(DOCUMENT, body).get("content", {}).values():
                    yield f"{method} {path} {name}", media


def examples_of(media: dict[str, Any]) -> list[Any]:
    """Return the examples of a media type."""
    return [media["example"]] if "example" in media else [example["value"] for example in media["examples"].values()]
