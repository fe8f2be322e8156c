"""Built-in profiles name their sources, and a profile without a mark of access tokens is rejected."""

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from verifier.decision.profile import RFC9068
from verifier.policy_file import PolicyError, parse_configuration
from verifier.profile_file import BUILT_IN, FOLDER, _BuiltIn, _profile, built_in

KEYCLOAK = "https://id.example/realms/main"
NOT_FACTS = {"extends", "title", "sources"}


def rules_of(profile: str) -> Any:
    document = f"[issuers.'{KEYCLOAK}']\njwks_url = 'https://id.example/keys'\n{profile}"
    return parse_configuration(document, issuers={}, audience="api", leeway_seconds=5)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_fact_of_a_built_in_profile_has_its_source(name: str) -> None:
    written = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    sourced = {fact for source in written["sources"] for fact in source["facts"]}
    assert written.keys() - NOT_FACTS <= sourced | {"subject", "audience"}
    for source in written["sources"]:
        assert source["url"].startswith("https://")
        # The date of reading it, or a note that says why it was not read.
        assert ("read" in source) != source.get("note", "").startswith("not read: ")
    assert built_in(name).name == name


def test_the_file_of_the_default_profile_agrees_with_the_code() -> None:
    table = _BuiltIn.model_validate(tomllib.loads((FOLDER / "rfc9068.toml").read_text(encoding="utf-8")))
    spelled_out = _profile("rfc9068", table)
    assert replace(spelled_out, token_types=RFC9068.token_types) == RFC9068


def test_every_profile_but_the_default_has_a_mark() -> None:
    for name in BUILT_IN:
        profile = built_in(name)
        positive = any(rule.is_positive for rule in profile.mark)
        assert profile is RFC9068 or positive or profile.token_types == frozenset({"at+jwt"})


def test_a_profile_arrives_in_every_policy() -> None:
    rules = rules_of('profile = "keycloak"\n[policies.admin]\nscopes_all = ["admin"]')
    assert rules.issuers[KEYCLOAK].profile is built_in("keycloak")
    assert all(policy.profile_of(KEYCLOAK) is built_in("keycloak") for policy in rules.policies.values())
    for default in (rules_of(""), rules_of('profile = "rfc9068"')):
        assert default.issuers[KEYCLOAK].profile is default.policies["default"].profile_of(KEYCLOAK) is RFC9068


def test_a_profile_can_be_spelled_out_or_extend_another() -> None:
    extended = rules_of(f"[issuers.'{KEYCLOAK}'.profile]\nextends = 'keycloak'\naudience = '/azp'\nroles = false")
    profile = extended.issuers[KEYCLOAK].profile
    assert (str(profile.audience), profile.roles, profile.mark) == ("/azp", None, built_in("keycloak").mark)
    rules = rules_of(f"[issuers.'{KEYCLOAK}'.profile]\nalgorithms = ['ES256']")
    spelled = rules.issuers[KEYCLOAK].profile
    assert (spelled.algorithms, spelled.token_types) == ({"ES256"}, {"at+jwt"})


PROFILE = f'issuers."{KEYCLOAK}".profile: '


@pytest.mark.parametrize(
    ("profile", "line"),
    [
        ("profile = 'nobody'", "no profile 'nobody'; accepted are auth0, clerk, "),
        ("profile = 1", "profile"),
        ("token_types = ['JWT']", "mark: required, or ID tokens and others of this issuer would be accepted"),
        ("token_types = ['at+jwt', '']", "mark: required"),
        ("token_types = ['JWT']\nmark = [{ at = '/nonce', absent = true }]", "mark: required"),
        ("token_types = ['JWT']\nmark = [{ at = '/use', none_of = ['id'] }]", "mark: required"),
        ("token_types = ['JWT']\nmark = [{ at = ['/use', '/sub'], present = true }]", "mark: required"),
        ("mark = []", "mark: must have at least 1 item, or be left out"),
        (
            "mark = [{ at = '/typ' }]",
            "mark.0: name exactly one of equals, one_of, none_of, contains, present, absent",
        ),
        ("mark = [{ at = '/typ', equals = 'a', one_of = ['a'] }]", "mark.0: name exactly one of"),
        (
            "mark = [{ at = 'typ', equals = 'a' }]",
            "mark.0.at: not a JSON pointer (RFC 6901), such as /",
        ),
        ("mark = [{ at = '/a~2', present = true }]", "mark.0.at: not a JSON pointer"),
        ("mark = [{ at = '/a', present = false }]", "mark.0.present"),
        ("mark = [{ at = '/a', equals = 1.5 }]", "mark.0.equals"),
        ("client = ''", "client"),
        ("audience = false", "audience"),
        ("subject = []", "subject: accepted are a JSON pointer"),
        ("algorithms = ['HS256']", "algorithms.0: input should be 'RS256', 'PS256', 'ES256', 'ES384' or 'EdDSA'"),
        ("algorithms = ['none']", "algorithms.0"),
        ("algorithms = []", "algorithms: must have at least 1 item, or be left out"),
        ("extends = 'nobody'", "no profile 'nobody'"),
        ("role = '/roles'", "role: no such member; did you mean roles?"),
    ],
)
def test_an_error_of_a_profile_is_one_line_that_names_the_issuer(profile: str, line: str) -> None:
    table = profile if profile.startswith("profile") else f"[issuers.'{KEYCLOAK}'.profile]\n{profile}"
    with pytest.raises(PolicyError) as rejected:
        rules_of(table)
    lines = str(rejected.value).splitlines()
    assert any(KEYCLOAK in it and line in it for it in lines), lines
