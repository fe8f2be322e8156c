"""Any bytes get one of four responses, and only the unchanged token is accepted."""

import json
from base64 import urlsafe_b64decode
from dataclasses import replace
from fractions import Fraction
from math import inf, nextafter
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from shared.identity_headers import IDENTITY_HEADERS
from shared.jwks import parse_jwks
from tests.support.token_forge import b64url
from tests.support.vector_keys import GOOD, NOW, having, segments, with_raw
from tests.support.vectors import (
    KEY_SETS,
    POLICIES,
    REALM,
    TOKEN_VECTORS,
    Bench,
    fields_of,
    identity,
    octets,
    status_of,
)
from verifier.decision.keyset import TrustedKeys
from verifier.decision.status import StatusLists
from verifier.decision.verification import Accepted, Rejected, verify
from verifier.policy_file import MAX_ISSUER_CHARACTERS

TOKEN: Final = GOOD.token(NOW)
BENCH: Final = Bench(now=NOW)
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

_CREDENTIALS: Final = st.one_of(
    st.none(),
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda rest: b"Bearer " + rest),
    st.lists(st.sampled_from([b"Bearer", b"bearer", b" ", b"\t", b",", TOKEN, b".", b"=", b"Basic x", b"\0"])).map(
        b"".join
    ),
    st.sampled_from([b"Bearer " + octets(vector["token"]) for vector in TOKEN_VECTORS[::7]]),
)
_TARGETS: Final = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b"/", b"verify", b"default", b"anonymous", b"?", b"..", b"%2f", b"#", b"x"])).map(
        b"".join
    ),
)


def decide(token: bytes, now: float = NOW, policy: str = "default") -> Accepted | Rejected:
    return verify(token, keys=KEY_SETS["issuer"], policy=POLICIES[policy], now=now, revocations=StatusLists())


def assert_well_formed(response: bytes) -> None:
    """Check that it is one of the four responses of contract B, complete and without a body."""
    fields, status = fields_of(response), status_of(response)
    assert fields["Content-Length"] == "0"
    assert status in (200, 401, 403, 503)
    assert (tuple(identity(response)) == IDENTITY_HEADERS) == (status == 200)
    assert ("WWW-Authenticate" in fields) >= (status == 401)
    assert ("Retry-After" in fields) == (status == 503)
    if status in (401, 403) and "WWW-Authenticate" in fields:
        assert fields["WWW-Authenticate"].startswith(f'Bearer realm="{REALM}"')
    assert len(response) < 3.5 * 1024


@given(target=_TARGETS, credentials=_CREDENTIALS)
def test_any_bytes_get_one_of_four_statuses(target: bytes, credentials: bytes | None) -> None:
    assert_well_formed(BENCH.authorizer.authorize(target, credentials))
    assert_well_formed(BENCH.authorizer.authorize(b"/verify", credentials))


@given(head=st.binary(max_size=80), payload=st.binary(max_size=80), good_head=st.booleans())
def test_any_signed_bytes_are_rejected_without_an_exception(head: bytes, payload: bytes, *, good_head: bool) -> None:
    """The signature is valid: an issuer may have errors, too."""
    header = json.dumps(GOOD.header()).encode() if good_head else head
    assert isinstance(decide(GOOD.sign(header, payload)), Rejected)


_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("aé\0\x7f\r\n \u2028", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\n", max_size=2), inner, max_size=3),
    max_leaves=6,
)
_STRUCTURED: Final = st.dictionaries(
    st.sampled_from(sorted({*GOOD.claims(NOW), "roles", "nbf", "status", "cnf"})), _JSON
)


@given(header=st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "x"]), _JSON), claims=_STRUCTURED)
def test_any_json_in_header_and_claims_gets_a_decision(header: dict[str, Any], claims: dict[str, Any]) -> None:
    token = GOOD.token(NOW, header, **claims)
    assert_well_formed(BENCH.authorizer.authorize(b"/verify/roles", b"Bearer " + token))


def test_a_flipped_bit_is_rejected() -> None:
    """Tries every bit of a valid token."""
    assert isinstance(decide(TOKEN), Accepted)
    for position in range(len(TOKEN)):
        for bit in range(8):
            changed = bytearray(TOKEN)
            changed[position] ^= 1 << bit
            assert isinstance(decide(bytes(changed)), Rejected), (position, bit)


_VALID: Final = st.builds(
    lambda token_id, roles, header: GOOD.token(NOW, header, jti=token_id, roles=roles),
    st.text("abc-_~!", min_size=1, max_size=20),
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=3),
    st.dictionaries(st.sampled_from(["x", "x5t"]), st.text("ab", max_size=3)),
)


@given(token=_VALID, data=st.data())
def test_a_changed_byte_is_rejected_at_any_position(token: bytes, data: st.DataObject) -> None:
    assert isinstance(decide(token), Accepted)
    position = data.draw(st.integers(0, len(token) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != token[position]))
    assert isinstance(decide(token[:position] + bytes([octet]) + token[position + 1 :]), Rejected)
    assert isinstance(decide(token[:position] + token[position + 1 :]), Rejected)
    assert isinstance(decide(token[:position] + bytes([octet]) + token[position:]), Rejected)


@given(token=_VALID)
def test_only_the_canonical_spelling_of_a_token_is_accepted(token: bytes) -> None:
    for position in range(3):
        for segment in _other_spellings(token.split(b".")[position]):
            spelling = b".".join([*token.split(b".")[:position], segment, *token.split(b".")[position + 1 :]])
            assert isinstance(decide(spelling), Rejected)
            if position < 2:  # signed as it is spelt, so that the spelling alone is at fault
                assert isinstance(decide(segments(spelling.split(b".")[0], spelling.split(b".")[1])), Rejected)


