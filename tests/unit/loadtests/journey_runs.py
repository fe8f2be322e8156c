"""Runs as locust would leave them, with the figures that a test states."""

from pathlib import Path
from typing import Any

from loadtests.journeys.kinds import AUTH, CALL, JOURNEYS
from loadtests.journeys.report import Run
from loadtests.journeys.settings import Settings

MACHINE: dict[str, str | int] = {"cpu": "a processor", "cores": 2, "kernel": "6", "system": "a system"}


def times(p95: float = 10.0, p99: float | None = None, count: int = 100) -> dict[str, float]:
    return {"count": count, "p50": p95 / 2, "p95": p95, "p99": p95 if p99 is None else p99, "longest": 1000.0}


def phase(
    seconds: float = 10.0, locust: float = 1.0, others: float = 0.0, **operations: dict[str, float]
) -> dict[str, Any]:
    found = {name: times() for name in (*AUTH, CALL)} | operations
    return {
        "seconds": seconds,
        "spent": {"locust": locust, "issuer": 3.0, "other programs": others},
        "operations": found,
    }


def fault(what: str = "wrong accept: 200 for no token", count: int = 1, at: str = "ramp to 1000") -> dict[str, Any]:
    return {"phase": at, "operation": "refused call", "fault": what, "count": count}


def figures(*faults: dict[str, Any], **phases: dict[str, Any]) -> dict[str, Any]:
    return {"phases": phases or {"1000": phase()}, "faults": list(faults), "keys": ["one"]}


def finished(document: dict[str, Any], *steps: int, journey: str = "person") -> Run:
    settings = Settings(
        journey=JOURNEYS[journey],
        steps=steps or (1000,),
        duration=180.0,
        ramp=60.0,
        think=5.0,
        host=None,
        issuer=None,
        people=10_000,
        call="/",
        out=Path("out"),
        publish=False,
    )
    return Run(settings, document, MACHINE, {"locust": "2"}, "today")
