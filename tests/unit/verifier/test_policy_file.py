"""Every error of a policy file is reported with its location; missing members have safe defaults."""

import pytest

from shared.access_token import MAX_LIFETIME_SECONDS
from shared.jws import normalise_type
from verifier.decision.claim_headers import ClaimHeader
from verifier.decision.policy import Policy
from verifier.decision.profile import ClaimRule, Location
from verifier.policy_file import DEFAULT_POLICY, Configuration, Issuer, PolicyError, parse_configuration

BOTH = "[policies.default]\nissuers = ['x']"
ISSUERS = {"https://issuer.example": Issuer(jwks_url="https://issuer.example/jwks.json")}


def read(document: str) -> Configuration:
    return parse_configuration(document, issuers=ISSUERS, audience="gatepass", leeway_seconds=7)


def test_an_empty_document_is_one_policy_of_every_issuer() -> None:
    rules = read("")
    expected = Policy(
        DEFAULT_POLICY,
        frozenset(ISSUERS),
        frozenset({"gatepass"}),
        leeway_seconds=7,
        max_lifetime_seconds={"https://issuer.example": MAX_LIFETIME_SECONDS},
    )
    assert rules == Configuration({DEFAULT_POLICY: expected}, ISSUERS)


def test_every_member_of_a_policy_is_read() -> None:
    rules = read(
        """
        [issuers."https://other.example"]
        jwks_file = "/keys/other.json"
        [policies.admin]
        audience = ["a", "b"]
        issuers = ["https://other.example"]
        token_types = ["Application/JWT"]
        scopes_all = ["a:1"]
        scopes_any = ["b", "c"]
        roles_any = ["admin"]
        roles_all = ["a", "b"]
        claims = [{ at = "/tenant", one_of = ["acme", 1] }, { at = ["/a", "/b"], contains = true }]
        leeway_seconds = 0
        max_lifetime_seconds = 600
        max_age_seconds = 60
        anonymous = true
        [policies.admin.headers]
        X-Auth-Claim-Tenant = "/tenant"
        [policies.default]
        audience = "c"
        issuers = ["https://issuer.example", "https://other.example"]
        """
    )
    assert rules.policies["admin"] == Policy(
        name="admin",
        issuers=frozenset({"https://other.example"}),
        audiences=frozenset({"a", "b"}),
        token_types=frozenset({"jwt"}),
        scopes_all=frozenset({"a:1"}),
        scopes_any=frozenset({"b", "c"}),
        roles_any=frozenset({"admin"}),
        leeway_seconds=0,
        max_lifetime_seconds={"https://other.example": 600},
        max_age_seconds=60,
        anonymous=True,
        roles_all=frozenset({"a", "b"}),
        claims=(
            ClaimRule(Location.of("/tenant"), "one_of", ("acme", 1)),
            ClaimRule(Location.of("/a", "/b"), "contains", (True,)),
        ),
        headers=(ClaimHeader("X-Auth-Claim-Tenant", Location.of("/tenant")),),
    )
    assert rules.policies["default"].headers == (ClaimHeader("X-Auth-Claim-Tenant", None),)
    assert rules.policies["default"].audiences == {"c"}
    assert rules.policies["default"].issuers == {"https://issuer.example", "https://other.example"}
    assert set(rules.issuers) == rules.policies["default"].issuers


