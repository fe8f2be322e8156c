"""Automatic rotation: its times, metrics and logs."""

import asyncio
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from issuer.keys.rotation import RotationPolicy
from issuer.keys.rotation_task import RotationTask
from issuer.keys.store import load_key_set
from issuer.telemetry.metrics import Metrics
from tests.support.signing_keys import generate_key, key_manager, states

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + RotationPolicy().publish_delay


@pytest.fixture
def keys(keys: Path) -> Path:
    """Return a current key and a next one, which is due at `LATER`."""
    generate_key(keys, NOW)
    return keys


def runs(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "gatepass_issuer_key_rotation_runs_total"
    }


def test_every_outcome_is_shown_before_the_first_run(keys: Path) -> None:
    metrics = Metrics()
    RotationTask(key_manager(keys, NOW), metrics)
    assert runs(metrics) == {"read_only": 0, "failed": 0, "advanced": 0, "idle": 0}


def test_each_transition_is_logged(keys: Path) -> None:
    (old, new), metrics = load_key_set(keys).keys, Metrics()
    with capture_logs() as lines:
        RotationTask(key_manager(keys, LATER), metrics).run_once()
    assert runs(metrics) == {"read_only": 0, "failed": 0, "advanced": 1, "idle": 0}
    assert lines == [
        {"event": "key_state_changed", "name": old.kid, "action": "retired", "log_level": "info"},
        {"event": "key_state_changed", "name": new.kid, "action": "promoted", "log_level": "info"},
    ]


def test_a_fault_is_logged_when_it_begins(keys: Path) -> None:
    metrics, records = Metrics(), keys / "private/keys.json"
    task, valid = RotationTask(key_manager(keys, NOW), metrics), records.read_bytes()
    with capture_logs() as lines:
        for content in (b"invalid", b"invalid", valid, b"invalid"):
            records.write_bytes(content)
            task.run_once()
    assert runs(metrics) == {"read_only": 0, "failed": 3, "advanced": 0, "idle": 1}
    reason = f"{records}: invalid key records; restore the file from a backup"
    assert lines == 2 * [{"event": "key_rotation_failed", "reason": reason, "log_level": "error"}]


@pytest.mark.parametrize("folder", ["private", "public"])
def test_an_issuer_that_may_not_write_only_follows(keys: Path, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # root may write everywhere, so the result of the operating system is replaced.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != folder or not mode & os.W_OK)
    metrics = Metrics()
    RotationTask(key_manager(keys, LATER), metrics).run_once()
    assert states(keys) == ["current", "next"]
    assert runs(metrics) == {"read_only": 1, "failed": 0, "advanced": 0, "idle": 0}


def test_the_task_waits_for_no_other_writer(keys: Path) -> None:
    metrics, manager = Metrics(), key_manager(keys, LATER)
    run = threading.Thread(target=RotationTask(manager, metrics).run_once)
    with manager._writing():
        run.start()
        run.join(10)
        is_waiting = run.is_alive()
    run.join()
    assert not is_waiting
    assert states(keys) == ["current", "next"]
    assert runs(metrics)["idle"] == 1


def test_the_task_runs_as_soon_as_a_transition_is_due(keys: Path) -> None:
    asked: list[float] = []

    def now() -> datetime:
        """Return the time of the task's first check: a tenth of a second before the transition."""
        asked.append(time.monotonic())
        return LATER + timedelta(seconds=asked[-1] - asked[0] - 0.1)

    async def rotate() -> None:
        running = asyncio.create_task(RotationTask(key_manager(keys, now), Metrics()).run())
        while states(keys) != ["retired", "current"]:
            assert not running.done()
            await asyncio.sleep(0.02)
        running.cancel()

    asyncio.run(asyncio.wait_for(rotate(), 10))


def test_the_pause_ends_when_the_first_transition_is_due(keys: Path) -> None:
    def pause(now: datetime) -> float:
        return RotationTask(key_manager(keys, now), Metrics()).pause()

    assert pause(LATER - timedelta(seconds=61)) == 60
    assert pause(LATER - timedelta(seconds=59)) == 59
    assert pause(LATER - timedelta(milliseconds=500)) == 0.5
    assert pause(LATER) == 60
