"""Logs and counts what happens to documents. A failure that lasts is logged once a minute."""

import time
from enum import StrEnum
from typing import Final

import structlog
from prometheus_client import Counter

from verifier.refresh.source import RefreshError

LOG_INTERVAL_SECONDS: Final = 60.0

_log = structlog.get_logger()


class Change(StrEnum):
    """The transitions of a document; the value is the end of the log event."""

    UPDATED = "updated"
    RESTORED = "restored"
    """confirmed by its source after it had expired"""
    CONFIRMED = "confirmed"
    LOADED = "loaded_from_cache"
    EXPIRED = "expired"


class DocumentLog:
    """The log of all documents of one kind.

    Args:
        kind: such as `jwks`; log events begin with it.
        failures: counts failed attempts, by issuer and cause.
        detailed: log each update, and each failure that differs from the last. Not for kinds of which an issuer
            has many documents that change every few seconds.
    """

    def __init__(self, kind: str, failures: Counter, *, detailed: bool) -> None:
        self._kind, self._failures, self._detailed = kind, failures, detailed
        self._logged: dict[tuple[str, str], tuple[str, float]] = {}

    def changed(self, change: Change, issuer: str, *, is_first: bool, **fields: object) -> None:
        """Log a transition."""
        if change is Change.CONFIRMED or (change is Change.UPDATED and not (is_first or self._detailed)):
            return
        if change is not Change.EXPIRED:
            _log.info(f"{self._kind}_{change}", issuer=issuer, **fields)
        elif self._is_due(issuer, f"value_{change}", ""):
            _log.error(f"{self._kind}_{change}", issuer=issuer, **fields)

    def failed(self, error: RefreshError, issuer: str, **fields: object) -> None:
        """Count and log a failed attempt."""
        self._failures.labels(issuer, error.code).inc()
        if self._is_due(issuer, error.code, str(error)):
            _log.warning(f"{self._kind}_fetch_failed", issuer=issuer, cause=error.code, detail=str(error), **fields)

    def cache_failed(self, action: str, detail: str, issuer: str, **fields: object) -> None:
        """Log that a cached copy could not be used (`read`) or replaced (`write`)."""
        if self._is_due(issuer, f"cache_{action}", detail):
            _log.warning(f"{self._kind}_cache_{action}_failed", issuer=issuer, detail=detail, **fields)

    def _is_due(self, issuer: str, problem: str, detail: str) -> bool:
        detail, now = detail if self._detailed else "", time.monotonic()
        logged = self._logged.get((issuer, problem))
        if logged is not None and logged[0] == detail and now - logged[1] < LOG_INTERVAL_SECONDS:
            return False
        self._logged[issuer, problem] = detail, now
        return True
