"""The doctor's arguments: URL, admin path and token, valid and invalid."""

import re

import pytest

from doctor.errors import DoctorError
from doctor.target import Target, parse_admin_path
from doctor.token import AccessToken
from tests.support.token_forge import Forge

NOW = 1_000_000.0
TOKEN = Forge().token(NOW)
TARGET = Target.parse("https://app.example/hello", allow_http=False)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("app.example/other", "not an http(s) URL"),
        ("ftp://app.example/", "not an http(s) URL"),
        ("https:///hello", "not an http(s) URL"),
        ("https://ex\N{LATIN SMALL LETTER A WITH DIAERESIS}mple/", "not an http(s) URL"),
        ("https://app.example/a b", "not an http(s) URL"),
        ("https://app.example:99999/", "malformed"),
        ("https://[::1/", "malformed"),
        ("https://me:secret@app.example/", "credentials"),
        ("https://app.example/?x", "query"),
        ("https://app.example/#x", "fragment"),
        ("https://app.example/a;b", "ambiguous path"),
        ("https://app.example//a", "ambiguous path"),
        ("https://app.example/a/../b", "ambiguous path"),
        ("http://app.example/", "plain http is allowed to loopback only"),
        ("http://10.0.0.7/", "plain http is allowed to loopback only"),
        (TOKEN.decode(), "not an http(s) URL"),
    ],
)
def test_an_invalid_url_is_rejected_without_quoting_it(url: str, why: str) -> None:
    with pytest.raises(DoctorError, match=re.escape(why)) as rejected:
        Target.parse(url, allow_http=False)
    assert "secret" not in str(rejected.value)
    assert url not in str(rejected.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("https://App.example", "app.example", 443, "app.example"),
        ("https://app.example:8443/x/y", "app.example", 8443, "app.example:8443"),
        ("http://127.0.0.1:8080/hello", "127.0.0.1", 8080, "127.0.0.1:8080"),
        ("http://localhost/", "localhost", 80, "localhost"),
        ("http://[::1]:8080/", "::1", 8080, "[::1]:8080"),
    ],
)
def test_a_url_is_parsed_into_host_port_and_authority(url: str, host: str, port: int, authority: str) -> None:
    target = Target.parse(url, allow_http=False)
    assert (target.host, target.port, target.authority) == (host, port, authority)


@pytest.mark.parametrize(
    "path", ["", "/", "//", "admin", "/admin?x", "/a//b", "/a/../b", "/a;b", "/hello", "/hello/"]
)
def test_an_ambiguous_admin_path_is_rejected(path: str) -> None:
    with pytest.raises(DoctorError, match="--admin-path: "):
        parse_admin_path(path, TARGET)


@pytest.mark.parametrize(
    "given",
    [b"", b"x", b"a.b.c", b"Bearer " + TOKEN, TOKEN + b" " + TOKEN, b"x" * 10_000, b"\xff\xfe", TOKEN[:-400]],
)
def test_an_invalid_token_is_rejected_without_quoting_it(given: bytes) -> None:
    with pytest.raises(DoctorError) as rejected:
        AccessToken.parse(given, NOW)
    assert len(given) < 4 or given.decode("latin-1") not in str(rejected.value)


def test_an_expired_token_is_rejected() -> None:
    with pytest.raises(DoctorError, match="expired"):
        AccessToken.parse(TOKEN, NOW + 601)
