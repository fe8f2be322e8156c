"""What a run says: a table in Markdown, and JSON with every sample. Ratios are taken round by round."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from loadtests.benchmark.figures import Spread, spread
from loadtests.scaling.arrangements import ARRANGEMENTS, Arrangement
from loadtests.scaling.measuring import Sample

Samples = Mapping[str, Sequence[Sample]]
"""By the name of the arrangement, one for each round."""

_HEAD: Final = """\
| verifiers | answers/s | cores they worked | answers per core-second | of the first's | least busy | p99 ms |
|---|---|---|---|---|---|---|"""


def to_markdown(samples: Samples, machine: Mapping[str, str | int], seconds: int) -> str:
    """The table, medians with the lowest and the highest in brackets."""
    rounds = max(len(found) for found in samples.values())
    lines = [_row(one, samples) for one in ARRANGEMENTS if one.name in samples]
    head = (
        f"{machine['cpu']}, {machine['cores']} cores that verifiers, nginx and wrk share; "
        f"{rounds} rounds of {seconds} s, medians (lowest to highest)."
    )
    return "\n".join([head, "", _HEAD, *lines])


def to_json(samples: Samples, machine: Mapping[str, str | int], seconds: int) -> str:
    """Everything, so that others can do their own arithmetic."""
    document: dict[str, Any] = {
        "machine": machine,
        "seconds_per_sample": seconds,
        "samples": {name: [dataclasses.asdict(one) for one in found] for name, found in samples.items()},
    }
    return json.dumps(document, indent=2) + "\n"


def share_of_first(arrangement: Arrangement, samples: Samples) -> Spread | None:
    """Its answers per core-second in those of its family's smallest; None where either was not measured."""
    first = next(one for one in ARRANGEMENTS if one.family == arrangement.family)
    if first.name not in samples:
        return None
    pairs = zip(samples[arrangement.name], samples[first.name], strict=False)
    return spread([ours.per_core / theirs.per_core for ours, theirs in pairs])


def _row(arrangement: Arrangement, samples: Samples) -> str:
    found = samples[arrangement.name]

    def of(figure: Callable[[Sample], float], form: str) -> str:
        return _words(spread([figure(one) for one in found]), form)

    return (
        f"| {arrangement.name} | {of(lambda one: one.rate, ',.0f')} | {of(lambda one: one.cores, '.2f')} "
        f"| {of(lambda one: one.per_core, ',.0f')} | {_words(share_of_first(arrangement, samples), '.2f')} "
        f"| {of(lambda one: one.least_share, '.2f') if arrangement.verifiers > 1 else '-'} "
        f"| {of(lambda one: one.p99_ms, '.1f')} |"
    )


def _words(found: Spread | None, form: str) -> str:
    if found is None:
        return "-"
    if found.low == found.high:
        return f"{found.median:{form}}"
    return f"{found.median:{form}} ({found.low:{form}} to {found.high:{form}})"