def test_lifetimes_are_limited_to_an_hour_for_our_issuer_and_a_day_for_others() -> None:
    others = '[issuers."https://other.example"]\njwks_file = "/keys/other.json"\n'
    both = 'issuers = ["https://issuer.example", "https://other.example"]\n'
    rules = read(f"{others}[policies.default]\n{both}[policies.b]\n{both}max_lifetime_seconds = 31536000")
    assert rules.policies["default"].max_lifetime_seconds == {
        "https://issuer.example": MAX_LIFETIME_SECONDS,
        "https://other.example": 86_400,
    }
    assert set(rules.policies["b"].max_lifetime_seconds.values()) == {31_536_000}


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ("policies = ", "not TOML: "),
        pytest.param(
            f"[policies.a]\nleeway_seconds = {'9' * 5000}",
            "the policy file is not TOML: Exceeds the limit",
            id="5000 digits",
        ),
        ("[policies.a]\nscope_all = ['x']", "policies.a.scope_all: no such member; did you mean scopes_all?"),
        ("[policy.a]", "policy: no such member; did you mean policies?"),
        ("[policies.A]", "policies.A"),
        ("[policies.'a/b']", "policies.a/b: must be 1 to 63 lower-case letters, digits, - and _, beginning with"),
        ("[policies.'']", "policies."),
        (f"[policies.{'a' * 64}]", "policies.a"),
        ("[policies.a]\nscopes_all = 'x'", "policies.a.scopes_all: input should be a valid list"),
        ("[policies.a]\nscopes_all = ['a b']", "policies.a.scopes_all.0: must be 1 to 128 visible ASCII characters"),
        ("[policies.a]\nscopes_any = ['a', 'b\"']", "policies.a.scopes_any.1"),
        ("[policies.a]\nscopes_any = [1]", "policies.a.scopes_any.0"),
        ("[policies.a]\nroles_any = ['a,b']", "policies.a.roles_any.0"),
        ('[policies.a]\nroles_any = ["a\\n"]', "policies.a.roles_any.0"),
        ("[policies.a]\nclaims = [{ at = '/a' }]", "policies.a.claims.0: name exactly one of equals, "),
        ("[policies.a]\nclaims = [{ at = 'a', equals = 1 }]", "policies.a.claims.0.at: not a JSON pointer"),
        ("[policies.a]\nclaims = [{ at = '/a', equals = 1.5 }]", "policies.a.claims.0.equals"),
        ("[policies.a]\nclaims = [{ at = '/a', matches = '.*' }]", "policies.a.claims.0.matches: no such member"),
        (
            "[policies.a.headers]\nX-Auth-Subject = '/a'",
            "policies.a.headers.X-Auth-Subject: must be a name such as X-",
        ),
        ("[policies.a.headers]\nX-Auth-Claim- = '/a'", "policies.a.headers.X-Auth-Claim-"),
        ("[policies.a.headers]\nX-Auth-Claim-a_b = '/a'", "policies.a.headers.X-Auth-Claim-a_b"),
        ("[policies.a.headers]\n'X-Auth-Claim-a.b' = '/a'", "policies.a.headers.X-Auth-Claim-a.b"),
        ("[policies.a.headers]\n'X-Auth-Claim-a: b' = '/a'", "policies.a.headers.X-Auth-Claim-a: b"),
        ("[policies.a.headers]\nx-auth-claim-a = '/a'", "policies.a.headers.x-auth-claim-a"),
        ("[policies.a.headers]\nX-Auth-Claim-A = 'a'", "policies.a.headers.X-Auth-Claim-A.at: not a JSON pointer"),
        (
            "[policies.a.headers]\nX-Auth-Claim-A = { at = '/a', type = 'json' }",
            "policies.a.headers.X-Auth-Claim-A.type",
        ),
        (
            "[policies.a.headers]\nX-Auth-Claim-A = '/a'\n[policies.b.headers]\nX-Auth-Claim-a = '/a'",
            "policies: X-Auth-Claim-A and X-Auth-Claim-a are one header; spell it one way",
        ),
        (
            "[policies.a.headers]\n" + "\n".join(f"X-Auth-Claim-{number} = '/a'" for number in range(17)),
            "policies: 17 additional headers; at most 16 are accepted",
        ),
        ("[policies.a]\naudience = 1", "policies.a.audience"),
        ("[policies.a]\naudience = ''", "policies.a.audience.0"),
        ("[policies.a]\ntoken_types = ['']", "policies.a.token_types.0"),
        ("[policies.a]\ntoken_types = ['application/']", "policies.a.token_types.0"),
        ("[policies.a]\nleeway_seconds = 61", "policies.a.leeway_seconds"),
        ("[policies.a]\nleeway_seconds = -1", "policies.a.leeway_seconds"),
        ("[policies.a]\nleeway_seconds = true", "policies.a.leeway_seconds"),
        ("[policies.a]\nmax_age_seconds = 0", "policies.a.max_age_seconds"),
        ("[policies.a]\nmax_age_seconds = '60'", "policies.a.max_age_seconds"),
        ("[policies.a]\nmax_lifetime_seconds = 0", "policies.a.max_lifetime_seconds"),
        ("[policies.a]\nmax_lifetime_seconds = 31536001", "policies.a.max_lifetime_seconds"),
        ("[policies.a]\nmax_lifetime_seconds = 1.5", "policies.a.max_lifetime_seconds"),
        ("[policies.a]\norigins = ['https://app.example']", "policies.a"),
        *(
            (f"[policies.a]\ncookie = '{cookie}'\norigins = ['https://app.example']", "policies.a.cookie")
            for cookie in ("session", "__Secure-session", "__host-session", "__Host-", "__Host-a b")
        ),
        ("[policies.a]\ncookie = '__Host-session'", "policies.a"),
        ("[policies.a]\ncookie = '__Host-session'\norigins = []", "policies.a"),
        *(
            (f"[policies.a]\ncookie = '__Host-session'\norigins = ['{origin}']", "policies.a.origins.0")
            for origin in ("*", "null", "http://app.example", "https://app.example/", "https://App.example")
        ),
        ("[policies.a]\nanonymous = 1", "policies.a.anonymous"),
        ("[policies.a]\nanonymous = 'yes'", "policies.a.anonymous"),
        (
            "[policies.a]\nissuers = ['https://nobody.example']",
            "policies.a.issuers: https://nobody.example: no such issuer",
        ),
        (f"[issuers.'x']\n{BOTH}", "exactly one of jwks_file, jwks_url and discovery"),
        (
            f"[issuers.'x']\njwks_file = 'a'\njwks_url = 'https://x'\n{BOTH}",
            "exactly one of jwks_file, jwks_url and discovery",
        ),
        ("[issuers.'https://issuer.example X-Admin: 1']\njwks_file = 'a'", "issuers.https://issuer.example X-Admin"),
        ("[issuers.'https://é.example']\njwks_file = 'a'", "issuers.https://é.example"),
        ("[policies.a]\nissuers = ['https://issuer.example ']", "policies.a.issuers.0"),
        ("[issuers.'x']\njwks_url = 'not a url'", "issuers.x.jwks_url"),
        ("[issuers.'x']\njwks_url = 'file:///etc/passwd'", "issuers.x.jwks_url"),
        ("[issuers.'https://issuer.example']\njwks_file = 'a'", "VERIFIER_ISSUER names it already"),
    ],
)
def test_an_error_is_one_line(document: str, line: str) -> None:
    with pytest.raises(PolicyError) as error:
        read(document)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("policies", "unnamed"),
    [("", ["default"]), ("[policies.default]", ["default"]), ("[policies.a]\nscopes_all = ['x']", ["default", "a"])],
)
def test_with_several_issuers_each_policy_names_its_own(policies: str, unnamed: list[str]) -> None:
    others = '[issuers."https://other.example"]\njwks_file = "/keys/other.json"\n'
    with pytest.raises(PolicyError) as error:
        read(others + policies)
    assert str(error.value).splitlines() == [
        f"policies.{name}.issuers: required, since there is more than one issuer; "
        "name one or more of https://issuer.example, https://other.example"
        for name in unnamed
    ]


