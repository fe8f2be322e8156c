"""The token in a cookie: exactly one, from the same origin; the origin is checked for each request."""

from dataclasses import replace
from itertools import product
from typing import Final

import pytest

from shared.same_origin import BrowserFields
from tests.support.vector_keys import GOOD, NOW
from tests.support.vectors import POLICIES, Bench, load, status_of
from verifier.decision.reasons import RejectionReason
from verifier.subrequest.cookies import cookie_token

NAME: Final = b"__Host-session"
POLICY: Final = replace(POLICIES["default"], cookie=NAME.decode(), origins=frozenset({"https://app.example"}))
FROM_THE_APPLICATION: Final = BrowserFields(method=b"POST", site=b"same-origin")
TOKEN: Final = GOOD.token(NOW)


def bench() -> Bench:
    return Bench({**POLICIES, "default": POLICY}, now=NOW)


def ask(bench: Bench, fields: BrowserFields, token: bytes = TOKEN, target: bytes = b"/verify") -> int:
    cookies = NAME + b"=" + token
    return status_of(bench.authorizer.authorize(target, None, browser=fields._replace(cookies=cookies)))


def test_the_vectors_have_every_combination_once() -> None:
    vectors = [(v["carrier"], v["site"], v["origin"], v["method"], v["websocket"]) for v in load("browsers/requests")]
    assert len(set(vectors)) == len(vectors)
    assert set(vectors) == set(product(*(set(values) for values in zip(*vectors, strict=True))))


@pytest.mark.parametrize(
    ("cookies", "token"),
    [
        (None, None),
        (b"", None),
        (b"a=b; c=d", None),
        (b"__host-session=t", None),
        (b"x__Host-session=t", None),
        (b"__Host-session", None),
        (b"__Host-session2=t", None),
        (b"__Host-session=t", b"t"),
        (b"a=b;__Host-session=t;c", b"t"),
        (b"a=b; __Host-session=t\t; c=__Host-session=u", b"t"),
        (b'__Host-session="t"', b'"t"'),
        (b"__Host-session=t=u", b"t=u"),
        (b"__Host-session=", RejectionReason.MALFORMED_CREDENTIALS),
        (b"__Host-session=a b", RejectionReason.MALFORMED_CREDENTIALS),
        (b"__Host-session=a\tb", RejectionReason.MALFORMED_CREDENTIALS),
        (b"__Host-session=a,b", RejectionReason.MALFORMED_CREDENTIALS),
        (b"__Host-session=t; __Host-session=t", RejectionReason.MALFORMED_CREDENTIALS),
        (b"__Host-session=t; __Host-session=", RejectionReason.MALFORMED_CREDENTIALS),
        # A cookie without a name, whose value looks like another cookie.
        (b"__Host-session=t; =__Host-session=u", b"t"),
    ],
)
def test_the_one_cookie_of_the_name_is_found(cookies: bytes | None, token: object) -> None:
    assert cookie_token(cookies, NAME) == token


def test_a_cached_acceptance_lets_no_other_origin_through() -> None:
    authorizer = bench()
    statuses = [
        ask(authorizer, fields)
        for fields in (
            FROM_THE_APPLICATION,
            FROM_THE_APPLICATION._replace(site=b"cross-site"),
            FROM_THE_APPLICATION,
            FROM_THE_APPLICATION._replace(site=None, origin=b"https://foreign.example"),
            FROM_THE_APPLICATION._replace(websocket_version=b"13"),
            FROM_THE_APPLICATION,
        )
    ]
    assert statuses == [200, 403, 200, 403, 403, 200]
    assert authorizer.decisions()["default", "allowed", "cached"] == 2


def test_a_policy_without_a_cookie_ignores_cookies() -> None:
    authorizer = bench()
    assert ask(authorizer, FROM_THE_APPLICATION, target=b"/verify/all-scopes") == 401
    foreign = BrowserFields(b"POST", b"cross-site", b"https://foreign.example", b"13", NAME + b"=x; " + NAME + b"=y")
    responses = [
        authorizer.authorizer.authorize(b"/verify/all-scopes", b"Bearer " + TOKEN, browser=fields)
        for fields in (foreign, None)
    ]
    assert responses[0] == responses[1]


def test_a_token_in_a_cookie_passes_the_same_checks() -> None:
    expired = GOOD.token(NOW - 7200)
    assert ask(bench(), FROM_THE_APPLICATION, expired) == 401
    assert ask(bench(), FROM_THE_APPLICATION, b"x") == 401


def test_another_origin_is_counted_and_learns_nothing_about_the_token() -> None:
    authorizer = bench()
    fields = FROM_THE_APPLICATION._replace(site=b"same-site")
    assert {ask(authorizer, fields, token) for token in (TOKEN, b"x", GOOD.token(NOW - 7200))} == {403}
    assert authorizer.decisions() == {("default", "rejected", "cross_origin"): 3}
