"""What the doctor is given: a URL, a path and a token, each of which may be impossible."""

import re

import pytest

from doctor.target import Target, TargetError, parse_admin_path
from doctor.token import Credential, CredentialError
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
        ("https://app.example/a;b", "odd paths"),
        ("https://app.example//a", "odd paths"),
        ("https://app.example/a/../b", "odd paths"),
        ("http://app.example/", "plain http beyond loopback"),
        ("http://10.0.0.7/", "plain http beyond loopback"),
        (TOKEN.decode(), "not an http(s) URL"),
    ],
)
def test_an_impossible_url_is_refused_and_not_repeated(url: str, why: str) -> None:
    with pytest.raises(TargetError, match=re.escape(why)) as refused:
        Target.parse(url, allow_http=False)
    assert "secret" not in str(refused.value)
    assert url not in str(refused.value)


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
def test_a_url_names_one_place(url: str, host: str, port: int, authority: str) -> None:
    target = Target.parse(url, allow_http=False)
    assert (target.host, target.port, target.authority) == (host, port, authority)


@pytest.mark.parametrize(
    "path", ["", "/", "//", "admin", "/admin?x", "/a//b", "/a/../b", "/a;b", "/hello", "/hello/"]
)
def test_an_admin_path_that_can_not_be_told_from_the_route_is_refused(path: str) -> None:
    with pytest.raises(TargetError, match="--admin-path: "):
        parse_admin_path(path, TARGET)


@pytest.mark.parametrize(
    "given",
    [b"", b"x", b"a.b.c", b"Bearer " + TOKEN, TOKEN + b" " + TOKEN, b"x" * 10_000, b"\xff\xfe", TOKEN[:-400]],
)
def test_what_is_no_token_is_refused_and_not_repeated(given: bytes) -> None:
    with pytest.raises(CredentialError) as refused:
        Credential.parse(given, NOW)
    assert len(given) < 4 or given.decode("latin-1") not in str(refused.value)


def test_a_token_that_has_expired_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(CredentialError, match="expired"):
        Credential.parse(TOKEN, NOW + 601)
