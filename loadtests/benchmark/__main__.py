"""`make bench`: this verifier beside its alternatives, on this machine; loadtests/README.md explains.

Exit status: 0 reported (whether or not targets are met), 1 void (wrong answers, errors), 2 cannot start.
"""

import argparse
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtests.benchmark import machine
from loadtests.benchmark.contenders import CONTENDERS, Contender
from loadtests.benchmark.material import make_material
from loadtests.benchmark.picture import to_svg
from loadtests.benchmark.processes import ROOT, ProcessError
from loadtests.benchmark.programs import MissingProgramError, find_programs, versions
from loadtests.benchmark.report import Run, to_json, to_text
from loadtests.benchmark.rounds import FULL, QUICK, Plan, count_samples, run_rounds
from loadtests.benchmark.servers import Site, VoidRunError
from loadtests.benchmark.wrk import WrkOutputError

VOID = 1
CANNOT_START = 2
INTERRUPTED = 130
QUIET_SECONDS = 1.0


def main() -> int:
    """Run it; the exit status."""
    arguments = _parse_arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        run = _measure(_select(arguments.only), QUICK if arguments.quick else FULL)
    except (MissingProgramError, machine.TooFewCoresError) as error:
        print(error, file=sys.stderr)
        return CANNOT_START
    except (VoidRunError, ProcessError, WrkOutputError) as error:
        print(f"void, nothing is reported: {error}", file=sys.stderr)
        return VOID
    except KeyboardInterrupt:
        print("interrupted; servers are stopped, nothing is reported", file=sys.stderr)
        return INTERRUPTED
    print(f"\n{to_text(run)}\n")
    for path, text in {"benchmark.json": to_json(run), "benchmark.svg": to_svg(run)}.items():
        (arguments.out / path).write_text(text, encoding="utf-8")
        print(arguments.out / path)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 short rounds: about 2 minutes instead of 10")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", choices=[one.name for one in CONTENDERS],
        help="this contender only, may be repeated: %(choices)s",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / ".bench", help="where JSON and SVG go")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


def _select(names: Sequence[str]) -> list[Contender]:
    return [one for one in CONTENDERS if not names or one.name in names]


def _measure(contenders: Sequence[Contender], plan: Plan) -> Run:
    _allow_many_connections()
    cores = machine.choose_cores()
    with machine.watch(cores) as others:
        time.sleep(QUIET_SECONDS)
    programs = find_programs(print)
    directory = ROOT / ".bench" / "run"
    directory.mkdir(parents=True, exist_ok=True)
    print(f"{len(contenders)} contenders on core {cores.server}, wrk on core {cores.load}; signing tokens")
    site = Site(directory, make_material(directory), programs, cores.server)
    tell = _progress(count_samples(contenders, plan.rounds))
    samples = list(run_rounds(contenders, plan, site, cores, tell))
    busiest = max(others.server, others.load)
    return Run(contenders, machine.describe(), versions(programs), plan.measure, busiest, samples)


def _progress(total: int) -> Callable[[str], None]:
    started, done = time.monotonic(), 0

    def tell(line: str) -> None:
        nonlocal done
        done += 1
        elapsed = time.monotonic() - started
        remaining = elapsed / done * max(total - done, 0)
        print(f"{_clock(elapsed)}  {line}  (about {_clock(remaining)} left)", flush=True)

    return tell


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _allow_many_connections() -> None:
    """1,000 clients and as many upstreams need more descriptors than the usual 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))


if __name__ == "__main__":
    sys.exit(main())
