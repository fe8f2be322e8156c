"""`make bench-issuer`: the issuer compared with argon2 and PostgreSQL alone, and with a naive application.

Exit status: 0 reported (whether or not targets are met), 1 no result (a wrong response, an error).
"""

import argparse
import sys
from pathlib import Path

import uvloop

from issuer.settings import IssuerSettings
from loadtests import machine
from loadtests.bench_issuer.measurements import Round, measure
from loadtests.bench_issuer.report import to_json, to_text
from loadtests.bench_issuer.testbed import IssuerTestbed, running_testbed
from loadtests.command import exit_status, progress
from loadtests.processes import ROOT, raise_descriptor_limit
from shared.command_line import add_version

FULL = 3, 6.0, 20.0
"""Number of rounds, seconds of each part, and seconds of overload and of logouts."""
QUICK = 1, 4.0, 10.0


def main() -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench_issuer", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: a minute instead of five")
    parser.add_argument("--out", type=Path, default=ROOT / ".bench", help="where the JSON goes")
    add_version(parser)
    arguments = parser.parse_args()
    raise_descriptor_limit()
    with running_testbed() as testbed:
        rounds = uvloop.run(_measure(testbed, *(QUICK if arguments.quick else FULL)))
    about, wait = machine.describe(), IssuerSettings().password_hash_timeout_seconds
    print(f"\n{to_text(rounds, about, wait)}\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "issuer.json"
    path.write_text(to_json(rounds, about, wait), encoding="utf-8")
    print(path)
    return 0


async def _measure(testbed: IssuerTestbed, rounds: int, seconds: float, overload_seconds: float) -> list[Round]:
    report, measured = progress(), []
    for number in range(1, rounds + 1):
        report(f"round {number} of {rounds}")
        measured.append(await measure(testbed, seconds, overload_seconds, report))
    return measured


if __name__ == "__main__":
    sys.exit(exit_status("bench-issuer", main))
