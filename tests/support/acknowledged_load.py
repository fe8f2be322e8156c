"""Clients that register, log in, refresh and log out without pause, and record everything that was acknowledged."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count, pairwise
from typing import Any, Final

import httpx

from tests.support.issuer_process import PASSWORD
from tests.support.plain_http import HTTP
from tests.support.postgres import execute
from tests.support.processes import wait_until
from tests.support.verifier_process import VerifierProcess

REFRESHING: Final = 2
_PAUSE_SECONDS: Final = 0.05
_REFRESH: Final = {"grant_type": "refresh_token"}


def stored_emails(database_url: str) -> set[str]:
    """Return the emails of all accounts in a database."""
    return {row[0] for row in execute(database_url, "SELECT email_key FROM users")}


@dataclass
class AcknowledgedLoad:
    """Load on several issuers. A request that gets no response, or 503, is sent to the next one, as clients do.

    Attributes:
        urls: of the issuers.
        verifiers: that must accept every token of a live session.
        emails: of the accounts whose registration was acknowledged.
        logged_out: tokens of sessions whose logout was acknowledged.
        refreshing: the newest tokens of sessions that are refreshed.
        times: when a write was acknowledged.
        failures: other responses than success and 503.
        rejected: responses of verifiers to valid tokens.
        without_response: number of requests whose connection was refused or lost.
    """

    urls: Sequence[str]
    verifiers: Sequence[VerifierProcess] = ()
    emails: list[str] = field(default_factory=list)
    logged_out: list[dict[str, Any]] = field(default_factory=list)
    refreshing: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    without_response: int = 0
    _turns: Iterator[int] = field(default_factory=count)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send requests until the block ends."""
        if not self.refreshing:
            self.refreshing = [self.log_in(self.register()) for _ in range(REFRESHING)]
        self._stop.clear()
        with ThreadPoolExecutor(REFRESHING + 1) as pool, ExitStack() as stack:
            stack.callback(self._stop.set)
            work: list[Callable[[], None]] = [
                self._visit,
                *(partial(self._refresh, number) for number in range(REFRESHING)),
            ]
            threads = [pool.submit(self._repeat, task) for task in work]
            yield
        for thread in threads:
            thread.result()

    def use(self, *urls: str) -> None:
        """Send requests to these issuers from now on; return when none is in flight elsewhere."""
        self.urls = urls
        if self.refreshing:
            # Each client has then begun a request since.
            self.wait_for_writes(3 * REFRESHING)

    def wait_for_writes(self, number: int, seconds: float = 30) -> None:
        """Wait until `number` more writes are acknowledged."""
        enough = len(self.times) + number
        wait_until(lambda: len(self.times) >= enough, f"{number} more writes; {self.failures}", seconds)

    def longest_gap(self, since: float) -> float:
        """Return the longest time without an acknowledged write."""
        times = [when for when in self.times if when >= since - 1]
        return max(after - before for before, after in pairwise(times))

    def register(self) -> str:
        """Register an account with an email that no earlier attempt used."""
        for number in count():
            email = f"user{len(self.emails)}.{number}.{time.monotonic_ns()}@example.com"
            body = {"email": email, "password": PASSWORD}
            if self._post("/register", 201, json=body) is not None:
                self.emails.append(email)
                return email
        raise AssertionError

    def log_in(self, email: str) -> dict[str, Any]:
        """Log in."""
        credentials = {"email": email, "password": PASSWORD}
        tokens: dict[str, Any] = self._until_acknowledged("/login", 200, json=credentials).json()
        return tokens

    def refresh(self, tokens: dict[str, Any]) -> dict[str, Any]:
        """Refresh; repeat with the same token until it is acknowledged."""
        form = {**_REFRESH, "refresh_token": tokens["refresh_token"]}
        refreshed: dict[str, Any] = self._until_acknowledged("/token", 200, data=form).json()
        return refreshed

    def log_out(self, tokens: dict[str, Any]) -> None:
        """Log out."""
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        self._until_acknowledged("/logout", 204, headers=bearer)
        self.logged_out.append(tokens)

    def assert_nothing_was_lost(self, stored: set[str]) -> None:
        """Check that every acknowledged write is in the database; `stored` are the emails of its accounts."""
        assert self.failures == []
        assert self.rejected == []
        assert set(self.emails) <= stored
        self.refreshing = [self.refresh(tokens) for tokens in self.refreshing]
        for tokens in self.logged_out:
            form = {**_REFRESH, "refresh_token": tokens["refresh_token"]}
            assert HTTP.post(f"{self.urls[0]}/token", data=form).status_code == 400
        wait_until(lambda: all(map(self._is_rejected, self.logged_out)), "tokens of ended sessions are rejected")

    def _is_rejected(self, tokens: dict[str, Any]) -> bool:
        token = tokens["access_token"].encode()
        return all(verifier.ask(token=token).status == 401 for verifier in self.verifiers)

    def _visit(self) -> None:
        tokens = self.log_in(self.register())
        self._must_pass(tokens)
        self.log_out(tokens)

    def _refresh(self, number: int) -> None:
        self.refreshing[number] = self.refresh(self.refreshing[number])
        self._must_pass(self.refreshing[number])

    def _must_pass(self, tokens: dict[str, Any]) -> None:
        for verifier in self.verifiers:
            if (status := verifier.ask(token=tokens["access_token"].encode()).status) != 200:
                self.rejected.append(status)

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            work()
            time.sleep(_PAUSE_SECONDS)

    def _until_acknowledged(self, path: str, status: int, **request: Any) -> httpx.Response:
        return wait_until(lambda: self._post(path, status, **request), "a request is acknowledged", 60)

    def _post(self, path: str, status: int, **request: Any) -> httpx.Response | None:
        """Send a request to an issuer; return the response if it is a success."""
        urls = self.urls
        url = urls[next(self._turns) % len(urls)]
        try:
            response = HTTP.post(f"{url}{path}", **request)
        except httpx.TransportError:
            self.without_response += 1
            return None
        if response.status_code == status:
            self.times.append(time.monotonic())
            return response
        if response.status_code != 503:
            self.failures.append(f"{path}: {response.status_code} {response.text}")
        return None
