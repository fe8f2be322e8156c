"""Additional identity headers: claims that a policy passes on under names of its own. Pure values.

Every 200 of a verifier has all additional headers that any of its policies names, as it has the fixed ones: a gateway
overwrites only what a response contains.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.claims import MAX_IDENTIFIER_CHARACTERS, MAX_LIST_CHARACTERS, Claims, InvalidClaimsError
from verifier.decision.profile import ABSENT, Location

# 512 is the longest issuer name (`policy_file.MAX_ISSUER_CHARACTERS`).
MAX_IDENTITY_CHARACTERS: Final = 512 + 4 * MAX_IDENTIFIER_CHARACTERS + 2 * MAX_LIST_CHARACTERS
"""Bound of all identity values and the names of additional headers together. It is what the fixed headers alone can
need. With this bound a response stays under 3.5 KiB."""
_LINE_OVERHEAD: Final = len(": \r\n")

_IS_TEXT: Final = re.compile(r"(?:[\x21-\x7E](?:[\x20-\x7E]*[\x21-\x7E])?)?").fullmatch
_IS_ITEM: Final = re.compile(r"[\x21-\x2B\x2D-\x7E]+").fullmatch

HeaderType = Literal["string", "integer", "boolean", "list"]


@dataclass(frozen=True, slots=True)
class ClaimHeader:
    """One additional header.

    Attributes:
        name: begins with `CLAIM_HEADER_PREFIX`, so it differs from all fixed ones.
        location: of the claim; None if the policy leaves the header empty.
        type: of the claim. `list`: of strings, which are joined by commas; a string is a list of one.
    """

    name: str
    location: Location | None
    type: HeaderType = "string"

    def value(self, members: Mapping[str, Any]) -> str:
        """Return the value of the header, empty where the claim is absent.

        Raises:
            InvalidClaimsError: the claim has another type, or characters that a header value cannot have.
        """
        found = ABSENT if self.location is None else self.location.find(members)
        if found is ABSENT:
            return ""
        match self.type, found:
            case "string", str() if len(found) <= MAX_IDENTIFIER_CHARACTERS and _IS_TEXT(found):
                return found
            case "boolean", bool():
                return "true" if found else "false"
            case "integer", int() if type(found) is int and abs(found) < 10**15:
                return str(found)
            case "list", str() if _IS_ITEM(found):
                return found
            case "list", list() if all(type(item) is str and _IS_ITEM(item) for item in found):
                return ",".join(found)
            case _:
                raise InvalidClaimsError


def read_headers(headers: Iterable[ClaimHeader], members: Mapping[str, Any], claims: Claims) -> tuple[str, ...]:
    """Return the values of additional headers, in their order. Together with `claims` they must fit into a response.

    Raises:
        InvalidClaimsError: one is not of its type, or the whole identity is too long for a response.
    """
    values = tuple(header.value(members) for header in headers)
    fixed = (claims.issuer, claims.subject, claims.client_id, claims.scope, claims.session, claims.token_id)
    total = sum(map(len, fixed)) + sum(len(role) + 1 for role in claims.roles)
    total += sum(len(header.name) + _LINE_OVERHEAD for header in headers) + sum(map(len, values))
    if total > MAX_IDENTITY_CHARACTERS:
        raise InvalidClaimsError
    return values
