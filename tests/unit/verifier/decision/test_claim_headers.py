"""Additional identity headers have one type each, are always present, and have a bounded size."""

from typing import Any

import pytest

from shared.claims import InvalidClaimsError, read_claims
from shared.identity_headers import IDENTITY_HEADERS
from tests.support.vector_keys import GOOD, NOW
from tests.support.vectors import Bench, fields_of, status_of
from verifier.decision import claim_headers
from verifier.decision.claim_headers import ClaimHeader, read_headers
from verifier.decision.profile import Location
from verifier.policy_file import Configuration, Issuer, parse_configuration

TENANT, FLAG = "X-Auth-Claim-Tenant", "X-Auth-Claim-Verified"
FILE = f"""
[policies.default]
headers = {{ {TENANT} = ["/tenant/id", "/tenant_id"] }}
[policies.flag]
headers = {{ {FLAG} = {{ at = "/email_verified", type = "boolean" }} }}
[policies.anonymous]
anonymous = true
"""


def rules(document: str) -> Configuration:
    issuers = {GOOD.issuer: Issuer(jwks_url="https://unused.example")}
    return parse_configuration(document, issuers=issuers, audience="gatepass", leeway_seconds=5)


def authorize(document: str, target: bytes = b"/verify", **claims: Any) -> bytes:
    bench = Bench(rules(document).policies, now=NOW)
    return bench.authorizer.authorize(target, b"Bearer " + GOOD.token(NOW, **claims))


def test_every_200_has_all_headers_of_all_policies_empty_where_there_is_no_claim() -> None:
    bench = Bench(rules(FILE).policies, now=NOW)
    token = b"Bearer " + GOOD.token(NOW, tenant={"id": "acme"}, email_verified=True)
    expected = {
        b"/verify": ("acme", ""),
        b"/verify/flag": ("", "true"),
        b"/verify/anonymous": ("", ""),
    }
    for target, values in expected.items():
        for _ in range(2):
            fields = fields_of(bench.authorizer.authorize(target, token))
            assert (fields[TENANT], fields[FLAG]) == values
            assert set(IDENTITY_HEADERS) < set(fields)
    anonymous = fields_of(bench.authorizer.authorize(b"/verify/anonymous", None))
    assert {anonymous[name] for name in (*IDENTITY_HEADERS, TENANT, FLAG)} == {""}


def test_the_first_of_several_locations_that_exists_counts() -> None:
    assert fields_of(authorize(FILE, tenant_id="b"))[TENANT] == "b"
    assert fields_of(authorize(FILE, tenant={"id": "a"}, tenant_id="b"))[TENANT] == "a"
    assert fields_of(authorize(FILE, tenant="a"))[TENANT] == ""


def test_two_policies_decide_one_token_differently_from_the_cache_too() -> None:
    bench = Bench(rules(FILE).policies, now=NOW)
    token = b"Bearer " + GOOD.token(NOW, tenant_id="acme")
    responses = [bench.authorizer.authorize(target, token) for target in (b"/verify", b"/verify/flag") * 2]
    assert responses[:2] == responses[2:]
    assert responses[0] != responses[1]


@pytest.mark.parametrize(
    ("kind", "claim", "value"),
    [
        ("string", "Acme Corp.", "Acme Corp."),
        ("string", "", ""),
        ("string", 1, None),
        ("string", True, None),
        ("string", None, None),
        ("string", ["a"], None),
        ("string", " a", None),
        ("string", "a ", None),
        ("string", "a\r\nX-Auth-Subject: b", None),
        ("string", "a\x00", None),
        ("string", "caf\u00e9", None),
        ("string", "x" * 255, "x" * 255),
        ("string", "x" * 256, None),
        ("integer", 0, "0"),
        ("integer", -5, "-5"),
        ("integer", 10**15 - 1, "999999999999999"),
        ("integer", 10**15, None),
        ("integer", 1.0, None),
        ("integer", True, None),
        ("integer", "1", None),
        ("boolean", True, "true"),
        ("boolean", False, "false"),
        ("boolean", 1, None),
        ("boolean", "true", None),
        ("list", ["a", "b"], "a,b"),
        ("list", [], ""),
        ("list", "a", "a"),
        ("list", ["a,b"], None),
        ("list", ["a b"], None),
        ("list", [1], None),
        ("list", [""], None),
        ("list", {"a": 1}, None),
    ],
)
def test_a_claim_of_another_type_makes_the_token_invalid(kind: str, claim: Any, value: str | None) -> None:
    document = f"[policies.default.headers]\n{TENANT} = {{ at = '/x', type = '{kind}' }}"
    given = authorize(document, x=claim)
    if value is None:
        assert status_of(given) == 401
    else:
        assert fields_of(given)[TENANT] == value


def test_an_identity_that_is_too_long_for_a_response_is_rejected() -> None:
    document = f"[policies.default]\nheaders = {{ {TENANT} = '/x', {FLAG} = '/y' }}"
    most: dict[str, Any] = {
        "sub": "u" * 255,
        "sid": "s" * 255,
        "jti": "j" * 255,
        "client_id": "c" * 255,
        "scope": "s" * 800,
    }
    roles = ["r" * 99] * 8
    assert status_of(authorize(document, **most, roles=roles)) == 200
    fits = authorize(document, **most, x="x" * 255, y="y" * 255)
    assert status_of(fits) == 200
    assert len(fits) < 3.5 * 1024
    assert status_of(authorize(document, **most, roles=roles, x="x" * 255, y="y" * 255)) == 401


def test_the_size_of_a_response_is_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    members = GOOD.claims(NOW, roles=["a", "bcd"], tenant="acme")
    headers = (ClaimHeader(TENANT, Location.of("/tenant")), ClaimHeader(FLAG, None, "boolean"))
    lines = len(f"{TENANT}: acme\r\n{FLAG}: \r\na,bcd,")
    needed = lines + sum(len(members[name]) for name in ("iss", "sub", "client_id", "scope", "sid", "jti"))
    monkeypatch.setattr(claim_headers, "MAX_IDENTITY_CHARACTERS", needed)
    assert read_headers(headers, members, read_claims(members)) == ("acme", "")
    monkeypatch.setattr(claim_headers, "MAX_IDENTITY_CHARACTERS", needed - 1)
    with pytest.raises(InvalidClaimsError):
        read_headers(headers, members, read_claims(members))
