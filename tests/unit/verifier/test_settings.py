"""Settings have safe defaults; errors name the variable and quote no value."""

from pathlib import Path

import pytest

from shared.settings import SettingsError
from verifier.policy_file import PolicyError
from verifier.settings import VerifierSettings

ISSUER = {"ISSUER": "https://issuer.example", "JWKS_URL": "https://issuer.example/jwks.json"}


def read(**settings: str) -> VerifierSettings:
    return VerifierSettings.from_environment({f"VERIFIER_{name}": value for name, value in settings.items()})


def test_the_defaults_are_loopback_and_five_seconds_of_leeway() -> None:
    settings = read(**ISSUER)
    assert (settings.host, settings.port) == ("127.0.0.1", 8001)
    assert (settings.admin_host, settings.admin_port) == ("127.0.0.1", 9001)
    assert (settings.audience, settings.leeway_seconds) == ("gatepass", 5)
    assert not settings.allow_http


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDIENSE", "gatepass"),
        ("PORT", "65536"),
        ("PORT", "tcp://10.0.0.1:8001"),
        ("ADMIN_PORT", "-1"),
        ("UDS_MODE", "0999"),
        ("UDS_MODE", "rw"),
        ("WORKERS", "2"),
        ("AUDIENCE", "a" * 513),
        ("JWKS_MAX_STALE_SECONDS", "59"),
        ("LEEWAY_SECONDS", "61"),
        ("LEEWAY_SECONDS", "-1"),
        ("LEEWAY_SECONDS", "5.5"),
        ("REALM", 'a"b'),
        ("REALM", "a\\b"),
        ("REALM", "a\nb"),
        ("REALM", "a" * 65),
        ("CACHE_ENTRIES", "-1"),
        ("CACHE_BYTES", "65535"),
        ("MAX_CONNECTIONS", "0"),
        ("DRAIN_SECONDS", "301"),
        ("LOG_LEVEL", "loud"),
        ("JWKS_FILE", "/keys/jwks.json"),
    ],
)
def test_an_error_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(**{**ISSUER, name: value})
    assert len(error.value.faults) == 1
    assert f"VERIFIER_{name}" in error.value.faults[0]
    assert len(value) < 3 or value not in error.value.faults[0].replace(f"VERIFIER_{name}", "")


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        read(**ISSUER, PORT="x", CACHE_ENTRIES="-1", REALM='"')
    assert len(error.value.faults) == 3


@pytest.mark.parametrize(
    "given", [{}, {"ISSUER": "i"}, {"JWKS_FILE": "f"}, {"JWKS_URL": "u"}, {"ISSUER": "i", "JWKS_FILE": ""}]
)
def test_an_issuer_requires_its_key_set(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="VERIFIER_ISSUER"):
        read(**given)


def test_a_policy_file_may_name_all_issuers(tmp_path: Path) -> None:
    file = tmp_path / "policies.toml"
    file.write_text("[issuers.i]\njwks_file = 'f'\n[policies.admin]\nroles_any = ['admin']")
    settings = read(POLICIES_FILE=str(file), LEEWAY_SECONDS="9")
    rules = settings.load_configuration()
    assert set(rules.issuers) == {"i"}
    assert rules.policies["admin"].leeway_seconds == 9


def test_an_unreadable_policy_file_is_named(tmp_path: Path) -> None:
    settings = read(**ISSUER, POLICIES_FILE=str(tmp_path / "policies.toml"))
    with pytest.raises(PolicyError, match=r"policies\.toml: cannot be read \(FileNotFoundError\)"):
        settings.load_configuration()
    (tmp_path / "policies.toml").write_bytes(b"\xff")
    with pytest.raises(PolicyError, match="UnicodeDecodeError"):
        settings.load_configuration()
