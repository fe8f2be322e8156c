"""The rate limits on PostgreSQL, compared with a small reference implementation (ADR 0084)."""

import asyncio
import itertools
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple, rule

from issuer.context import RequestContext
from issuer.errors import TooManyAttemptsError
from issuer.keys.mac_secrets import MacSecret
from issuer.throttling.models import CounterKind, LimitedAction, ShownSession
from tests.models.walks import TIMEOUT_SECONDS, walk
from tests.support.login_bench import PASSWORD, LoginBench, burst, login_bench

FREE = {"pair": 10, "account": 50, "network": 60, "session": 10, "all_sessions": 100}
REQUESTS = 5
SECONDS = {
    "request": 600,
    "pair": 86400,
    "account": 7 * 86400,
    "network": 3600,
    "session": 86400,
    "all_sessions": 7 * 86400,
}
ACCOUNTS = ("ann", "bob", "unknown")
NETWORKS = ("192.0.2.1", "2001:db8::1", None)

accounts = st.sampled_from(ACCOUNTS)
networks = st.sampled_from(NETWORKS)
passwords = st.sampled_from([PASSWORD, "wrong"])


@dataclass
class Row:
    """A counter: its count, the second of the last failure, and the second at which it restarts."""

    count: int
    last: int
    ends: int


@dataclass
class Reference:
    """The rule, written independently of the code."""

    second: int = 0
    rows: dict[tuple[str, ...], Row] = field(default_factory=dict)
    live: dict[UUID, str] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)

    def row(self, key: tuple[str, ...]) -> Row:
        """Return a counter that has not expired, or an empty one."""
        found = self.rows.get(key)
        if found is None or found.ends <= self.second:
            found = Row(0, self.second, self.second + SECONDS[key[0]])
        return found

    def wait(self, key: tuple[str, ...]) -> int:
        """Return the seconds before the next attempt."""
        row, free = self.row(key), FREE[key[0]]
        if row.count < free:
            return 0
        return max(0, min(row.last + min(900, 1 << (row.count - free)), row.ends) - self.second)

    def is_proven(self, account: str, session: UUID | None) -> bool:
        """Return whether the session proves the login."""
        return (
            session is not None
            and self.live.get(session) == account
            and self.row(("all_sessions", account)).count < 100
        )

    def keys(self, account: str, network: str | None, session: UUID | None) -> list[tuple[str, ...]]:
        """Return the counters that limit an attempt."""
        if self.is_proven(account, session):
            return [("session", str(session)), ("all_sessions", account)]
        return [("pair", account, str(network)), ("account", account), ("network", str(network))]

    def count(self, key: tuple[str, ...]) -> None:
        """Count one more."""
        row = self.row(key)
        self.rows[key] = Row(row.count + 1, self.second, row.ends)

    def attempt(
        self, account: str, network: str | None, session: UUID | None, *, right: bool, clears: bool
    ) -> int | str:
        """Log in, or confirm the password within a session."""
        proven, keys = self.is_proven(account, session), self.keys(account, network, session)
        if wait := max(map(self.wait, keys)):
            return wait
        if right and account != "unknown" and (proven or account not in self.disabled):
            if clears:
                forgiven = self.row(keys[0]).count
                self.rows.pop(keys[0], None)
                if forgiven and keys[1] in self.rows:
                    self.rows[keys[1]].count = max(0, self.rows[keys[1]].count - forgiven)
            return "accepted"
        for key in keys:
            self.count(key)
        if not proven and self.row(("account", account)).count >= 100:
            self.disabled.add(account)
        return "rejected"

    def admit(self, action: LimitedAction, network: str | None) -> int:
        """Count a request; return the seconds to wait, or 0 if it is within the limit."""
        key = ("request", action, str(network))
        self.count(key)
        return self.row(key).ends - self.second if self.row(key).count > REQUESTS else 0

    def burst(self, account: str, network: str | None, session: UUID | None, size: int) -> int:
        """Fail `size` times at once; the other counters limit what the first one admits."""
        proven, (first, *others) = self.is_proven(account, session), self.keys(account, network, session)
        if max(map(self.wait, (first, *others))):
            return 0
        results = 0
        for _ in range(size):
            if self.wait(first):
                continue
            self.count(first)
            free = [not self.wait(key) for key in others]
            for key, is_free in zip(others, free, strict=True):
                if is_free:
                    self.count(key)
            results += all(free)
        if not proven and self.row(("account", account)).count >= 100:
            self.disabled.add(account)
        return results


