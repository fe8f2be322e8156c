"""Classifies errors of PostgreSQL by SQLSTATE: temporary failures, and unexpected ones.

Every exception that asyncpg raises maps to one failure. https://www.postgresql.org/docs/18/errcodes-appendix.html
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import asyncpg  # noqa: TID251 - issuer.db is about PostgreSQL


class Failure(StrEnum):
    """Causes of failed operations. Each is a label of `gatepass_issuer_database_failures_total`."""

    OUTAGE = "outage"
    """Not tried, since an outage of PostgreSQL was detected."""
    NO_CONNECTION = "no_connection"
    """No connection was free in time, and none could be opened."""
    CONNECTION = "connection"
    TOO_SLOW = "too_slow"
    CONFLICT = "conflict"
    READ_ONLY = "read_only"
    NO_RESOURCES = "no_resources"
    NO_ACCESS = "no_access"
    NOT_MIGRATED = "not_migrated"
    UNEXPECTED = "unexpected"
    """A defect of the issuer, a schema that was changed by hand, or damaged data: retrying does not help."""


ERRORS: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""All exceptions that a connection raises."""

_BY_SQLSTATE: Final[Mapping[str, Failure]] = {
    "08": Failure.CONNECTION,
    "25006": Failure.READ_ONLY,
    "25P03": Failure.TOO_SLOW,  # idle_in_transaction_session_timeout
    "25P04": Failure.TOO_SLOW,  # transaction_timeout
    "28": Failure.NO_ACCESS,
    "3D000": Failure.NO_ACCESS,  # no such database
    "40": Failure.CONFLICT,
    "42501": Failure.NO_ACCESS,  # insufficient privilege
    "42703": Failure.NOT_MIGRATED,  # no such column
    "42P01": Failure.NOT_MIGRATED,  # no such table
    "53": Failure.NO_RESOURCES,
    "55P03": Failure.TOO_SLOW,  # lock_timeout
    "57": Failure.CONNECTION,
    "57014": Failure.TOO_SLOW,  # statement_timeout
    "58": Failure.NO_RESOURCES,  # input and output
}
"""Failures by SQLSTATE or by its class (the first two characters); every other SQLSTATE is unexpected."""


_IN_WORDS: Final[Mapping[str, str]] = {
    "ConnectionRefusedError": "nothing listens there",
    "FileNotFoundError": "there is no such socket or file",
    "InsufficientPrivilegeError": "the user lacks a privilege",
    "InvalidAuthorizationSpecificationError": "the user is not accepted",
    "InvalidCatalogNameError": "there is no such database",
    "InvalidPasswordError": "the user or password is wrong",
    "TimeoutError": "no response in time",
    "UndefinedColumnError": "run `migrate` first",
    "UndefinedTableError": "run `migrate` first",
    "gaierror": "the host name cannot be resolved",
}
"""Explanations for operators, by type of exception. PostgreSQL's own messages are not shown: they quote rows."""


def describe_kind(kind: str) -> str:
    """Return the name of an exception's type, with what it means if that is known."""
    return f"{kind} ({_IN_WORDS[kind]})" if kind in _IN_WORDS else kind


def failure_of(error: Exception, *, connected: bool) -> Failure:
    """Return the failure of an operation.

    Args:
        error: one of `ERRORS`.
        connected: whether the error was raised on a connection that is still open.
    """
    match error:
        case TimeoutError():
            return Failure.TOO_SLOW
        case asyncpg.exceptions.InvalidCachedStatementError() | asyncpg.exceptions.OutdatedSchemaCacheError():
            return Failure.CONFLICT  # the schema was migrated since the statement was prepared
        case asyncpg.exceptions.TargetServerAttributeNotMatched():
            return Failure.READ_ONLY
        case asyncpg.PostgresError():
            sqlstate = error.sqlstate or ""
            found = _BY_SQLSTATE.get(sqlstate) or _BY_SQLSTATE.get(sqlstate[:2], Failure.UNEXPECTED)
            # While a connection is being opened, the server rejects the parameters of the URL, not a statement.
            return Failure.CONNECTION if found is Failure.UNEXPECTED and not connected else found
        case asyncpg.InterfaceError() | asyncpg.InternalClientError() if connected:
            return Failure.UNEXPECTED  # a wrong argument, or two operations at once
        case _:
            return Failure.CONNECTION
