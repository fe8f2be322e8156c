"""JSON pointers are resolved as in RFC 6901, and no claim of another issuer leaves its header."""

import json
from typing import Any, Final

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.claims import InvalidClaimsError
from shared.identity_headers import IDENTITY_HEADERS
from tests.support.providers import NOW, cases, parts
from tests.support.vectors import fields_of
from verifier.decision.profile import ABSENT, ClaimRule, Location, Pointer
from verifier.profile_file import built_in
from verifier.subrequest.responses import ok_response, ok_template

_NAMES: Final = st.text("ab01/~ .\u00e9", max_size=4)
_SCALARS: Final = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab~/", max_size=3)
_JSON: Final = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3), max_leaves=12
)
_OBJECTS: Final = st.dictionaries(_NAMES, _JSON, max_size=4)


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def places(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return every pointer into a value, and what is there."""
    found = [(path, value)] if path else []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += places(inner, f"{path}/{escaped(name)}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, f"{path}/{index}")
    return found


@given(document=_OBJECTS)
def test_every_place_of_a_document_has_its_pointer(document: dict[str, Any]) -> None:
    for pointer, value in places(document):
        assert Pointer(pointer).find(document) is value


@given(document=_OBJECTS, names=st.lists(_NAMES, min_size=1, max_size=4))
def test_a_pointer_finds_only_places_of_the_document(document: dict[str, Any], names: list[str]) -> None:
    pointer = "".join(f"/{escaped(name)}" for name in names)
    there = dict(places(document))
    found = Pointer(pointer).find(document)
    assert (found is ABSENT) == (pointer not in there)
    assert found is ABSENT or found is there[pointer]


@given(text=st.text("/~01a2-", max_size=8))
def test_a_text_is_a_pointer_or_an_error(text: str) -> None:
    is_pointer = text.startswith("/") and all(rest[:1] in ("0", "1") for rest in text.split("~")[1:])
    try:
        Pointer(text)
    except ValueError:
        assert not is_pointer
    else:
        assert is_pointer


@given(document=_OBJECTS, value=st.booleans() | st.integers(-2, 2) | st.text("ab", max_size=2))
def test_a_literal_is_equal_in_value_and_in_type(document: dict[str, Any], value: Any) -> None:
    for pointer, there in places(document):
        rule = ClaimRule(Location.of(pointer), "equals", (value,))
        assert rule.holds(document) == (json.dumps(there) == json.dumps(value))
        # Of a list, both are about its items.
        opposite = ClaimRule(Location.of(pointer), "none_of", (value,))
        contained = ClaimRule(Location.of(pointer), "contains", (value,))
        assert opposite.holds(document) != contained.holds(document)


_ACCEPTED: Final = [(provider, case) for provider, case in cases() if "identity" in case]
_PIECES: Final = st.sampled_from(["a", "b", " ", ",", "\r\n", ":", "\0", "\u00e9", "\ud800", "admin", '"', "\\"])
_VALUES: Final = st.recursive(
    st.lists(_PIECES, max_size=4).map("".join) | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(which=st.integers(0, len(_ACCEPTED) - 1), data=st.data())
def test_no_claim_of_another_issuer_begins_a_line_or_adds_an_item(which: int, data: st.DataObject) -> None:
    provider, case = _ACCEPTED[which]
    _, claims = parts(provider, case)
    name = data.draw(st.sampled_from(sorted(claims)))
    assume(name not in ("iat", "exp", "nbf"))
    claims = {**claims, name: data.draw(_VALUES)}
    profile = built_in(provider["profile"])
    try:
        read = profile.read_claims(claims)
    except InvalidClaimsError:
        return
    assert read.expires_at > NOW - 60
    # It is compared with the issuers of the policy, which are visible ASCII, before it becomes a header.
    assume(read.issuer.isascii() and read.issuer.isprintable() and " " not in read.issuer)
    fields = fields_of(ok_response(ok_template(), read))
    assert set(fields) == {"Content-Length", *IDENTITY_HEADERS}
    assert [role for role in fields["X-Auth-Roles"].split(",") if role] == list(read.roles)
    assert all(value.isprintable() and value == value.strip() for value in fields.values())
