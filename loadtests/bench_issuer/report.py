"""The report of a run: a table with ratios and targets, and JSON with every round. Knows no servers."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

from loadtests import machine
from loadtests.bench.statistics import MedianRange, Target, median_range, target_documents, target_table
from loadtests.bench_issuer.measurements import OVERLOAD, Round
from loadtests.tables import table

DEADLINE_SHARE: Final = 1.2
"""Bound of the p99 under overload, as a share of the longest wait for a hash."""
REFRESH_SHARE: Final = 0.5
"""Bound of refreshes, as a share of PostgreSQL's compare-and-swaps."""

NAIVE_SHARES: Final = {"login": 1.07, "client_credentials": 1.22, "key set": 1.2}
"""Bounds of our processor time, as multiples of the naive application's."""


def targets(hash_wait_seconds: float) -> tuple[Target[Sequence[Round]], ...]:
    """Return the targets for an issuer that lets a hash wait for at most `hash_wait_seconds`."""
    longest = hash_wait_seconds * DEADLINE_SHARE
    return (
        _target("logins / argon2 alone", lambda one: one.login_rate / one.argon2_rate, ">=", 0.9),
        _target(
            f"served at {OVERLOAD:g} x / argon2 alone", lambda one: one.overload_served / one.argon2_rate, ">=", 0.9
        ),
        _target(f"p99 at {OVERLOAD:g} x", lambda one: one.overload_p99, "<=", longest, " s"),
        _target(f"memory after / before {OVERLOAD:g} x", lambda one: one.memory_after / one.memory_before, "<=", 1.1),
        _target("refresh p95 while logins saturate", lambda one: one.refresh_p95 * 1000, "<=", 20, " ms"),
        _target("/me p95 while logins saturate", lambda one: one.me_p95 * 1000, "<=", 20, " ms"),
        _target("logout seen by a verifier, p99", lambda one: one.revocation_p99, "<=", 3.0, " s"),
        _target(
            "refreshes / bare compare-and-swap", lambda one: one.refresh_rate / one.swap_rate, ">=", REFRESH_SHARE
        ),
        *(
            _target(f"{name}, processor time / naive", _ratio(name), "<=", NAIVE_SHARES[name])
            for name in NAIVE_SHARES
        ),
    )


def _target(
    name: str, figure: Callable[[Round], float], comparison: str, bound: float, unit: str = ""
) -> Target[Sequence[Round]]:
    return Target(name, lambda rounds: [figure(one) for one in rounds], comparison, bound, unit)


def _ratio(name: str) -> Callable[[Round], float]:
    return lambda one: one.costs[name].ratio


def to_text(rounds: Sequence[Round], about: Mapping[str, str | int], hash_wait_seconds: float) -> str:
    """Return machine, rates, processor time and targets as text."""
    head = (
        f"{machine.in_words(about)}\n"
        "issuer, PostgreSQL and load on all cores together, over loopback\n"
        f"medians of {len(rounds)} rounds; in brackets the lowest and highest round"
    )
    sections = (head, _rates(rounds), _costs(rounds), target_table(targets(hash_wait_seconds), rounds), _note(rounds))
    return "\n\n".join(filter(None, sections))


def to_json(rounds: Sequence[Round], about: Mapping[str, str | int], hash_wait_seconds: float) -> str:
    """Return all samples as JSON."""
    document = {
        "machine": about,
        "rounds": [dataclasses.asdict(one) for one in rounds],
        "targets": target_documents(targets(hash_wait_seconds), rounds),
    }
    return json.dumps(document, indent=2) + "\n"


def _rates(rounds: Sequence[Round]) -> str:
    rows: tuple[tuple[str, Callable[[Round], float]], ...] = (
        ("argon2 alone, hashes", lambda one: one.argon2_rate),
        ("logins", lambda one: one.login_rate),
        (f"logins offered at {OVERLOAD:g} x", lambda one: one.overload_offered),
        ("served of these", lambda one: one.overload_served),
        ("rejected with 503 of these", lambda one: one.overload_rejected),
        ("bare compare-and-swap", lambda one: one.swap_rate),
        ("RS256 signatures, all cores", lambda one: one.signature_rate),
        ("both for each and nothing else", lambda one: one.refresh_ceiling),
        ("refreshes", lambda one: one.refresh_rate),
    )
    return table(["", "per second"], [(name, _over(rounds, figure).in_words(0)) for name, figure in rows])


def _costs(rounds: Sequence[Round]) -> str:
    head = ["ms of a core for one, server and PostgreSQL", "ours", "naive", "ratio, round by round"]
    return table(head, [_cost_row(rounds, name) for name in rounds[0].costs])


def _cost_row(rounds: Sequence[Round], name: str) -> list[str]:
    pairs = [one.costs[name] for one in rounds]
    ours, naive = median(pair.ours for pair in pairs), median(pair.naive for pair in pairs)
    return [name, f"{ours:.2f}", f"{naive:.2f}", _over(rounds, _ratio(name)).in_words()]


def _note(rounds: Sequence[Round]) -> str:
    possible = _over(rounds, lambda one: one.refresh_ceiling / one.swap_rate).median
    if possible >= REFRESH_SHARE:
        return ""
    return (
        f"note: a signature for each compare-and-swap leaves {possible:.2f} of it on these cores, "
        "without HTTP or Python"
    )


def _over(rounds: Sequence[Round], figure: Callable[[Round], float]) -> MedianRange:
    found = median_range([figure(one) for one in rounds])
    assert found is not None, "a run has a round at least"
    return found
