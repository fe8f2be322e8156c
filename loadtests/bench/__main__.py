"""`make bench`: this verifier beside its alternatives, on this machine; loadtests/README.md explains.

Exit status: 0 reported (whether or not targets are met), 1 no result (a wrong response, an error), 2 cannot start.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from loadtests import machine
from loadtests.bench.contenders import CONTENDERS, Contender
from loadtests.bench.fixtures import make_fixtures
from loadtests.bench.report import HEADINGS, Run, cost, to_json, to_text
from loadtests.bench.rounds import FULL, QUICK, LoadLevel, Plan, run_rounds
from loadtests.bench.servers import Setup
from loadtests.bench.statistics import MedianRange
from loadtests.bench.tools import find_tools, select, versions
from loadtests.charts import draw_costs
from loadtests.command import exit_status, progress
from loadtests.processes import ROOT, raise_descriptor_limit
from shared.command_line import add_version

QUIET_SECONDS = 1.0


def main() -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 short rounds: a few minutes instead of 15")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", choices=[one.name for one in CONTENDERS],
        help="this contender only, may be repeated: %(choices)s",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / ".bench", help="where JSON and SVG go")
    add_version(parser)
    arguments = parser.parse_args()
    run = _measure(select(arguments.only, CONTENDERS), QUICK if arguments.quick else FULL)
    print(f"\n{to_text(run)}\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    document, chart = arguments.out / "benchmark.json", arguments.out / "benchmark.svg"
    document.write_text(to_json(run), encoding="utf-8")
    _draw(run, chart)
    print(document, chart, sep="\n")
    return 0


def _measure(contenders: Sequence[Contender], plan: Plan) -> Run:
    raise_descriptor_limit()
    cores = machine.choose_cores()
    with machine.watch(cores) as others:
        time.sleep(QUIET_SECONDS)
    tools = find_tools()
    directory = ROOT / ".bench" / "run"
    directory.mkdir(parents=True, exist_ok=True)
    print(f"{len(contenders)} contenders on core {cores.server}, wrk on core {cores.load}; signing tokens")
    setup = Setup(directory, make_fixtures(directory), tools, cores.server)
    samples = list(run_rounds(contenders, plan, setup, cores, progress()))
    busiest = max(others.server, others.load)
    return Run(contenders, machine.describe(), versions(tools), plan.measure, busiest, samples)


def _draw(run: Run, path: Path) -> None:
    groups: dict[str, dict[str, MedianRange]] = {}
    for contender in run.contenders:
        found = run.of((contender.name, LoadLevel.FEW), cost)
        if found is not None:
            groups.setdefault(HEADINGS[contender.behind_nginx], {})[contender.label] = found
    draw_costs(groups, path)


if __name__ == "__main__":
    sys.exit(exit_status("bench", main))
