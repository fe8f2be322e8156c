"""Every exception of asyncpg has one failure; only failures that an operator or time can repair are temporary."""

import asyncpg  # noqa: TID251 - the exceptions that are mapped
import pytest

from issuer.db.failures import ERRORS, Failure, failure_of

EXCEPTIONS = sorted(
    (
        kind
        for name in asyncpg.exceptions.__all__
        if issubclass(kind := getattr(asyncpg.exceptions, name), Exception) and not issubclass(kind, Warning)
    ),
    key=lambda kind: kind.__name__,
)
TEMPORARY_CLASSES = {"08", "28", "40", "53", "57", "58"}
TEMPORARY_STATES = {"25006", "25P03", "25P04", "3D000", "42501", "42703", "42P01", "55P03"}


@pytest.mark.parametrize("kind", EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_every_asyncpg_exception_maps_to_a_failure(kind: type[Exception]) -> None:
    assert issubclass(kind, ERRORS)
    assert failure_of(kind("x"), connected=False) is not Failure.UNEXPECTED
    unexpected = failure_of(kind("x"), connected=True) is Failure.UNEXPECTED
    if issubclass(kind, asyncpg.PostgresError):
        state = kind.sqlstate or ""
        temporary = state[:2] in TEMPORARY_CLASSES or state in TEMPORARY_STATES
        assert unexpected == (not temporary and kind is not asyncpg.InvalidCachedStatementError)
    else:
        schema_changed = kind is asyncpg.exceptions.OutdatedSchemaCacheError
        assert unexpected == (not schema_changed and kind is not asyncpg.exceptions.TargetServerAttributeNotMatched)


def test_no_asyncpg_exception_is_missing_from_the_map() -> None:
    assert len(EXCEPTIONS) > 200


@pytest.mark.parametrize("connected", [True, False])
def test_socket_errors_and_timeouts_are_temporary(*, connected: bool) -> None:
    assert failure_of(ConnectionResetError(), connected=connected) is Failure.CONNECTION
    assert failure_of(TimeoutError(), connected=connected) is Failure.TOO_SLOW


def test_an_unknown_sqlstate_is_mapped_by_its_class() -> None:
    class NewError(asyncpg.PostgresError):
        sqlstate = "57P99"

    assert failure_of(NewError("x"), connected=True) is Failure.CONNECTION
