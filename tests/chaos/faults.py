"""The faults: how each starts and ends, the effects that it excuses, and its published recovery time."""

import asyncio
import random
import resource
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Final

import psutil

from tests.chaos.invariants import Effect
from tests.chaos.links import State
from tests.chaos.site import GATEWAYS, ISSUERS, KEY_SET_SECONDS, POSTGRESQL, VERIFIERS, Site, UnavailableFaultError

ISSUER_SURFACE: Final = "issuers"
GATEWAY_OF: Final = dict(zip(VERIFIERS, GATEWAYS, strict=True))
CHECKING: Final = (*GATEWAYS, *VERIFIERS)
"""The surfaces that accept and reject tokens."""

# Published in docs/operations/faults.md.
START_SECONDS: Final = 5.0
"""From the end of a process until its replacement serves."""
DATABASE_SECONDS: Final = 6.0
"""From a crash of PostgreSQL until a write succeeds: it starts, and the issuers notice within a second."""
LINK_SECONDS: Final = 1.0
POLL_SECONDS: Final = 4.0
"""From the end of a disturbance between verifier and issuer until revocations arrive again: the next attempt starts
within 2 s after the timeout of the previous one."""
SILENT_POLL_SECONDS: Final = 9.0
"""The same for a silent link: an attempt in progress ends after 5 s."""
KEY_SECONDS: Final = KEY_SET_SECONDS + 3.0
"""Until every verifier has fetched the key set again."""
CLOCK_SECONDS: Final = 5.0
_CLOCK_STEPS: Final = ("+90", "-90")
_ISSUER_CLOCK_STEPS: Final = ("+40", "-40")

Excuses = frozenset[tuple[str, Effect]]
Step = Callable[[Site], Awaitable[None]]


@dataclass(frozen=True)
class FaultPlan:
    """A fault that can be caused. Without `end` it is over at once, and only its effects last."""

    kind: str
    target: str
    begin: Step
    end: Step | None
    excuses: Excuses
    recovery_seconds: float

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"{self.kind}: {self.target}"


def deck(rng: random.Random) -> list[FaultPlan]:
    """Return all faults in random order; each kind appears once before any appears twice."""
    by_kind: dict[str, list[FaultPlan]] = {}
    for plan in _all():
        by_kind.setdefault(plan.kind, []).append(plan)
    kinds = list(by_kind.values())
    for plans in kinds:
        rng.shuffle(plans)
    rounds = [[plan for plan in one if plan is not None] for one in zip_longest(*kinds)]
    for plans in rounds:
        rng.shuffle(plans)
    return [plan for plans in rounds for plan in plans]


def _all() -> Iterable[FaultPlan]:
    for part in (*GATEWAYS, *VERIFIERS, *ISSUERS, POSTGRESQL):
        excuses = _outage_of(part)
        start = DATABASE_SECONDS if part == POSTGRESQL else START_SECONDS
        kill, freeze, thaw = (
            partial(_signal, part, number) for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)
        )
        yield FaultPlan("kill", part, kill, None, excuses, start)
        # It drains for 2 s before it ends.
        yield FaultPlan("restart", part, partial(_restart, part), None, excuses, start + 2.0)
        recovery = SILENT_POLL_SECONDS if part in {*ISSUERS, POSTGRESQL} else LINK_SECONDS
        yield FaultPlan("freeze", part, freeze, thaw, excuses, recovery)
        if part != POSTGRESQL:
            recovery = POLL_SECONDS if part in ISSUERS else LINK_SECONDS
            exhaust, relieve = (partial(_limit_descriptors, part, exhausted=exhausted) for exhausted in (True, False))
            yield FaultPlan("no descriptors", part, exhaust, relieve, excuses, recovery)
    yield from _of_links()
    for name, disk, excuses, recovery in (
        ("postgresql", "database", _DATABASE, DATABASE_SECONDS),
        ("services", "services", frozenset(), 0.0),
    ):
        yield FaultPlan("full disk", name, partial(_fill, disk), partial(_empty, disk), excuses, recovery)
    for part in (*VERIFIERS, *ISSUERS):
        excuses = _on((ISSUER_SURFACE,), Effect.REJECTED)
        if part in VERIFIERS:
            excuses = _on(_with_gateway(part), Effect.REJECTED, Effect.UNAVAILABLE, Effect.LATE)
        for step in _CLOCK_STEPS if part in VERIFIERS else _ISSUER_CLOCK_STEPS:
            begin, end = (partial(_step_clock, part, offset) for offset in (step, "+0"))
            yield FaultPlan(f"clock {step} s", part, begin, end, excuses, CLOCK_SECONDS)
    yield FaultPlan("rotate", "signing key", _rotate, None, frozenset(), 0.0)
    excuses = _on((*CHECKING, ISSUER_SURFACE), Effect.REJECTED, Effect.UNAVAILABLE, Effect.LATE)
    yield FaultPlan("revoke", "signing key", _revoke, None, excuses, KEY_SECONDS)


