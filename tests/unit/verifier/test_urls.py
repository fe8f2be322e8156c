"""URLs of sources and from documents are used only if they are well-formed and their scheme is allowed."""

import pytest

from verifier.urls import check_link, check_url

DOCUMENT = "https://issuer.example/.well-known/openid-configuration"
LOCAL = "http://127.0.0.1:8000/.well-known/openid-configuration"
PLAIN_HTTP = "plain http beyond loopback"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://issuer.example/jwks", None),
        ("http://127.0.0.1:8000/jwks", None),
        ("http://[::1]:8000/jwks", None),
        ("http://localhost:8000/jwks", None),
        ("http://issuer.example/jwks", PLAIN_HTTP),
        ("http://10.0.0.1/jwks", PLAIN_HTTP),
        ("http://127.0.0.1.example/jwks", PLAIN_HTTP),
        ("http://0.0.0.0/jwks", PLAIN_HTTP),
        ("http://2130706433/jwks", PLAIN_HTTP),
        ("ftp://127.0.0.1/jwks", "not an https URL"),
        ("file:///etc/passwd", "not an https URL"),
        ("data:application/json,{}", "not an https URL"),
        ("jwks.json", "not an https URL"),
        ("https:///jwks", "not an https URL"),
        ("https://user:pass@issuer.example/jwks", "must not contain credentials or fragments"),
        ("https://issuer.example/jwks#keys", "must not contain credentials or fragments"),
        ("https://issuer.example:99999/jwks", "malformed"),
        ("https://issuer.example:x/jwks", "malformed"),
        ("https://[::1/jwks", "malformed"),
        ("https://issuer.example/jw ks", "contains characters"),
        ("https://b\xfccher.example/jwks", "contains characters"),
        ("https://issuer.example/\x7f", "contains characters"),
    ],
)
def test_a_url_says_why_it_is_not_a_source(url: str, why: str | None) -> None:
    found = check_url(url, allow_http=False)
    assert found is None if why is None else (found or "").startswith(why)


@pytest.mark.parametrize(
    ("url", "document", "allow_http", "why"),
    [
        ("https://keys.example/jwks", DOCUMENT, False, None),
        ("https://keys.example/jwks", LOCAL, False, None),
        ("http://127.0.0.1/jwks", LOCAL, False, None),
        ("http://127.0.0.1/jwks", DOCUMENT, False, "not an https URL"),
        ("http://localhost/jwks", DOCUMENT, False, "not an https URL"),
        ("http://10.0.0.1/jwks", DOCUMENT, False, PLAIN_HTTP),
        ("http://10.0.0.1/jwks", LOCAL, False, PLAIN_HTTP),
        ("http://10.0.0.1/jwks", DOCUMENT, True, None),
        ("http://10.0.0.1/jwks", "http://10.0.0.2/x", True, None),
        ("https://a:b@keys.example/jwks", DOCUMENT, True, "must not contain credentials"),
        ("https://[::1", DOCUMENT, False, "malformed"),
        ("https://[::1", DOCUMENT, True, "malformed"),
    ],
)
def test_a_link_says_why_it_is_not_followed(url: str, document: str, *, allow_http: bool, why: str | None) -> None:
    found = check_link(url, document, allow_http=allow_http)
    assert found is None if why is None else (found or "").startswith(why)
