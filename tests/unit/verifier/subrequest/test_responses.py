"""Every reason has a response without a body."""

import re

import pytest

from shared.identity_headers import IDENTITY_HEADERS
from tests.support.vectors import POLICIES, REALM, fields_of, status_of
from verifier.decision.reasons import UNDECIDABLE, RejectionReason
from verifier.subrequest.responses import BEARER_ERROR_CODES, anonymous_response, error_response

FORBIDDEN = {RejectionReason.CROSS_ORIGIN, RejectionReason.UNKNOWN_POLICY}
OURS = {*FORBIDDEN, *UNDECIDABLE}


def test_every_reason_is_a_rejection_or_an_outage() -> None:
    assert set(BEARER_ERROR_CODES) | OURS == set(RejectionReason)
    assert not set(BEARER_ERROR_CODES) & OURS


@pytest.mark.parametrize("reason", RejectionReason)
def test_every_rejection_has_no_body_and_no_identity(reason: RejectionReason) -> None:
    response = error_response(reason, POLICIES["all-scopes"], REALM)
    fields = fields_of(response)
    assert fields["Content-Length"] == "0"
    assert not set(IDENTITY_HEADERS) & set(fields)
    expected = {**dict.fromkeys(FORBIDDEN, 403), **dict.fromkeys(UNDECIDABLE, 503)}
    assert status_of(response) == expected.get(
        reason, 403 if BEARER_ERROR_CODES.get(reason) == "insufficient_scope" else 401
    )


@pytest.mark.parametrize("reason", BEARER_ERROR_CODES)
def test_a_challenge_names_only_the_error_code_of_rfc_6750(reason: RejectionReason) -> None:
    challenge = fields_of(error_response(reason, POLICIES["default"], REALM))["WWW-Authenticate"]
    parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    assert challenge.startswith("Bearer realm=")
    assert parameters.get("error") == BEARER_ERROR_CODES[reason]
    assert reason == "insufficient_scope" or str(reason) not in challenge


def test_a_lack_of_scope_names_the_scopes_and_a_lack_of_a_role_does_not_name_roles() -> None:
    scope = fields_of(error_response(RejectionReason.INSUFFICIENT_SCOPE, POLICIES["all-scopes"], REALM))[
        "WWW-Authenticate"
    ]
    assert scope == 'Bearer realm="gatepass", error="insufficient_scope", scope="invoices:read invoices:write"'
    any_scope = fields_of(error_response(RejectionReason.INSUFFICIENT_SCOPE, POLICIES["any-scope"], REALM))[
        "WWW-Authenticate"
    ]
    assert any_scope.endswith('scope="admin audit"')
    role = fields_of(error_response(RejectionReason.INSUFFICIENT_ROLE, POLICIES["roles"], REALM))["WWW-Authenticate"]
    assert role == 'Bearer realm="gatepass", error="insufficient_scope"'


def test_a_missing_token_is_challenged_without_an_error() -> None:
    """A request without credentials gets no error code (RFC 6750 §3.1)."""
    assert (
        fields_of(error_response(RejectionReason.MISSING_TOKEN, POLICIES["default"], "here"))["WWW-Authenticate"]
        == 'Bearer realm="here"'
    )


@pytest.mark.parametrize("reason", sorted(UNDECIDABLE))
def test_a_503_carries_no_challenge_and_a_retry_after(reason: RejectionReason) -> None:
    fields = fields_of(error_response(reason, POLICIES["default"], REALM))
    assert "WWW-Authenticate" not in fields
    assert int(fields["Retry-After"]) >= 1


def test_an_unknown_policy_is_forbidden_whatever_the_reason() -> None:
    assert {status_of(error_response(reason, None, REALM)) for reason in set(RejectionReason) - UNDECIDABLE} == {403}


def test_an_anonymous_identity_has_every_header_empty() -> None:
    fields = fields_of(anonymous_response())
    assert {fields[name] for name in IDENTITY_HEADERS} == {""}
    assert status_of(anonymous_response()) == 200
