"""The report of a run: a table with ratios and targets, and JSON with every round. Knows no servers."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from loadtests.bench.statistics import median_range
from loadtests.bench_issuer.measurements import OVERLOAD, Round

DEADLINE_SHARE: Final = 1.2
"""Bound of the p99 under overload, as a share of the longest wait for a hash."""
REFRESH_SHARE: Final = 0.5
"""Bound of refreshes, as a share of PostgreSQL's compare-and-swaps."""

NAIVE_SHARES: Final = {"login": 1.07, "client_credentials": 1.22, "key set": 1.2}
"""Bounds of our processor time, as multiples of the naive application's."""

_VERDICTS: Final = {True: "met", False: "NOT MET"}


@dataclass(frozen=True, slots=True)
class Target:
    """A figure of each round, and the bound of its median: an upper one unless `at_least`."""

    name: str
    figure: Callable[[Round], float]
    bound: float
    at_least: bool = False
    unit: str = ""

    def evaluate(self, rounds: Sequence[Round]) -> tuple[str, bool]:
        """Return what was measured, in words, and whether it is enough."""
        found = median_range([self.figure(one) for one in rounds])
        assert found is not None
        met = found.median >= self.bound if self.at_least else found.median <= self.bound
        return f"{found.median:.2f}{self.unit} ({found.low:.2f}-{found.high:.2f})", met

    @property
    def demand(self) -> str:
        """Return the bound, in words."""
        return f"{'>=' if self.at_least else '<='} {self.bound:g}{self.unit}"


def targets(hash_wait_seconds: float) -> tuple[Target, ...]:
    """Return the targets for an issuer that lets a hash wait for at most `hash_wait_seconds`."""
    return (
        Target("logins / argon2 alone", lambda one: one.login_rate / one.argon2_rate, 0.9, at_least=True),
        Target(f"served at {OVERLOAD:g} x / argon2 alone", _served_share, 0.9, at_least=True),
        Target(f"p99 at {OVERLOAD:g} x", lambda one: one.overload_p99, hash_wait_seconds * DEADLINE_SHARE, unit=" s"),
        Target(f"memory after / before {OVERLOAD:g} x", lambda one: one.memory_after / one.memory_before, 1.1),
        Target("refresh p95 while logins saturate", lambda one: one.refresh_p95 * 1000, 20, unit=" ms"),
        Target("/me p95 while logins saturate", lambda one: one.me_p95 * 1000, 20, unit=" ms"),
        Target("logout seen by a verifier, p99", lambda one: one.revocation_p99, 3.0, unit=" s"),
        Target("refreshes / bare compare-and-swap", _swap_share, REFRESH_SHARE, at_least=True),
        *(Target(f"{name}, processor time / naive", _ratio(name), bound) for name, bound in NAIVE_SHARES.items()),
    )


def _served_share(one: Round) -> float:
    return one.overload_served / one.argon2_rate


def _swap_share(one: Round) -> float:
    return one.refresh_rate / one.swap_rate


def _ratio(name: str) -> Callable[[Round], float]:
    return lambda one: one.costs[name].ratio


def to_text(rounds: Sequence[Round], machine: Mapping[str, str | int], hash_wait_seconds: float) -> str:
    """Return machine, rates, processor time and targets as text."""
    sections = (
        _head(rounds, machine),
        _rates(rounds),
        _costs(rounds),
        _targets(rounds, hash_wait_seconds),
        _notes(rounds),
    )
    return "\n\n".join(text for text in ("\n".join(lines) for lines in sections) if text)


def to_json(rounds: Sequence[Round], machine: Mapping[str, str | int], hash_wait_seconds: float) -> str:
    """Return all samples as JSON."""
    document: dict[str, Any] = {
        "machine": machine,
        "rounds": [dataclasses.asdict(one) for one in rounds],
        "targets": [
            {"name": target.name, "demanded": target.demand, "measured": words, "met": met}
            for target in targets(hash_wait_seconds)
            for words, met in [target.evaluate(rounds)]
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _head(rounds: Sequence[Round], machine: Mapping[str, str | int]) -> Iterator[str]:
    yield f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}"
    yield "issuer, PostgreSQL and load on all cores together, over loopback"
    yield f"medians of {len(rounds)} rounds; in brackets the lowest and highest round"


def _rates(rounds: Sequence[Round]) -> Iterator[str]:
    rows: tuple[tuple[str, Callable[[Round], float]], ...] = (
        ("argon2 alone, hashes/s", lambda one: one.argon2_rate),
        ("logins/s", lambda one: one.login_rate),
        (f"offered at {OVERLOAD:g} x, logins/s", lambda one: one.overload_offered),
        ("    served/s", lambda one: one.overload_served),
        ("    rejected with 503/s", lambda one: one.overload_rejected),
        ("bare compare-and-swap/s", lambda one: one.swap_rate),
        ("RS256 signatures/s, all cores", lambda one: one.signature_rate),
        ("    both for each and nothing else/s", lambda one: one.refresh_ceiling),
        ("refreshes/s", lambda one: one.refresh_rate),
    )
    for name, figure in rows:
        found = median_range([figure(one) for one in rounds])
        assert found is not None
        yield f"  {name:<40}{found.median:>10,.0f}  ({found.low:,.0f}-{found.high:,.0f})"


def _costs(rounds: Sequence[Round]) -> Iterator[str]:
    yield f"{'ms of a core for one, server and PostgreSQL':<46}{'ours':>8}{'naive':>8}  ratio (round by round)"
    for name in rounds[0].costs:
        pairs = [one.costs[name] for one in rounds]
        ours, naive = (median(pair.ours for pair in pairs), median(pair.naive for pair in pairs))
        found = median_range([pair.ratio for pair in pairs])
        assert found is not None
        yield f"  {name:<44}{ours:>8.2f}{naive:>8.2f}  {found.median:.2f} ({found.low:.2f}-{found.high:.2f})"


def _targets(rounds: Sequence[Round], hash_wait_seconds: float) -> Iterator[str]:
    yield f"{'targets (ratios round by round, then the median)':<50}{'demanded':>10}  measured"
    for target in targets(hash_wait_seconds):
        words, met = target.evaluate(rounds)
        yield f"  {target.name:<48}{target.demand:>10}  {words:<28}{_VERDICTS[met]}"


def _notes(rounds: Sequence[Round]) -> Iterator[str]:
    possible = median_range([one.refresh_ceiling / one.swap_rate for one in rounds])
    assert possible is not None
    if possible.median < REFRESH_SHARE:
        yield (
            f"note: a signature for each compare-and-swap leaves {possible.median:.2f} of it on these cores, "
            "without HTTP or Python"
        )
