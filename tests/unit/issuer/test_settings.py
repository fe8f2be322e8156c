"""Settings have safe defaults, and errors name the variable."""

import pytest

from issuer.settings import IssuerSettings
from shared.settings import SettingsError


def read(**settings: str) -> IssuerSettings:
    return IssuerSettings.from_environment({f"ISSUER_{name}": value for name, value in settings.items()})


def test_the_defaults_are_those_of_the_documents() -> None:
    settings = read()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.admin_host, settings.admin_port) == ("127.0.0.1", 9000)
    assert (settings.url, settings.audience) == ("http://127.0.0.1:8000", "gatepass")
    assert (settings.access_token_seconds, settings.password_min_length) == (600, 15)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("URL", "127.0.0.1:8000"),
        ("URL", "ftp://issuer.example"),
        ("URL", "https://ann:secret@issuer.example"),
        ("URL", "https://issuer.example?a=b"),
        ("URL", "https://issuer.example#a"),
        ("URL", "https://exämple.com"),
        ("AUDIENCE", "two words"),
        ("AUDIENCE", "a" * 256),
        ("AUDIENCE", 'a"b'),
        ("URL", "https://" + "i" * 600),
        ("ACCESS_TOKEN_MAX_BYTES", "1023"),
        ("ACCESS_TOKEN_MAX_BYTES", "4097"),
        ("SESSION_IDLE_SECONDS", "3599"),
        ("SESSION_SECONDS", str(90 * 86_400 + 1)),
        ("ACCESS_TOKEN_SECONDS", "59"),
        ("ACCESS_TOKEN_SECONDS", "3601"),
        ("PASSWORD_MIN_LENGTH", "7"),
        ("PASSWORD_HASH_TIMEOUT_SECONDS", "0"),
        ("DATABASE_CONNECTIONS", "0"),
        ("ARGON2_MEMORY_MIB", "8"),
        ("TRUSTED_PROXY_HOPS", "11"),
        ("TRUSTED_PROXY_HOPS", "-1"),
        ("LOGIN_FAILURES_PER_IP", "0"),
        ("REQUESTS_PER_IP", "0"),
        ("LOG_LEVEL", "loud"),
        ("EMAIL_VERIFICATION", "maybe"),
        ("EMAIL_VERIFICATION", "required"),
        ("MAIL_URL", "http://mail.example"),
        ("MAIL_URL", "smtp://ann@mail.example"),
        ("MAIL_URL", "file:///var/mail"),
        ("MAIL_FROM", "Gatepass <no-reply@example.com>"),
        ("SERVICE_NAME", "Hill\r\nBcc: eve@example.com"),
        ("SERVICE_NAME", "Hill\u202e"),
        ("SERVICE_NAME", " Hill"),
        ("SERVICE_NAME", "=?utf-8?q?Hill?="),
        ("SERVICE_NAME", "x" * 65),
        ("MAIL_LINK_BASE_URL", "app.example"),
        ("MAIL_LINK_BASE_URL", "https://app.example/?x=y"),
        ("MAIL_LINK_BASE_URL", "https://app.example/#token"),
        ("PASWORD_MIN_LENGTH", "15"),
    ],
)
def test_an_error_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"ISSUER_{name}"):
        read(**{name: value})


def test_long_names_leave_room_for_scopes_and_roles_by_default() -> None:
    budget = read(URL="https://" + "i" * 192, AUDIENCE="a" * 100).token_budget()
    scope, roles = " ".join(f"{number}" * 20 for number in range(8)), [f"{number}" * 20 for number in range(8)]
    assert budget.account_fault(scope, roles) is None
    assert budget.account_fault(scope, [*roles, *roles[:2]]) is not None


def test_a_budget_that_no_token_fits_into_is_a_fault() -> None:
    url = "https://" + "i" * 300
    assert read(URL=url).url == url
    with pytest.raises(SettingsError, match=r"ISSUER_URL, ISSUER_AUDIENCE: the access token would have"):
        read(URL=url, ACCESS_TOKEN_MAX_BYTES="1024")