def _other_spellings(segment: bytes) -> list[bytes]:
    """Return the spellings that a lax decoder reads as the same octets."""
    meant = urlsafe_b64decode(segment + b"==")
    last = [segment[:-1] + bytes([letter]) for letter in _ALPHABET if letter != segment[-1]]
    same = [spelling for spelling in last if len(segment) % 4 and urlsafe_b64decode(spelling + b"==") == meant]
    assert len(same) == {0: 0, 2: 15, 3: 3}[len(segment) % 4]
    padded = [segment + b"=" * count for count in (1, 2)]
    spaced = [segment + b"\n", b" " + segment, segment[:4] + b"\r\n" + segment[4:], segment + b"\0"]
    standard = segment.translate(bytes.maketrans(b"-_", b"+/"))
    return [*same, *padded, *spaced, *([standard] if standard != segment else [])]


_VISIBLE: Final = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)
_SCOPE_TOKEN: Final = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1, max_size=99
)
_ROLE: Final = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1, max_size=99
)


@given(
    claims=st.fixed_dictionaries(
        {"sub": _VISIBLE, "client_id": _VISIBLE, "jti": _VISIBLE},
        optional={
            "sid": _VISIBLE,
            "scope": st.lists(_SCOPE_TOKEN, max_size=8).map(" ".join),
            "roles": st.lists(_ROLE, max_size=8),
            "exp": st.integers(NOW + 1, NOW + 86_400) | st.floats(NOW + 1, NOW + 86_400),
        },
    )
)
def test_identity_headers_read_back_as_the_claims(claims: dict[str, Any]) -> None:
    claims = {"sid": ..., "scope": ..., "roles": ..., "exp": NOW + 600, **claims}
    response = BENCH.authorizer.authorize(b"/verify", b"Bearer " + GOOD.token(NOW, **claims))
    assert_well_formed(response)
    assert set(fields_of(response)) == {"Content-Length", *IDENTITY_HEADERS}
    results = identity(response)
    absent = {name: "" for name, value in claims.items() if value is ...}
    roles = claims["roles"] if claims["roles"] is not ... else []
    assert results == {
        "X-Auth-Issuer": GOOD.issuer,
        "X-Auth-Subject": claims["sub"],
        "X-Auth-Client": claims["client_id"],
        "X-Auth-Scope": absent.get("scope", claims["scope"]),
        "X-Auth-Roles": ",".join(roles),
        "X-Auth-Session": absent.get("sid", claims["sid"]),
        "X-Auth-Token": claims["jti"],
        "X-Auth-Expires": str(int(claims["exp"])),
    }
    assert [role for role in results["X-Auth-Roles"].split(",") if role] == roles


def test_the_largest_identity_stays_under_three_and_a_half_kib() -> None:
    issuer = "https://" + "i" * (MAX_ISSUER_CHARACTERS - 8)
    policy = replace(POLICIES["default"], issuers=frozenset({issuer}))
    keys = TrustedKeys.from_issuers({issuer: parse_jwks(GOOD.jwks)})
    most = having(
        iss=issuer,
        **dict.fromkeys(("sub", "jti", "client_id", "sid"), "u" * 255),
        scope="s" * 800,
        roles=["r" * 9] * 80,
    )
    bench = Bench({"default": policy}, keys=keys, now=NOW)
    response = bench.authorizer.authorize(b"/verify", b"Bearer " + most)
    assert status_of(response) == 200
    assert 3200 < len(response) < 3.5 * 1024


@given(
    claim=st.sampled_from(["sub", "jti", "client_id", "sid", "scope", "roles"]),
    text=st.text(),
    where=st.integers(0, 9),
)
def test_no_claim_can_inject_a_header(claim: str, text: str, where: int) -> None:
    value: Any = "u"[:where] + text
    token = GOOD.sign(
        json.dumps(GOOD.header()).encode(),
        json.dumps(GOOD.claims(NOW, **{claim: [value] if claim == "roles" else value})).encode(),
    )
    response = BENCH.authorizer.authorize(b"/verify", b"Bearer " + token)
    assert_well_formed(response)
    if status_of(response) == 200:
        assert value in identity(response).values()


@given(now=st.floats(NOW - 100, NOW + 1000), leeway=st.sampled_from(["default", "no-leeway", "fresh"]))
def test_a_token_is_accepted_in_one_unbroken_stretch_of_time(now: float, leeway: str) -> None:
    decision = decide(GOOD.token(NOW, nbf=NOW + 10), now, leeway)
    seconds = POLICIES[leeway].leeway_seconds
    end = NOW + 600 if POLICIES[leeway].max_age_seconds is None else NOW + 60
    assert isinstance(decision, Accepted) == (NOW + 10 - seconds <= now < end + seconds)


@given(
    digits=st.text("0123456789", min_size=1, max_size=20),
    steps=st.integers(-3, 3),
    policy=st.sampled_from(["default", "no-leeway"]),
)
def test_no_token_is_accepted_at_or_after_its_expiry(digits: str, steps: int, policy: str) -> None:
    end = Fraction(f"{NOW + 600}.{digits}") + POLICIES[policy].leeway_seconds
    now = float(end)
    for _ in range(abs(steps)):
        now = nextafter(now, inf if steps > 0 else -inf)
    accepted = isinstance(decide(with_raw("exp", f"{NOW + 600}.{digits}"), now, policy), Accepted)
    assert not (accepted and Fraction(now) >= end)
    assert accepted or steps >= 0


def test_a_signature_of_another_length_is_rejected() -> None:
    head = TOKEN.rsplit(b".", 1)[0]
    for length in [*range(8), 255, 257, 512, 1024]:
        assert isinstance(decide(head + b"." + b64url(bytes(length))), Rejected)
