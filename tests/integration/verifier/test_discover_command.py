"""`python -m verifier discover` prints a policy file with blanks to fill in."""

import asyncio
import json
import ssl
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.identity_provider import OAUTH, OPENID, Provider, metadata_faults, running_provider
from tests.support.jwks_server import serves
from tests.support.providers import signing_key
from tests.support.verifier_process import verifier_command
from verifier.discover import PROFILE_PATTERNS, DiscoveryError, discover, recognise
from verifier.profile_file import BUILT_IN

_AUDIENCE: Final = "https://api.example"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as it:
        yield it


def _tables(url: str) -> str:
    done = verifier_command("discover", url)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _filled_in(tables: str, profile: str = "") -> str:
    return tables.replace('audience = ""', f'audience = "{_AUDIENCE}"').replace(
        'profile = ""', f'profile = "{profile}"'
    )


def _check(tables: str, folder: Path) -> tuple[int, str]:
    """Run `check-config` on a policy file; return its exit status and its standard error."""
    file = folder / "policies.toml"
    file.write_text(tables, encoding="utf-8")
    done = verifier_command("check-config", POLICIES_FILE=file)
    return done.returncode, done.stderr


def _is_accepted(token: bytes, folder: Path) -> bool:
    return verifier_command("explain", stdin=token, POLICIES_FILE=folder / "policies.toml").returncode == 0


@pytest.mark.parametrize("path", [OPENID, OAUTH])
def test_the_tables_are_a_policy_file_once_their_blanks_are_filled_in(
    provider: Provider, tmp_path: Path, path: str
) -> None:
    del provider.pages[OPENID]
    provider.describe(path)
    tables = _tables(provider.forge.issuer)
    assert tomllib.loads(tables)["issuers"] == {
        provider.forge.issuer: {"discovery": provider.server.url_of(path), "profile": ""}
    }
    assert _check(tables, tmp_path) == (2, "policies.default.audience.0: must be 1 to 512 characters\n")
    status, errors = _check(_filled_in(tables), tmp_path)
    assert status == 2
    assert "profile: no profile ''" in errors
    assert _check(_filled_in(tables, "rfc9068"), tmp_path) == (0, "")
    assert _is_accepted(provider.forge.token(time.time(), aud=_AUDIENCE), tmp_path)
    assert not _is_accepted(provider.forge.token(time.time(), aud="another"), tmp_path)


def test_a_comment_explains_each_value_to_fill_in(provider: Provider) -> None:
    lines = _tables(provider.forge.issuer).splitlines()
    blanks = [number for number, line in enumerate(lines) if line.endswith('= ""')]
    assert [lines[number] for number in blanks] == ['profile = ""', 'audience = ""']
    for number in blanks:
        comments = [line for line in lines[max(number - 4, 0) : number] if line.startswith("# FILL IN. ")]
        assert len(comments) == 1, lines[number]


def test_a_provider_is_recognised_by_its_urls(provider: Provider, tmp_path: Path) -> None:
    uri = provider.server.url_of("/tenant/protocol/openid-connect/certs")
    provider.pages["/tenant/protocol/openid-connect/certs"] = serves(provider.forge.jwks)
    provider.describe(jwks_uri=uri)
    tables = _tables(provider.forge.issuer)
    assert 'profile = "keycloak"' in tables
    assert _check(_filled_in(tables), tmp_path) == (0, "")
    token = provider.forge.token(time.time(), {"typ": "JWT"}, aud=_AUDIENCE, azp="shop", typ="Bearer")
    assert _is_accepted(token, tmp_path)


def test_algorithms_that_the_profile_lacks_are_added_to_it(provider: Provider, tmp_path: Path) -> None:
    keys = [signing_key("ES256").jwk(), signing_key("EdDSA", "key-2").jwk(), {"kty": "RSA", "use": "enc"}]
    provider.pages["/keys"] = serves(json.dumps({"keys": keys}).encode())
    tables = _tables(provider.forge.issuer)
    assert "# Keys: 1 ES256, 1 EdDSA; not used: 1 not for signatures" in tables
    assert 'profile = { extends = "", algorithms = ["ES256", "EdDSA"] }' in tables
    filled = _filled_in(tables).replace('extends = ""', 'extends = "keycloak"')
    assert _check(filled, tmp_path) == (0, "")


def test_the_metadata_may_be_named_themselves_and_their_issuer_is_another_then(
    provider: Provider, tmp_path: Path
) -> None:
    provider.describe("/b2c/.well-known/openid-configuration", issuer="https://login.example/b2c/")
    url = provider.server.url_of("/b2c/.well-known/openid-configuration")
    tables = _tables(url)
    assert "# The metadata are not where the issuer's name says." in tables
    assert tomllib.loads(tables)["issuers"]["https://login.example/b2c/"]["discovery"] == url
    assert _check(_filled_in(tables, "rfc9068"), tmp_path) == (0, "")


def test_a_final_slash_is_as_the_issuer_writes_it(provider: Provider) -> None:
    name = provider.forge.issuer
    for written, given in ((f"{name}/", name), (name, f"{name}/")):
        provider.describe(issuer=written)
        assert list(tomllib.loads(_tables(given))["issuers"]) == [written]


def test_names_cannot_break_out_of_their_quotes(provider: Provider) -> None:
    name = 'https://x.example/"]\\#'
    provider.describe(issuer=name)
    assert list(tomllib.loads(_tables(provider.discovery))["issuers"]) == [name]


def test_the_status_lists_are_taken_from_the_metadata(provider: Provider) -> None:
    lists = provider.server.url_of("/lists")
    for given, expected in ((lists, lists), ("http://10.0.0.1/lists", None), (["x"], None)):
        provider.describe(status_list_aggregation_endpoint=given)
        table = tomllib.loads(_tables(provider.forge.issuer))["issuers"][provider.forge.issuer]
        assert table.get("status_lists") == expected


