"""The responses to the subrequest, as bytes: 200, 401, 403 and 503. Every reason has one.

Contract B: `specs/001-register-login-verify/contracts/verify-subrequest.md`. Never a body: nginx keeps its
connection only for responses without one, and Envoy lets exactly 200 pass. On 200 the identity headers are
always complete, empty where a claim is absent: gateways overwrite only what is present, so a client's own header
would pass in place of a missing one.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from shared.claims import Claims
from shared.identity_headers import IDENTITY_HEADERS
from verifier.decision.policy import Policy
from verifier.decision.reasons import UNDECIDABLE, RejectionReason

RETRY_AFTER_SECONDS: Final = 1

# RFC 6750 §3.1. None: the request carried no bearer token, so the challenge names no error.
BEARER_ERROR_CODES: Final[dict[RejectionReason, str | None]] = {
    RejectionReason.MISSING_TOKEN: None,
    RejectionReason.MALFORMED_CREDENTIALS: "invalid_request",
    RejectionReason.TOO_LARGE: "invalid_token",
    RejectionReason.MALFORMED: "invalid_token",
    RejectionReason.INVALID_HEADER: "invalid_token",
    RejectionReason.UNSUPPORTED_ALGORITHM: "invalid_token",
    RejectionReason.WRONG_TYPE: "invalid_token",
    RejectionReason.UNKNOWN_KEY: "invalid_token",
    RejectionReason.BAD_SIGNATURE: "invalid_token",
    RejectionReason.NOT_ACCESS_TOKEN: "invalid_token",
    RejectionReason.INVALID_CLAIMS: "invalid_token",
    RejectionReason.SENDER_CONSTRAINED: "invalid_token",
    RejectionReason.WRONG_ISSUER: "invalid_token",
    RejectionReason.WRONG_AUDIENCE: "invalid_token",
    RejectionReason.EXPIRED: "invalid_token",
    RejectionReason.NOT_YET_VALID: "invalid_token",
    RejectionReason.LIFETIME_TOO_LONG: "invalid_token",
    RejectionReason.TOO_OLD: "invalid_token",
    RejectionReason.REVOKED: "invalid_token",
    RejectionReason.INSUFFICIENT_SCOPE: "insufficient_scope",
    RejectionReason.INSUFFICIENT_ROLE: "insufficient_scope",
    RejectionReason.INSUFFICIENT_CLAIM: "insufficient_scope",
}
"""Error codes of the reasons that concern the client's credentials. The other reasons concern the verifier."""


# Another token would not help, so there is no challenge.
_FORBIDDEN: Final = frozenset({RejectionReason.CROSS_ORIGIN, RejectionReason.UNKNOWN_POLICY})


def ok_template(additional: Iterable[str] = ()) -> bytes:
    """Return the template of `ok_response`: the fixed identity headers, then additional ones with these names."""
    fields = [(name, "%b") for name in IDENTITY_HEADERS[:-1]] + [("X-Auth-Expires", "%d")]
    return _head(HTTPStatus.OK, fields + [(name, "%b") for name in additional])


def ok_response(template: bytes, claims: Claims, additional: Iterable[str] = ()) -> bytes:
    """Return a 200 with the identity. Every value was checked to be printable ASCII without space at either end.

    A subject has a meaning only together with its issuer: two issuers may use one subject for two users.

    Args:
        template: from `ok_template`, for the names of the additional headers.
        claims: as they were read.
        additional: values of the additional headers.
    """
    return template % (
        claims.issuer.encode("ascii"),
        claims.subject.encode(),
        claims.client_id.encode(),
        claims.scope.encode(),
        ",".join(claims.roles).encode(),
        claims.session.encode(),
        claims.token_id.encode(),
        claims.expires_at,
        *(value.encode() for value in additional),
    )


def anonymous_response(additional: Iterable[str] = ()) -> bytes:
    """Return a 200 with an empty identity: every identity header is there, and empty."""
    return _head(HTTPStatus.OK, [(name, "") for name in (*IDENTITY_HEADERS, *additional)])


def error_response(reason: RejectionReason, policy: Policy | None, realm: str) -> bytes:
    """Return a 401, 403 or 503.

    Args:
        reason: of the rejection.
        policy: the policy that rejected, or None if the path names none.
        realm: of the challenge (RFC 9110 §11.5); visible ASCII without quotes.
    """
    if reason in UNDECIDABLE:
        return _head(HTTPStatus.SERVICE_UNAVAILABLE, [("Retry-After", str(RETRY_AFTER_SECONDS))])
    if reason in _FORBIDDEN or policy is None:
        return _head(HTTPStatus.FORBIDDEN, [])
    error = BEARER_ERROR_CODES[reason]
    parameters = [f'realm="{realm}"']
    if error:
        parameters.append(f'error="{error}"')
    if reason is RejectionReason.INSUFFICIENT_SCOPE:
        parameters.append(f'scope="{" ".join(sorted(policy.scopes_all | policy.scopes_any))}"')
    status = HTTPStatus.FORBIDDEN if error == "insufficient_scope" else HTTPStatus.UNAUTHORIZED
    return _head(status, [("WWW-Authenticate", f"Bearer {', '.join(parameters)}")])


def _head(status: HTTPStatus, fields: list[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Content-Length: 0"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("ascii")
