"""Keys rotate under load: real issuers that share a folder, and real verifiers that read it by file and by URL."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from issuer.keys.rotation import RotationPolicy
from shared.jwks import parse_jwks
from tests.support.issuer_process import IssuerProcess, issuer_command, running_issuer
from tests.support.processes import free_port, wait_until
from tests.support.signing_keys import generate_key, key_manager
from tests.support.verifier_process import VerifierFolder, VerifierProcess

MAX_AGE_SECONDS = 10
"""Short, so that a verifier fetches keys during a test."""

NOTHING_DUE = RotationPolicy(MAX_AGE_SECONDS, 0)
EMAIL = "ann@example.com"
PASSPHRASE = "quite a long passphrase"


@contextmanager
def verifier_of(issuer: IssuerProcess, folder: Path, **source: Any) -> Iterator[VerifierProcess]:
    folder.mkdir()
    with VerifierFolder(folder).running(ISSUER=issuer.url, **source) as verifier:
        yield verifier


def signed_by(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


@dataclass
class Load:
    """Load that logs in at every issuer in turn, and sends every token that must be valid to every verifier.

    Attributes:
        removed: kids of keys whose tokens need not be valid any more.
        accepted: number of accepted tokens by kid.
        rejected: wrong rejections: kid and status.
    """

    issuers: list[IssuerProcess]
    verifiers: list[VerifierProcess]
    removed: set[str] = field(default_factory=set)
    accepted: dict[str, int] = field(default_factory=dict)
    rejected: list[tuple[str, int]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        held: list[str] = []
        while not self.ended.is_set():
            for issuer in self.issuers:
                response = issuer.login(EMAIL)
                if response.status_code != 200:
                    self.rejected.append(("login", response.status_code))
                    continue
                held.append(response.json()["access_token"])
            for token in held:
                self._show(token)

    def _show(self, token: str) -> None:
        kid = signed_by(token)
        for verifier in self.verifiers:
            if kid in self.removed:
                return
            status = verifier.ask(token=token.encode()).status
            if status == 200:
                self.accepted[kid] = self.accepted.get(kid, 0) + 1
            elif kid not in self.removed:
                self.rejected.append((kid, status))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run in a thread."""
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self.ended.set()
            thread.join()

    def wait_for_more(self, kid: str) -> None:
        """Wait until 20 further tokens of the key were accepted."""
        least = self.accepted.get(kid, 0) + 20
        wait_until(lambda: self.accepted.get(kid, 0) >= least or bool(self.rejected), f"tokens of {kid}", 30)
        assert self.rejected == []