def _of_links() -> Iterable[FaultPlan]:
    for verifier, gateway in GATEWAY_OF.items():
        link = f"{gateway}-{verifier}"
        outage = _on((gateway,), Effect.UNAVAILABLE)
        yield from _link(link, (State.CUT, State.SILENT, State.SLOW), outage, LINK_SECONDS)
        # Envoy passes on every status, also one that no client accepts, such as 001.
        changed = outage | _on((gateway,), Effect.REJECTED, Effect.NO_RESPONSE)
        yield from _link(link, (State.CORRUPT,), changed, LINK_SECONDS)
        # Without TLS, a key set in which a bit was changed cannot be distinguished from another key of that name, nor
        # a changed value of a row from a correct one. So the links below are not corrupted.
        stale = _on(CHECKING, Effect.LATE) | _on(_with_gateway(verifier), Effect.UNAVAILABLE)
        yield from _link(f"{verifier}-issuers", (State.CUT, State.SILENT, State.SLOW), stale, SILENT_POLL_SECONDS)
    for issuer in ISSUERS:
        yield from _link(f"{issuer}-postgresql", (State.CUT, State.SILENT, State.SLOW), _DATABASE, POLL_SECONDS)


def _link(link: str, states: Iterable[State], excuses: Excuses, recovery: float) -> Iterable[FaultPlan]:
    for state in states:
        yield FaultPlan(
            state, link, partial(_set_link, link, state), partial(_set_link, link, State.OPEN), excuses, recovery
        )


def _on(surfaces: Iterable[str], *effects: Effect) -> Excuses:
    return frozenset((surface, effect) for surface in surfaces for effect in effects)


def _with_gateway(verifier: str) -> tuple[str, str]:
    return verifier, GATEWAY_OF[verifier]


# The issuers respond with 503 themselves, so a client always gets a response. Revocations wait.
_DATABASE: Final = _on((ISSUER_SURFACE,), Effect.UNAVAILABLE) | _on(CHECKING, Effect.LATE)


def _outage_of(part: str) -> Excuses:
    if part in GATEWAYS:
        return _on((part,), Effect.NO_RESPONSE, Effect.UNAVAILABLE)
    if part in VERIFIERS:
        lists = _on(_with_gateway(part), Effect.LATE)
        return (
            lists
            | _on((part,), Effect.NO_RESPONSE, Effect.UNAVAILABLE)
            | _on((GATEWAY_OF[part],), Effect.UNAVAILABLE)
        )
    if part == POSTGRESQL:
        return _DATABASE
    stale = _on(_with_gateway("verifier 2"), Effect.UNAVAILABLE)
    return _DATABASE | stale | _on((ISSUER_SURFACE,), Effect.NO_RESPONSE)


async def _signal(part: str, number: signal.Signals, site: Site) -> None:
    site.signal_all(part, number)


async def _restart(part: str, site: Site) -> None:
    program, process = site.supervisor._running[part]
    with suppress(ProcessLookupError):
        process.send_signal(program.stop_signal)


async def _limit_descriptors(part: str, site: Site, *, exhausted: bool) -> None:
    for process in site.processes(part):
        with suppress(psutil.NoSuchProcess):
            _, hard = process.rlimit(resource.RLIMIT_NOFILE)
            soft = min(process.num_fds(), hard) if exhausted else hard
            process.rlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _set_link(link: str, state: State, site: Site) -> None:
    site.links[link].set(state)


async def _fill(disk: str, site: Site) -> None:
    if disk not in site.disks:
        raise UnavailableFaultError("only root may mount a small file system")
    await asyncio.to_thread(_write_filler, site.disks[disk] / "filler")


def _write_filler(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


async def _empty(disk: str, site: Site) -> None:
    (site.disks[disk] / "filler").unlink()


async def _step_clock(part: str, offset: str, site: Site) -> None:
    if part not in site.clocks:
        raise UnavailableFaultError("libfaketime is not installed (Debian's package libfaketime)")
    site.clocks[part].write_text(f"{offset}\n", encoding="ascii")


async def _rotate(site: Site) -> None:
    await site.run_issuer("keys", "rotate")


async def _revoke(site: Site) -> None:
    await site.run_issuer("keys", "revoke", site.current_kid())
