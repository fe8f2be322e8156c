"""A user's session at a Gatepass issuer: log in, send requests with the access token, log out.

`Session` is for threads, `AsyncSession` for asyncio. Copy this file into your application; it needs only httpx.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

_ATTEMPTS = 4
_MAX_WAIT_SECONDS = 30
_REFRESH_SECONDS_BEFORE_EXPIRY = 30


class GatepassError(Exception):
    """A request to the issuer failed."""


class LoginFailedError(GatepassError):
    """The email or the password is wrong."""


class LoginRequiredError(GatepassError):
    """There is no session, or it was revoked or has expired: the user has to log in."""


class UnavailableError(GatepassError):
    """The issuer is overloaded, or asks to wait for longer than this client does."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a session.

    Attributes:
        access_token: for `Authorization: Bearer`.
        refresh_token: a secret of this application; valid once.
        expires_at: when the access token expires, in seconds since 1970.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float


class _State:
    """The tokens, requests and responses of the synchronous and the asynchronous session."""

    def __init__(
        self, issuer: str, tokens: Tokens | None, save: Callable[[Tokens | None], object], client_id: str
    ) -> None:
        self.tokens = tokens
        self.save = save
        self.issuer = issuer.rstrip("/")
        self.client_id = client_id

    def set(self, tokens: Tokens | None) -> None:
        """Save tokens before their use."""
        self.save(tokens)
        self.tokens = tokens

    def login_request(self, email: str, password: str) -> httpx.Request:
        """Return the request that logs in."""
        body = {"email": email, "password": password, "client_id": self.client_id}
        return httpx.Request("POST", f"{self.issuer}/login", json=body)

    def refresh_request(self, tokens: Tokens) -> httpx.Request:
        """Return the request for new tokens."""
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token, "client_id": self.client_id}
        return httpx.Request("POST", f"{self.issuer}/token", data=form)

    def revocation_request(self, tokens: Tokens) -> httpx.Request:
        """Return the request that logs out. It works after the access token has expired, too."""
        form = {"token": tokens.refresh_token, "client_id": self.client_id}
        return httpx.Request("POST", f"{self.issuer}/revoke", data=form)

    def current(self) -> Tokens:
        """Return the tokens, which may have to be refreshed before their use."""
        if self.tokens is None:
            raise LoginRequiredError
        return self.tokens

    def refreshed(self, response: httpx.Response) -> Tokens:
        """Return the new tokens of a response to a refresh."""
        if response.status_code == httpx.codes.BAD_REQUEST and response.json().get("error") == "invalid_grant":
            self.set(None)
            raise LoginRequiredError
        tokens = _tokens(response)
        self.set(tokens)
        return tokens


