"""URLs from documents are used only if they are well-formed and their scheme is allowed."""

import pytest

from verifier.urls import check_link

DOCUMENT = "https://issuer.example/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://issuer.example/keys", None),
        ("http://issuer.example/keys", "plain http beyond loopback"),
        ("http://127.0.0.1/keys", "not an https URL"),
        ("https://[::1", "malformed"),
        ("https://a:99999/", "malformed"),
    ],
)
def test_a_link_says_why_it_is_not_followed(url: str, problem: str | None) -> None:
    found = check_link(url, DOCUMENT, allow_http=False)
    assert found is None if problem is None else (found or "").startswith(problem)


def test_plain_http_is_followed_by_explicit_permission() -> None:
    assert check_link("http://issuer.example/keys", DOCUMENT, allow_http=True) is None
    assert check_link("https://[::1", DOCUMENT, allow_http=True) == "malformed"