class LoginRule(RuleBasedStateMachine):
    """Attempts of accounts, networks and sessions in any order, at two issuers."""

    url: str
    examples = itertools.count()
    sessions: Bundle[ShownSession] = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.reference = Reference()
        self.example = next(self.examples)
        self.benches: tuple[LoginBench, ...] = ()

    def teardown(self) -> None:
        """Close the issuers."""
        self.runner.run(self.close())
        self.runner.close()

    @initialize(target=sessions)
    def open(self) -> MultipleResults[ShownSession]:
        """Open two issuers, and create two accounts with a session each."""
        self.runner.run(self._open())
        return multiple(*(self._session(account) for account in ACCOUNTS[:2]))

    @rule(account=accounts, network=networks, password=passwords)
    def log_in(self, account: str, network: str | None, password: str) -> None:
        self._log_in(account, network, None, password)

    @rule(account=accounts, network=networks, shown=sessions, password=passwords)
    def log_in_with_a_session(self, account: str, network: str | None, shown: ShownSession, password: str) -> None:
        self._log_in(account, network, shown, password)

    @rule(network=networks, shown=sessions, password=passwords)
    def confirm_the_password(self, network: str | None, shown: ShownSession, password: str) -> None:
        account = self.reference.live.get(shown.id)
        if account is not None:
            results = self._bench().reauthenticate(self._email(account), self._context(network), password, shown.id)
            expected = self.reference.attempt(account, network, shown.id, right=password == PASSWORD, clears=False)
            assert self.runner.run(results) == expected

    @rule(account=accounts, network=networks, size=st.integers(1, 12))
    def fail_at_once(self, account: str, network: str | None, size: int) -> None:
        self._burst(account, network, None, size)

    @rule(account=accounts, shown=sessions, size=st.integers(1, 12))
    def fail_at_once_with_a_session(self, account: str, shown: ShownSession, size: int) -> None:
        self._burst(account, None, shown, size)

    @rule(action=st.sampled_from(LimitedAction), network=networks, times=st.integers(1, 4))
    def send_requests(self, action: LimitedAction, network: str | None, times: int) -> None:
        """Send requests that are limited by network alone, at both issuers."""
        for _ in range(times):
            assert self.runner.run(self._admit(action, network)) == self.reference.admit(action, network)

    @rule(account=accounts, times=st.sampled_from([20, 50, 100]))
    def fail_for_hours(self, account: str, times: int) -> None:
        for number in range(times):
            self._log_in(account, f"203.0.113.{number}", None, password="wrong")
            self.wait(901)

    @rule(shown=sessions, times=st.integers(20, 60))
    def fail_for_hours_with_a_session(self, shown: ShownSession, times: int) -> None:
        for _ in range(times):
            self._log_in("ann", NETWORKS[0], shown, password="wrong")
            self.wait(901)

    @rule(seconds=st.sampled_from([1, 2, 60, 899, 3600, 86400, 7 * 86400]))
    def wait(self, seconds: int) -> None:
        self.reference.second += seconds
        self.benches[0].passes(seconds=seconds)

    @rule(target=sessions, account=st.sampled_from(ACCOUNTS[:2]))
    def create_a_session(self, account: str) -> ShownSession:
        return self._session(account)

    @rule(shown=sessions)
    def end_a_session(self, shown: ShownSession) -> None:
        if self.reference.live.pop(shown.id, None):
            self.runner.run(self._bench().end(shown.id))

    @rule(account=st.sampled_from(ACCOUNTS[:2]), network=networks)
    def reset_the_password(self, account: str, network: str | None) -> None:
        bench, email = self._bench(), self._email(account)
        self.runner.run(bench.execute("UPDATE users SET password_disabled_at = NULL WHERE email_key = $1", email))
        self.runner.run(bench.throttle.reset(email, self._context(network)))
        self.reference.disabled.discard(account)
        for key in (("pair", account, str(network)), ("account", account), ("all_sessions", account)):
            self.reference.rows.pop(key, None)

    @invariant()
    def the_counters_are_equal(self) -> None:
        """Compare every counter and whether passwords are disabled, not only the responses of the issuers."""
        shown = next(iter(self.reference.live), None)
        for account, network in itertools.product(ACCOUNTS if self.benches else (), NETWORKS):
            self._compare(account, network, None if shown is None else ShownSession(shown))

    def _compare(self, account: str, network: str | None, shown: ShownSession | None) -> None:
        bench = self.benches[0]
        attempt = bench.throttle.attempt(self._email(account), self._context(network), shown)
        history, found = self.runner.run(bench.users.get_login_state(attempt, bench.now[0]))
        is_disabled = found is not None and found.password_disabled_at is not None
        assert is_disabled == (account in self.reference.disabled and account != "unknown")
        keys = {"pair": ("pair", account, str(network)), "account": ("account", account)}
        keys |= {"network": ("network", str(network)), "all_sessions": ("all_sessions", account)}
        for kind, key in keys.items():
            counter = history.counters.get(CounterKind(kind))
            if shown is not None or kind != "all_sessions":
                assert (counter.count if counter else 0) == self.reference.row(key).count

    def _log_in(self, account: str, network: str | None, shown: ShownSession | None, password: str) -> None:
        results = self._bench().login(self._email(account), self._context(network), password, shown)
        session = None if shown is None else shown.id
        assert self.runner.run(results) == self.reference.attempt(
            account, network, session, right=password == PASSWORD, clears=True
        )

    def _burst(self, account: str, network: str | None, shown: ShownSession | None, size: int) -> None:
        expected = self.reference.burst(account, network, None if shown is None else shown.id, 2 * size)
        if expected:
            contexts = [self._context(network)] * size
            assert self.runner.run(burst(self.benches, self._email(account), contexts, shown)) == expected

    async def _admit(self, action: LimitedAction, network: str | None) -> int:
        try:
            await self._bench().throttle.admit(action, self._context(network))
        except TooManyAttemptsError as error:
            return error.retry_after
        return 0

    def _session(self, account: str) -> ShownSession:
        shown = self.runner.run(self._bench().session_of(self._email(account)))
        self.reference.live[shown.id] = account
        return shown

    def _bench(self) -> LoginBench:
        """Return the next issuer in turn."""
        self.benches = self.benches[::-1]
        return self.benches[0]

    def _email(self, account: str) -> str:
        return f"{account}.{self.example}@example.com"

    def _context(self, network: str | None) -> RequestContext:
        return RequestContext("self", network)

    async def _open(self) -> None:
        secret = MacSecret("", self.example.to_bytes(32))
        self.contexts = [login_bench(self.url, secret, per_network=60)]
        one = await self.contexts[0].__aenter__()
        self.contexts.append(login_bench(self.url, secret, per_network=60, now=one.now))
        self.benches = (one, await self.contexts[1].__aenter__())
        for number, account in enumerate(ACCOUNTS[:2]):
            operator = RequestContext("operator", f"10.{number}.{self.example >> 8}.{self.example & 255}")
            await one.registration.register(self._email(account), PASSWORD, operator)

    async def close(self) -> None:
        """Close both."""
        for context in self.contexts:
            await context.__aexit__(None, None, None)


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_the_rule_holds_in_any_order_of_events(database_url: str) -> None:
    class Machine(LoginRule):
        url = database_url

    walk(Machine, examples=12, steps=30)
