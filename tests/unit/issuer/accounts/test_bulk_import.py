"""A line of an import: every member is checked, and none is quoted."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from issuer.accounts.bulk_import import ImportRules, InvalidRecordError, read_line
from issuer.accounts.models import ImportedAccount
from issuer.tokens.size import TokenBudget

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BCRYPT = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
RULES = ImportRules(TokenBudget("https://issuer.example", "gatepass", 1100))
ANN: dict[str, Any] = {"email": "Ann@Example.com", "password_hash": BCRYPT}


def read(line: bytes | dict[str, Any]) -> ImportedAccount:
    return read_line(line if isinstance(line, bytes) else json.dumps(line).encode(), UUID(int=1), NOW, RULES)


def test_email_and_hash_are_enough() -> None:
    account = read(ANN)
    assert (account.email.given, account.email.key) == ("Ann@Example.com", "ann@example.com")
    assert (account.created_at, account.email_verified_at) == (NOW, None)
    assert (account.scope, account.roles) == ("profile", ())
    assert BCRYPT not in repr(account)


def test_optional_members_are_kept() -> None:
    account = read(
        ANN
        | {"created_at": "2020-02-03T04:05:06+01:00", "email_verified": True, "scope": "a b:c", "roles": ["x", "y/z"]}
    )
    assert account.created_at == datetime(2020, 2, 3, 3, 5, 6, tzinfo=UTC)
    assert account.email_verified_at == NOW
    assert (account.scope, account.roles) == ("a b:c", ("x", "y/z"))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"", "is not a JSON object"),
        (b"[]", "is not a JSON object"),
        (b'{"email":"a@example.com","email":"b@example.com"}', "is not a JSON object"),
        ({}, "email: is required"),
        ({"email": "ann@example.com"}, "password_hash: is required"),
        (ANN | {"id": "x"}, "has an unknown member"),
        (ANN | {"password": "hunter2hunter2hunter2"}, "has an unknown member"),
        (ANN | {"email": "canary"}, "email: must be an email address such as name@example.com"),
        (ANN | {"email": None}, "email: must be a string"),
        (ANN | {"email": "canary\0@example.com"}, "email: must be an email address"),
        (ANN | {"password_hash": "canary" * 9}, "password_hash: is malformed or of an unknown kind"),
        (ANN | {"password_hash": BCRYPT.replace("$05$", "$15$")}, "password_hash: is beyond the bounds of what"),
        (ANN | {"password_hash": "$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$c29tZWhhc2hzb21laGFzaA"}, "is beyond"),
        (ANN | {"password_hash": "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$"}, "password_hash: is malformed"),
        (ANN | {"created_at": "yesterday"}, "created_at: must be a date and time with an offset"),
        (ANN | {"created_at": "2020-02-03T04:05:06"}, "created_at: must be a date and time with an offset"),
        (ANN | {"created_at": "2020-02-30T04:05:06Z"}, "created_at: is not a valid date and time"),
        (ANN | {"created_at": "0001-01-01T00:00:00+23:00"}, "created_at: is not a valid date and time"),
        (ANN | {"created_at": "0001-01-01T00:00:00Z"}, "created_at: must not be before 1970"),
        (ANN | {"created_at": 1}, "created_at: must be a date and time with an offset"),
        (ANN | {"created_at": (NOW + timedelta(seconds=1)).isoformat()}, "created_at: must not be in the future"),
        (ANN | {"email_verified": "yes"}, "email_verified: must be a boolean"),
        (ANN | {"scope": "a  b"}, "scope: must be scope tokens"),
        (ANN | {"scope": "a" * 200}, "scope: the access token would have"),
        (ANN | {"scope": "a" * 801}, "scope: the scope has 801 characters; verifiers accept 800"),
        (ANN | {"roles": "admin"}, "roles: must be a list"),
        (ANN | {"roles": ["a,b"]}, "roles: must be visible ASCII without commas"),
        (ANN | {"roles": ["a" * 20] * 9}, "scope: the access token would have"),
    ],
)
def test_an_error_names_the_member_but_not_its_value(line: bytes | dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidRecordError) as error:
        read(line)
    assert fault in str(error.value)
    assert "canary" not in str(error.value)


def test_all_errors_of_a_line_are_named() -> None:
    with pytest.raises(InvalidRecordError) as rejected:
        read(ANN | {"email": "canary", "roles": "admin", "id": "x"})
    faults = str(rejected.value).split("; ")
    assert [fault.partition(":")[0] for fault in faults] == ["email", "has an unknown member", "roles"]
