"""Profiles as TOML: those that come with the verifier, one file each in `profiles/`, and those of the policy file.

Each built-in file names its sources and when they were read, since providers change their tokens.
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from shared.access_token import TOKEN_TYPE
from shared.jws import normalise_type
from shared.settings import suggestion
from verifier.decision.profile import CLAIM_NAMES, RFC9068, ClaimRule, Location, Pointer, Profile, Scalar

FOLDER: Final = Path(__file__).parent / "profiles"
BUILT_IN: Final = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
MAX_POINTERS: Final = 8
MAX_MARKS: Final = 8
_MAX_POINTER_CHARACTERS: Final = 256
_EXAMPLE: Final = "/realm_access/roles"

Algorithm = Literal["RS256", "PS256", "ES256", "ES384", "EdDSA"]
MEDIA_TYPE: Final = r"(?i:application/)?[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
"""Pattern of a media type (RFC 6838 §4.2), with or without `application/`."""

_NO_MARK: Final = (
    "mark: required, or ID tokens and others of this issuer would be accepted as access tokens; accepted are "
    'token_types = ["at+jwt"] alone, or a rule with equals, one_of, contains or present, such as '
    'mark = [{ at = "/typ", equals = "Bearer" }]'
)
_IN_EVERY_TOKEN: Final = frozenset({"/iss", "/sub", "/aud", "/exp", "/iat"})
_TESTS: Final = ("equals", "one_of", "none_of", "contains", "present", "absent")


def matches(pattern: str, words: str) -> AfterValidator:
    """Return a validator of a whole string; `words` say in an error what is accepted."""
    accepted = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if accepted.fullmatch(value) is None:
            raise ValueError(f"must be {words}")
        return value

    return AfterValidator(check)


# Empty for a header without `typ`.
TokenType = Annotated[str, matches(f"(?:{MEDIA_TYPE})?", "a media type such as at+jwt, or empty for no `typ`")]


class ProfileError(ValueError):
    """A profile is invalid. Holds one line for each fault, which begins with the member."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def _read_location(value: Any) -> Location:
    pointers = [value] if isinstance(value, str) else value
    if type(pointers) is not list or not 0 < len(pointers) <= MAX_POINTERS or not all(map(_is_short, pointers)):
        raise ValueError(f"accepted are a JSON pointer, such as {_EXAMPLE}, or a list of 1 to {MAX_POINTERS}")
    return Location.of(*pointers)


def _read_pointer(value: Any) -> Pointer:
    if not _is_short(value):
        raise ValueError(f"accepted is a JSON pointer, such as {_EXAMPLE}")
    return Pointer(value)


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_POINTER_CHARACTERS


def _read_optional(value: Any) -> Any:
    """Read a location, or `false`: these tokens have no such claim."""
    return value if value is False else _read_location(value)


PointerField = Annotated[InstanceOf[Pointer], BeforeValidator(_read_pointer)]
LocationField = Annotated[InstanceOf[Location], BeforeValidator(_read_location)]
OptionalLocation = Annotated[InstanceOf[Location] | Literal[False], BeforeValidator(_read_optional)]


def _check_value(value: Any) -> Any:
    if type(value) not in (str, int, bool):
        raise ValueError("a value is a string, an integer, true or false")
    return value


Value = Annotated[Any, BeforeValidator(_check_value)]


