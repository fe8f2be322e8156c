"""One run: the site, the load, a scheduler of faults, and at the end the audit of all acknowledged writes."""

import asyncio
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.faults import FaultPlan, deck
from tests.chaos.invariants import (
    INEXCUSABLE,
    Effect,
    Fault,
    Observation,
    Outcome,
    allowed_recovery,
    outcomes,
    violations,
)
from tests.chaos.links import State
from tests.chaos.load import Journal, Load
from tests.chaos.site import Site, UnavailableFaultError, running_site

WARM_UP_SECONDS: Final = 4.0
_SHORT: Final = (1.5, 3.5)
_LONG: Final = (2.0, 25.0)
_LONG_RUN_MINUTES: Final = 10.0
_OVERLAP: Final = 0.3
_POLL_SECONDS: Final = 0.1
_SETTLE_POLLS: Final = 600


@dataclass
class Result:
    """The result of a run.

    Attributes:
        skipped: faults that cannot be caused on this machine, with the reason.
        violations: observations that no fault excuses.
    """

    seed: int
    journal: Journal
    seconds: float
    skipped: dict[str, str]
    violations: list[Observation] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


async def run(seed: int, minutes: float, logs: Path) -> Result:
    """Run chaos for `minutes`; the logs of all processes are copied to `logs`."""
    rng = random.Random(seed)
    async with running_site(rng) as site:
        journal = Journal()
        load = Load(site, journal, random.Random(rng.random()))
        loading = asyncio.create_task(load.run())
        scheduler = _Scheduler(site, load, rng, long=minutes >= _LONG_RUN_MINUTES)
        try:
            await asyncio.wait([loading], timeout=WARM_UP_SECONDS)
            while journal.now() < minutes * 60 and not loading.done():
                await scheduler.next()
            await scheduler.cut_everything()
            await scheduler.settle()
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            shutil.copytree(site.home / "logs", logs, dirs_exist_ok=True)
            shutil.copy(site.home / "gateway-2/error.log", logs / "gateway 2 errors.log")
        if not loading.cancelled():
            await loading
        seconds = journal.now()
        await load.audit()
        try:
            await site.run_issuer("audit", "verify")
        except AssertionError as error:
            journal.add(journal.now(), "issuers", Effect.LOST, f"audit trail: {error}")
    # The audit repeats requests without a response, so only wrong responses count there.
    observed = [one for one in journal.observations if one.sent < seconds or one.effect in INEXCUSABLE]
    return Result(
        seed,
        journal,
        seconds,
        scheduler.skipped,
        violations(observed, journal.faults, journal.starved),
        outcomes(observed, journal.faults, journal.starved),
    )


class _Scheduler:
    """Causes one fault after the other, and in a long run sometimes two at once."""

    def __init__(self, site: Site, load: Load, rng: random.Random, *, long: bool) -> None:
        self.skipped: dict[str, str] = {}
        self._site, self._load, self._rng, self._long = site, load, rng, long
        self._deck: list[FaultPlan] = []

    async def next(self) -> None:
        """Cause the next fault or two, and wait until clients no longer notice them."""
        plans = [self._draw()]
        if self._long and self._rng.random() < _OVERLAP:
            plans.append(self._draw())
        await self._cause(plans)

    async def cut_everything(self) -> None:
        """Cut all links at once, so that every process has to connect again."""
        await self._cause([plan for plan in deck(self._rng) if plan.kind == State.CUT])

    async def settle(self) -> None:
        """Wait until the whole site works."""
        for _ in range(_SETTLE_POLLS):
            if self._load.journal.is_calm(0.0):
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _draw(self) -> FaultPlan:
        if not self._deck:
            self._deck = deck(self._rng)
        return self._deck.pop(0)

    async def _make(self, plan: FaultPlan) -> Fault | None:
        journal = self._load.journal
        seconds = self._rng.uniform(*(_LONG if self._long else _SHORT))
        fault = Fault(plan.kind, plan.target, journal.now(), plan.excuses, plan.recovery_seconds)
        kid = self._site.current_kid()
        journal.faults.append(fault)
        try:
            await plan.begin(self._site)
        except UnavailableFaultError as error:
            journal.faults.remove(fault)
            self.skipped[plan.name] = str(error)
            return None
        if plan.kind == "revoke":
            self._load.key_revoked(kid)
        if plan.end is not None:
            await asyncio.sleep(seconds)
            await plan.end(self._site)
        fault.end = journal.now()
        return fault

    async def _cause(self, plans: Sequence[FaultPlan]) -> None:
        """Cause faults at once, and wait until clients no longer notice them."""
        journal = self._load.journal
        faults = [fault for fault in await asyncio.gather(*map(self._make, plans)) if fault is not None]
        while faults:
            await asyncio.sleep(_POLL_SECONDS)
            last = max(fault.end for fault in faults)
            deadline = max(fault.end + allowed_recovery(fault, journal.starved) for fault in faults)
            if journal.is_calm(last) or journal.now() > deadline + 1.0:
                return
