"""The closed list of reasons for a rejection. Counted and logged; the client learns only the RFC 6750 error code."""

from enum import StrEnum
from typing import Final


class RejectionReason(StrEnum):
    """Reasons for a rejection. The value is the label in metrics and logs."""

    MISSING_TOKEN = "missing_token"  # noqa: S105 - a label
    MALFORMED_CREDENTIALS = "malformed_credentials"

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    INVALID_HEADER = "invalid_header"
    UNSUPPORTED_ALGORITHM = "unsupported_algorithm"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    NOT_ACCESS_TOKEN = "not_access_token"  # noqa: S105 - a label
    INVALID_CLAIMS = "invalid_claims"
    SENDER_CONSTRAINED = "sender_constrained"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    LIFETIME_TOO_LONG = "lifetime_too_long"
    TOO_OLD = "too_old"
    REVOKED = "revoked"

    INSUFFICIENT_SCOPE = "insufficient_scope"
    INSUFFICIENT_ROLE = "insufficient_role"
    INSUFFICIENT_CLAIM = "insufficient_claim"

    CROSS_ORIGIN = "cross_origin"

    UNKNOWN_POLICY = "unknown_policy"

    KEYS_UNAVAILABLE = "keys_unavailable"
    STATUS_UNAVAILABLE = "status_unavailable"
    INTERNAL_ERROR = "internal_error"


UNDECIDABLE: Final = frozenset(
    {RejectionReason.KEYS_UNAVAILABLE, RejectionReason.STATUS_UNAVAILABLE, RejectionReason.INTERNAL_ERROR}
)
"""The reasons that say nothing about the request: the verifier could not decide, and the response is 503."""
