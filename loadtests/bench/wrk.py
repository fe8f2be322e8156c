"""One run of wrk: its command line and its result.

No two request heads are alike, since gateways add a request id of its own to each.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.processes import InvalidRunError, pinned, run

SCRIPT: Final = Path(__file__).with_name("wrk.lua")
TIMEOUT_SECONDS: Final = 10
_SPARE_SECONDS: Final = 20.0
_MARK: Final = "result "


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

    def ensure_clean(self, what: str) -> None:
        """Raise InvalidRunError if any request was rejected or lost: fast rejections are no throughput."""
        counts = {"responses of 400 and above": self.error_responses, "socket errors": self.socket_errors}
        found = [f"{count} {failure}" for failure, count in counts.items() if count]
        if found or not self.requests:
            raise InvalidRunError(f"{what}: {', '.join(found) or 'no responses'}")


def send(connections: int, think_ms: float = 0.0, *, url: str, tokens: Path, core: int, seconds: int) -> Measurement:
    """Load `url` for `seconds`, with one request under way at a time on each kept-alive connection.

    `think_ms` is the mean pause of a connection between a response and its next request, 0 for none; `tokens` is a
    file with one token per line.

    Raises:
        ProcessError: wrk failed or did not end.
        InvalidRunError: wrk printed no result.
    """
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s"]
    command = ["wrk", *options, "-s", str(SCRIPT), url, "--", str(tokens), f"{think_ms:.3f}"]
    return parse_output(run(pinned(core, command), timeout=seconds + _SPARE_SECONDS))


def parse_output(output: str) -> Measurement:
    """Read the line that `wrk.lua` prints last.

    Raises:
        InvalidRunError: there is none: it could not connect, or the script failed.
    """
    lines = [line.removeprefix(_MARK) for line in output.splitlines() if line.startswith(_MARK)]
    if not lines:
        raise InvalidRunError(f"wrk printed no result: {output.strip()[-300:]}")
    return Measurement(**json.loads(lines[-1]))