@pytest.mark.parametrize(("members", "why"), [
    ({"issuer": "https://another.example"}, "its issuer is 'https://another.example'; if that is meant"),
    ({"issuer": "https://login.example/{tenantid}/v2.0"}, "a template: give the URL of one tenant"),
    ({"issuer": "https://login.example\n"}, "not a valid issuer name"),
    ({"issuer": 1}, "not a valid issuer name"),
    ({"jwks_uri": "http://10.0.0.1/keys"}, "plain http beyond loopback"),
    ({"jwks_uri": ...}, "no jwks_uri"),
])  # fmt: skip
def test_metadata_that_the_verifier_would_reject_are_one_line_and_exit_status_2(
    provider: Provider, members: dict[str, Any], why: str
) -> None:
    provider.describe(**members)
    done = verifier_command("discover", provider.forge.issuer)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("url", "status", "why"), [
    ("http://127.0.0.1:1/", 1, "no response: http://127.0.0.1:1/.well-known/openid-configuration: Connection"),
    ("https://login..example/", 1, "openid-configuration: the host name cannot be resolved"),
    ("http://10.0.0.1/", 2, "use https, or VERIFIER_ALLOW_HTTP=true"),
    ("login.example", 2, "'login.example': not an https URL"),
    ("https://ada:secret@login.example/", 2, "must not contain credentials"),
    ("https://login.example/\x1b[2J", 2, "characters that a URL cannot have"),
])  # fmt: skip
def test_a_url_that_is_no_use_is_one_line(url: str, status: int, why: str) -> None:
    done = verifier_command("discover", url)
    assert (done.returncode, done.stdout) == (status, "")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
    assert "\x1b" not in done.stderr


def test_an_issuer_without_metadata_or_usable_keys_is_one_line(provider: Provider) -> None:
    provider.pages["/keys"] = serves(b'{"keys": []}')
    done = verifier_command("discover", provider.forge.issuer)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"key set: {provider.server.url_of('/keys')}: no usable ")
    provider.pages.clear()
    done = verifier_command("discover", provider.forge.issuer)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"no metadata: {provider.discovery}: the response is 404")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_certificate_authorities_that_cannot_be_read_are_one_line(scheme: str) -> None:
    done = verifier_command("discover", f"{scheme}://127.0.0.1:1/", CA_FILE=__file__)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "VERIFIER_CA_FILE: no PEM certificates can be read (SSLError)\n"


@pytest.mark.anyio
async def test_a_hostile_issuer_is_one_line(provider: Provider) -> None:
    async def describe(url: str) -> str:
        with pytest.raises(DiscoveryError) as rejected:
            await discover(url, ssl.create_default_context, allow_http=False)
        return str(rejected.value)

    faults = metadata_faults(provider)
    for number, behaviour in enumerate(faults.values()):
        provider.pages[f"/{number}/.well-known/openid-configuration"] = behaviour
    urls = [provider.server.url_of(f"/{number}") for number in range(len(faults))]
    lines = await asyncio.gather(*map(describe, urls))
    assert len(lines) == len(faults)
    assert all(line.isascii() and line.isprintable() and len(line) < 1000 for line in lines), lines
    assert not any("password" in line for line in lines)


@pytest.mark.parametrize(("profile", "members"), [
    ("auth0", {"issuer": "https://shop.eu.auth0.com/", "jwks_uri": "https://shop.eu.auth0.com/.well-known/jwks.json"}),
    ("clerk", {"issuer": "https://happy-cat-1.clerk.accounts.dev"}),
    ("cognito", {"issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf"}),
    ("entra", {"issuer": "https://login.microsoftonline.com/9122040d-6c67-4c5b-b112-36a304b66dad/v2.0"}),
    ("entra", {"issuer": "https://sts.windows.net/9122040d-6c67-4c5b-b112-36a304b66dad/"}),
    ("firebase", {"issuer": "https://securetoken.google.com/shop"}),
    ("github-actions", {"issuer": "https://token.actions.githubusercontent.com"}),
    ("google", {"issuer": "https://accounts.google.com"}),
    ("hydra", {"issuer": "http://127.0.0.1:4444", "authorization_endpoint": "http://127.0.0.1:4444/oauth2/auth"}),
    ("hydra", {"issuer": "https://shop.projects.oryapis.com"}),
    ("keycloak", {"jwks_uri": "https://id.example/realms/main/protocol/openid-connect/certs"}),
    ("kubernetes", {"jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks"}),
    ("logto", {"issuer": "https://shop.logto.app/oidc"}),
    ("okta", {"issuer": "https://shop.okta.com/oauth2/default"}),
    ("rauthy", {"jwks_uri": "https://id.example/auth/v1/oidc/certs"}),
    ("rfc9068", {"status_list_aggregation_endpoint": "https://login.example/status-lists"}),
    ("supabase", {"issuer": "https://abcdefgh.supabase.co/auth/v1"}),
    (None, {"issuer": "https://login.example", "jwks_uri": "https://login.example/jwks"}),
    (None, {"issuer": 1, "jwks_uri": None}),
])  # fmt: skip
def test_known_providers_are_recognised(profile: str | None, members: dict[str, Any]) -> None:
    assert recognise(members) == profile


def test_every_profile_can_be_recognised() -> None:
    assert {profile for profile, _, _ in PROFILE_PATTERNS} == set(BUILT_IN)


def test_help_has_an_example() -> None:
    done = verifier_command("discover", "--help")
    assert done.returncode == 0
    assert "python -m verifier discover https://" in " ".join(done.stdout.split())
