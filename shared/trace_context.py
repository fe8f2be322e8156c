"""The ids of a request in logs: its request id, and its trace context (W3C, w3.org/TR/trace-context).

Both may come from an untrusted client, so only one strict form is accepted. Other values are replaced, and never
logged.
"""

import random
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x20-\x7e]*)?", re.ASCII
)
_SAMPLED: Final = 1


class Traceparent(NamedTuple):
    """The caller's trace context. Ids are lower-case hexadecimal."""

    trace_id: str
    parent_id: str
    sampled: bool


def new_id(digits: int) -> str:
    """Return a unique hexadecimal id for a log line or a trace. It is no secret, so it needs no secure randomness."""
    return f"{random.getrandbits(4 * digits):0{digits}x}"


def parse_request_id(given: Sequence[str]) -> str:
    """Return the gateway's request id if it is valid, so that both logs can be joined; otherwise a new one.

    Args:
        given: every field `X-Request-Id` of the request.
    """
    return given[0] if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else new_id(32)


def parse_traceparent(given: Sequence[str]) -> Traceparent | None:
    """Return the caller's trace context, or None without a valid one.

    Args:
        given: every field `traceparent` of the request. Two fields are invalid (§3.2), and so are ids of zeros, the
            version `ff`, and more than four parts in version 00 (§3.2.2). Later versions may have more.
    """
    found = _TRACEPARENT.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    return Traceparent(trace_id, parent_id, bool(int(flags, 16) & _SAMPLED))
