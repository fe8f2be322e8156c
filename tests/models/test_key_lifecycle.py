"""The promises of the key directory, in any order of events.

- A key signs only when every verifier has fetched it, except the first one and the successor of a leaked one.
- A key is published until its last token has expired, and a revoked one never again.
- A MAC secret makes tokens only when every issuer has loaded it, and is accepted as long as a session may live.
- A crash between two writes leaves a directory that issuers load.

Two machines share the directory; their clocks differ by a minute. Files, commands and the code that loads the
directory are real.
"""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from issuer.errors import KeyStoreError
from issuer.keys import manager as key_management
from issuer.keys import store as key_files
from issuer.keys.manager import KeyManager
from issuer.keys.models import KeyState
from issuer.keys.rotation import RotationPolicy
from issuer.keys.store import load_key_set, new_private
from issuer.keys.watcher import KeyWatcher
from issuer.telemetry.metrics import Metrics
from shared.jwks import parse_jwks
from tests.models.testbed import BEGINNING
from tests.models.walks import TIMEOUT_SECONDS, walk
from tests.support.crashes import Crash, crash_at
from tests.support.signing_keys import key_pool, load_key

AHEAD: Final = (timedelta(seconds=-30), timedelta(seconds=30))
FETCHED_BY_ALL: Final = timedelta(seconds=2 * 300 + 40)
"""A cache keeps the key set for its `max-age`, a verifier for another one, and a failed fetch is retried."""

TOKEN_LIFETIME, LEEWAY = timedelta(hours=1), timedelta(seconds=60)
SESSION_LIFETIME: Final = timedelta(days=90)
LOADED_BY_ALL: Final = timedelta(seconds=2)
COMMANDS: Final = ("generate", "rotate", "advance", "advance", "rotate MAC secret")

UNTIL_PROMOTION: Final = (60, 399, 580, 639, 701)
UNTIL_REMOVAL: Final = (180, 3600, 3689, 3781)
"""Steps of time in seconds: they show a key that was promoted or removed too early."""

SECONDS: Final = (1, 10, 59, 60, 120, 580, 640, 700, 701, 3600, 3800, 86_400, 89 * 86_400, 95 * 86_400)

machines = st.sampled_from([0, 1])
numbers = st.integers(0, 5)
crashes = st.sampled_from([None, None, None, 0, 1, 2, 3, 4, 5, 6])


@dataclass(frozen=True)
class Use:
    """A key or MAC secret of a token, and the expiry of that token."""

    name: str
    until: datetime


