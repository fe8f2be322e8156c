"""The promises of the issuer, in any order of events.

- No token works after its revocation bound, at no issuer and at no verifier.
- No live session is lost: its tokens work, and its newest refresh token gives the next one.
- A refresh token has one successor, however often and wherever it is presented.
- No email has two accounts.
- Every change has its audit event, and the chains verify.

The model is a dictionary of accounts and one of sessions; the code is the real one (`testbed.py`).
"""

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from issuer.errors import KeyStoreError
from issuer.keys.models import KeyState
from issuer.keys.store import new_private
from tests.models.testbed import BEGINNING, SESSIONS_PER_ACCOUNT, Issuer, Mail, Response, Testbed, VirtualDatabase
from tests.models.walks import TIMEOUT_SECONDS, walk
from tests.support.signing_keys import key_pool
from tests.support.token_forge import claims_of, header_of

REVOCATION_BOUND: Final = timedelta(seconds=3)
IDLE, ABSOLUTE = timedelta(days=14), timedelta(days=30)
PARALLEL, RETRY, MAX_RETRIED_IN_A_ROW = timedelta(seconds=2), timedelta(seconds=120), 5
LINK_LIFETIMES: Final = {"gpv": timedelta(hours=24), "gpw": timedelta(minutes=60)}
LEEWAY: Final = 5
EMAILS: Final = ("ann@example.com", "bob@example.com")
PASSWORDS: Final = ("a long and lonely walk", "seven quiet green rivers", "an old and rusty kettle")
COUNTED: Final = {
    "account_registered",
    "account_disabled",
    "account_enabled",
    "account_deleted",
    "email_verified",
    "password_changed",
    "password_reset",
    "login_succeeded",
    "login_failed",
    "session_revoked",
    "refresh_token_reuse_detected",
    "refresh_generation_ahead",
    "everything_revoked",
}

_CONTENT: Final = """
SELECT 'user' AS kind, email_key || ' ' || id AS value FROM users
UNION ALL SELECT 'session', id::text FROM sessions WHERE ended_at IS NULL
UNION ALL SELECT 'event', kind FROM audit_events
"""

emails = st.sampled_from(EMAILS)
passwords = st.sampled_from(PASSWORDS)
numbers = st.integers(0, 11)
often = st.sampled_from([True, True, True, False])


@dataclass
class Account:
    """A registered email. `links` are the tokens of mails, with their expiry."""

    id: str
    password: str
    verified: bool
    disabled: bool = False
    links: list[tuple[str, datetime]] = field(default_factory=list)


@dataclass
class Session:
    """A session as the issuers must have it. `tokens` are the refresh tokens of all generations so far."""

    id: str
    email: str
    created_at: datetime
    rotated_at: datetime
    idle_until: datetime
    until: datetime
    tokens: list[str]
    retries: int = 0
    retried_in_a_row: int = 0
    ended: bool = False

    @property
    def expires_at(self) -> datetime:
        return min(self.idle_until, self.until)


@dataclass
class State:
    """What the database must hold."""

    accounts: dict[str, Account] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)


@dataclass
class AccessToken:
    """An access token that was issued. A restored database may not have it, but it exists."""

    text: str
    session: str
    kid: str
    expires_at: float
    revoked_at: datetime | None = None
    known: bool = True


