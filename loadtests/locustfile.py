"""Users of Gatepass for locust: `locust -f loadtests/locustfile.py --host http://127.0.0.1:8080 [USER …]`.

Each user is one client with one connection to the gateway and one to the issuer. No redirect is followed, so only the
two hosts that were named are loaded. `recorder.py` applies the thresholds when locust ends.
"""

import json
import random
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import gevent
from locust import FastHttpUser, tag, task
from locust.env import Environment

from loadtests.checks import check_call, check_either, check_rejection, check_status, retry_after_seconds
from loadtests.invalid_tokens import corrupt, kid_of
from loadtests.recorder import RECORDER, options_of
from loadtests.scenarios import CALL, CALL_AFTER_LOGOUT, REJECTED_CALL, RETRY_LATER, REVOCATION
from loadtests.seed import email_of

CALLS_PER_VISIT: Final = 20
"""Mean number of calls in a visit, and of calls between two refreshes."""

REGISTRATION_RATIO: Final = 0.1
"""Share of visits that begin with a registration."""

REVOKED_SECONDS: Final = 5.0
"""After this time a logout has reached every gateway: published within 1 s, polled every 2 s, then fetched."""

_POLL_SECONDS: Final = 0.1
_USE_UNTIL: Final = 0.8  # of a token's lifetime; it is refreshed after that
_MAX_RETRY_SECONDS: Final = 30
_rng: Final = random.Random()  # noqa: S311 - pauses and choices, no secrets
_user_numbers: Final = count()
_throwaway_password: Final = secrets.token_urlsafe(24)


Check = Callable[[int], str | None]


@dataclass(frozen=True, slots=True)
class Response:
    """A response and its check. `retry_after` (seconds) is set for a 503 with Retry-After where this is right."""

    ok: bool
    status: int
    content: bytes
    retry_after: int | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a session. From `refresh_at` on (monotonic seconds) they are refreshed before use."""

    access: str
    refresh: str
    refresh_at: float


class GatepassUser(FastHttpUser):
    """Operations that all users share."""

    abstract = True
    insecure = False
    network_timeout = 30.0
    connection_timeout = 30.0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._options = options_of(environment)
        number = next(_user_numbers)
        # 198.18.0.0/15 is set aside for benchmarks (RFC 2544 §C.2.2).
        self._ip = f"198.{18 + (number >> 16) % 2}.{(number >> 8) % 256}.{number % 256}"
        self._email: str | None = None
        file = self._options.password_file
        self._password = Path(file).read_text(encoding="ascii") if file else _throwaway_password

    def on_start(self) -> None:
        """Wait for up to a second, to spread the users that locust starts at once."""
        gevent.sleep(_rng.random())

    def wait_time(self) -> float:
        """Return the pause before the next step, exponentially distributed."""
        mean: float = self._options.think
        return _rng.expovariate(1) * mean

    def send(
        self,
        operation: str,
        method: str,
        url: str,
        check: Check,
        token: str | None = None,
        *,
        may_retry_later: bool = False,
        **content: Any,
    ) -> Response:
        """Send one request, check the response and record it as `operation`."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if "data" in content:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if self._options.client_ips and url.startswith(self._options.issuer):
            headers["X-Forwarded-For"] = self._ip
        with self.client.request(
            method, url, name=operation, headers=headers, catch_response=True, allow_redirects=False, **content
        ) as response:
            status = response.status_code
            wait = retry_after_seconds(status, response.headers or {}) if may_retry_later else None
            failure = check(status) if wait is None else None
            if failure is None:
                response.success()
            elif not status:
                # Without a response the library returns a placeholder that holds the error of the connection.
                response.failure(f"{failure}: {type(getattr(response, 'error', None)).__name__}")
            else:
                response.failure(failure)
            if wait is not None:
                response.request_meta["name"] = RETRY_LATER
            return Response(failure is None, status, response.content or b"", wait)

    def send_to_issuer(
        self, operation: str, method: str, path: str, expected: int, token: str | None = None, **content: Any
    ) -> Response:
        """Send one request to the issuer; only a response with the status `expected` is right."""
        check = partial(check_status, expected=expected)
        return self.send(operation, method, f"{self._options.issuer}{path}", check, token, **content)

    def call(self, token: str) -> bool:
        """Call the application; return whether the gateway let the request through."""
        return self.send(CALL, "GET", self._options.call, check_call, token).ok

    def call_with_invalid_token(self, token: str | None, description: str) -> None:
        """Call the application with a token that the gateway must reject."""
        self.send(REJECTED_CALL, "GET", self._options.call, partial(check_rejection, token=description), token)

    def choose_account(self, registrations: float = 0.0) -> str | None:
        """Return the email address of a seeded or newly registered account; None if registering failed."""
        if self._options.accounts and _rng.random() >= registrations:
            return email_of(_rng.randrange(self._options.accounts))
        if self._email is None or _rng.random() < registrations:
            self._email = self.register()
        return self._email

    def register(self) -> str | None:
        """Register an account; return its email address, or None if that failed."""
        email = f"load-{uuid4()}@example.com"
        body = {"email": email, "password": self._password}
        return email if self.send_to_issuer("register", "POST", "/register", 201, json=body).ok else None

    def log_in(self, email: str | None) -> Tokens | None:
        """Create a session; return its tokens, or None if that failed."""
        if email is None:
            return None
        body = {"email": email, "password": self._password}
        return _read_tokens(self.send_to_issuer("login", "POST", "/login", 200, json=body))

    def refresh(self, tokens: Tokens) -> Tokens | None:
        """Refresh the session; return the new tokens, or None if that failed."""
        form = f"grant_type=refresh_token&client_id=first-party&refresh_token={tokens.refresh}"
        return _read_tokens(self.send_to_issuer("refresh", "POST", "/token", 200, data=form))

    def refresh_if_due(self, tokens: Tokens) -> Tokens | None:
        """Return the tokens, or new ones if the access token expires soon."""
        return tokens if time.monotonic() < tokens.refresh_at else self.refresh(tokens)

    def log_out(self, tokens: Tokens) -> bool:
        """Revoke the session; return whether that succeeded."""
        return self.send_to_issuer("logout", "POST", "/logout", 204, tokens.access).ok


