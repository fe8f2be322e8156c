"""Profiles: how the access tokens of one issuer differ from its other tokens, and where their claims are.

A profile is data. `Profile.read_claims` brings the claims of a token into the form of RFC 9068, which `shared.claims`
then reads by its own rules, so that a token of another issuer is read no less strictly than our own tokens.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from shared.access_token import ALGORITHM, TOKEN_TYPE
from shared.claims import Claims, InvalidClaimsError, read_claims

Json = Mapping[str, Any]
Scalar = str | int | bool
ABSENT: Final = object()
"""The result of looking up a claim that a token does not have; `null` is a claim."""
_IS_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)+").fullmatch
_IS_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}").fullmatch


@dataclass(frozen=True, slots=True)
class Pointer:
    """A JSON pointer (RFC 6901) to a value inside the claims.

    Args:
        text: such as `/realm_access/roles`; `/` in a name is written `~1`, and `~` is written `~0`.

    Raises:
        ValueError: not a pointer, or the empty one, which would be the whole token.
    """

    text: str
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if _IS_POINTER(self.text) is None:
            raise ValueError("not a JSON pointer (RFC 6901), such as /realm_access/roles")
        names = tuple(name.replace("~1", "/").replace("~0", "~") for name in self.text.split("/")[1:])
        object.__setattr__(self, "names", names)

    def find(self, value: Any) -> Any:
        """Return the value to which the pointer leads in `value`, or `ABSENT`."""
        for name in self.names:
            if type(value) is dict:
                value = value.get(name, ABSENT)
            elif type(value) is list and _IS_INDEX(name) and int(name) < len(value):
                value = value[int(name)]
            else:
                return ABSENT
        return value


@dataclass(frozen=True, slots=True)
class Location:
    """The location of a claim: the first of these pointers that leads to a value in the token."""

    pointers: tuple[Pointer, ...]

    @classmethod
    def of(cls, *pointers: str) -> Self:
        """Return the location of these pointers."""
        return cls(tuple(map(Pointer, pointers)))

    def find(self, claims: Json) -> Any:
        """Return the claim, or `ABSENT`."""
        for pointer in self.pointers:
            value = pointer.find(claims)
            if value is not ABSENT:
                return value
        return ABSENT

    def __str__(self) -> str:
        return " or ".join(pointer.text for pointer in self.pointers)


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """A literal demand on one claim. Values are compared by type too: `true`, `1` and `"1"` are three values.

    Attributes:
        location: of the claim.
        test: `equals`: the claim is the value. `one_of`: it is one of the values. `none_of`: it is neither one of the
            values nor a list with one; it may be absent. `contains`: it is the value, or a list with it. `present`,
            `absent`: the token has the claim or not, with any value.
        values: to compare with; none for `present` and `absent`.
    """

    location: Location
    test: Literal["equals", "one_of", "none_of", "contains", "present", "absent"]
    values: tuple[Scalar, ...] = ()

    def holds(self, claims: Json) -> bool:
        """Return whether the claims meet the demand."""
        found = self.location.find(claims)
        match self.test:
            case "present":
                return found is not ABSENT
            case "absent":
                return found is ABSENT
            case "none_of":
                return not self._has_item(found)
            case "contains":
                return self._has_item(found)
            case _:
                return self._has(found)

    @property
    def is_positive(self) -> bool:
        """Return whether a token without the claim fails."""
        return self.test not in ("absent", "none_of")

    def _has_item(self, value: Any) -> bool:
        return any(map(self._has, value if type(value) is list else [value]))

    def _has(self, value: Any) -> bool:
        return any(type(value) is type(expected) and value == expected for expected in self.values)

    def __str__(self) -> str:
        values = " or ".join(map(repr, self.values))
        return f"claim {self.location} {self.test.replace('_', ' ')} {values}".rstrip()


CLAIM_NAMES: Final = {
    "subject": "sub",
    "audience": "aud",
    "client": "client_id",
    "scopes": "scope",
    "roles": "roles",
    "session": "sid",
    "token_id": "jti",
}
"""The members of a profile that say where a claim is, and the name of that claim in RFC 9068."""
_CONTRACT_LOCATIONS: Final = tuple(Location.of(f"/{claim}") for claim in CLAIM_NAMES.values())
_CONTRACT_REQUIRED: Final = (Pointer("/client_id"), Pointer("/jti"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The form of one issuer's access tokens.

    Attributes:
        name: for the operator.
        algorithms: of its signatures, some of `shared.signatures.KEY_TYPES`.
        token_types: accepted `typ`, as `normalise_type` returns it; empty for a header without `typ`. None: as the
            policy says.
        subject: location of the claim that is read as `sub`; the next six alike. None: there is no such claim.
        required: claims that must be there besides `iss`, `exp`, `iat`, the subject and the audience.
        mark: rules that all hold for access tokens, and never all for another kind of token of the issuer. A profile
            without a mark relies on its token types.
        token_kind: `id` if the issuer has no access tokens in JWT form and its ID tokens are used in their place.
    """

    name: str
    algorithms: frozenset[str] = frozenset({ALGORITHM})
    token_types: frozenset[str] | None = frozenset({TOKEN_TYPE})
    subject: Location = _CONTRACT_LOCATIONS[0]
    audience: Location = _CONTRACT_LOCATIONS[1]
    client: Location | None = _CONTRACT_LOCATIONS[2]
    scopes: Location | None = _CONTRACT_LOCATIONS[3]
    roles: Location | None = _CONTRACT_LOCATIONS[4]
    session: Location | None = _CONTRACT_LOCATIONS[5]
    token_id: Location | None = _CONTRACT_LOCATIONS[6]
    required: tuple[Pointer, ...] = _CONTRACT_REQUIRED
    mark: tuple[ClaimRule, ...] = ()
    token_kind: Literal["access", "id"] = "access"  # noqa: S105 - not a secret
    _is_contract_form: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        locations = tuple(self.location(member) for member in CLAIM_NAMES)
        is_contract_form = locations == _CONTRACT_LOCATIONS and self.required == _CONTRACT_REQUIRED
        object.__setattr__(self, "_is_contract_form", is_contract_form)

    def location(self, member: str) -> Location | None:
        """Return the location of the claim of this member of `CLAIM_NAMES`; None if these tokens have none."""
        location: Location | None = getattr(self, member)
        return location

    def is_marked(self, claims: Json) -> bool:
        """Return whether the claims are those of an access token."""
        return all(rule.holds(claims) for rule in self.mark)

    def read_claims(self, claims: Json) -> Claims:
        """Return the claims, each of its exact type.

        With the locations and required claims of RFC 9068 its forms apply too: `scope` is one string, `roles` a list.

        Raises:
            InvalidClaimsError: a required claim is missing, or one is not of its type.
        """
        if self._is_contract_form:
            return read_claims(claims)
        return read_claims(self.contract_claims(claims), optional=_OPTIONAL)

    def contract_claims(self, claims: Json) -> Json:
        """Return the claims under the names of RFC 9068, with their types unchecked.

        Raises:
            InvalidClaimsError: a required claim is missing, or a list of scopes has an item that is no scope.
        """
        if any(pointer.find(claims) is ABSENT for pointer in self.required):
            raise InvalidClaimsError
        found = {claim: _find(self.location(member), claims) for member, claim in CLAIM_NAMES.items()}
        found |= {name: claims.get(name, ABSENT) for name in _COMMON_CLAIMS}
        found["scope"], found["roles"] = _as_scope(found["scope"]), _as_list(found["roles"])
        return {name: value for name, value in found.items() if value is not ABSENT}


_OPTIONAL: Final = frozenset({"client_id", "jti"})
_COMMON_CLAIMS: Final = ("iss", "exp", "iat", "nbf", "auth_time", "cnf", "status")
"""Claims whose name and form are the same for every issuer."""

RFC9068: Final = Profile(name="rfc9068", token_types=None)
"""The profile of our own issuer, and of every issuer for which the configuration names no other."""


def _find(location: Location | None, claims: Json) -> Any:
    return ABSENT if location is None else location.find(claims)


def _as_scope(value: Any) -> Any:
    """Return a list of scopes as one string (RFC 6749 §3.3). One with a space is rejected: it would become two."""
    if type(value) is not list:
        return value
    if any(type(item) is not str or not item or " " in item for item in value):
        raise InvalidClaimsError
    return " ".join(value)


def _as_list(value: Any) -> Any:
    """Return a single role as a list of one."""
    return [value] if type(value) is str else value