def test_a_rotation_under_load_rejects_no_valid_token(database_url: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    first = generate_key(keys, datetime.now(UTC)).kid
    age = str(MAX_AGE_SECONDS)
    with (
        running_issuer(database_url, keys, JWKS_MAX_AGE_SECONDS=age) as issuer,
        running_issuer(database_url, keys, URL=issuer.url, JWKS_MAX_AGE_SECONDS=age) as other,
        verifier_of(issuer, tmp_path / "a", JWKS_FILE=keys / "public/jwks.json") as by_file,
        verifier_of(issuer, tmp_path / "b", JWKS_URL=f"{issuer.url}/.well-known/jwks.json") as by_url,
    ):
        assert issuer.register(EMAIL).status_code == 201
        load = Load([issuer, other], [by_file, by_url])
        with load.running():
            load.wait_for_more(first)
            (made,) = key_manager(keys, datetime.now(UTC), policy=NOTHING_DUE).rotate()
            second = made.name
            # Both refresh within the delay of a promotion; the rest of the delay is skipped by the clock.
            wait_until(lambda: by_url.metric("jwks_keys") == by_file.metric("jwks_keys") == 2, "both keys known", 30)
            after = datetime.now(UTC) + NOTHING_DUE.publish_delay
            assert key_manager(keys, after, policy=NOTHING_DUE).rotate()[-1].name == second
            load.wait_for_more(second)
            load.wait_for_more(first)
            load.removed.add(first)
            assert key_manager(keys, after + timedelta(hours=2), policy=NOTHING_DUE).advance()
            wait_until(lambda: by_file.metric("jwks_keys") == 1, "the first key gone")
            load.wait_for_more(second)
        assert load.rejected == []
        assert set(load.accepted) == {first, second}
        assert by_file.ask(token=b"").status == 401


def test_an_issuer_promotes_a_due_key_by_itself(database_url: str, tmp_path: Path) -> None:
    keys, now = tmp_path / "keys", datetime.now(UTC)
    generate_key(keys, now - timedelta(hours=1))
    next_key = generate_key(keys, now - RotationPolicy().publish_delay + timedelta(seconds=8)).kid
    with running_issuer(database_url, keys) as issuer:
        token = issuer.token(EMAIL)
        assert signed_by(token) != next_key
        retired = 'gatepass_issuer_signing_keys{state="retired"}'
        wait_until(lambda: issuer.metric(retired) == 1, "a promotion", 60)
        assert signed_by(issuer.login(EMAIL).json()["access_token"]) == next_key
        assert issuer.request("GET", "/me", token).status_code == 200
        assert issuer.metric('gatepass_issuer_key_rotation_runs_total{outcome="advanced"}') == 1


def test_a_revoked_key_is_rejected_after_the_next_refresh_and_new_logins_work(
    database_url: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    leaked = generate_key(keys, datetime.now(UTC)).kid
    with (
        running_issuer(database_url, keys) as issuer,
        verifier_of(issuer, tmp_path / "a", JWKS_FILE=keys / "public/jwks.json") as verifier,
    ):
        token = issuer.token(EMAIL).encode()
        assert verifier.ask(token=token).status == 200
        run = issuer_command("keys", "revoke", leaked, KEYS_DIR=str(keys))
        assert run.returncode == 0
        assert "signs at once" in run.stderr
        wait_until(lambda: verifier.ask(token=token).status == 401, "the old token is rejected")
        wait_until(lambda: signed_by(issuer.login(EMAIL).json()["access_token"]) != leaked, "a new key")
        again = issuer.login(EMAIL).json()["access_token"].encode()
        wait_until(lambda: verifier.ask(token=again).status == 200, "a new token accepted")
        assert issuer.request("GET", "/me", token.decode()).status_code == 401
        assert leaked not in parse_jwks((keys / "public/jwks.json").read_bytes()).keys


@pytest.fixture
def encrypted(tmp_path: Path) -> dict[str, str]:
    """Return the settings for a folder that was created with a passphrase."""
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    settings = {"KEYS_DIR": str(tmp_path / "keys"), "KEYS_PASSPHRASE_FILE": str(tmp_path / "passphrase")}
    assert issuer_command("keys", "generate", **settings).stdout.split()[-1] == "encrypted"
    return settings


def test_an_issuer_with_encrypted_keys_shows_the_passphrase_nowhere(
    database_url: str, encrypted: dict[str, str]
) -> None:
    passphrase_file = encrypted["KEYS_PASSPHRASE_FILE"]
    with running_issuer(database_url, Path(encrypted["KEYS_DIR"]), KEYS_PASSPHRASE_FILE=passphrase_file) as issuer:
        assert issuer.token(EMAIL)
        process = Path(f"/proc/{issuer.process.pid}")
        for shown in (issuer.log(), (process / "cmdline").read_text(), (process / "environ").read_text()):
            assert PASSPHRASE not in shown


def test_an_issuer_does_not_start_with_a_wrong_passphrase(
    database_url: str, encrypted: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "passphrase").write_text("another long passphrase")
    ports = {"PORT": str(free_port()), "ADMIN_PORT": str(free_port())}
    run = issuer_command("serve", DATABASE_URL=database_url, **encrypted, **ports)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "wrong passphrase" in run.stderr
