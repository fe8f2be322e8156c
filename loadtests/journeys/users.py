"""The users that locust plays. Importing this patches the process: `locustfile` alone does.

A user is one client with one connection to each side. It follows no redirect, so it asks the two hosts of the
plan and nobody else.
"""

import json
import os
import random
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
from locust import FastHttpUser, task

from loadtests.journeys import plan as plans
from loadtests.journeys.answers import (
    fault_in_between,
    fault_of_answer,
    fault_of_call,
    fault_of_refusal,
    seconds_to_wait,
)
from loadtests.journeys.costs import spent_by
from loadtests.journeys.garbage import kid_of, spoilt
from loadtests.journeys.kinds import AFTER_LOGOUT, CALL, REFUSED_CALL, TOLD_TO_WAIT, UNTIL_REFUSED
from loadtests.journeys.people import address_of
from loadtests.journeys.plan import Plan
from loadtests.journeys.recorder import Recorder

CALLS: Final = 20
"""Calls of a visit on average; and so many on average between two refreshes."""

NEWCOMERS: Final = 0.1
"""Share of the visits that begin with a registration."""

REVOKED_SECONDS: Final = 5.0
"""After this long a logout has reached every gateway: published within 1 s, polled every 2 s, and fetched."""

PLAN: Final = Plan.read(Path(os.environ[plans.VARIABLE]))
RECORDER: Final = Recorder(spent_by(PLAN.stack))

_PASSWORD: Final = Path(PLAN.secret).read_text(encoding="ascii")
_POLL_SECONDS: Final = 0.1
_FRESH_SHARE: Final = 0.8
_LONGEST_WAIT_SECONDS: Final = 30
_dice: Final = random.Random()  # noqa: S311 - pauses and turns, no secrets
_numbers: Final = count()

