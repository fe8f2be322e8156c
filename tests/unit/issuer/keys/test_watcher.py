"""A running issuer loads changes of its key directory, and logs them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from issuer.errors import NoSigningKeyError
from issuer.keys import watcher
from issuer.keys.models import KeyState
from issuer.keys.store import load_key_set
from issuer.keys.watcher import KeyWatcher
from issuer.telemetry.metrics import Metrics
from tests.support.lost_keys import bring_back, move_away
from tests.support.signing_keys import generate_key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PASSPHRASE = b"one of the passphrases"


def kids(keys: Path, passphrase: bytes | None = None) -> list[str]:
    return [key.kid for key in load_key_set(keys, passphrase).keys]


@pytest.mark.anyio
async def test_a_watching_issuer_follows_every_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "_POLL_SECONDS", 0.01)
    live = KeyWatcher(tmp_path, Metrics())
    watching = asyncio.create_task(live.watch())
    async with asyncio.timeout(10):
        for _ in range(2):
            made = await asyncio.to_thread(generate_key, tmp_path, NOW)
            while live.key_set.public_key(made.kid) is None:
                assert not watching.done()
                await asyncio.sleep(0.01)
    watching.cancel()


def test_encrypted_keys_are_reloaded(tmp_path: Path) -> None:
    generate_key(tmp_path, NOW, passphrase=PASSPHRASE)
    live = KeyWatcher(tmp_path, Metrics(), PASSPHRASE)
    made = generate_key(tmp_path, NOW, passphrase=PASSPHRASE)
    live.refresh()
    assert live.is_current
    assert live.key_set.public_key(made.kid) is not None


def test_each_new_key_set_is_logged_once(tmp_path: Path) -> None:
    generate_key(tmp_path, NOW)
    with capture_logs() as lines:
        live = KeyWatcher(tmp_path, Metrics())
        live.refresh()
    assert lines == [{"event": "key_set_loaded", "kids": kids(tmp_path), "log_level": "info"}]
    generate_key(tmp_path, NOW)
    with capture_logs() as lines:
        live.refresh()
        live.refresh()
    assert lines == [{"event": "key_set_loaded", "kids": kids(tmp_path), "log_level": "info"}]


def test_with_a_passphrase_unencrypted_files_are_a_warning(tmp_path: Path) -> None:
    generate_key(tmp_path, NOW)
    with capture_logs() as lines:
        KeyWatcher(tmp_path, Metrics())
        KeyWatcher(tmp_path, Metrics(), PASSPHRASE)
    (warning,) = (line for line in lines if line["log_level"] == "warning")
    assert warning == {
        "event": "private_keys_not_encrypted",
        "files": load_key_set(tmp_path).plain,
        "hint": "run `keys rewrap`",
        "log_level": "warning",
    }


def test_a_lost_directory_is_logged_with_what_to_do(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    generate_key(keys, NOW)
    metrics = Metrics()
    live = KeyWatcher(keys, metrics)
    with capture_logs() as lines:
        for _ in range(2):
            move_away(keys)
            live.refresh()
            live.refresh()
            assert not live.is_current
            bring_back(keys)
            live.refresh()
            assert live.is_current
    errors = [line for line in lines if line["log_level"] == "error"]
    reason = f"{keys} has no signing key any more; mount or restore it before you restart the issuer"
    assert errors == 2 * [{"event": "key_set_reload_failed", "reason": reason, "log_level": "error"}]
    assert metrics.registry.get_sample_value("gatepass_issuer_key_set_reload_failures_total") == 2


def test_a_missing_signing_key_is_logged_with_what_to_do(tmp_path: Path) -> None:
    with capture_logs() as lines:
        live = KeyWatcher(tmp_path, Metrics())
        live.refresh()
    hint = "check ISSUER_KEYS_DIR, or run `keys generate`; until then no user can log in"
    warning = {"event": "signing_key_missing", "directory": str(tmp_path), "hint": hint, "log_level": "warning"}
    assert [line for line in lines if line["log_level"] != "info"] == [warning]


def test_an_issuer_without_a_key_signs_when_one_appears(tmp_path: Path) -> None:
    metrics = Metrics()
    live = KeyWatcher(tmp_path, metrics)
    with pytest.raises(NoSigningKeyError):
        _ = live.signing
    assert not live.is_current
    value = metrics.registry.get_sample_value
    assert value("gatepass_issuer_key_directory_usable") == 0
    assert value("gatepass_issuer_signing_key_activated_timestamp_seconds") == 0
    assert {value("gatepass_issuer_signing_keys", {"state": state}) for state in KeyState} == {0}
    made = generate_key(tmp_path, NOW)
    live.refresh()
    assert live.signing.kid == made.kid
