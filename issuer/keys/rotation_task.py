"""An issuer that may write the keys folder moves its keys on by itself; one that may not just follows."""

import asyncio
from typing import Final

import structlog

from issuer.errors import KeyringError
from issuer.keys.manager import KeyFolder
from issuer.telemetry.metrics import Metrics

_INTERVAL_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


class KeyTicker:
    """Ticks once a minute, and sooner where something falls due before.

    Args:
        folder: shared with any number of other issuers.
        metrics: where ticks are counted.
    """

    def __init__(self, folder: KeyFolder, metrics: Metrics) -> None:
        self._folder = folder
        self._ticks = metrics.key_ticks
        for outcome in ("read_only", "failed", "advanced", "idle"):
            self._ticks.labels(outcome)  # or the first of them would not be an increase
        self._fault = ""

    async def watch(self) -> None:
        """Tick until cancelled. Not at once: of who was away, verifiers must first hear again."""
        while True:
            await asyncio.sleep(await asyncio.to_thread(self.pause))
            await asyncio.to_thread(self.tick)

    def pause(self) -> float:
        """Seconds until the next tick."""
        try:
            moments = [self._folder.schedule.due_at(key) for key in self._folder.read()]
        except KeyringError:
            return _INTERVAL_SECONDS
        now = self._folder.now()
        left = [(moment - now).total_seconds() for moment in moments if moment is not None]
        # What is due already was tried at the last tick.
        return min([_INTERVAL_SECONDS, *(seconds for seconds in left if seconds > 0)])

    def tick(self) -> None:
        """Once; whatever goes wrong is told and tried again the next time."""
        try:
            if not self._folder.is_writable():
                self._ticks.labels("read_only").inc()
                return
            # Whoever holds the lock may hold it for long, and what is due now is due in a minute too.
            steps = self._folder.tick(wait=False)
        except KeyringError as error:
            self._ticks.labels("failed").inc()
            self._report(str(error))
            return
        self._fault = ""
        self._ticks.labels("advanced" if steps else "idle").inc()
        for step in steps:
            _log.info("key moved on", name=step.name, done=step.done)

    def _report(self, fault: str) -> None:
        if fault != self._fault:
            _log.error("keys not moved on", reason=fault)
        self._fault = fault