class TypicalUser(GatepassUser):
    """A user that logs in, calls the application about twenty times and logs out."""

    weight = 20

    @tag("register", "login", "call", "refresh", "logout")
    @task
    def visit(self) -> None:
        """Go from login to logout, after which the token must be rejected."""
        tokens = self.log_in(self.choose_account(REGISTRATION_RATIO))
        if tokens is None:
            return
        self.send_to_issuer("me", "GET", "/me", 200, tokens.access)
        for _ in range(1 + int(_rng.expovariate(1 / CALLS_PER_VISIT))):
            gevent.sleep(self.wait_time())
            due = _rng.random() < 1 / CALLS_PER_VISIT
            renewed = self.refresh(tokens) if due else self.refresh_if_due(tokens)
            if renewed is None:
                return
            tokens = renewed
            self.call(tokens.access)
        if self.log_out(tokens):
            gevent.sleep(REVOKED_SECONDS)
            self.call_with_invalid_token(tokens.access, "a token of a revoked session")


class SteadyCaller(GatepassUser):
    """A client that logs in once and keeps calling the application."""

    weight = 4
    _tokens: Tokens | None = None

    @tag("login", "call")
    @task
    def call_once(self) -> None:
        """Call the application once."""
        tokens = self._tokens
        self._tokens = self.log_in(self.choose_account()) if tokens is None else self.refresh_if_due(tokens)
        if self._tokens is not None:
            self.call(self._tokens.access)


class InvalidTokenCaller(GatepassUser):
    """An attacker that sends no token, or a valid token that was changed."""

    weight = 2
    _invalid_tokens: Iterator[tuple[str, str | None]] | None = None

    @tag("invalid")
    @task
    def call_once(self) -> None:
        """Call the application once with an invalid token."""
        if self._invalid_tokens is None:
            tokens = self.log_in(self.choose_account())
            self._invalid_tokens = None if tokens is None else cycle(corrupt(tokens.access).items())
        else:
            description, token = next(self._invalid_tokens)
            self.call_with_invalid_token(token, description)


class LoginStormUser(GatepassUser):
    """A user that logs in again and again, as after an outage, and obeys `Retry-After`."""

    @tag("login")
    @task
    def log_in_again(self) -> None:
        """Log in once."""
        email = self.choose_account()
        if email is None:
            return
        body = {"email": email, "password": self._password}
        response = self.send_to_issuer("login", "POST", "/login", 200, json=body, may_retry_later=True)
        if response.retry_after is not None:
            gevent.sleep(min(response.retry_after, _MAX_RETRY_SECONDS))


class RevocationUser(GatepassUser):
    """A user that logs out and measures how long the gateway still accepts the token."""

    @tag("login", "logout", "revocation")
    @task
    def log_out_and_watch(self) -> None:
        """Create one session, revoke it, and wait until the gateway rejects its token."""
        tokens = self.log_in(self.choose_account())
        if tokens is None or not self.call(tokens.access):
            return
        gevent.sleep(self.wait_time())
        if self.log_out(tokens):
            self._call_until_rejected(tokens.access, time.monotonic())

    def _call_until_rejected(self, token: str, revoked_at: float) -> None:
        while time.monotonic() < revoked_at + REVOKED_SECONDS:
            response = self.send(CALL_AFTER_LOGOUT, "GET", self._options.call, check_either, token)
            if not response.ok:
                return
            if response.status == HTTPStatus.UNAUTHORIZED:
                self.environment.events.request.fire(
                    request_type="WAIT",
                    name=REVOCATION,
                    response_time=(time.monotonic() - revoked_at) * 1000,
                    response_length=0,
                    exception=None,
                    context={},
                )
                return
            gevent.sleep(_POLL_SECONDS)
        self.call_with_invalid_token(token, "a token of a revoked session")


def _read_tokens(response: Response) -> Tokens | None:
    if not response.ok:
        return None
    try:
        document = json.loads(response.content)
        access, refresh, lifetime = document["access_token"], document["refresh_token"], document["expires_in"]
        RECORDER.kids.add(kid_of(access))
    except (ValueError, LookupError, TypeError):
        # The response is 200, but not from an issuer.
        RECORDER.failures["login", "no tokens in the response"] += 1
        return None
    return Tokens(access, refresh, time.monotonic() + _USE_UNTIL * lifetime)