@pytest.mark.parametrize(
    "member", ["audience", "issuers", "token_types", "scopes_all", "scopes_any", "roles_any", "roles_all", "claims"]
)
def test_an_empty_list_is_an_error(member: str) -> None:
    with pytest.raises(PolicyError, match=rf"^policies\.a\.{member}: .*at least 1 item"):
        read(f"[policies.a]\n{member} = []")


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(PolicyError) as error:
        read(f"[policies.a]\nissuers = ['y']\n[policies.b]\nissuers = ['z']\n[issuers.x]\n{BOTH}")
    assert len(str(error.value).splitlines()) == 3
    with pytest.raises(PolicyError) as malformed:
        read("[policies.a]\nx = 1\n[policies.b]\nanonymous = 0")
    assert len(str(malformed.value).splitlines()) == 2


def test_a_policy_without_an_issuer_is_an_error() -> None:
    with pytest.raises(PolicyError, match="no issuer"):
        parse_configuration("", issuers={}, audience="gatepass", leeway_seconds=5)


def test_too_many_policies_are_an_error() -> None:
    assert len(read("\n".join(f"[policies.p{number}]" for number in range(63))).policies) == 64
    with pytest.raises(PolicyError, match=r"^policies: .*at most 63"):
        read("\n".join(f"[policies.p{number}]" for number in range(64)))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("at+jwt", "at+jwt"),
        ("AT+JWT", "at+jwt"),
        ("Application/At+Jwt", "at+jwt"),
        ("application/application/x", "application/x"),
        ("text/x", "text/x"),
        ("\u212aB+JWT", "\u212aB+JWT"),
        ("", ""),
    ],
)
def test_media_types_are_compared_without_case_and_prefix(written: str, meant: str) -> None:
    assert normalise_type(written) == meant
