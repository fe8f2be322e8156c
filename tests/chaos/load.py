"""The load: users that register, log in, call, refresh, change passwords and log out, and attackers.

It records what was acknowledged, and so knows the right response. Every other response is an observation.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Final
from uuid import uuid4

import httpx

from issuer.keys.store import load_key_set
from loadtests.invalid_tokens import corrupt, kid_of
from tests.chaos.faults import CHECKING, ISSUER_SURFACE, KEY_SECONDS
from tests.chaos.invariants import REVOCATION_SECONDS, Effect, Fault, Observation, Starvation
from tests.chaos.links import State
from tests.chaos.site import ACCESS_TOKEN_SECONDS, GATEWAYS, ISSUERS, Site
from tests.support.token_forge import Forge

USERS: Final = 6
_PAUSE_SECONDS: Final = 0.3
_INVALID_PAUSE_SECONDS: Final = 0.25
_PROBE_SECONDS: Final = 0.25
_CALL_TIMEOUT_SECONDS: Final = 3.0
_ISSUER_TIMEOUT_SECONDS: Final = 10.0
_REFRESH_AFTER_SECONDS: Final = 20.0
_USABLE_SECONDS: Final = ACCESS_TOKEN_SECONDS - 10.0
_LOGOUTS: Final = 0.1  # of the steps of a user with a session
_PASSWORD_CHANGES: Final = 0.04
_WATCH_SECONDS: Final = 0.25
_STARVED_SECONDS: Final = 0.1
"""Maximum time of `_WATCH_SECONDS` that is spent waiting for a core. A decision involves four processes and may take
0.5 s."""
_HOUR: Final = 3600
_FORGERY_SECONDS: Final = 60.0
_AUDITED_LOGINS: Final = 40
_AUDIT_TRIES: Final = 60
_AUDIT_SECONDS: Final = 25
_OTHER_ISSUER: Final = Forge()


@dataclass
class Account:
    """An account and its password, as acknowledged.

    Attributes:
        passwords: the possible ones: two while a change was sent and not acknowledged.
        previous: a password that an acknowledged change has replaced.
    """

    email: str
    passwords: list[str]
    previous: str | None = None


@dataclass
class Session:
    """A session of an account. `ending` from the moment at which a logout is sent; `revoked_at` when acknowledged."""

    account: Account
    access: str
    refresh: str
    minted_at: float
    ending: bool = False
    revoked_at: float | None = None


@dataclass
class Journal:
    """All records of a run. Times are in seconds since `started` (monotonic).

    Attributes:
        latencies: seconds of ideal responses, by surface and second of the run.
        counts: requests by what was asked.
    """

    started: float = field(default_factory=time.monotonic)
    observations: list[Observation] = field(default_factory=list)
    latencies: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    starved: list[Starvation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def now(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.started

    def add(self, sent: float, surface: str, effect: Effect, detail: str = "", overdue: float = 0.0) -> None:
        """Record a response that was not ideal, received now."""
        self.observations.append(Observation(sent, self.now(), surface, effect, detail, overdue))

    def is_calm(self, since: float) -> bool:
        """Return whether there was no observation in the last second."""
        now = self.now()
        last = self.observations[-1].received if self.observations else 0.0
        return now - max(last, since) > 1.0


class Load:
    """The clients of a site, and the accounts and sessions whose creation was acknowledged."""

    def __init__(self, site: Site, journal: Journal, rng: random.Random) -> None:
        self.journal = journal
        self.accounts: list[Account] = []
        self.sessions: list[Session] = []
        self._site, self._rng = site, rng
        self._revoked_kids: dict[str, float] = {}
        self._numbers = count()
        self._forgeries: list[tuple[str, str | None, None]] = []
        self._forged_until = 0.0
        limits = httpx.Limits(max_connections=100, keepalive_expiry=2.0)
        self._client = httpx.AsyncClient(limits=limits, trust_env=False, timeout=_CALL_TIMEOUT_SECONDS)
        self._urls = {name: f"{site.url(name)}/{'' if name in GATEWAYS else 'verify'}" for name in CHECKING}
        self._urls[ISSUER_SURFACE] = site.issuer_url

    async def run(self) -> None:
        """Load the site until cancelled."""
        async with self._client, asyncio.TaskGroup() as group:
            for _ in range(USERS):
                group.create_task(self._user(f"198.18.0.{next(self._numbers) + 1}"))
            for surface in CHECKING:
                group.create_task(self._attacker(surface))
                group.create_task(self._every(_PROBE_SECONDS, partial(self._probe, surface)))
            group.create_task(self._every(_PROBE_SECONDS, self._probe_issuers))
            group.create_task(self._watch_the_machine())

    def key_revoked(self, kid: str) -> None:
        """Record that a signing key was revoked."""
        self._revoked_kids[kid] = self.journal.now()

    # Valid and invalid tokens.

    def is_valid(self, session: Session) -> bool:
        """Return whether the session's access token must be accepted everywhere."""
        return (
            not session.ending
            and self.journal.now() - session.minted_at < _USABLE_SECONDS
            and kid_of(session.access) not in self._revoked_kids
            and not self._clock_was_stepped(session.minted_at)
        )

    def _clock_was_stepped(self, moment: float) -> bool:
        """Return whether an issuer may have had a wrong clock when it issued a token."""
        return any(
            fault.kind.startswith("clock") and fault.target in ISSUERS and fault.start - 1 < moment < fault.end + 3
            for fault in self.journal.faults
        )

    def _valid(self) -> Session | None:
        valid = [session for session in self.sessions[-4 * USERS :] if self.is_valid(session)]
        return self._rng.choice(valid) if valid else None

    def _invalid(self) -> tuple[str, str | None, float | None]:
        """Return a description, an invalid token, and the time of its revocation (None if it never was valid)."""
        now = self.journal.now()
        revoked = [
            session
            for session in self.sessions[-100:]
            if session.revoked_at is not None and now - session.minted_at < _USABLE_SECONDS
        ]
        if revoked and self._rng.random() < 0.5:
            session = self._rng.choice(revoked)
            return "revoked", session.access, session.revoked_at
        withdrawn = [
            session
            for session in self.sessions[-100:]
            if not session.ending and kid_of(session.access) in self._revoked_kids
        ]
        if withdrawn and self._rng.random() < 0.3:
            session = self._rng.choice(withdrawn)
            # The bound of a key is longer than that of a session by the time for which key sets are cached.
            since = self._revoked_kids[kid_of(session.access)] + KEY_SECONDS - REVOCATION_SECONDS
            return "key revoked", session.access, since
        return self._rng.choice(self._forged())

    def _forged(self) -> list[tuple[str, str | None, None]]:
        """Return tokens that never were valid. They are created once a minute, because signing takes time."""
        wall = time.time()
        if wall < self._forged_until:
            return self._forgeries
        signing = load_key_set(self._site.keys).signing
        assert signing is not None
        real = Forge(self._site.issuer_url, signing.private)
        our_issuer = {"iss": self._site.issuer_url}
        self._forged_until = wall + _FORGERY_SECONDS
        self._forgeries = [
            ("expired", real.token(wall - _HOUR).decode(), None),
            ("another audience", real.token(wall, aud="elsewhere").decode(), None),
            ("another type", real.token(wall, {"typ": "JWT"}).decode(), None),
            ("another key", _OTHER_ISSUER.token(wall, {"kid": real.kid}, **our_issuer).decode(), None),
            *((description, token, None) for description, token in corrupt(real.token(wall).decode()).items()),
        ]
        return self._forgeries

    # Observers.

    async def _attacker(self, surface: str) -> None:
        async def attack() -> None:
            description, token, revoked_at = self._invalid()
            sent = self.journal.now()
            if revoked_at is not None and sent - revoked_at < REVOCATION_SECONDS:
                return
            self.journal.counts[f"invalid: {description}"] += 1
            status = await self._ask(surface, token)
            if status is None or 400 <= status < 500:
                return
            if status < 400 and revoked_at is not None:
                self.journal.add(sent, surface, Effect.LATE, description, sent - revoked_at - REVOCATION_SECONDS)
            else:
                self._record_status(sent, surface, status, Effect.WRONG_ACCEPT, description)

        await self._every(_INVALID_PAUSE_SECONDS, attack)

    async def _probe(self, surface: str) -> None:
        session = self._valid()
        if session is not None:
            await self._call(surface, session)

    async def _call(self, surface: str, session: Session) -> None:
        """Send a valid token and record any response but 200."""
        sent = self.journal.now()
        self.journal.counts["valid"] += 1
        status = await self._ask(surface, session.access)
        if status is None:
            return
        if status == 200:
            self._record_latency(surface, sent)
        elif self.is_valid(session):
            self._record_status(sent, surface, status, Effect.REJECTED, f"{status} for a valid token")

    def _record_status(self, sent: float, surface: str, status: int, otherwise: Effect, detail: str) -> None:
        if status == 503 or (status >= 500 and self._link_was_corrupt(surface, sent)):
            self.journal.add(sent, surface, Effect.UNAVAILABLE)
        elif status >= 500:
            self.journal.add(sent, surface, Effect.WRONG_STATUS, f"{status}")
        else:
            self.journal.add(sent, surface, otherwise, detail)

    def _link_was_corrupt(self, surface: str, sent: float) -> bool:
        """Return whether the verifier's status passed a link that flips bits. A gateway passes on 501 or 603, too."""
        return any(
            fault.kind == State.CORRUPT
            and fault.target.startswith(f"{surface}-")
            and fault.start - _CALL_TIMEOUT_SECONDS < sent <= fault.end
            for fault in self.journal.faults
        )

    def _record_latency(self, surface: str, sent: float) -> None:
        now = self.journal.now()
        self.journal.latencies[surface, int(now)].append(now - sent)

    async def _ask(self, surface: str, token: str | None) -> int | None:
        """Send a token; return the status, or None without a response."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        response = await self._send(surface, "GET", "", headers=headers)
        return None if response is None else response.status_code

    async def _send(self, surface: str, method: str, path: str, **content: Any) -> httpx.Response | None:
        """Send one request. A missing response, and a 503 that does not say when to retry, are recorded."""
        sent = self.journal.now()
        try:
            response = await self._client.request(method, self._urls[surface] + path, **content)
        except httpx.HTTPError as error:
            self.journal.add(sent, surface, Effect.NO_RESPONSE, type(error).__name__)
            return None
        # The gateways make a 503 of their own: see docs/operations/faults.md.
        if response.status_code == 503 and surface not in GATEWAYS and "Retry-After" not in response.headers:
            self.journal.add(sent, surface, Effect.NO_RETRY_AFTER, path)
        return response

    async def _probe_issuers(self) -> None:
        session = self._valid()
        if session is None:
            return
        sent = self.journal.now()
        headers = {"Authorization": f"Bearer {session.access}"}
        response = await self._to_issuers("GET", "/me", headers=headers)
        if response is not None and response.status_code == 200:
            self._record_latency(ISSUER_SURFACE, sent)
        elif response is not None and response.status_code < 500 and self.is_valid(session):
            self.journal.add(sent, ISSUER_SURFACE, Effect.REJECTED, f"/me {response.status_code}")

    async def _watch_the_machine(self) -> None:
        """Record when a process of the site, or this one, was ready to run but waited for a core."""
        waited: dict[int, float] = {}
        while True:
            before = self.journal.now()
            await asyncio.sleep(_WATCH_SECONDS)
            now = self.journal.now()
            latest = self._site.waiting_seconds()
            waits = [seconds - waited.get(task, seconds) for task, seconds in latest.items()]
            lost = max([*waits, now - before - _WATCH_SECONDS])
            if lost > _STARVED_SECONDS:
                self.journal.starved.append(Starvation(before, now, lost))
            waited = latest

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await act()
            await asyncio.sleep(self._rng.expovariate(1 / seconds))

    # Users.

    async def _user(self, ip: str) -> None:
        headers = {"X-Forwarded-For": ip}
        account: Account | None = None
        session: Session | None = None
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / _PAUSE_SECONDS))
            if account is None or (session is None and self._rng.random() < 0.2):
                account = await self._register(headers)
            elif session is None:
                session = await self._log_in(account, headers)
            elif not self.is_valid(session) or self.journal.now() - session.minted_at > _REFRESH_AFTER_SECONDS:
                if not await self._refresh(session, headers):
                    session = None
            elif (choice := self._rng.random()) < _LOGOUTS:
                if await self._log_out(session, headers):
                    session = None
            elif choice < _LOGOUTS + _PASSWORD_CHANGES:
                await self._change_password(session, headers)
            else:
                await self._call(self._rng.choice(list(GATEWAYS)), session)

    async def _to_issuers(
        self, method: str, path: str, headers: dict[str, str], **content: Any
    ) -> httpx.Response | None:
        """Send a request to the issuers. 5xx are recorded; the caller checks the rest."""
        sent = self.journal.now()
        self.journal.counts[path] += 1
        response = await self._send(
            ISSUER_SURFACE, method, path, headers=headers, timeout=_ISSUER_TIMEOUT_SECONDS, **content
        )
        if response is not None and response.status_code >= 500:
            self._record_status(sent, ISSUER_SURFACE, response.status_code, Effect.WRONG_STATUS, path)
        return response

    async def _register(self, headers: dict[str, str]) -> Account | None:
        account = Account(f"{uuid4().hex}@example.com", [f"pass {uuid4().hex}"])
        body = {"email": account.email, "password": account.passwords[0]}
        response = await self._to_issuers("POST", "/register", headers, json=body)
        if response is None or response.status_code != 201:
            return None
        self.accounts.append(account)
        return account

    async def _log_in(self, account: Account, headers: dict[str, str]) -> Session | None:
        sent = self.journal.now()
        rejected = 0
        for password in list(account.passwords):
            body = {"email": account.email, "password": password}
            response = await self._to_issuers("POST", "/login", headers, json=body)
            if response is not None and response.status_code == 200:
                account.passwords = [password]
                tokens = response.json()
                session = Session(account, tokens["access_token"], tokens["refresh_token"], self.journal.now())
                self.sessions.append(session)
                return session
            rejected += response is not None and response.status_code == 401
        if rejected == len(account.passwords):
            self.journal.add(sent, ISSUER_SURFACE, Effect.LOST, f"login of {account.email}")
        return None

    async def _refresh(self, session: Session, headers: dict[str, str]) -> bool:
        """Refresh; return whether the session is still live."""
        sent = self.journal.now()
        form = {"grant_type": "refresh_token", "refresh_token": session.refresh}
        response = await self._to_issuers("POST", "/token", headers, data=form)
        if response is None or response.status_code >= 500:
            return True  # the same token is sent again
        if response.status_code != 200:
            self.journal.add(
                sent, ISSUER_SURFACE, Effect.LOST, f"session: {response.status_code} {response.text[:80]}"
            )
            session.ending = True
            return False
        tokens = response.json()
        session.access, session.refresh = tokens["access_token"], tokens["refresh_token"]
        session.minted_at = self.journal.now()
        return True

    async def _log_out(self, session: Session, headers: dict[str, str]) -> bool:
        """Log out, until it is acknowledged; return whether it was."""
        session.ending = True
        while self.journal.now() - session.minted_at < _USABLE_SECONDS:
            bearer = {"Authorization": f"Bearer {session.access}"}
            response = await self._to_issuers("POST", "/logout", headers | bearer)
            # 401: the logout before, whose response was lost, had its effect.
            if response is not None and response.status_code in {204, 401}:
                if response.status_code == 204:
                    session.revoked_at = self.journal.now()
                return True
            await asyncio.sleep(1.0)
        return True

    async def _change_password(self, session: Session, headers: dict[str, str]) -> None:
        account, new = session.account, f"pass {uuid4().hex}"
        if len(account.passwords) != 1:
            return
        (old,) = account.passwords
        account.passwords = [new, old]
        bearer = {"Authorization": f"Bearer {session.access}"}
        body = {"current_password": old, "new_password": new}
        response = await self._to_issuers("POST", "/password", headers | bearer, json=body)
        if response is not None and response.status_code == 204:
            account.passwords, account.previous = [new], old

    # The end of the run, when every fault is over.

    async def audit(self) -> None:
        """Check that nothing acknowledged is lost."""
        self._client = httpx.AsyncClient(trust_env=False, timeout=_ISSUER_TIMEOUT_SECONDS)
        async with self._client:
            await self._audit_revocation()
            revoked = [session for session in self.sessions if session.revoked_at is not None]
            for session in self.sessions:
                if not session.ending:
                    await self._expect(200, f"refresh of a session of {session.account.email}", _refreshing(session))
            for session in revoked:
                what = f"refresh of a revoked session of {session.account.email}"
                await self._expect(400, what, _refreshing(session))
            for account in self.accounts[-_AUDITED_LOGINS:]:
                await self._audit_passwords(account)
            for account in self.accounts:
                body = {"email": account.email, "password": f"pass {uuid4().hex}"}
                await self._expect(409, f"registration of {account.email}", {"url": "/register", "json": body})
        self.journal.counts |= Counter(
            {
                "acknowledged accounts": len(self.accounts),
                "acknowledged sessions": len(self.sessions),
                "acknowledged logouts": len(revoked),
            }
        )

    async def _audit_revocation(self) -> None:
        """Check that all has recovered: a new session is accepted everywhere, and rejected after its revocation."""
        headers = {"X-Forwarded-For": "198.18.1.250"}
        session: Session | None = None
        for _ in range(_AUDIT_TRIES):
            account = await self._register(headers)
            session = None if account is None else await self._log_in(account, headers)
            if session is not None:
                break
            await asyncio.sleep(1.0)
        for status in (200, 401):
            waiting = set(CHECKING)
            for _ in range(_AUDIT_SECONDS):
                if session is not None:
                    waiting = {name for name in waiting if await self._ask(name, session.access) != status}
                if not waiting:
                    break
                await asyncio.sleep(1.0)
            for name in sorted(waiting):
                what = f"not {status} within {_AUDIT_SECONDS} s after the last fault"
                self.journal.add(self.journal.now(), name, Effect.LOST, what)
            if session is not None and status == 200:
                await self._log_out(session, headers)

    async def _audit_passwords(self, account: Account) -> None:
        if len(account.passwords) == 1:
            (password,) = account.passwords
            await self._expect(200, f"login of {account.email}", _logging_in(account, password))
        if account.previous is not None:
            what = f"login of {account.email} with a password that was changed"
            await self._expect(401, what, _logging_in(account, account.previous))

    async def _expect(self, status: int, what: str, request: dict[str, Any]) -> None:
        """Send a request until it gets a response; record a loss if that contradicts an acknowledged write."""
        sent = self.journal.now()
        seen = 0
        headers = {"X-Forwarded-For": f"198.18.1.{next(self._numbers) % 250}"}
        content = {**request, "url": self._site.issuer_url + request["url"]}
        for _ in range(_AUDIT_TRIES):
            with suppress(httpx.HTTPError):
                seen = (await self._client.post(headers=headers, **content)).status_code
            if seen not in {0, 503}:
                break
            await asyncio.sleep(1.0)
        if seen != status:
            self.journal.add(sent, ISSUER_SURFACE, Effect.LOST, f"{what}: {seen}, not {status}")


def _refreshing(session: Session) -> dict[str, Any]:
    return {"url": "/token", "data": {"grant_type": "refresh_token", "refresh_token": session.refresh}}


def _logging_in(account: Account, password: str) -> dict[str, Any]:
    return {"url": "/login", "json": {"email": account.email, "password": password}}