class IssuerModel(RuleBasedStateMachine):
    """Users, operators, time and failures, at two issuers and a verifier."""

    runner: asyncio.Runner
    database: VirtualDatabase
    keys: tuple[RSAPrivateKey, ...]

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.backup: State | None = None
        self.issued: list[AccessToken] = []
        self.held: list[tuple[str, int]] = []
        self.texts: dict[tuple[str, int], str] = {}
        self.inbox: dict[str, list[str]] = {email: [] for email in EMAILS}
        self.unsure_rejections = 0
        self.caught_up_at = BEGINNING
        self.turn = 0

    @initialize(verified=st.booleans())
    def open(self, verified: bool) -> None:  # noqa: FBT001 - a drawn value
        self.verified = verified
        self.testbed = Testbed(self.database, key_pool(self.keys), verified=verified)
        self.run(self.testbed.open())
        for email in EMAILS:
            self.make_ready(email)
            self.try_password(email, right=True)

    def teardown(self) -> None:
        """Check the final state, and stop."""
        try:
            self.last_checks()
        finally:
            self.run(self.testbed.close())

    # Rules: few, since a walk leaves some of them out

    @rule(
        number=numbers,
        behind=st.sampled_from([0, 0, 0, 1, 1, 2]),
        lost=st.booleans(),
        times=st.sampled_from([1, 1, 1, 4]),
    )
    def refresh(self, number: int, behind: int, lost: bool, times: int) -> None:  # noqa: FBT001 - drawn values
        """Present one of the latest refresh tokens, sometimes several times at once; the response may be lost."""
        self.present(number, behind, times, lost=lost)

    @rule(number=numbers, seconds=st.sampled_from([0, 2, 3, 120, 121]), times=st.sampled_from([1, 1, 3]))
    def lose_a_response_and_retry(self, number: int, seconds: int, times: int) -> None:
        """Refresh, lose the response, and present the same token again, within the retry period or later."""
        self.present(number, 0, 1, lost=True)
        self.pass_time(seconds)
        self.present(number, 0, times, lost=False)

    @rule(email=emails, right=often, ready=often)
    def log_in(self, email: str, right: bool, ready: bool) -> None:  # noqa: FBT001 - drawn values
        if ready:
            self.make_ready(email)
        self.try_password(email, right=right)

    @rule(email=emails, password=passwords, what=st.sampled_from(["once", "as spelled", "twice at once"]))
    def register(self, email: str, password: str, what: str) -> None:
        if what == "twice at once":
            self.register_twice_at_once(email, password)
        else:
            self.register_once(email, password, spelled=what == "as spelled")

    @rule(
        number=numbers,
        other=numbers,
        what=st.sampled_from(["log out", "one", "all", "others", "operator", "operator all"]),
    )
    def end_sessions(self, number: int, other: int, what: str) -> None:
        match what:
            case "log out":
                self.log_out(number)
            case "one":
                self.revoke_one(number, other)
            case "operator":
                self.end_session(number)
            case "operator all":
                self.end_sessions_of(EMAILS[number % 2])
            case _:
                self.revoke_all(number, keep=what == "others")

    @rule(
        number=numbers,
        password=passwords,
        what=st.sampled_from(["password", "password", "disable", "enable", "delete", "leave"]),
    )
    def change_account(self, number: int, password: str, what: str) -> None:
        email = EMAILS[number % 2]
        match what:
            case "password":
                self.change_password(number, password)
            case "disable":
                self.disable(email)
            case "enable":
                self.enable(email)
            case "delete":
                self.delete(email)
            case _:
                self.delete_own_account(number)

    @rule(email=emails, what=st.sampled_from(["forgot", "verify", "follow", "follow"]), number=numbers)
    def exchange_mail(self, email: str, what: str, number: int) -> None:
        match what:
            case "forgot":
                assert self.run(self.issuer().send("POST", "/password/forgot", {"email": email})).status == 202
            case "verify":
                assert self.run(self.issuer().send("POST", "/email/verify/resend", {"email": email})).status == 202
            case _:
                self.follow_link(email, "gpv" if number % 2 else "gpw", number // 2)

    @rule(number=numbers)
    def use(self, number: int) -> None:
        """Request the account from an issuer, which looks the session up."""
        token, issuer = self.token(number), self.issuer()
        response = self.run(issuer.send("GET", "/me", token=token.text))
        assert response.status == (200 if self.is_live(token, issuer) else 401)

    @rule(seconds=st.sampled_from([1, 1, 2, 2, 3, 60, 120, 301, 700]))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)

    @rule(what=st.sampled_from(["issuer", "database", "restart", "clean up"]), number=numbers)
    def disturb(self, what: str, number: int) -> None:
        """Step a clock a little, restart an issuer, or delete expired rows."""
        match what:
            case "issuer":
                self.run(self.testbed.step_clock(("one", "other")[number % 2], (-4, 0, 4)[number % 3]))
            case "database":
                self.step_database_clock((-25, 0, 25)[number % 3])
            case "restart":
                self.restart(self.issuer())
            case _:
                self.clean_up()

    @rule(what=st.sampled_from(["rotate", "rotate", "secret", "revoke"]), number=numbers)
    def manage_keys(self, what: str, number: int) -> None:
        match what:
            case "rotate":
                self.rotate_key()
            case "secret":
                self.testbed.keys.rotate_mac_secret()
            case _:
                self.revoke_key(number)

    @rule(what=st.sampled_from(["hours", "days", "idle", "months", "back up", "restore", "restore"]), number=numbers)
    def let_much_happen(self, what: str, number: int) -> None:
        """Let hours or months pass, or restore an older database."""
        times = {"hours": 4000, "days": 90_000, "idle": 15 * 86_400, "months": 95 * 86_400}
        if what in times:
            self.pass_time(times[what])
        elif what == "back up":
            self.back_up()
        elif self.backup is not None:
            self.restore(revoke=number % 3 > 0, restart=number % 2 > 0)

    @rule(
        number=numbers,
        what=st.sampled_from(["log in", "refresh"]),
        change=st.sampled_from(["disable", "delete", "change_password", "log_out"]),
    )
    def race(self, number: int, what: str, change: str) -> None:
        """In either order, no session from before a change is live after it."""
        if what == "refresh":
            self.refresh_during_a_change(number, change)
        elif what == "log in" and change != "log_out":
            self.log_in_during_a_change(EMAILS[number % 2], change)

    # What users do

    def register_once(self, email: str, password: str, *, spelled: bool) -> None:
        self.registered(self.run(self._register(self.issuer(), email, password, spelled=spelled)), email, password)

    def register_twice_at_once(self, email: str, first: str) -> None:
        second = self.another(first)
        if email in self.state.accounts:
            return
        one, other = self.testbed.issuers
        responses = self.together(
            self._register(one, email, first, spelled=False), self._register(other, email, second, spelled=True)
        )
        if self.verified:
            rows = self.run(self.testbed.rows("SELECT id, email FROM users"))
            winners = [row["email"] for row in rows if row["email"].lower() == email]
            assert len(winners) == 1, "no email has two accounts"
            self.registered(responses[0], email, first if winners[0] == email else second)
        else:
            assert sorted(response.status for response in responses) == [201, 409]
            for response, password in zip(responses, (first, second), strict=True):
                if response.status == 201:
                    self.registered(response, email, password)

    def try_password(self, email: str, *, right: bool) -> None:
        issuer, account = self.issuer(), self.state.accounts.get(email)
        password = account.password if account is not None and right else "not the password of anyone"
        response = self.run(self._log_in(issuer, email, password))
        is_right = account is not None and right and account.verified and not account.disabled
        assert response.status == (200 if is_right else 401)
        if is_right:
            self.created(response, email, issuer)
        else:
            self.state.events["login_failed"] += 1

    def present(self, number: int, behind: int, times: int, *, lost: bool) -> None:
        """Present a refresh token `times` times at once."""
        place = self.place(number)
        session_id, newest = self.held[place]
        generation = max(0, newest - behind)
        text = self.texts[session_id, generation]
        issuers = [self.issuer() for _ in range(times)]
        expected = self.expect_refresh(session_id, generation, issuers[0])
        responses = self.together(*(self._refresh(issuer, text) for issuer in issuers))
        for response in responses:
            assert response.status == (200 if expected in {"rotated", "parallel", "retried"} else 400), expected
        session = self.state.sessions.get(session_id)
        if responses[0].status == 200:
            assert session is not None
            self.refreshed(session, generation, responses, issuers, expected)
            if not lost:
                self.held[place] = (session_id, max(newest, generation + 1))
        elif expected == "reused":
            assert session is not None
            self.state.events["refresh_token_reuse_detected"] += 1
            self.end(session)
        elif expected == "ahead":
            self.state.events["refresh_generation_ahead"] += times

    def log_out(self, number: int) -> None:
        token = self.token(number)
        issuer = self.issuer()
        response = self.run(issuer.send("POST", "/logout", token=token.text))
        assert response.status == (204 if self.is_read(token, issuer) else 401)
        if response.status == 204 and (session := self.state.sessions.get(token.session)):
            self.end(session)

    def revoke_one(self, number: int, other: int) -> None:
        """Revoke a session with the token of another one, of the same account or not."""
        token, target = self.token(number), self.token(other).session
        issuer = self.issuer()
        response = self.run(issuer.send("DELETE", f"/sessions/{target}", token=token.text))
        if not self.is_live(token, issuer):
            assert response.status == 401
            return
        session, own = self.state.sessions.get(target), self.state.sessions[token.session]
        found = session is not None and not session.ended and session.email == own.email
        assert response.status == (204 if found else 404)
        if session is not None and found:
            self.end(session)

    def revoke_all(self, number: int, *, keep: bool) -> None:
        token = self.token(number)
        issuer = self.issuer()
        response = self.run(issuer.send("DELETE", f"/sessions{'?keep_current=true' * keep}", token=token.text))
        assert response.status == (204 if self.is_live(token, issuer) else 401)
        if response.status == 204:
            self.end_all(self.state.sessions[token.session].email, kept=token.session if keep else "")

    def change_password(self, number: int, password: str) -> None:
        token = self.token(number)
        issuer = self.issuer()
        if not self.is_live(token, issuer):
            return
        email = self.state.sessions[token.session].email
        assert self.run(self._change_password(issuer, token, password)).status == 204
        self.password_changed(email, password, token.session)

    def follow_link(self, email: str, kind: str, number: int) -> None:
        """Use a token from a mail, sometimes one that was used before."""
        texts = [text for text in self.inbox[email] if text.startswith(kind)]
        if texts:
            text, issuer = texts[number % len(texts)], self.issuer()
            if kind == "gpv":
                self.verify_email(issuer, email, text)
            else:
                self.reset_password(issuer, email, text, PASSWORDS[number % len(PASSWORDS)])

    def delete_own_account(self, number: int) -> None:
        token = self.token(number)
        issuer = self.issuer()
        if not self.is_live(token, issuer):
            return
        email = self.state.sessions[token.session].email
        document = {"password": self.state.accounts[email].password}
        assert self.run(issuer.send("DELETE", "/me", document, token=token.text)).status == 204
        self.deleted(email)

    # What operators do

    def disable(self, email: str) -> None:
        if account := self.state.accounts.get(email):
            self.run(self.issuer().operator.disable(UUID(account.id)))
            self.disabled(email)

    def enable(self, email: str) -> None:
        if account := self.state.accounts.get(email):
            self.run(self.issuer().operator.enable(UUID(account.id)))
            self.state.events["account_enabled"] += account.disabled
            account.disabled = False

    def delete(self, email: str) -> None:
        if account := self.state.accounts.get(email):
            self.run(self.issuer().operator.delete(UUID(account.id)))
            self.deleted(email)

    def end_sessions_of(self, email: str) -> None:
        if account := self.state.accounts.get(email):
            ended = self.run(self.issuer().operator.revoke_sessions(UUID(account.id)))
            assert ended == self.end_all(email)

    def end_session(self, number: int) -> None:
        session = self.state.sessions.get(self.token(number).session)
        if session is not None and not session.ended:
            self.run(self.issuer().operator.revoke_session(UUID(session.id)))
            self.end(session)

    def rotate_key(self) -> None:
        """Create the next key or promote it; too early a promotion is rejected."""
        try:
            self.testbed.keys.rotate()
        except KeyStoreError:
            assert any(key.state is KeyState.NEXT for key in self.testbed.keys.read())

    def revoke_key(self, number: int) -> None:
        """Revoke a leaked key. Verifiers fetch the key set when they see an unknown key."""
        keys = self.testbed.keys.read()
        kid = keys[number % len(keys)].kid
        self.testbed.keys.revoke(kid)
        for token in self.issued:
            if token.kid == kid:
                token.revoked_at = token.revoked_at or self.now
        self.mails(self.run(self.testbed.run_tasks(fetch_keys=True)))
        self.pass_time(2)

    # Accidents

    def pass_time(self, seconds: int) -> None:
        if not seconds:
            return
        self.mails(self.run(self.testbed.let_pass(seconds)))

    def step_database_clock(self, seconds: int) -> None:
        before = self.testbed.database_now
        self.run(self.testbed.step_clock("database", seconds))
        self.caught_up_at = max(self.caught_up_at, self.now + (before - self.testbed.database_now))

    def restart(self, issuer: Issuer) -> None:
        """Restart an issuer, but not while PostgreSQL's clock is behind: revocations would wait for it (ADR 0098)."""
        self.pass_time(max(0, int((self.caught_up_at - self.now).total_seconds())))
        self.run(self.testbed.restart(issuer))

    def clean_up(self) -> None:
        issuer = self.issuer()
        self.run(issuer.cleanup.once())
        self.drop_expired(issuer)

    def back_up(self) -> None:
        self.run(self.testbed.database.back_up())
        self.backup = deepcopy(self.state)

    def restore(self, *, revoke: bool, restart: bool) -> None:
        """Restore the older database, and revoke everything as documented, or omit that."""
        assert self.backup is not None
        assert self.run(self.testbed.audit_faults()) == []
        self.run(self.testbed.database.restore())
        self.run(self.testbed.database.set_time(self.testbed.database_now))
        self.state = deepcopy(self.backup)
        for token in self.issued:
            token.known, token.revoked_at = False, None  # either may be true of a token of the time after the copy
        if restart:
            for issuer in list(self.testbed.issuers):
                self.restart(issuer)
        if revoke:
            self.run(self.testbed.revoke_everything())
            self.state.events["everything_revoked"] += 1
            for session in self.state.sessions.values():
                session.ended = True
            for account in self.state.accounts.values():
                account.links.clear()
            for token in self.issued:
                token.revoked_at, token.known = token.revoked_at or self.now, True
        # Logins are 503 for ten seconds after the command, and longer if PostgreSQL's clock is set back meanwhile.
        self.pass_time(62)

    # Races

    def log_in_during_a_change(self, email: str, change: str) -> None:
        """In either order, no session from before the change is live after it."""
        one, other = self.testbed.issuers
        found = self.change(email, change, other)
        if found is None:
            return
        action, token = found
        response, _ = self.together(self._log_in(one, email, self.state.accounts[email].password), action)
        if response.status == 200:
            self.created(response, email, one)
        else:
            assert response.status == 401
            self.unsure_rejections += 1
        self.changed(email, change, token)

    def refresh_during_a_change(self, number: int, change: str) -> None:
        place = number % len(self.held)
        session = self.state.sessions.get(self.held[place][0])
        one, other = self.testbed.issuers
        if session is None or session.ended or session.expires_at <= one.now():
            return
        found = self.change(session.email, change, other, session)
        if found is None:
            return
        action, token = found
        generation = len(session.tokens) - 1
        response, _ = self.together(self._refresh(one, session.tokens[-1]), action)
        assert response.status in {200, 400}
        if response.status == 200:
            self.refreshed(session, generation, [response], [one], "rotated")
            self.held[place] = (session.id, generation + 1)
        if change == "log_out":
            self.end(session)
        else:
            self.changed(session.email, change, token)

    # What must hold

    @invariant()
    def access_tokens_work_as_long_as_they_must_and_no_longer(self) -> None:
        for token in self.issued:
            self.check(token)

    @invariant()
    def the_database_holds_what_the_model_holds(self) -> None:
        """Compare accounts, live sessions and events: every change has its event, no email has two accounts."""
        rows = self.run(self.testbed.rows(_CONTENT))
        found = {kind: [row["value"] for row in rows if row["kind"] == kind] for kind in ("user", "session", "event")}
        accounts = self.state.accounts.items()
        assert sorted(found["user"]) == sorted(f"{email} {account.id}" for email, account in accounts)
        assert sorted(found["session"]) == sorted(it.id for it in self.state.sessions.values() if not it.ended)
        events = Counter(kind for kind in found["event"] if kind in COUNTED)
        rejected = events.pop("login_failed", 0)
        least = self.state.events["login_failed"]
        assert events == +self.state.events - Counter(login_failed=least)
        assert least <= rejected <= least + self.unsure_rejections

    def last_checks(self) -> None:
        """The trail verifies, every live session has a next token, and revocations arrive."""
        if not hasattr(self, "testbed") or not self.testbed.issuers:
            return
        assert self.run(self.testbed.audit_faults()) == []
        for session in list(self.state.sessions.values()):
            issuer, generation = self.issuer(), len(session.tokens) - 1
            response = self.run(self._refresh(issuer, session.tokens[-1]))
            if session.ended or session.expires_at <= issuer.now():
                assert response.status == 400
            else:
                assert response.status == 200, "a live session was lost"
                self.refreshed(session, generation, [response], [issuer], "rotated")
        self.pass_time(3)
        for token in self.issued:
            self.check(token)

    def check(self, token: AccessToken) -> None:
        """Compare the decision of the verifier with the model."""
        accepted = self.testbed.verifier.accepts(token.text)
        if self.now.timestamp() >= token.expires_at + LEEWAY:
            assert not accepted, "an expired token works"
        elif token.revoked_at is None:
            assert accepted or not token.known, self.testbed.verifier.reason(token.text)
        elif self.now - token.revoked_at >= REVOCATION_BOUND:
            assert not accepted, "a token works after its revocation bound"

    # The second description

    def expect_refresh(self, session_id: str, generation: int, issuer: Issuer) -> str:
        """Return the outcome for this refresh token, by the rule written independently of the code."""
        session = self.state.sessions.get(session_id)
        if session is None or session.ended or session.expires_at <= issuer.now():
            return "rejected"
        age = self.testbed.database_now - session.rotated_at
        match len(session.tokens) - 1 - generation:
            case 0:
                return "rotated"
            case behind if behind < 0:
                return "ahead"
            case 1 if age <= PARALLEL:
                return "parallel"
            case 1 if age <= RETRY and session.retried_in_a_row < MAX_RETRIED_IN_A_ROW:
                return "retried"
            case _:
                return "reused"

    def is_read(self, token: AccessToken, issuer: Issuer) -> bool:
        """Return whether an issuer can read the token, whether or not its session is live."""
        published = issuer.parts.key_watcher.key_set.public_key(token.kid) is not None
        return published and issuer.now().timestamp() < token.expires_at

    def is_live(self, token: AccessToken, issuer: Issuer) -> bool:
        session = self.state.sessions.get(token.session)
        is_over = session is None or session.ended or session.expires_at <= issuer.now()
        return self.is_read(token, issuer) and not is_over

    def registered(self, response: Response, email: str, password: str) -> None:
        if email in self.state.accounts:
            assert response.status == (202 if self.verified else 409)
            return
        assert response.status == (202 if self.verified else 201)
        [row] = self.run(self.testbed.rows(f"SELECT id::text FROM users WHERE email_key = '{email}'"))
        self.state.accounts[email] = Account(row["id"], password, verified=not self.verified)
        self.state.events["account_registered"] += 1

    def created(self, response: Response, email: str, issuer: Issuer) -> None:
        """Add a session, and remove those beyond the limit: expired ones first, then the oldest."""
        token = self.note(response)
        assert claims_of(token.text)["sub"] == self.state.accounts[email].id
        now = issuer.now()
        session = Session(
            token.session, email, now, now, now + IDLE, now + ABSOLUTE, [response.json["refresh_token"]]
        )
        self.state.events["login_succeeded"] += 1
        others = [it for it in self.state.sessions.values() if it.email == email and not it.ended]
        self.state.sessions[session.id] = session
        self.held.append((session.id, 0))
        self.texts[session.id, 0] = session.tokens[0]
        others.sort(key=lambda it: (it.expires_at <= now, now - it.created_at, it.id))
        for beyond in others[SESSIONS_PER_ACCOUNT - 1 :]:
            self.end(beyond)

    def refreshed(
        self, session: Session, generation: int, responses: list[Response], issuers: list[Issuer], expected: str
    ) -> None:
        """Record new tokens: all responses have the same successor."""
        for response in responses:
            successor = (session.id, generation + 1)
            assert head_of(response.json["refresh_token"]) == successor, "not the one successor"
            self.texts.setdefault(successor, response.json["refresh_token"])
            token = self.note(response)
            assert token.session == session.id
        if expected == "rotated":
            session.tokens.append(responses[0].json["refresh_token"])
            session.retried_in_a_row = session.retried_in_a_row + 1 if session.retries else 0
            session.retries = 0
            session.rotated_at = self.testbed.database_now
            # One of them rotates; which one, only its idle time tells.
            session.idle_until = min(max(issuer.now() for issuer in issuers) + IDLE, session.until)
        elif expected == "retried":
            session.retries += len(responses)

    def note(self, response: Response) -> AccessToken:
        text = response.json["access_token"]
        claims = claims_of(text)
        assert claims["exp"] - claims["iat"] <= 600
        token = AccessToken(text, claims["sid"], header_of(text)["kid"], claims["exp"])
        self.issued.append(token)
        return token

    def end(self, session: Session) -> None:
        """Mark a session and its tokens as revoked."""
        if not session.ended:
            session.ended = True
            self.state.events["session_revoked"] += 1
        for token in self.issued:
            if token.session == session.id and token.revoked_at is None:
                token.revoked_at, token.known = self.now, True

    def end_all(self, email: str, kept: str = "") -> int:
        live = [it for it in self.state.sessions.values() if it.email == email and not it.ended and it.id != kept]
        for session in live:
            self.end(session)
        return len(live)

    def disabled(self, email: str) -> None:
        account = self.state.accounts[email]
        if not account.disabled:
            account.disabled = True
            account.links.clear()
            self.end_all(email)
            self.state.events["account_disabled"] += 1

    def deleted(self, email: str) -> None:
        self.end_all(email)
        self.state.sessions = {it.id: it for it in self.state.sessions.values() if it.email != email}
        del self.state.accounts[email]
        self.state.events["account_deleted"] += 1

    def password_changed(self, email: str, password: str, kept: str) -> None:
        account = self.state.accounts[email]
        account.password = password
        account.links.clear()
        self.end_all(email, kept)
        self.state.events["password_changed"] += 1

    def verify_email(self, issuer: Issuer, email: str, text: str) -> None:
        response = self.run(issuer.send("POST", "/email/verify", {"token": text}))
        account = self.state.accounts.get(email)
        valid = account is not None and not account.disabled and self.is_link(account, text, issuer)
        assert response.status == (204 if valid else 400)
        if account is not None and valid:
            account.verified = True
            account.links = [link for link in account.links if not link[0].startswith("gpv")]
            self.state.events["email_verified"] += 1

    def reset_password(self, issuer: Issuer, email: str, text: str, password: str) -> None:
        response = self.run(issuer.send("POST", "/password/reset", {"token": text, "password": password}))
        account = self.state.accounts.get(email)
        valid = account is not None and not account.disabled and self.is_link(account, text, issuer)
        assert response.status == (204 if valid else 400)
        if account is not None and valid:
            account.password, account.verified = password, True
            account.links.clear()
            self.end_all(email)
            self.state.events["password_reset"] += 1

    def is_link(self, account: Account, text: str, issuer: Issuer) -> bool:
        return any(link == text and expiry > issuer.now() for link, expiry in account.links)

    def mails(self, delivered: list[Mail]) -> None:
        """Keep the tokens of mails; three of each kind are valid at a time."""
        for mail in delivered:
            kind = mail.token[:3]
            self.inbox[mail.recipient.lower()].append(mail.token)
            account = self.state.accounts[mail.recipient.lower()]
            account.links.append((mail.token, mail.made_at + LINK_LIFETIMES[kind]))
            others = [link for link in account.links if not link[0].startswith(kind)]
            account.links = others + [link for link in account.links if link[0].startswith(kind)][-3:]

    def drop_expired(self, issuer: Issuer) -> None:
        """Drop sessions that a cleanup deletes; none of their tokens can be valid."""
        before = issuer.now() - timedelta(seconds=3720)
        for session in list(self.state.sessions.values()):
            if session.until < before:
                del self.state.sessions[session.id]

    # Requests

    def change(
        self, email: str, change: str, issuer: Issuer, session: Session | None = None
    ) -> tuple[Awaitable[Any], AccessToken | None] | None:
        """Start a change that revokes sessions of an account; return it with its token, or None if it is impossible.

        A password is changed by another session than `session`, which is to end; `session` itself logs out.
        """
        account = self.state.accounts.get(email)
        if account is None:
            return None
        if change == "disable":
            return issuer.operator.disable(UUID(account.id)), None
        if change == "delete":
            return issuer.operator.delete(UUID(account.id)), None
        for token in reversed(self.issued):
            own = self.is_live(token, issuer) and self.state.sessions[token.session].email == email
            if own and change == "log_out" and session is not None and token.session == session.id:
                return self._log_out(issuer, token), token
            if own and change == "change_password" and (session is None or token.session != session.id):
                return self._change_password(issuer, token, self.another(account.password)), token
        return None

    def changed(self, email: str, change: str, token: AccessToken | None) -> None:
        match change:
            case "disable":
                self.disabled(email)
            case "delete":
                self.deleted(email)
            case _:
                assert token is not None
                self.password_changed(email, self.another(self.state.accounts[email].password), token.session)

    def another(self, password: str) -> str:
        return PASSWORDS[PASSWORDS.index(password) - 1]

    async def _register(self, issuer: Issuer, email: str, password: str, *, spelled: bool) -> Response:
        document = {"email": email.title() if spelled else email, "password": password}
        return await issuer.send("POST", "/register", document)

    async def _log_in(self, issuer: Issuer, email: str, password: str) -> Response:
        return await issuer.send("POST", "/login", {"email": email, "password": password})

    async def _refresh(self, issuer: Issuer, token: str) -> Response:
        return await issuer.send("POST", "/token", form={"grant_type": "refresh_token", "refresh_token": token})

    async def _log_out(self, issuer: Issuer, token: AccessToken) -> Response:
        return await issuer.send("POST", "/logout", token=token.text)

    async def _change_password(self, issuer: Issuer, token: AccessToken, password: str) -> Response:
        account = self.state.accounts[self.state.sessions[token.session].email]
        document = {"current_password": account.password, "new_password": password}
        return await issuer.send("POST", "/password", document, token=token.text)

    # Means

    def make_ready(self, email: str) -> None:
        """Make an account ready for a login, if mail can be sent."""
        if email not in self.state.accounts:
            self.register_once(email, PASSWORDS[0], spelled=False)
            self.pass_time(2)
        self.enable(email)
        account = self.state.accounts[email]
        if not account.verified and account.links:
            self.verify_email(self.issuer(), email, account.links[-1][0])

    def place(self, number: int) -> int:
        """Return the index of a session; of a live one, except for every fourth number."""
        if number % 4 and not self.live_places():
            self.make_ready(EMAILS[number % 2])
            self.try_password(EMAILS[number % 2], right=True)
        places = (self.live_places() if number % 4 else []) or range(len(self.held))
        return places[-1 - number % len(places)]

    def live_places(self) -> list[int]:
        now, sessions = self.testbed.issuers[0].now(), self.state.sessions
        found = [(place, sessions.get(session_id)) for place, (session_id, _) in enumerate(self.held)]
        return [place for place, it in found if it is not None and not it.ended and it.expires_at > now]

    @property
    def now(self) -> datetime:
        return self.testbed.clock.now

    def token(self, number: int) -> AccessToken:
        """Return one of the latest access tokens; if possible of a live session, except for every fourth number."""
        live = [token for token in self.issued if self.is_live(token, self.testbed.issuers[0])]
        last = (live if live and number % 4 else self.issued)[-6:]
        return last[number % len(last)]

    def issuer(self) -> Issuer:
        """Return the next issuer in turn."""
        self.turn += 1
        return self.testbed.issuers[self.turn % 2]

    def run(self, action: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await action

        return self.runner.run(wait())

    def together(self, *actions: Awaitable[Any]) -> list[Any]:
        async def gather() -> list[Any]:
            return list(await asyncio.gather(*actions))

        found: list[Any] = self.runner.run(gather())
        return found


def head_of(token: str) -> tuple[str, int]:
    """Return session and generation of a refresh token."""
    data = base64.urlsafe_b64decode(token.removeprefix("gpr_"))
    return str(UUID(bytes=data[1:17])), int.from_bytes(data[17:25])


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_promises_hold_in_any_order_of_events(database_url: str) -> None:
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    with asyncio.Runner() as loop:
        virtual = VirtualDatabase(database_url)
        loop.run(virtual.open())

        class Machine(IssuerModel):
            runner = loop
            database = virtual
            keys = tuple(new_private() for _ in range(6))

        try:
            walk(Machine, examples=12, steps=50)
        finally:
            loop.run(virtual.close())
