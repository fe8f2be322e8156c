"""`make bench`: this verifier beside its alternatives, on this machine; loadtests/README.md explains.

Exit status: 0 reported (whether or not targets are met), 1 no result (a wrong response, an error), 2 cannot start.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtests.bench import machine
from loadtests.bench.contenders import CONTENDERS, Contender
from loadtests.bench.fixtures import make_fixtures
from loadtests.bench.peers import HOW_TO_BUILD, built
from loadtests.bench.processes import ROOT, ProcessError, raise_descriptor_limit
from loadtests.bench.report import Run, to_json, to_text
from loadtests.bench.rounds import FULL, QUICK, LoadLevel, Plan, count_samples, run_rounds
from loadtests.bench.servers import InvalidRunError, Setup
from loadtests.bench.statistics import cost
from loadtests.bench.tools import MissingToolError, find_tools, versions
from loadtests.bench.wrk import WrkOutputError
from loadtests.charts import Bar, draw_costs
from shared.command_line import add_version

NO_RESULT = 1
CANNOT_START = 2
INTERRUPTED = 130
QUIET_SECONDS = 1.0


def main() -> int:
    """Run the benchmark and return the exit status."""
    arguments = _parse_arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        run = _measure(_select(arguments.only), QUICK if arguments.quick else FULL)
    except (MissingToolError, machine.TooFewCoresError) as error:
        print(error, file=sys.stderr)
        return CANNOT_START
    except (InvalidRunError, ProcessError, WrkOutputError) as error:
        print(f"no result: {error}", file=sys.stderr)
        return NO_RESULT
    except KeyboardInterrupt:
        print("interrupted: servers are stopped, no result", file=sys.stderr)
        return INTERRUPTED
    print(f"\n{to_text(run)}\n")
    (arguments.out / "benchmark.json").write_text(to_json(run), encoding="utf-8")
    _draw(run, arguments.out / "benchmark.svg")
    print(arguments.out / "benchmark.json", arguments.out / "benchmark.svg", sep="\n")
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 short rounds: a few minutes instead of 15")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", choices=[one.name for one in CONTENDERS],
        help="this contender only, may be repeated: %(choices)s",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / ".bench", help="where JSON and SVG go")
    add_version(parser)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


def _select(names: Sequence[str]) -> list[Contender]:
    """Return the contenders with these names, or all, and say which must be built first.

    Raises:
        MissingToolError: one of `names` is not built.
    """
    selected = [one for one in CONTENDERS if not names or one.name in names]
    missing = [one.name for one in selected if one.peer and one.peer not in built()]
    if missing:
        message = f"not built: {', '.join(missing)}; `{HOW_TO_BUILD}` builds them"
        if names:
            raise MissingToolError(message)
        print(message)
    return [one for one in selected if one.name not in missing]


def _measure(contenders: Sequence[Contender], plan: Plan) -> Run:
    raise_descriptor_limit()
    cores = machine.choose_cores()
    with machine.watch(cores) as others:
        time.sleep(QUIET_SECONDS)
    tools = find_tools(print)
    directory = ROOT / ".bench" / "run"
    directory.mkdir(parents=True, exist_ok=True)
    print(f"{len(contenders)} contenders on core {cores.server}, wrk on core {cores.load}; signing tokens")
    setup = Setup(directory, make_fixtures(directory), tools, cores.server)
    report = _progress(count_samples(contenders, plan.rounds))
    samples = list(run_rounds(contenders, plan, setup, cores, report))
    busiest = max(others.server, others.load)
    return Run(contenders, machine.describe(), versions(tools), plan.measure, busiest, samples)


def _draw(run: Run, path: Path) -> None:
    headings = {False: "requested directly", True: "behind nginx auth_request, both on one core"}
    groups: dict[str, list[Bar]] = {}
    for contender in run.contenders:
        found = run.figures.of((contender.name, LoadLevel.FEW), cost)
        if found is not None:
            ours = "verifier" in contender.name
            bar = Bar(contender.label, found.median, found.low, found.high, ours)
            groups.setdefault(headings[contender.behind_nginx], []).append(bar)
    if groups:
        draw_costs(groups, "What it costs to check the access token of a request", path)


def _progress(total: int) -> Callable[[str], None]:
    started, done = time.monotonic(), 0

    def report(line: str) -> None:
        nonlocal done
        done += 1
        elapsed = time.monotonic() - started
        remaining = elapsed / done * max(total - done, 0)
        print(f"{_clock(elapsed)}  {line}  (about {_clock(remaining)} left)", flush=True)

    return report


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    sys.exit(main())
