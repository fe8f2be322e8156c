"""Additional claims: listed names with one type each, and no registered claim."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.tokens.access_token import token_payload
from issuer.tokens.additional_claims import (
    MAX_CLAIMS,
    RESERVED,
    ClaimError,
    ClaimType,
    ClaimTypes,
    changed_claims,
)
from issuer.tokens.models import AccessTokenClaims, status_reference
from tests.unit.issuer.sessions.test_refresh_policy import NOW, SESSION

TYPES = ClaimTypes.parse("tenant:string, seats:number,beta:boolean , https://acme.example/teams:strings,")
TEAMS = "https://acme.example/teams"


def test_names_and_types_are_listed() -> None:
    assert TYPES.types == {
        "tenant": ClaimType.STRING,
        "seats": ClaimType.NUMBER,
        "beta": ClaimType.BOOLEAN,
        TEAMS: ClaimType.STRINGS,
    }
    assert ClaimTypes.parse("").types == ClaimTypes.parse(" , ").types == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tenant", "must be pairs such as"),
        ("tenant:text", "must be pairs such as"),
        ("tenant:STRING", "must be pairs such as"),
        (":string", "must be pairs such as"),
        ("ten ant:string", "must be pairs such as"),
        ('te"nant:string', "must be pairs such as"),
        ("1tenant:string", "must be pairs such as"),
        ("t\u00e9nant:string", "must be pairs such as"),
        ("a" * 101 + ":string", "must be pairs such as"),
        ("tenant:string,tenant:number", "tenant is listed twice"),
        (",".join(f"c{number}:string" for number in range(MAX_CLAIMS + 1)), f"at most {MAX_CLAIMS} claims"),
        ("cnf:string", "cnf is reserved: a registered claim, or one that every token has; choose another name"),
        ("email:string", "email is reserved: a registered claim, or one that every token has; choose another name"),
        ("Roles:strings", "Roles is reserved: a registered claim, or one that every token has; choose another name"),
    ],
)
def test_a_faulty_list_is_rejected(text: str, fault: str) -> None:
    with pytest.raises(ClaimError, match=fault):
        ClaimTypes.parse(text)


def test_no_claim_of_a_token_can_be_replaced() -> None:
    issuer = "https://issuer.example"
    status = status_reference(issuer, 1, 1)
    claims = AccessTokenClaims("x", SESSION, NOW, "first-party", "profile", "gatepass", ("admin",), status)
    payload = token_payload(claims, issuer, 1, 1, SESSION)
    assert set(payload) | {"nbf", "cnf", "act"} <= RESERVED
    for name in RESERVED:
        with pytest.raises(ClaimError):
            ClaimTypes.parse(f"{name}:string")


RIGHT: list[tuple[str, Any]] = [
    ("tenant", "acme"),
    ("tenant", "Bücher & Söhne"),
    ("tenant", "x" * 255),
    ("seats", 0),
    ("seats", -1.5),
    ("seats", 2**53 - 1),
    ("beta", False),
    (TEAMS, ["red"]),
    (TEAMS, ["r"] * 32),
]
WRONG: list[tuple[str, Any]] = [
    ("tenant", ""),
    ("tenant", "x" * 256),
    ("tenant", "a\nb"),
    ("tenant", "a\u202eb"),
    ("tenant", "\ud800"),
    ("tenant", 1),
    ("tenant", None),
    ("tenant", ["acme"]),
    ("seats", True),
    ("seats", "1"),
    ("seats", 2**53),
    ("seats", float("nan")),
    ("seats", float("inf")),
    ("beta", 1),
    ("beta", "true"),
    (TEAMS, []),
    (TEAMS, "red"),
    (TEAMS, ["red", 1]),
    (TEAMS, [""]),
    (TEAMS, ["r"] * 33),
    (TEAMS, {"red": 1}),
]


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_a_claim_of_the_configured_type_is_kept(name: str, value: Any) -> None:
    TYPES.check({name: value})
    assert TYPES.select({name: value}) == {name: value}


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_claim_of_another_type_is_rejected_unquoted_and_gets_into_no_token(name: str, value: Any) -> None:
    with pytest.raises(ClaimError, match=f"{name} must be "):
        TYPES.check({name: value})
    assert TYPES.select({name: value, "beta": True} if name != "beta" else {name: value}).get(name) is None


def test_only_listed_claims_are_accepted_and_get_into_a_token() -> None:
    with pytest.raises(ClaimError, match="plan is not in ISSUER_ADDITIONAL_CLAIMS"):
        TYPES.check({"plan": "gold"})
    with pytest.raises(ClaimError, match="a claim is not in ISSUER_ADDITIONAL_CLAIMS"):
        TYPES.check({"not\na name": "gold"})
    assert TYPES.select({"plan": "gold", "sub": "someone", "tenant": "acme"}) == {"tenant": "acme"}
    assert ClaimTypes.parse("").select({"tenant": "acme"}) == {}


def test_arguments_of_commands_are_read_by_type() -> None:
    arguments = ["tenant=a=b", "seats=12", "beta=true", f"{TEAMS}=red", f"{TEAMS}=blue", "plan="]
    assert TYPES.read_arguments(arguments) == {
        "tenant": "a=b",
        "seats": 12,
        "beta": True,
        TEAMS: ["red", "blue"],
        "plan": None,
    }
    assert TYPES.read_arguments(["seats=-0.5"]) == {"seats": -0.5}
    assert TYPES.read_arguments([f"{TEAMS}=", "tenant="]) == {TEAMS: None, "tenant": None}


@pytest.mark.parametrize(
    "arguments",
    [
        ["tenant"],
        ["=acme"],
        ["plan=gold"],
        ["seats=many"],
        ["seats=1e3"],
        ["seats=01"],
        ["seats= 1"],
        ["seats=\u0661"],
        ["beta=yes"],
        ["beta=True"],
        ["tenant=a", "tenant=b"],
        [f"{TEAMS}=red", f"{TEAMS}="],
    ],
)
def test_a_faulty_argument_is_rejected(arguments: list[str]) -> None:
    with pytest.raises(ClaimError):
        TYPES.read_arguments(arguments)


@given(st.lists(st.text()))
def test_any_arguments_are_read_or_rejected(arguments: list[str]) -> None:
    try:
        values = TYPES.read_arguments(arguments)
    except ClaimError:
        return
    TYPES.check({name: value for name, value in values.items() if value is not None})


def test_changes_set_and_remove_claims() -> None:
    assert changed_claims({"a": 1, "b": 2}, {"b": None, "c": "x"}) == {"a": 1, "c": "x"}
