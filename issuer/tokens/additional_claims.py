"""Additional claims: names and types that the operator lists, with a static value for each account or client.

Names of registered claims and of claims of the token profile are rejected.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

MAX_CLAIMS: Final = 16
MAX_TEXT: Final = 255
MAX_ITEMS: Final = 32

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/-]{0,99}")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")
_MAX_NUMBER: Final = 2**53 - 1

_RESERVED_BY: Final = {
    "contract A, and what others have in their access tokens": "scp token_use typ",
    "RFC 7519": "iss sub aud exp nbf iat jti",
    "RFC 7800, 8055": "cnf sip_from_tag sip_date sip_callid sip_cseq_num sip_via_branch",
    "RFC 8225, 8443, 8485": "orig dest mky rph vot vtm",
    "RFC 8417, 8588, 8688, 8693, 8946": "events toe txn attest origid jcard act scope client_id may_act div opt",
    "RFC 9027, 9068, 9200": "sph roles groups entitlements exi ace_profile cnonce",
    "RFC 9246, 9321": "cdniv cdnicrit cdniip cdniuc cdniets cdnistt cdnistd sig_val_claims",
    "RFC 9396, 9447, 9449, 9475, 9493": "authorization_details atc htm htu ath msgi sub_id",
    "RFC 9560, 9701, 9795": "rdap_allowed_purposes rdap_dnt_allowed token_introspection rcd rcdi crn",
    "RFC 9711": "eat_nonce ueid sueids oemid hwmodel hwversion oemboot dbgstat location eat_profile submods uptime"
    " bootcount bootseed dloas swname swversion manifests measurements measres intuse",
    "Token Status List, SD-JWT": "status status_list ttl vct _sd _sd_alg",
    "OpenID Connect": "name given_name family_name middle_name nickname preferred_username profile picture website"
    " email email_verified gender birthdate zoneinfo locale phone_number phone_number_verified address updated_at azp"
    " nonce auth_time at_hash c_hash s_hash acr amr sub_jwk sid _claim_names _claim_sources",
    "OpenID Identity Assurance": "verified_claims place_of_birth nationalities birth_family_name birth_given_name"
    " birth_middle_name salutation title msisdn also_known_as",
    "OpenID Federation": "jwks metadata constraints crit trust_chain trust_marks authority_hints metadata_policy",
    "W3C, ETSI, CTA": "vc vp at_use_nbr geohash",
}
"""Names with a meaning: those of IANA's registry "JSON Web Token Claims", by specification, and our own. Many are
personal data, which access tokens must not contain."""

RESERVED: Final = frozenset(name for names in _RESERVED_BY.values() for name in names.split())

ClaimValue = str | int | float | bool | list[str]
ClaimValues = Mapping[str, ClaimValue]


class ClaimError(ValueError):
    """A claim that must not be configured or set. The message names the claim and never quotes a value."""


class ClaimType(StrEnum):
    """The type of an additional claim."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    STRINGS = "strings"

    def fault(self, value: Any) -> str | None:
        """Return why `value` is not of this type; None if it is."""
        is_valid, expected = _CHECKS[self]
        return None if is_valid(value) else f"must be {expected}"


@dataclass(frozen=True, slots=True)
class ClaimTypes:
    """The additional claims that tokens may have, by name."""

    types: Mapping[str, ClaimType] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "ClaimTypes":
        """Parse `name:type` pairs separated by commas.

        Raises:
            ClaimError: it is malformed, or a name is reserved.
        """
        types: dict[str, ClaimType] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, _, kind = pair.rpartition(":")
            if not _NAME.fullmatch(name) or kind not in set(ClaimType):
                raise ClaimError(f"must be pairs such as `tenant:string`; types are {', '.join(ClaimType)}")
            # Some readers of JSON take `Roles` for `roles`, such as Go's encoding/json.
            if name.lower() in RESERVED:
                raise ClaimError(
                    f"{name} is reserved: a registered claim, or one that every token has; choose another name"
                )
            if name in types:
                raise ClaimError(f"{name} is listed twice")
            types[name] = ClaimType(kind)
        if len(types) > MAX_CLAIMS:
            raise ClaimError(f"at most {MAX_CLAIMS} claims")
        return cls(types)

    def check(self, values: Mapping[str, Any]) -> None:
        """Check that every claim is listed, and that every value has the type of its claim.

        Raises:
            ClaimError: a check failed.
        """
        for name, value in values.items():
            if name not in self.types:
                # In an import line, the name may be any text.
                known = name if _NAME.fullmatch(name) else "a claim"
                raise ClaimError(f"{known} is not in ISSUER_ADDITIONAL_CLAIMS")
            if fault := self.types[name].fault(value):
                raise ClaimError(f"{name} {fault}")

    def read_arguments(self, arguments: Sequence[str]) -> dict[str, ClaimValue | None]:
        """Read `name=value` arguments of a command. A list repeats its name; `name=` removes the claim (None).

        Raises:
            ClaimError: one is malformed, not listed, or not of its type.
        """
        texts: dict[str, list[str]] = {}
        for argument in arguments:
            name, separator, text = argument.partition("=")
            if not separator:
                raise ClaimError("must be NAME=VALUE")
            texts.setdefault(name, []).append(text)
        values = {name: self._read(name, given) for name, given in texts.items()}
        self.check({name: value for name, value in values.items() if value is not None})
        return values

    def select(self, values: ClaimValues) -> ClaimValues:
        """Return the values that a token may have. Names and types may have changed since the values were set."""
        if not values or not self.types:
            return NO_CLAIMS
        return {
            name: value
            for name, value in values.items()
            if name in self.types and self.types[name].fault(value) is None
        }

    def _read(self, name: str, texts: list[str]) -> ClaimValue | None:
        if texts == [""]:
            return None
        kind = self.types.get(name)
        if kind is ClaimType.STRINGS:
            return texts
        if len(texts) > 1:
            raise ClaimError("a claim was given twice, which only a list may be")
        match kind, texts[0]:
            case ClaimType.BOOLEAN, "true" | "false":
                return texts[0] == "true"
            case ClaimType.NUMBER, text if _NUMBER.fullmatch(text):
                return float(text) if "." in text else int(text)
            case _:
                return texts[0]


NO_CLAIM_TYPES: Final = ClaimTypes()
NO_CLAIMS: Final[ClaimValues] = {}


def read_claims_column(text: str) -> ClaimValues:
    """Parse the JSON of a database column. Most accounts have no claims."""
    return {} if text == "{}" else json.loads(text)


def changed_claims(values: ClaimValues, changes: Mapping[str, ClaimValue | None]) -> dict[str, ClaimValue]:
    """Return `values` with `changes`, of which None removes a claim."""
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def _is_text(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_TEXT and value.isprintable()


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and abs(value) <= _MAX_NUMBER


def _is_boolean(value: Any) -> bool:
    return type(value) is bool


def _is_list(value: Any) -> bool:
    return type(value) is list and 0 < len(value) <= MAX_ITEMS and all(map(_is_text, value))


_CHECKS: Final[Mapping[ClaimType, tuple[Callable[[Any], bool], str]]] = {
    ClaimType.STRING: (_is_text, f"a string of 1 to {MAX_TEXT} printable characters"),
    ClaimType.NUMBER: (_is_number, "a number between -(2^53 - 1) and 2^53 - 1"),
    ClaimType.BOOLEAN: (_is_boolean, "true or false"),
    ClaimType.STRINGS: (_is_list, f"a list of 1 to {MAX_ITEMS} strings of 1 to {MAX_TEXT} printable characters"),
}
