"""A log line for each rejection, up to a fixed rate. It never shows credentials.

A token is named by a keyed fingerprint: the same token has the same fingerprint as long as the process runs,
and without the key a fingerprint does not lead to its token.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from shared.trace_context import parse_request_id, parse_traceparent
from verifier.decision.reasons import RejectionReason
from verifier.metrics import Metrics

LINES_PER_SECOND: Final = 10
BURST: Final = 50
_FINGERPRINT_BYTES: Final = 8

_log = structlog.get_logger()


class RequestIds(NamedTuple):
    """The header fields with ids of a request, as received; None where absent, empty where repeated."""

    request_id: bytes | None = None
    traceparent: bytes | None = None

    def as_log_fields(self) -> dict[str, str]:
        """Return the valid ids for a log line; never a field as it was received."""
        caller = parse_traceparent(_fields(self.traceparent))
        ids = {"request_id": parse_request_id(_fields(self.request_id))}
        return ids if caller is None else ids | {"trace_id": caller.trace_id}


class RejectionLog:
    """The log of rejections, with a rate limit.

    Args:
        metrics: counts the lines that were not written.
        monotonic: seconds on a clock that never steps.
    """

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._suppressed, self._monotonic = metrics.suppressed_log_lines, monotonic
        self._key = secrets.token_bytes(32)
        self._allowed_lines, self._updated_at = float(BURST), monotonic()

    def write(self, policy: str, reason: RejectionReason, credentials: bytes, ids: RequestIds) -> None:
        """Log that `policy` rejected `credentials`, unless the rate limit is reached."""
        now = self._monotonic()
        self._allowed_lines = min(BURST, self._allowed_lines + (now - self._updated_at) * LINES_PER_SECOND)
        self._updated_at = now
        if self._allowed_lines < 1:
            self._suppressed.inc()
            return
        self._allowed_lines -= 1
        fingerprint = self.fingerprint(credentials)
        _log.info(
            "request_rejected", policy=policy, reason=str(reason), fingerprint=fingerprint, **ids.as_log_fields()
        )

    def fingerprint(self, credentials: bytes) -> str:
        """Return a name for `credentials` within this process; empty if there are none."""
        if not credentials:
            return ""
        return hmac.digest(self._key, credentials, "sha256")[:_FINGERPRINT_BYTES].hex()


def _fields(received: bytes | None) -> list[str]:
    return [] if received is None else [received.decode("latin-1")]
