"""A log line for each refusal, as far as a bounded rate allows. It never shows credentials.

The token is named by a keyed fingerprint: the same token gives the same name for as long as the process
lives, and nobody without the key can tell which token it was.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from shared.trace_context import request_id_of, traceparent_of
from verifier.metrics import Name, Page
from verifier.reasons import Reason

LINES_PER_SECOND: Final = 10
BURST: Final = 50
_FINGERPRINT_BYTES: Final = 8

_log = structlog.get_logger()


class Trail(NamedTuple):
    """What a gateway calls a request by: fields as received; None where there is none, empty where there are two."""

    request_id: bytes | None = None
    traceparent: bytes | None = None

    def ids(self) -> dict[str, str]:
        """For log lines, in the form that is believed; never the fields as they are."""
        caller = traceparent_of(_fields(self.traceparent))
        ids = {"request_id": request_id_of(_fields(self.request_id))}
        return ids if caller is None else ids | {"trace_id": caller.trace_id}


class RefusalLog:
    """A token bucket in front of the log.

    Args:
        page: where lines that were not written are counted.
        monotonic: seconds on a clock that never steps.
    """

    def __init__(self, page: Page, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._page, self._monotonic = page, monotonic
        self._key = secrets.token_bytes(32)
        self._allowance, self._at = float(BURST), monotonic()

    def write(self, policy: str, reason: Reason, credentials: bytes, trail: Trail = Trail()) -> None:  # noqa: B008 - frozen
        """Log that `policy` refused `credentials`, unless too much was logged lately."""
        now = self._monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._at) * LINES_PER_SECOND)
        self._at = now
        if self._allowance < 1:
            self._page.add(Name.SUPPRESSED_LOG_LINES)
            return
        self._allowance -= 1
        fingerprint = self.fingerprint(credentials)
        _log.info("refused", policy=policy, reason=str(reason), fingerprint=fingerprint, **trail.ids())

    def fingerprint(self, credentials: bytes) -> str:
        """A name for `credentials` within this process; empty for none."""
        if not credentials:
            return ""
        return hmac.digest(self._key, credentials, "sha256")[:_FINGERPRINT_BYTES].hex()


def _fields(received: bytes | None) -> list[str]:
    return [] if received is None else [received.decode("latin-1")]