class StrictTable(BaseModel):
    """A table that rejects unknown members."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RuleTable(StrictTable):
    """A demand on one claim: `at`, and exactly one of the tests."""

    at: LocationField
    equals: Value | None = None
    one_of: list[Value] | None = Field(default=None, min_length=1, max_length=256)
    none_of: list[Value] | None = Field(default=None, min_length=1, max_length=256)
    contains: Value | None = None
    present: Literal[True] | None = None
    absent: Literal[True] | None = None

    @model_validator(mode="after")
    def _check_test(self) -> Self:
        if len(self._tests()) != 1:
            raise ValueError(f"name exactly one of {', '.join(_TESTS)}")
        return self

    def _tests(self) -> dict[str, Any]:
        tests = {name: getattr(self, name) for name in _TESTS}
        return {name: value for name, value in tests.items() if value is not None}

    def rule(self) -> ClaimRule:
        """Return the demand as a value."""
        ((test, given),) = self._tests().items()
        values: tuple[Scalar, ...] = tuple(given) if test in ("one_of", "none_of") else (given,)
        values = () if test in ("present", "absent") else values
        return ClaimRule(self.at, test, values)  # type: ignore[arg-type] # one of `_TESTS`


class ProfileTable(StrictTable):
    """A profile that is written as a table. Members that it omits have the values of the profile that it extends."""

    extends: str = RFC9068.name
    algorithms: list[Algorithm] | None = Field(default=None, min_length=1)
    token_types: list[TokenType] | None = Field(default=None, min_length=1)
    subject: LocationField | None = None
    audience: LocationField | None = None
    client: OptionalLocation | None = None
    scopes: OptionalLocation | None = None
    roles: OptionalLocation | None = None
    session: OptionalLocation | None = None
    token_id: OptionalLocation | None = None
    required: list[PointerField] | None = None
    mark: list[RuleTable] | None = Field(default=None, min_length=1, max_length=MAX_MARKS)
    token_kind: Literal["access", "id"] | None = None


class _BuiltIn(ProfileTable):
    title: str
    sources: list[dict[str, Any]]


@cache
def built_in(name: str) -> Profile:
    """Return the profile of `profiles/<name>.toml`; `name` is one of `BUILT_IN`."""
    table = _BuiltIn.model_validate(tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")))
    return RFC9068 if name == RFC9068.name else _profile(name, table)


def read_profile(given: str | dict[str, Any]) -> Profile:
    """Return the profile that the policy file names or writes as a table.

    Raises:
        ProfileError: there is none of that name, or a member is wrong, or nothing in it marks an access token.
    """
    if isinstance(given, str):
        return built_in(_check_name(given))
    try:
        table = ProfileTable.model_validate(given)
    except ValidationError as error:
        raise ProfileError([describe_error(fault, (ProfileTable, RuleTable)) for fault in error.errors()]) from None
    profile = _profile(f"extends {_check_name(table.extends)}", table)
    if not _is_marked(profile):
        raise ProfileError([_NO_MARK])
    return profile


def _check_name(name: str) -> str:
    if name not in BUILT_IN:
        raise ProfileError([f"no profile {name!r}; accepted are {', '.join(BUILT_IN)}, or a table that defines one"])
    return name


def _is_marked(profile: Profile) -> bool:
    """Return whether the profile demands something that only access tokens have; rules of absence do not suffice."""
    return profile.token_types == frozenset({TOKEN_TYPE}) or any(map(_distinguishes, profile.mark))


def _distinguishes(rule: ClaimRule) -> bool:
    """Return whether the rule demands a claim, and more than the presence of one that every token has."""
    in_every_token = not _IN_EVERY_TOKEN.isdisjoint(pointer.text for pointer in rule.location.pointers)
    return rule.is_positive and not (rule.test == "present" and in_every_token)


def _profile(name: str, table: ProfileTable) -> Profile:
    base = RFC9068 if table.extends == RFC9068.name else built_in(table.extends)
    types = base.token_types if table.token_types is None else frozenset(map(normalise_type, table.token_types))
    locations: dict[str, Any] = {
        # `false` says that these tokens have no such claim.
        member: location or None
        for member in CLAIM_NAMES
        if (location := getattr(table, member)) is not None
    }
    return replace(
        base,
        name=name,
        algorithms=frozenset(table.algorithms or base.algorithms),
        # Only the profile `rfc9068` itself leaves the type to the policy.
        token_types=frozenset({TOKEN_TYPE}) if types is None else types,
        required=base.required if table.required is None else tuple(table.required),
        mark=tuple(rule.rule() for rule in table.mark) if table.mark else base.mark,
        token_kind=table.token_kind or base.token_kind,
        **locations,
    )


def describe_error(fault: ErrorDetails, tables: Iterable[type[BaseModel]]) -> str:
    """Return an error of pydantic as one line that begins with the member.

    Args:
        fault: from `ValidationError.errors()`.
        tables: have the members that are suggested for an unknown one.
    """
    # pydantic ends the location of an invalid name of a table by `[key]`.
    member = ".".join(str(part) for part in fault["loc"] if part != "[key]")
    if fault["type"] == "extra_forbidden":
        known = {name for table in tables for name in table.model_fields}
        return f"{member}: no such member{suggestion(str(fault['loc'][-1]), sorted(known))}"
    if fault["type"] == "too_short":
        return f"{member}: must have at least 1 item, or be left out"
    text = fault["msg"].removeprefix("Value error, ")
    return f"{member}: {text[:1].lower()}{text[1:]}"
