"""Responses to malformed requests and to requests beyond the limits."""

from http import HTTPStatus

import pytest

from tests.support.raw_http import parse
from verifier.subrequest.http_connection import _error_response


@pytest.mark.parametrize("status", [400, 408, 431, 503])
def test_an_error_response_announces_the_close_and_has_no_body(status: int) -> None:
    (response,) = parse(_error_response(HTTPStatus(status)))
    assert (response.status, response.closes) == (status, True)
