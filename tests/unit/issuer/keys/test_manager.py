"""Commands and automatic rotation keep the key directory consistent, also when they are interrupted."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from issuer.errors import KeyStoreError
from issuer.keys.mac_secrets import mac_secrets_file
from issuer.keys.manager import KeyManager
from issuer.keys.models import KeyState
from issuer.keys.rotation import KeyTransition, RotationPolicy
from issuer.keys.rotation_task import RotationTask
from issuer.keys.store import load_key_set
from issuer.keys.watcher import KeyWatcher
from issuer.telemetry.metrics import Metrics
from shared.jwks import parse_jwks
from tests.support.crashes import Crash, crash_at
from tests.support.lost_keys import bring_back, move_away
from tests.support.processes import ROOT
from tests.support.signing_keys import generate_key, key_manager, states

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = RotationPolicy()
LATER = NOW + POLICY.publish_delay
GONE = LATER + timedelta(hours=2)
PASSPHRASE, OTHER = b"one of the passphrases", b"another of the passphrases"


def signer(keys: Path) -> str:
    signing = load_key_set(keys).signing
    assert signing is not None
    return signing.kid


def pems(keys: Path) -> set[str]:
    return {path.stem for path in (keys / "private").glob("*.pem")}


def published(keys: Path) -> set[str]:
    return set(parse_jwks((keys / "public/jwks.json").read_bytes()).keys)


def whole_life(keys: Path) -> None:
    """Return a key set with a retired, a current and a next key."""
    generate_key(keys, NOW)
    key_manager(keys, LATER).rotate()
    generate_key(keys, LATER)


# What an operator types


def test_a_rotation_publishes_a_key_before_it_signs(keys: Path) -> None:
    (made,) = key_manager(keys, NOW).rotate()
    assert made.action == "created"
    assert states(keys) == ["current", "next"]
    old = signer(keys)
    assert key_manager(keys, LATER).rotate() == (KeyTransition("retired", old), KeyTransition("promoted", made.name))
    assert states(keys) == ["retired", "current"]
    assert signer(keys) == made.name


def test_an_early_rotation_is_rejected_with_the_time_to_wait(keys: Path) -> None:
    key_manager(keys, NOW).rotate()
    early = LATER - timedelta(seconds=90, milliseconds=500)
    with pytest.raises(KeyStoreError, match="wait 91 s, or run `keys advance` then") as error:
        key_manager(keys, early).rotate()
    assert "\n" not in str(error.value)
    assert states(keys) == ["current", "next"]


def test_a_retired_public_key_stays_published_while_tokens_are_valid(keys: Path) -> None:
    old = signer(keys)
    generate_key(keys, NOW)
    key_manager(keys, LATER).rotate()
    assert old not in pems(keys)
    assert old in published(keys)
    assert key_manager(keys, GONE).advance() == (KeyTransition("removed", old),)
    assert published(keys) == pems(keys) == {signer(keys)}


def test_there_is_at_most_one_next_key(keys: Path) -> None:
    assert generate_key(keys, NOW) == generate_key(keys, LATER)
    assert states(keys) == ["current", "next"]


def test_revoking_the_current_key_promotes_the_next_at_once(keys: Path) -> None:
    leaked, next_key = signer(keys), generate_key(keys, NOW)
    transitions = key_manager(keys, NOW).revoke(leaked)
    assert transitions == (KeyTransition("removed", leaked), KeyTransition("promoted", next_key.kid))
    assert signer(keys) == next_key.kid
    assert published(keys) == pems(keys) == {next_key.kid}


def test_revoking_the_only_key_makes_another_at_once(keys: Path) -> None:
    leaked = signer(keys)
    key_manager(keys, NOW).revoke(leaked)
    assert states(keys) == ["current"]
    assert signer(keys) != leaked
    assert published(keys) == pems(keys) == {signer(keys)}


def test_a_leaked_key_whose_successor_is_lost_can_be_revoked_after_it(keys: Path) -> None:
    leaked, next_key = signer(keys), generate_key(keys, NOW)
    (keys / f"private/{next_key.kid}.pem").unlink()
    with pytest.raises(KeyStoreError, match=f"or run `keys revoke {next_key.kid}` first"):
        key_manager(keys, NOW).revoke(leaked)
    for kid in (next_key.kid, leaked):
        key_manager(keys, NOW).revoke(kid)
    assert {leaked, next_key.kid}.isdisjoint(published(keys) | pems(keys))


@pytest.mark.parametrize("which", [0, 2])
def test_revoking_another_key_changes_nothing_else(keys: Path, which: int) -> None:
    whole_life(keys)
    key_set = load_key_set(keys).keys
    key_manager(keys, LATER).revoke(key_set[which].kid)
    assert load_key_set(keys).keys == tuple(key for key in key_set if key is not key_set[which])
    assert key_set[which].kid not in published(keys) | pems(keys)


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "A" * 43, "00000000"])
def test_an_unknown_key_cannot_be_revoked(keys: Path, name: str) -> None:
    before = load_key_set(keys)
    with pytest.raises(KeyStoreError, match="no key or MAC secret has that name"):
        key_manager(keys, NOW).revoke(name)
    assert load_key_set(keys).keys == before.keys


@pytest.mark.parametrize("act", [KeyManager.advance, KeyManager.rotate, KeyManager.rotate_mac_secret])
def test_without_keys_the_error_names_the_command_that_makes_one(
    tmp_path: Path, act: Callable[[KeyManager], Any]
) -> None:
    with pytest.raises(KeyStoreError, match="run `keys generate`"):
        act(key_manager(tmp_path / "keys", NOW))


def test_without_the_public_folder_the_error_names_it(keys: Path) -> None:
    shutil.rmtree(keys / "public")
    with pytest.raises(KeyStoreError, match="public is missing; create or restore it"):
        key_manager(keys, NOW).rotate()


# Ticks


def test_advancing_early_changes_nothing(keys: Path) -> None:
    whole_life(keys)
    before = load_key_set(keys).keys
    stamps = [path.stat().st_mtime_ns for path in sorted(keys.rglob("*.json"))]
    assert key_manager(keys, LATER + timedelta(seconds=1)).advance() == ()
    assert load_key_set(keys).keys == before
    assert [path.stat().st_mtime_ns for path in sorted(keys.rglob("*.json"))] == stamps


def test_advancing_alone_takes_a_key_through_its_whole_life(keys: Path) -> None:
    first, moment = signer(keys), NOW
    done: list[KeyTransition] = []
    for _ in range(4):
        moments = [POLICY.due_at(key) for key in load_key_set(keys).keys]
        moment = min(due for due in moments if due is not None and due > moment)
        done += key_manager(keys, moment).advance()
    second, third = (transition.name for transition in done if transition.action == "created")
    assert done == [
        KeyTransition("created", second),
        KeyTransition("retired", first),
        KeyTransition("promoted", second),
        KeyTransition("removed", first),
        KeyTransition("created", third),
    ]


def test_several_processes_advancing_at_once_promote_exactly_once(keys: Path) -> None:
    (keys / "private/keys.json").unlink()
    now = datetime.now(UTC)
    generate_key(keys, now - timedelta(days=1))
    generate_key(keys, now - timedelta(hours=1))
    command = [sys.executable, "-m", "issuer", "keys", "advance"]
    environment = {**os.environ, "ISSUER_KEYS_DIR": str(keys)}
    ticks = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    printed = "".join(tick.communicate()[0] for tick in ticks)
    assert [tick.returncode for tick in ticks] == [0] * 4
    assert printed.count("promoted") == printed.count("retired") == 1
    assert states(keys) == ["retired", "current"]


def test_a_command_waits_for_another_writer(keys: Path) -> None:
    generate_key(keys, NOW)
    manager = key_manager(keys, LATER)
    command = threading.Thread(target=manager.advance)
    with manager._writing():
        command.start()
        command.join(0.2)
        assert command.is_alive()
    command.join()
    assert states(keys) == ["retired", "current"]


def test_one_tick_reports_everything_that_was_due(keys: Path) -> None:
    old, new = signer(keys), generate_key(keys, NOW)
    key_manager(keys, LATER).rotate()
    done = key_manager(keys, LATER + timedelta(days=90)).advance()
    (made,) = pems(keys) - {new.kid}
    assert done == (KeyTransition("removed", old), KeyTransition("created", made))


def test_rotation_continues_when_a_lost_folder_returns(keys: Path) -> None:
    generate_key(keys, NOW)
    task = RotationTask(key_manager(keys, LATER), Metrics())
    move_away(keys)
    task.run_once()
    bring_back(keys)
    task.run_once()
    assert states(keys) == ["retired", "current"]


def test_rotation_writes_nothing_into_a_folder_without_keys(tmp_path: Path) -> None:
    for folder in ("private", "public"):
        (tmp_path / "mount" / folder).mkdir(parents=True)
    metrics = Metrics()
    for path in (tmp_path / "gone", tmp_path / "mount"):
        RotationTask(key_manager(path, NOW), metrics).run_once()
        with pytest.raises(KeyStoreError, match="no keys found"):
            key_manager(path, NOW).advance()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mount", "private", "public"]
    assert metrics.registry.get_sample_value("gatepass_issuer_key_rotation_runs_total", {"outcome": "failed"}) == 2


def test_metrics_show_the_signing_key_and_its_age(keys: Path) -> None:
    metrics = Metrics()
    live = KeyWatcher(keys, metrics)
    whole_life(keys)
    live.refresh()
    value = metrics.registry.get_sample_value
    assert value("gatepass_issuer_signing_key_activated_timestamp_seconds") == LATER.timestamp()
    assert {value("gatepass_issuer_signing_keys", {"state": state}) for state in KeyState} == {1}


def test_an_unreadable_next_key_is_never_promoted(keys: Path) -> None:
    next_key = generate_key(keys, NOW)
    old = signer(keys)
    (keys / f"private/{next_key.kid}.pem").write_bytes(b"invalid")
    for act in (KeyManager.rotate, KeyManager.advance):
        with pytest.raises(KeyStoreError, match=next_key.kid):
            act(key_manager(keys, LATER))
    assert signer(keys) == old


# Crashes


def _nothing(_: Path) -> None:
    pass


def _only(keys: Path) -> None:
    generate_key(keys, NOW)


def _pair(keys: Path) -> None:
    _only(keys)
    generate_key(keys, NOW)


def _trio(keys: Path) -> None:
    _only(keys)
    whole_life(keys)


Act = Callable[[KeyManager, str], Any]
_BROKEN_OFF: Final[dict[str, tuple[Callable[[Path], None], Act, int]]] = {
    "a first key": (_nothing, lambda folder, _: folder.generate(), 0),
    "a next key": (_only, lambda folder, _: folder.generate(), 0),
    "a rotation": (_pair, lambda folder, _: folder.rotate(), 0),
    "a tick that promotes": (_pair, lambda folder, _: folder.advance(), 0),
    "a tick that drops and promotes": (_trio, lambda folder, _: folder.advance(), 0),
    "revoking the only key": (_only, KeyManager.revoke, 0),
    "revoking the current key": (_pair, KeyManager.revoke, 0),
    "revoking the next key": (_pair, KeyManager.revoke, 1),
    "revoking a retired key": (_trio, KeyManager.revoke, 0),
}


@pytest.mark.parametrize("what", _BROKEN_OFF)
def test_a_crash_at_any_write_leaves_a_usable_key_set_that_the_next_command_repairs(
    what: str, tmp_path: Path
) -> None:
    prepare, act, which = _BROKEN_OFF[what]
    for number in range(20):
        keys = tmp_path / str(number)
        prepare(keys)
        before = [key.kid for key in load_key_set(keys).keys]
        name = before[which] if before else ""
        if not _breaks_off(number, lambda: act(key_manager(keys, GONE), name)):  # noqa: B023 - called at once
            assert number > 1, "nothing was broken off"
            return
        _check_what_is_left(keys, signed_before=bool(before))
        act(key_manager(keys, GONE + POLICY.publish_delay), name)
        key_manager(keys, GONE).advance()
        assert published(keys) == {key.kid for key in load_key_set(keys).keys}
        assert not list(keys.rglob("*.tmp"))
        assert not what.startswith("revoking") or name not in published(keys) | pems(keys)
    pytest.fail("it never finished")


def _breaks_off(number: int, act: Callable[[], Any]) -> bool:
    try:
        with crash_at(number):
            act()
    except Crash:
        return True
    return False


def _check_what_is_left(keys: Path, *, signed_before: bool) -> None:
    signing = load_key_set(keys).signing
    assert signing is not None or not signed_before
    assert signing is None or signing.kid in published(keys)


# Passphrases


def test_with_a_passphrase_private_files_are_encrypted(tmp_path: Path) -> None:
    generate_key(tmp_path, NOW, passphrase=PASSPHRASE)
    (pem,) = (tmp_path / "private").glob("*.pem")
    assert pem.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert set(json.loads(mac_secrets_file(tmp_path).read_text())) == {"format", "sealed"}
    key_set = load_key_set(tmp_path, PASSPHRASE)
    assert key_set.signing is not None
    assert len(key_set.mac_secrets) == 1
    assert key_set.plain == ()


@pytest.mark.parametrize(
    ("passphrase", "complaint"),
    [(None, "is encrypted; set ISSUER_KEYS_PASSPHRASE_FILE"), (OTHER, "wrong passphrase")],
)
def test_a_missing_or_wrong_passphrase_is_one_line(tmp_path: Path, passphrase: bytes | None, complaint: str) -> None:
    generate_key(tmp_path, NOW, passphrase=PASSPHRASE)
    with pytest.raises(KeyStoreError, match=complaint) as error:
        load_key_set(tmp_path, passphrase)
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is None
    for path in (tmp_path / "private").glob("*.pem"):
        path.unlink()
    with pytest.raises(KeyStoreError, match=complaint):
        key_manager(tmp_path, NOW, passphrase).mac_secrets()


def test_each_key_shows_how_it_is_stored(keys: Path) -> None:
    first = load_key_set(keys).keys[0]
    second = generate_key(keys, NOW, passphrase=PASSPHRASE)
    manager = key_manager(keys, NOW)
    assert [manager.is_encrypted(key) for key in (first, second)] == [False, True]
    (keys / f"private/{second.kid}.pem").unlink()
    assert manager.is_encrypted(second) is None


def test_unencrypted_files_are_listed_until_they_are_rewrapped(keys: Path) -> None:
    generate_key(keys, NOW)
    key_set = load_key_set(keys, PASSPHRASE)
    assert set(key_set.plain) == {f"{kid}.pem" for kid in pems(keys)} | {"mac-secrets.json"}
    names = [*(key.kid for key in key_set.keys), key_set.mac_secrets[0].id]
    rewrapped = tuple(KeyTransition("rewrapped", name) for name in names)
    assert key_manager(keys, NOW, PASSPHRASE).rewrap(None) == rewrapped
    wrapped = load_key_set(keys, PASSPHRASE)
    assert wrapped.plain == ()
    assert (wrapped.keys, wrapped.mac_secrets) == (key_set.keys, key_set.mac_secrets)
    assert key_manager(keys, NOW, PASSPHRASE).rewrap(None) == ()


def test_a_passphrase_can_be_changed_and_removed_without_new_keys(tmp_path: Path) -> None:
    generate_key(tmp_path, NOW)
    whole_life(tmp_path)
    before = load_key_set(tmp_path)
    retired, *signing = (key.kid for key in before.keys)
    assert retired not in pems(tmp_path)
    first = key_manager(tmp_path, NOW, PASSPHRASE).rewrap(None)
    assert [transition.name for transition in first] == [*signing, before.mac_secrets[0].id]
    assert key_manager(tmp_path, NOW, OTHER).rewrap(PASSPHRASE) == first
    assert load_key_set(tmp_path, OTHER).mac_secrets == before.mac_secrets
    key_manager(tmp_path, NOW).rewrap(OTHER)
    after = load_key_set(tmp_path)
    assert (after.keys, after.mac_secrets) == (before.keys, before.mac_secrets)


def test_a_rewrap_of_encrypted_files_needs_the_old_passphrase(tmp_path: Path) -> None:
    generate_key(tmp_path, NOW, passphrase=PASSPHRASE)
    with pytest.raises(KeyStoreError, match="pass the passphrase that opens it now by --old-passphrase-file"):
        key_manager(tmp_path, NOW, OTHER).rewrap(None)
    with pytest.raises(KeyStoreError, match="wrong passphrase; check the file"):
        key_manager(tmp_path, NOW, OTHER).rewrap(OTHER)


def test_an_interrupted_rewrap_is_completed_by_the_next(keys: Path) -> None:
    generate_key(keys, NOW)
    for number in range(3):
        with pytest.raises(Crash), crash_at(number):
            key_manager(keys, NOW, PASSPHRASE).rewrap(None)
    key_manager(keys, NOW, PASSPHRASE).rewrap(None)
    assert load_key_set(keys, PASSPHRASE).plain == ()


def test_without_the_right_passphrase_nothing_is_rewrapped(tmp_path: Path) -> None:
    generate_key(tmp_path, NOW, passphrase=PASSPHRASE)
    before = mac_secrets_file(tmp_path).read_bytes()
    with pytest.raises(KeyStoreError, match="wrong passphrase"):
        key_manager(tmp_path, NOW, OTHER).rewrap(b"yet another of the passphrases")
    assert mac_secrets_file(tmp_path).read_bytes() == before


def test_no_repr_shows_the_passphrase(keys: Path) -> None:
    assert PASSPHRASE.decode() not in repr(key_manager(keys, NOW, PASSPHRASE))
