"""Errors and responses correspond one to one."""

from issuer.errors import (
    CommandError,
    CrossOriginError,
    InvalidClientError,
    InvalidFieldsError,
    InvalidScopeError,
    InvalidTargetError,
    IssuerError,
    OAuthError,
    UnauthorizedClientError,
    UnexpectedDatabaseError,
)
from issuer.http.problems import INTERNAL, PROBLEMS, problem_of, problem_response
from issuer.oauth.errors import OAUTH_ERROR_CODES


def leaves(root: type[IssuerError]) -> set[type[IssuerError]]:
    children = root.__subclasses__()
    return {leaf for child in children for leaf in leaves(child)} if children else {root}


def test_every_error_of_a_request_has_a_problem() -> None:
    unforeseen = {UnexpectedDatabaseError}
    of_logins = {
        InvalidClientError,
        UnauthorizedClientError,
        InvalidScopeError,
        InvalidTargetError,
        CrossOriginError,
    }
    others = leaves(IssuerError) - leaves(CommandError) - leaves(OAuthError) - unforeseen
    assert others | of_logins == set(PROBLEMS)
    assert all(problem_of(error()) is INTERNAL for error in unforeseen)


def test_every_oauth_error_has_its_code() -> None:
    assert leaves(OAuthError) == set(OAUTH_ERROR_CODES)
    assert len({response.code for response in OAUTH_ERROR_CODES.values()}) == len(OAUTH_ERROR_CODES)


def test_no_two_problems_share_a_type() -> None:
    assert len({problem.type for problem in [*PROBLEMS.values(), INTERNAL]}) == len(PROBLEMS) + 1


def test_only_an_unexpected_error_is_a_500() -> None:
    assert INTERNAL.status not in {problem.status for problem in PROBLEMS.values()}
    assert INTERNAL.status == 500


def test_errors_for_operators_show_no_details_over_http() -> None:
    assert all(problem_of(leaf("keys/private/x.pem")) is INTERNAL for leaf in leaves(CommandError))


def test_an_unexpected_exception_shows_no_details() -> None:
    assert b"hunter2" not in bytes(problem_response(RuntimeError("hunter2")).body)


def test_a_problem_contains_its_status() -> None:
    response = problem_response(InvalidFieldsError())
    assert response.status_code == 422
    assert b'"status":422' in bytes(response.body)
    assert response.headers["content-type"] == "application/problem+json"
