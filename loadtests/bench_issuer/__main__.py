"""`make bench-issuer`: the issuer compared with argon2 and PostgreSQL alone, and with a naive application.

Exit status: 0 reported (whether or not targets are met), 1 no result (a wrong response, an error).
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from issuer.settings import IssuerSettings
from loadtests.bench import machine
from loadtests.bench.processes import ROOT, ProcessError, raise_descriptor_limit
from loadtests.bench_issuer.measurements import InvalidRunError, Lengths, Round, measure
from loadtests.bench_issuer.report import to_json, to_text
from loadtests.bench_issuer.testbed import Site, running_testbed
from shared.command_line import add_version

NO_RESULT = 1
INTERRUPTED = 130
FULL = 3, Lengths(short=6.0, overload=20.0)
QUICK = 1, Lengths(short=4.0, overload=10.0)


def main() -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench_issuer", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: a minute instead of five")
    parser.add_argument("--out", type=Path, default=ROOT / ".bench", help="where the JSON goes")
    add_version(parser)
    arguments = parser.parse_args()
    rounds, lengths = QUICK if arguments.quick else FULL
    raise_descriptor_limit()
    try:
        with running_testbed() as site:
            measured = uvloop.run(_measure(site, rounds, lengths))
    except (ProcessError, InvalidRunError, OSError, TimeoutError) as error:
        print(f"no result: {error!s} ({type(error).__name__})", file=sys.stderr)
        return NO_RESULT
    except KeyboardInterrupt:
        print("interrupted: servers are stopped, no result", file=sys.stderr)
        return INTERRUPTED
    wait = IssuerSettings().password_hash_timeout_seconds
    print(f"\n{to_text(measured, machine.describe(), wait)}\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "issuer.json"
    path.write_text(to_json(measured, machine.describe(), wait), encoding="utf-8")
    print(path)
    return 0


async def _measure(site: Site, rounds: int, lengths: Lengths) -> list[Round]:
    started = time.monotonic()

    def report(number: int) -> Callable[[str], None]:
        return lambda line: print(
            f"{time.monotonic() - started:4.0f} s  round {number} of {rounds}  {line}", flush=True
        )

    return [await measure(site, lengths, report(number + 1)) for number in range(rounds)]


if __name__ == "__main__":
    sys.exit(main())
