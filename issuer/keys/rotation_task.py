"""Key rotation by the running issuer. If it cannot write to the key directory, other processes must rotate."""

import asyncio
from typing import Final

import structlog

from issuer.errors import KeyStoreError
from issuer.keys.manager import KeyManager
from issuer.telemetry.metrics import Metrics

_INTERVAL_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


class RotationTask:
    """Background task that performs due key transitions every minute, and as soon as one falls due.

    Any number of issuers may share the key directory.
    """

    def __init__(self, manager: KeyManager, metrics: Metrics) -> None:
        self._manager = manager
        self._runs = metrics.key_rotation_runs
        for outcome in ("read_only", "failed", "advanced", "idle"):
            self._runs.labels(outcome)  # create the series, so that rate() sees the first increment
        self._fault = ""

    async def run(self) -> None:
        """Run until cancelled. Wait at first: after a downtime, verifiers must fetch the key set first."""
        while True:
            await asyncio.sleep(await asyncio.to_thread(self.pause))
            await asyncio.to_thread(self.run_once)

    def pause(self) -> float:
        """Return the seconds until the next run."""
        try:
            due_times = [self._manager.policy.due_at(key) for key in self._manager.read()]
        except KeyStoreError:
            return _INTERVAL_SECONDS
        now = self._manager.now()
        remaining = [(due_at - now).total_seconds() for due_at in due_times if due_at is not None]
        # Transitions that are due already are left out, since the last run has tried them.
        return min([_INTERVAL_SECONDS, *(seconds for seconds in remaining if seconds > 0)])

    def run_once(self) -> None:
        """Perform the due transitions. A failure is logged; the next run tries again."""
        try:
            if not self._manager.is_writable():
                self._runs.labels("read_only").inc()
                return
            # Without waiting, since another writer may hold the lock for long: the next run is in a minute.
            transitions = self._manager.advance(wait=False)
        except KeyStoreError as error:
            self._runs.labels("failed").inc()
            self._report(str(error))
            return
        self._fault = ""
        self._runs.labels("advanced" if transitions else "idle").inc()
        for transition in transitions:
            _log.info("key_state_changed", name=transition.name, action=transition.action)

    def _report(self, fault: str) -> None:
        if fault != self._fault:
            _log.error("key_rotation_failed", reason=fault)
        self._fault = fault