Judge = Callable[[int], str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how it was judged.

    Attributes:
        wait: the seconds that a 503 asked to wait, where that is a right answer.
    """

    right: bool
    status: int
    content: bytes
    wait: int | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login or a refresh gave; from `stale_at` on (monotonic) they are renewed before they are used."""

    access: str
    refresh: str
    stale_at: float


class Client(FastHttpUser):
    """What all users can do. Each has a client address of its own."""

    abstract = True
    host = PLAN.host
    insecure = False
    network_timeout = 30.0
    connection_timeout = 30.0

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        number = next(_numbers)
        self._address = f"198.{18 + (number >> 16) % 2}.{(number >> 8) % 256}.{number % 256}"
        self._own: str | None = None

    def on_start(self) -> None:
        """Locust starts the users of a second all at once; people come when they come."""
        gevent.sleep(_dice.random())

    def wait_time(self) -> float:
        """The pause between tasks."""
        return _dice.expovariate(1 / PLAN.think)

    def pause(self) -> None:
        """A person looks at what came."""
        gevent.sleep(self.wait_time())

    def ask(
        self,
        operation: str,
        method: str,
        url: str,
        judge: Judge,
        token: str | None = None,
        *,
        may_wait: bool = False,
        **content: Any,
    ) -> Answer:
        """One request, judged, and counted as `operation`. If it `may_wait`, 503 with Retry-After is right too."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if "data" in content:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if PLAN.stack is not None and url.startswith(PLAN.issuer):
            headers["X-Forwarded-For"] = self._address
        with self.client.request(
            method, url, name=operation, headers=headers, catch_response=True, allow_redirects=False, **content
        ) as response:
            status = response.status_code
            wait = seconds_to_wait(status, response.headers or {}) if may_wait else None
            fault = judge(status) if wait is None else None
            if fault is None:
                response.success()
            elif not status:
                # A failure of the connection, which the library keeps beside the answer that it stands in for.
                response.failure(f"{fault}: {type(getattr(response, 'error', None)).__name__}")
            else:
                response.failure(fault)
            if wait is not None:
                response.request_meta["name"] = TOLD_TO_WAIT
            return Answer(fault is None, status, response.content or b"", wait)

    def ask_issuer(
        self, operation: str, method: str, path: str, right: int, token: str | None = None, **content: Any
    ) -> Answer:
        """One request of the issuer, whose right answer is `right`."""
        return self.ask(
            operation, method, f"{PLAN.issuer}{path}", partial(fault_of_answer, right=right), token, **content
        )

    def call(self, token: str) -> bool:
        """A request of the application; whether it was let through."""
        return self.ask(CALL, "GET", PLAN.call, fault_of_call, token).right

    def refused_call(self, token: str | None, what: str) -> None:
        """One that must not be let through."""
        self.ask(REFUSED_CALL, "GET", PLAN.call, partial(fault_of_refusal, what=what), token)

    def address(self, newcomers: float = 0.0) -> str | None:
        """Whose session this is to be; None if it is a new account's that was not made."""
        if PLAN.people and _dice.random() >= newcomers:
            return address_of(_dice.randrange(PLAN.people))
        if self._own is None or _dice.random() < newcomers:
            self._own = self.register()
        return self._own

    def register(self) -> str | None:
        """A new account; None if it was not made."""
        address = f"load-{uuid4()}@example.com"
        account = {"email": address, "password": _PASSWORD}
        return address if self.ask_issuer("register", "POST", "/register", 201, json=account).right else None

    def log_in(self, address: str | None) -> Tokens | None:
        """A new session; None if there is none."""
        if address is None:
            return None
        account = {"email": address, "password": _PASSWORD}
        return _tokens(self.ask_issuer("login", "POST", "/login", 200, json=account))

    def refresh(self, tokens: Tokens) -> Tokens | None:
        """The next tokens of the session; None if there are none."""
        form = f"grant_type=refresh_token&client_id=first-party&refresh_token={tokens.refresh}"
        return _tokens(self.ask_issuer("refresh", "POST", "/token", 200, data=form))

    def kept_fresh(self, tokens: Tokens) -> Tokens | None:
        """The same tokens, or new ones before the old ones expire."""
        return tokens if time.monotonic() < tokens.stale_at else self.refresh(tokens)

    def log_out(self, tokens: Tokens) -> bool:
        """The session ends; whether it did."""
        return self.ask_issuer("logout", "POST", "/logout", 204, tokens.access).right


class Person(Client):
    """Comes, looks at a page or twenty, and goes."""

    @task
    def visit(self) -> None:
        """From login to logout; and after it the token must open nothing."""
        tokens = self.log_in(self.address(NEWCOMERS))
        if tokens is None:
            return
        self.ask_issuer("me", "GET", "/me", 200, tokens.access)
        # How long somebody stays does not depend on how long they have been here.
        for _ in range(1 + int(_dice.expovariate(1 / CALLS))):
            self.pause()
            renewed = self.refresh(tokens) if _dice.random() < 1 / CALLS else self.kept_fresh(tokens)
            if renewed is None:
                return
            tokens = renewed
            self.call(tokens.access)
        if self.log_out(tokens):
            gevent.sleep(REVOKED_SECONDS)
            self.refused_call(tokens.access, "a token whose session has ended")


class VerifySteady(Client):
    """Logs in once and calls on and on."""

    _tokens: Tokens | None = None

    @task
    def go_on(self) -> None:
        """One call."""
        self._tokens = self.log_in(self.address()) if self._tokens is None else self.kept_fresh(self._tokens)
        if self._tokens is not None:
            self.call(self._tokens.access)


class VerifyGarbage(Client):
    """Comes with everything but a good token: no two of its users spoil the same one."""

    _garbage: Iterator[tuple[str, str | None]] | None = None

    @task
    def try_in_vain(self) -> None:
        """One call."""
        if self._garbage is None:
            tokens = self.log_in(self.address())
            self._garbage = None if tokens is None else cycle(spoilt(tokens.access).items())
        else:
            what, token = next(self._garbage)
            self.refused_call(token, what)


class LoginStorm(Client):
    """Everybody comes back at once, as after an outage. Who is told to wait, waits."""

    @task
    def storm(self) -> None:
        """One login."""
        address = self.address()
        if address is None:
            return
        account = {"email": address, "password": _PASSWORD}
        answer = self.ask_issuer("login", "POST", "/login", 200, json=account, may_wait=True)
        if answer.wait is not None:
            gevent.sleep(min(answer.wait, _LONGEST_WAIT_SECONDS))


class Revocation(Client):
    """Logs in, calls, logs out, and asks until the gateway has heard of it."""

    @task
    def end(self) -> None:
        """One session."""
        tokens = self.log_in(self.address())
        if tokens is None or not self.call(tokens.access):
            return
        self.pause()
        if self.log_out(tokens):
            self._ask_until_refused(tokens.access, time.monotonic())

    def _ask_until_refused(self, token: str, ended: float) -> None:
        """Being let through is right only so long."""
        while time.monotonic() < ended + REVOKED_SECONDS:
            answer = self.ask(AFTER_LOGOUT, "GET", PLAN.call, fault_in_between, token)
            if not answer.right:
                return
            if answer.status == HTTPStatus.UNAUTHORIZED:
                self._fire(UNTIL_REFUSED, (time.monotonic() - ended) * 1000)
                return
            gevent.sleep(_POLL_SECONDS)
        self.refused_call(token, "a token whose session has ended")

    def _fire(self, operation: str, milliseconds: float) -> None:
        self.environment.events.request.fire(
            request_type="WAIT",
            name=operation,
            response_time=milliseconds,
            response_length=0,
            exception=None,
            context={},
        )


def _tokens(answer: Answer) -> Tokens | None:
    if not answer.right:
        return None
    try:
        document = json.loads(answer.content)
        access, refresh, life = document["access_token"], document["refresh_token"], document["expires_in"]
        RECORDER.note_key(kid_of(access))
    except (ValueError, LookupError, TypeError):
        # Something else answers there, and 200 at that.
        RECORDER.note("login", 0.0, "wrong answer: no tokens in it")
        return None
    return Tokens(access, refresh, time.monotonic() + _FRESH_SHARE * life)
