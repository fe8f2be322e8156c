"""The Python client of `docs/clients` with a real issuer, through a proxy that fails every first attempt."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from docs.clients import gatepass_client
from docs.clients.gatepass_client import (
    AsyncSession,
    LoginFailedError,
    LoginRequiredError,
    Session,
    Tokens,
)
from tests.support.client_tests import example_of
from tests.support.faulty_issuer import LOST, FaultyIssuer, faulty_issuer
from tests.support.issuer_process import PASSWORD, IssuerProcess

PARALLEL: Final = 8


class Client(Protocol):
    """A session that threads share."""

    def login(self, email: str, password: str) -> None: ...
    def request(self, method: str, url: str, **options: Any) -> httpx.Response: ...
    def logout(self) -> None: ...


class AsyncClient:
    """An asynchronous session, called from threads."""

    def __init__(self, portal: BlockingPortal, session: AsyncSession) -> None:
        self._portal = portal
        self._session = session

    def login(self, email: str, password: str) -> None:
        self._portal.call(self._session.login, email, password)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        response: httpx.Response = self._portal.call(partial(self._session.request, method, url, **options))
        return response

    def logout(self) -> None:
        self._portal.call(self._session.logout)


Open = Callable[..., Client]


@contextmanager
def threads() -> Iterator[Open]:
    with httpx.Client(verify=False) as http:
        yield lambda url, **options: Session(url, http, **options)


@contextmanager
def tasks() -> Iterator[Open]:
    with start_blocking_portal() as portal:
        http = httpx.AsyncClient(verify=False)
        yield lambda url, **options: AsyncClient(portal, AsyncSession(url, http, **options))
        portal.call(http.aclose)


@pytest.fixture(params=[threads, tasks], ids=["sync", "async"])
def new_session(request: pytest.FixtureRequest) -> Iterator[Open]:
    with request.param() as new:
        yield new


@pytest.fixture
def proxy(issuer: IssuerProcess) -> Iterator[FaultyIssuer]:
    with faulty_issuer(issuer.url) as faulty:
        yield faulty


@pytest.fixture
def expired(issuer: IssuerProcess) -> Tokens:
    """Return the tokens of a session, with an access token that has expired."""
    login = issuer.session()
    return Tokens(login["access_token"], login["refresh_token"], expires_at=0)


def test_a_session_lasts_from_the_login_to_the_logout(
    issuer: IssuerProcess, proxy: FaultyIssuer, new_session: Open
) -> None:
    issuer.session("ada@example.com")
    saved: list[Tokens | None] = []
    session = new_session(proxy.url, save=saved.append)
    session.login("ada@example.com", PASSWORD)
    assert session.request("GET", f"{issuer.url}/me").json()["email"] == "ada@example.com"
    session.logout()
    session.logout()
    login, after = saved
    assert login is not None
    assert after is None
    assert issuer.refresh(login.refresh_token).json() == {"error": "invalid_grant"}
    with pytest.raises(LoginRequiredError):
        session.request("GET", f"{issuer.url}/me")
    assert proxy.seen == [("/login", 503), ("/login", 200), ("/revoke", 429), ("/revoke", 200)]


def test_parallel_requests_share_one_refresh_whose_response_is_lost(
    proxy: FaultyIssuer, new_session: Open, expired: Tokens
) -> None:
    saved: list[Tokens | None] = []
    session = new_session(proxy.url, tokens=expired, save=saved.append)
    with ThreadPoolExecutor(PARALLEL) as pool:
        responses = list(pool.map(lambda _: session.request("GET", f"{proxy.url}/me"), range(PARALLEL)))
    assert [response.status_code for response in responses] == [200] * PARALLEL
    assert proxy.statuses("/token") == [LOST, 200]
    assert len(saved) == 1


def test_a_rejected_access_token_is_refreshed_once(
    issuer: IssuerProcess, proxy: FaultyIssuer, new_session: Open, expired: Tokens
) -> None:
    session = new_session(proxy.url, tokens=Tokens("rejected", expired.refresh_token, expires_at=2e9))
    with ThreadPoolExecutor(PARALLEL) as pool:
        responses = list(pool.map(lambda _: session.request("GET", f"{issuer.url}/me"), range(PARALLEL)))
    assert [response.status_code for response in responses] == [200] * PARALLEL
    assert proxy.statuses("/token") == [LOST, 200]


def test_a_session_that_was_revoked_elsewhere_needs_a_login(
    issuer: IssuerProcess, new_session: Open, expired: Tokens
) -> None:
    saved: list[Tokens | None] = []
    session = new_session(issuer.url, tokens=expired, save=saved.append)
    assert issuer.request("POST", "/logout", expired.access_token).status_code == 204
    with pytest.raises(LoginRequiredError):
        session.request("GET", f"{issuer.url}/me")
    assert saved == [None]


def test_a_wrong_password_fails_the_login(issuer: IssuerProcess, new_session: Open) -> None:
    issuer.session("bob@example.com")
    session = new_session(issuer.url)
    with pytest.raises(LoginFailedError):
        session.login("bob@example.com", "a wrong password")


@pytest.mark.parametrize("title", ["threads", "asyncio"])
def test_the_examples_of_the_page_run(
    issuer: IssuerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], title: str
) -> None:
    issuer.session("ada@example.com")
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setitem(sys.modules, "gatepass_client", gatepass_client)
    example = example_of("python.md", f'python title="{title}"', issuer)
    exec(compile(example, title, "exec"), {"__name__": title})
    assert "ada@example.com" in capsys.readouterr().out