class Session:
    """The session of one user, for any number of threads.

    Args:
        issuer: the URL of the issuer.
        http: sends all requests.
        tokens: of an earlier run of the application.
        save: is called with new tokens before they are used, and with None when they are discarded.
        client_id: of the application, if the operator has registered one.
    """

    def __init__(
        self,
        issuer: str,
        http: httpx.Client,
        *,
        tokens: Tokens | None = None,
        save: Callable[[Tokens | None], object] = lambda _: None,
        client_id: str = "first-party",
    ) -> None:
        self._http = http
        self._state = _State(issuer, tokens, save, client_id)
        self._lock = threading.Lock()  # one refresh at a time; others wait for its result

    def login(self, email: str, password: str) -> None:
        """Log in.

        Raises:
            LoginFailedError: the email or the password is wrong.
            UnavailableError: the issuer asks to wait.
            httpx.TransportError: the issuer cannot be reached.
        """
        response = self._send(self._state.login_request(email, password))
        with self._lock:
            self._state.set(_tokens_of_login(response))

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request with the access token, as `httpx.Client.request` does. The body must not be a stream.

        Raises:
            LoginRequiredError: there is no session, or it was revoked or has expired.
            UnavailableError: the access token has to be refreshed, and the issuer asks to wait.
            httpx.TransportError: the server, or the issuer, cannot be reached.
        """
        request = self._http.build_request(method, url, **options)
        used = self._access_token()
        response = self._send(_with_token(request, used))
        if response.status_code == httpx.codes.UNAUTHORIZED:
            response = self._send(_with_token(request, self._access_token(rejected=used)))
        return response

    def logout(self) -> None:
        """Revoke the session. The tokens are discarded in any case.

        Raises:
            UnavailableError, httpx.TransportError: the issuer did not revoke the session, which expires later.
        """
        with self._lock:
            tokens = self._state.tokens
            if tokens is None:
                return
            self._state.set(None)
            _check(self._send(self._state.revocation_request(tokens), repeat_if_lost=True))

    def _access_token(self, rejected: str | None = None) -> str:
        with self._lock:
            tokens = self._state.current()
            if _needs_refresh(tokens, rejected):
                request = self._state.refresh_request(tokens)
                # A repeated refresh returns the same new tokens, for two minutes.
                tokens = self._state.refreshed(self._send(request, repeat_if_lost=True))
            return tokens.access_token

    def _send(self, request: httpx.Request, *, repeat_if_lost: bool = False) -> httpx.Response:
        for attempt in range(1, _ATTEMPTS):
            try:
                response = self._http.send(request)
            except httpx.TransportError:
                if not repeat_if_lost:
                    raise
                time.sleep(attempt / 2)
            else:
                pause = _requested_pause(response)
                if pause is None:
                    return response
                time.sleep(pause)
        return self._http.send(request)


class AsyncSession:
    """The session of one user, for any number of tasks of one event loop. Arguments as for `Session`."""

    def __init__(
        self,
        issuer: str,
        http: httpx.AsyncClient,
        *,
        tokens: Tokens | None = None,
        save: Callable[[Tokens | None], object] = lambda _: None,
        client_id: str = "first-party",
    ) -> None:
        self._http = http
        self._state = _State(issuer, tokens, save, client_id)
        self._lock = asyncio.Lock()

    async def login(self, email: str, password: str) -> None:
        """Log in, as `Session.login` does."""
        response = await self._send(self._state.login_request(email, password))
        async with self._lock:
            self._state.set(_tokens_of_login(response))

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request with the access token, as `Session.request` does."""
        request = self._http.build_request(method, url, **options)
        used = await self._access_token()
        response = await self._send(_with_token(request, used))
        if response.status_code == httpx.codes.UNAUTHORIZED:
            response = await self._send(_with_token(request, await self._access_token(rejected=used)))
        return response

    async def logout(self) -> None:
        """Revoke the session, as `Session.logout` does."""
        async with self._lock:
            tokens = self._state.tokens
            if tokens is None:
                return
            self._state.set(None)
            _check(await self._send(self._state.revocation_request(tokens), repeat_if_lost=True))

    async def _access_token(self, rejected: str | None = None) -> str:
        async with self._lock:
            tokens = self._state.current()
            if _needs_refresh(tokens, rejected):
                request = self._state.refresh_request(tokens)
                tokens = self._state.refreshed(await self._send(request, repeat_if_lost=True))
            return tokens.access_token

    async def _send(self, request: httpx.Request, *, repeat_if_lost: bool = False) -> httpx.Response:
        for attempt in range(1, _ATTEMPTS):
            try:
                response = await self._http.send(request)
            except httpx.TransportError:
                if not repeat_if_lost:
                    raise
                await asyncio.sleep(attempt / 2)
            else:
                pause = _requested_pause(response)
                if pause is None:
                    return response
                await asyncio.sleep(pause)
        return await self._http.send(request)


def _needs_refresh(tokens: Tokens, rejected: str | None) -> bool:
    """Return whether the access token expires soon, or is the one that a server rejected.

    Another request may have refreshed a rejected token meanwhile: then there is no need.
    """
    return tokens.access_token == rejected or tokens.expires_at - time.time() < _REFRESH_SECONDS_BEFORE_EXPIRY


def _with_token(request: httpx.Request, access_token: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {access_token}"
    return request


def _requested_pause(response: httpx.Response) -> int | None:
    """Return the seconds after which to repeat the request, or None if the response is final."""
    after = response.headers.get("Retry-After", "")
    if response.status_code not in {429, 503} or not after.isdecimal() or int(after) > _MAX_WAIT_SECONDS:
        return None
    return int(after)


def _check(response: httpx.Response) -> None:
    """Raise an error unless the response is a success."""
    if response.status_code in {429, 503}:
        raise UnavailableError(f"the issuer asks to retry after {response.headers.get('Retry-After')} seconds")
    if response.status_code != httpx.codes.OK:
        raise GatepassError(f"the issuer responded with {response.status_code}")


def _tokens_of_login(response: httpx.Response) -> Tokens:
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise LoginFailedError
    return _tokens(response)


def _tokens(response: httpx.Response) -> Tokens:
    _check(response)
    body = response.json()
    return Tokens(body["access_token"], body["refresh_token"], time.time() + body["expires_in"])