def test_a_session_lives_14_days_idle_and_30_at_most() -> None:
    assert (read().session_idle_seconds, read().session_seconds) == (14 * 86_400, 30 * 86_400)


def test_an_error_of_the_database_url_does_not_show_its_password() -> None:
    with pytest.raises(SettingsError, match="ISSUER_DATABASE_URL: must be postgresql://") as error:
        read(DATABASE_URL="mysql://gatepass:hunter2@localhost")
    assert "hunter2" not in str(error.value)


def test_mail_settings_belong_together() -> None:
    settings = read(
        MAIL_URL="smtp://ann:hunter2@mail.example",
        MAIL_FROM="no-reply@exämple.com",
        MAIL_LINK_BASE_URL="https://app.example/auth/",
        EMAIL_VERIFICATION="required",
    )
    assert settings.mail_from == "no-reply@xn--exmple-cua.com"
    assert settings.mail_link_base_url == "https://app.example/auth"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "name", "title"),
    [
        ("https://login.example.com", "", "login.example.com"),
        ("https://login.example.com", "Hill Library", "Hill Library"),
        ("http://127.0.0.1:8000", "", "Gatepass"),
        ("http://[::1]:8000", "", "Gatepass"),
        ("http://localhost:8000", "", "Gatepass"),
    ],
)
def test_mail_names_the_service_by_setting_or_host(url: str, name: str, title: str) -> None:
    assert read(URL=url, SERVICE_NAME=name).service_title() == title


def test_no_repr_shows_the_database_url() -> None:
    settings = read(DATABASE_URL="postgresql://gatepass:hunter2@localhost/gatepass")
    assert "hunter2" not in repr(settings)
    assert settings.require_database().endswith("localhost/gatepass")


def test_a_command_that_needs_the_database_names_the_setting() -> None:
    with pytest.raises(SettingsError, match="ISSUER_DATABASE_URL: is required"):
        read().require_database()


def test_each_owasp_parameter_set_is_accepted() -> None:
    for mib in (46, 19, 12, 9, 7):
        assert read(ARGON2_MEMORY_MIB=str(mib)).argon2_memory_mib == mib


def test_origins_are_read_as_browsers_send_them() -> None:
    settings = read(CORS_ORIGINS="https://app.example, https://app.example:8443,http://localhost:5173,http://[::1]:1")
    assert len(settings.allowed_origins()) == 4
    assert read().allowed_origins() == frozenset()
    assert read(CORS_ORIGINS="https://app.example").origins_with_cookies() == frozenset()
    assert read(COOKIE_ORIGINS="https://app.example").origins_with_cookies() == {"https://app.example"}


@pytest.mark.parametrize(
    "origins",
    [
        "*",
        "null",
        "https://*.app.example",
        "https://app.example/",
        "https://app.example/path",
        "https://user@app.example",
        "https://App.example",
        "https://app.example:443",
        "http://localhost:80",
        "http://app.example",
        "http://localhost.app.example",
        "ftp://app.example",
        "https://app.example https://b.example",
        "https://app.example,",
        "https://",
    ],
)
def test_what_is_no_origin_of_a_trustworthy_page_is_rejected(origins: str) -> None:
    for setting in ("CORS_ORIGINS", "COOKIE_ORIGINS"):
        with pytest.raises(SettingsError, match=f"ISSUER_{setting}"):
            read(**{setting: origins})


def test_a_token_must_fit_into_a_cookie() -> None:
    assert read(ACCESS_TOKEN_MAX_BYTES="4096").access_token_max_bytes == 4096
    assert read(ACCESS_TOKEN_MAX_BYTES="4000", COOKIE_ORIGINS="https://app.example").cookie_origins
    with pytest.raises(SettingsError, match="ISSUER_ACCESS_TOKEN_MAX_BYTES: must be at most 4000"):
        read(ACCESS_TOKEN_MAX_BYTES="4001", COOKIE_ORIGINS="https://app.example")
