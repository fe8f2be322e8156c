"""One run of wrk: its command line and its result."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.processes import pinned, run

SCRIPT: Final = Path(__file__).with_name("wrk.lua")
TIMEOUT_SECONDS: Final = 10
_SPARE_SECONDS: Final = 20.0
_MARK: Final = "result "


class WrkOutputError(Exception):
    """wrk did not print a result: it could not connect, or the script failed."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load to send. No two request heads are alike, since gateways add a request id of its own to each.

    Attributes:
        connections: kept alive, each with one request under way at a time.
        think_ms: mean pause of a connection between a response and its next request; 0 for none.
    """

    connections: int
    think_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of a load. Latencies in milliseconds, from the request written to its response read."""

    requests: int
    requests_per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    error_responses: int
    socket_errors: int

    @property
    def faults(self) -> str:
        """Return the failures that make the figures worthless, in words; empty if there are none."""
        counts = {"responses of 400 and above": self.error_responses, "socket errors": self.socket_errors}
        found = [f"{count} {what}" for what, count in counts.items() if count]
        return ", ".join(found if self.requests else [*found, "no responses"])


def send(load: Load, *, port: int, path: str, tokens: Path, cores: Sequence[int], seconds: int) -> Measurement:
    """Load `path` of the server at `port` for `seconds`.

    Raises:
        ProcessError: wrk failed or did not end.
        WrkOutputError: wrk printed no result.
    """
    options = ["-t1", f"-c{load.connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s"]
    script = [str(tokens), f"{load.think_ms:.3f}"]
    command = ["wrk", *options, "-s", str(SCRIPT), f"http://127.0.0.1:{port}{path}", "--", *script]
    return parse_output(run(pinned(cores, command), timeout=seconds + _SPARE_SECONDS))


def parse_output(output: str) -> Measurement:
    """Read the line that `wrk.lua` prints last.

    Raises:
        WrkOutputError: there is none.
    """
    lines = [line.removeprefix(_MARK) for line in output.splitlines() if line.startswith(_MARK)]
    if not lines:
        raise WrkOutputError(f"wrk printed no result: {output.strip()[-300:]}")
    result: dict[str, int] = json.loads(lines[-1])
    return Measurement(
        requests=result["requests"],
        requests_per_second=result["requests"] / max(result["microseconds"], 1) * 1e6,
        p50_ms=result["p50"] / 1000,
        p90_ms=result["p90"] / 1000,
        p99_ms=result["p99"] / 1000,
        p999_ms=result["p99.9"] / 1000,
        max_ms=result["max"] / 1000,
        error_responses=result["status"],
        socket_errors=sum(result[kind] for kind in ("connect", "read", "write", "timeout")),
    )
