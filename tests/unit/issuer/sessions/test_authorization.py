"""Access tokens of a session never contain more than account, client, login and request allow."""

from dataclasses import replace

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from issuer.errors import InvalidScopeError, InvalidTargetError
from issuer.sessions.authorization import (
    LoginRequest,
    RefreshRequest,
    authorize_login,
    authorize_refresh,
    check_login,
    read_scope,
)
from issuer.sessions.models import SessionState
from issuer.tokens.models import PublicClient, default_client
from tests.unit.issuer.sessions.test_refresh_policy import STATE

SHOP = PublicClient("shop", ("https://shop", "https://stock"), frozenset({"read", "write"}))
STATE_OF_SHOP = replace(STATE, client_id="shop", client=SHOP, login_scope="read write", scope="read write admin")


def refreshed(
    state: SessionState = STATE_OF_SHOP, scope: str | None = None, audience: str | None = None
) -> tuple[str, str]:
    return authorize_refresh(state, RefreshRequest(None, None if scope is None else read_scope(scope), audience))


def test_a_login_that_asks_for_nothing_gets_what_account_and_client_share() -> None:
    assert authorize_login(LoginRequest(SHOP), "admin write read") == "write read"
    assert authorize_login(LoginRequest(default_client("gatepass")), "admin write read") == "admin write read"
    assert LoginRequest(SHOP).audience == "https://shop"


def test_a_login_gets_what_it_asks_for_or_nothing() -> None:
    request = LoginRequest(SHOP, frozenset({"read"}), ("https://stock", "https://shop"))
    check_login(request)
    assert authorize_login(request, "write read") == authorize_login(request, "read") == "read"
    assert request.audience == "https://stock"
    with pytest.raises(InvalidScopeError):
        authorize_login(request, "write")
    with pytest.raises(InvalidScopeError):
        check_login(replace(request, scope=frozenset({"read", "admin"})))
    with pytest.raises(InvalidTargetError):
        check_login(replace(request, audiences=("https://shop", "https://elsewhere")))


@pytest.mark.parametrize("text", ["", " ", "read ", " read", "read  write"])
def test_a_scope_is_separated_by_single_spaces(text: str) -> None:
    with pytest.raises(InvalidScopeError):
        read_scope(text)


def test_a_refresh_narrows_one_token() -> None:
    assert refreshed() == ("https://shop", "read write")
    assert refreshed(scope="write", audience="https://stock") == ("https://stock", "write")
    for scope in ("admin", "read admin", "READ"):
        with pytest.raises(InvalidScopeError):
            refreshed(scope=scope)
    with pytest.raises(InvalidTargetError):
        refreshed(audience="https://elsewhere")


def test_a_session_is_limited_to_what_its_login_asked_for() -> None:
    limited = replace(STATE_OF_SHOP, login_scope="read", scope_limited=True, audiences=("https://stock",))
    assert refreshed(limited) == ("https://stock", "read")
    with pytest.raises(InvalidScopeError):
        refreshed(limited, scope="write")
    with pytest.raises(InvalidTargetError):
        refreshed(limited, audience="https://shop")


def test_a_session_follows_its_account_and_its_client() -> None:
    gained = replace(STATE_OF_SHOP, login_scope="read", scope="read write")
    assert refreshed(gained) == ("https://shop", "read write")
    assert refreshed(gained, scope="write") == ("https://shop", "write")
    lost = replace(STATE_OF_SHOP, scope="read")
    assert refreshed(lost, scope="read write") == ("https://shop", "read")
    moved = replace(STATE_OF_SHOP, client=replace(SHOP, audiences=("https://new",), scope=frozenset({"read"})))
    assert refreshed(moved) == ("https://new", "read")
    with pytest.raises(InvalidScopeError):
        refreshed(moved, scope="read write")
    with pytest.raises(InvalidTargetError):
        refreshed(replace(moved, audiences=("https://shop",)))


tokens = st.frozensets(st.sampled_from("abcd"))
audiences = st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, unique=True).map(tuple)
clients = st.builds(PublicClient, st.just("shop"), audiences, st.none() | tokens)
scopes = tokens.map(lambda scope: " ".join(sorted(scope)))


@given(clients, st.none() | tokens, st.none() | audiences, scopes, scopes, st.none() | tokens, st.sampled_from("xyz"))
def test_no_token_contains_what_one_of_them_does_not_allow(
    client: PublicClient,
    login_scope: frozenset[str] | None,
    login_audiences: tuple[str, ...] | None,
    account_scope: str,
    account_scope_later: str,
    scope: frozenset[str] | None,
    audience: str,
) -> None:
    login = LoginRequest(client, login_scope, login_audiences)
    try:
        check_login(login)
        granted = authorize_login(login, account_scope)
    except (InvalidScopeError, InvalidTargetError):
        reject()
    allowed = {"a", "b", "c", "d"} if client.scope is None else client.scope
    assert set(granted.split()) <= allowed & set(account_scope.split())
    assert login.audience in client.audiences
    state = replace(
        STATE,
        client=client,
        login_scope=granted,
        scope_limited=login_scope is not None,
        audiences=login_audiences,
        scope=account_scope_later,
    )
    try:
        aud, refreshed_scope = authorize_refresh(state, RefreshRequest(None, scope, audience))
    except (InvalidScopeError, InvalidTargetError):
        return
    assert aud == audience
    assert aud in set(client.audiences) & set(login_audiences or client.audiences)
    wanted = allowed if scope is None else scope
    limit = allowed if login_scope is None else login_scope
    assert set(refreshed_scope.split()) <= allowed & wanted & limit & set(account_scope_later.split())