class KeyLifecycle(RuleBasedStateMachine):
    """Commands of two machines, crashes, and time."""

    keys: tuple[RSAPrivateKey, ...]

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGINNING
        self.folder = tempfile.TemporaryDirectory(prefix="gatepass-keys-")
        self.path = Path(self.folder.name)
        self.patch = pytest.MonkeyPatch()
        pool = key_pool(self.keys)
        self.patch.setattr(key_management, "new_private", lambda: next(pool))
        self.patch.setattr("issuer.keys.atomic_files.os.fsync", lambda _: None)  # a process crashes, no machine
        self.patch.setattr(key_files, "load_pem_private_key", load_key)
        self.managers = [KeyManager(self.path, RotationPolicy(), self.clock(machine)) for machine in (0, 1)]
        self.watchers: list[KeyWatcher] = []
        self.published_at: dict[str, datetime] = {}
        self.loaded_at: dict[str, datetime] = {}
        self.revoked: set[str] = set()
        self.urgent: set[str] = set()
        self.signatures: list[Use] = []
        self.refresh_tokens: list[Use] = []

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    @initialize()
    def open(self) -> None:
        self.managers[0].generate()
        self.watchers = [KeyWatcher(self.path, Metrics()) for _ in self.managers]
        self.urgent |= {key.kid for key in self.managers[0].read()}
        self.urgent |= {record.name for record in self.managers[0].mac_secrets()}

    @rule(machine=machines, command=st.sampled_from(COMMANDS), crash=crashes)
    def command(self, machine: int, command: str, crash: int | None) -> None:
        manager = self.managers[machine]
        with suppress(Crash, KeyStoreError), crash_at(99 if crash is None else crash):
            match command:
                case "generate":
                    manager.generate()
                case "rotate":
                    manager.rotate()
                case "advance":
                    manager.advance()
                case _:
                    manager.rotate_mac_secret()

    @rule(machine=machines, promoted=st.sampled_from(UNTIL_PROMOTION), removed=st.sampled_from(UNTIL_REMOVAL))
    def replace_the_key(self, machine: int, promoted: int, removed: int) -> None:
        """Create a key; promote it and remove its predecessor when due. The machines alternate."""
        one, other = self.managers[machine], self.managers[1 - machine]
        one.generate()
        self.the_directory_loads()
        self.pass_time(promoted)
        other.advance()
        self.pass_time(0)
        self.pass_time(removed)
        one.advance()

    @rule(machine=machines, promoted=st.sampled_from([1, 59, 121]), days=st.sampled_from([29, 31, 89, 91]))
    def replace_the_mac_secret(self, machine: int, promoted: int, days: int) -> None:
        """Create a MAC secret; promote it and remove its predecessor when due. The machines alternate."""
        one, other = self.managers[machine], self.managers[1 - machine]
        one.rotate_mac_secret()
        self.the_directory_loads()
        self.pass_time(promoted)
        other.advance()
        self.the_directory_loads()
        self.pass_time(days * 86_400)
        one.advance()

    @rule(machine=machines, number=numbers, crash=crashes)
    def revoke(self, machine: int, number: int, crash: int | None) -> None:
        """Revoke a leaked key or MAC secret, again after a crash: its successor is used at once."""
        manager = self.managers[machine]
        names = [key.kid for key in manager.read()] + [record.name for record in manager.mac_secrets()]
        name = names[number % len(names)]
        if crash is not None:
            with suppress(Crash), crash_at(crash):
                manager.revoke(name)
        with suppress(KeyStoreError):  # the first attempt was completed
            manager.revoke(name)
        self.revoked.add(name)
        self.urgent |= {key.kid for key in manager.read() if key.state is KeyState.CURRENT}
        self.urgent.add(manager.mac_secrets()[0].name)

    @rule(seconds=st.sampled_from(SECONDS))
    def pass_time(self, seconds: int) -> None:
        """Let time pass; every issuer loads the directory and issues tokens."""
        self.now += timedelta(seconds=seconds)
        for machine, watcher in enumerate(self.watchers):
            watcher.refresh()
            self.sign(machine)

    @rule(machine=machines)
    def sign(self, machine: int) -> None:
        """Issue an access token and a refresh token with the keys that an issuer has loaded."""
        key_set, now = self.watchers[machine].key_set, self.clock(machine)()
        assert key_set.signing is not None
        kid, secret = key_set.signing.kid, key_set.mac_secrets[0].id
        if kid not in self.urgent:
            assert self.now - self.published_at[kid] >= FETCHED_BY_ALL, "a key signs before verifiers have fetched it"
        if secret not in self.urgent:
            assert self.now - self.loaded_at[secret] >= LOADED_BY_ALL, "a MAC secret is used before issuers know it"
        self.signatures.append(Use(kid, now + TOKEN_LIFETIME + LEEWAY))
        self.refresh_tokens.append(Use(secret, now + SESSION_LIFETIME - 2 * AHEAD[1]))

    @invariant()
    def the_directory_loads(self) -> None:
        """Load the directory as a new issuer: one key signs, and every recorded key is published."""
        if not self.watchers:
            return
        key_set = load_key_set(self.path)
        states = [key.state for key in key_set.keys]
        assert key_set.signing is not None
        assert states.count(KeyState.CURRENT) == 1
        assert states.count(KeyState.NEXT) <= 1
        published = set(parse_jwks((self.path / "public/jwks.json").read_bytes()).keys)
        for kid in published:
            self.published_at.setdefault(kid, self.now)
        for secret in key_set.mac_secrets:
            self.loaded_at.setdefault(secret.id, self.now)
        assert {key.kid for key in key_set.keys} <= published
        self.check_uses(published, {secret.id for secret in key_set.mac_secrets})

    def check_uses(self, published: set[str], accepted: set[str]) -> None:
        """Check that keys and MAC secrets are known until their tokens expire, unless they were revoked."""
        for use in self.signatures:
            assert use.until <= self.now or use.name in published | self.revoked, "a key is removed before its tokens"
        for use in self.refresh_tokens:
            assert use.until <= self.now or use.name in accepted | self.revoked, "a MAC secret is removed too early"
        assert self.revoked.isdisjoint(published | accepted), "a revoked key is back"

    def clock(self, machine: int) -> "Clock":
        return Clock(self, AHEAD[machine])


@dataclass(frozen=True)
class Clock:
    """The clock of one machine."""

    model: KeyLifecycle
    ahead: timedelta

    def __call__(self) -> datetime:
        return self.model.now + self.ahead


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_promises_about_keys_hold_in_any_order_of_events() -> None:
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())

    class Machine(KeyLifecycle):
        keys = tuple(new_private() for _ in range(6))

    walk(Machine, examples=30, steps=40)
