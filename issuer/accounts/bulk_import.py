"""Parses one line of an import and checks its account. No I/O.

Rejects scopes, roles and claims that do not fit into tokens, and hashes that no login could compute. Errors name
members and never quote values.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from issuer.accounts.models import ImportedAccount
from issuer.email_address import EmailAddress, parse_email
from issuer.passwords.hasher import check_stored_hash
from issuer.tokens.additional_claims import NO_CLAIM_TYPES, ClaimTypes
from issuer.tokens.models import DEFAULT_SCOPE, PublicClient
from issuer.tokens.size import TokenBudget
from shared.claims import ROLE, SCOPE
from shared.strict_json import StrictJsonError, parse_object

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Zero in Unix time, which other systems write for an unknown time. An earlier time is a fault of the export."""


class InvalidRecordError(ValueError):
    """The line is not an account. The message names every faulty member and says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ImportRules:
    """Limits of imported accounts.

    Attributes:
        clients: the public clients with which their users may log in.
    """

    budget: TokenBudget
    clients: Sequence[PublicClient] = ()
    claim_types: ClaimTypes = NO_CLAIM_TYPES


@dataclass(frozen=True, slots=True)
class _Context:
    now: datetime
    rules: ImportRules


def _context(info: ValidationInfo) -> _Context:
    assert isinstance(info.context, _Context)
    return info.context


def _email(value: Any) -> EmailAddress:
    if type(value) is not str:
        raise ValueError("must be a string")
    return parse_email(value)


def _password_hash(text: str) -> str:
    check_stored_hash(text)
    return text


def _time(value: Any, info: ValidationInfo) -> datetime:
    if type(value) is not str or not _TIME.fullmatch(value):
        raise ValueError("must be a date and time with an offset (RFC 3339)")
    try:
        time = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        # The standard library's message would quote the value.
        raise ValueError("is not a valid date and time") from None
    if time < _EARLIEST:
        raise ValueError("must not be before 1970")
    if time > _context(info).now:
        raise ValueError("must not be in the future")
    return time


def _scope(text: str) -> str:
    if not SCOPE.fullmatch(text):
        raise ValueError("must be scope tokens separated by single spaces (RFC 6749 §3.3)")
    return text


def _role(text: str) -> str:
    if not ROLE.fullmatch(text):
        raise ValueError("must be visible ASCII without commas")
    return text


def _claims(values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    _context(info).rules.claim_types.check(values)
    return values


class _Record(BaseModel):
    """The members of a line."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    email: Annotated[EmailAddress, PlainValidator(_email)]
    password_hash: Annotated[str, AfterValidator(_password_hash)]
    created_at: Annotated[datetime, PlainValidator(_time)] | None = None
    email_verified: bool = False
    scope: Annotated[str, AfterValidator(_scope)] = DEFAULT_SCOPE
    roles: list[Annotated[str, AfterValidator(_role)]] = []
    claims: Annotated[dict[str, Any], AfterValidator(_claims)] = {}

    @model_validator(mode="after")
    def _fit_into_a_token(self, info: ValidationInfo) -> Self:
        rules = _context(info).rules
        if fault := rules.budget.account_fault(self.scope, self.roles, self.claims, rules.clients):
            raise ValueError(f"scope: {fault}")
        return self


def read_line(line: bytes, account_id: UUID, now: datetime, rules: ImportRules) -> ImportedAccount:
    """Read and check a line.

    Args:
        line: a JSON object.
        account_id: the new id of the account.
        now: the default of `created_at`, and the time of verification if `email_verified` is true.
        rules: the limits of the account.

    Raises:
        InvalidRecordError: the line is invalid; the message has all faults.
    """
    try:
        record = _Record.model_validate(parse_object(line), context=_Context(now, rules))
    except StrictJsonError:
        raise InvalidRecordError("is not a JSON object with distinct members") from None
    except ValidationError as error:
        raise InvalidRecordError("; ".join(sorted({_describe(fault) for fault in error.errors()}))) from None
    return ImportedAccount(
        account_id,
        record.email,
        record.password_hash,
        record.created_at or now,
        now if record.email_verified else None,
        record.scope,
        tuple(record.roles),
        record.claims,
    )


def _describe(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "has an unknown member"  # without its name, which may be a secret
    if fault["type"] == "missing":
        return f"{fault['loc'][0]}: is required"
    if fault["type"] == "value_error":
        message = str(fault["ctx"]["error"])
    else:
        message = fault["msg"].replace("Input should be a valid", "must be a")
    return f"{fault['loc'][0]}: {message}" if fault["loc"] else message
