"""`make bench-scaling`: whether two verifiers do the work of two; loadtests/README.md explains.

Exit status: 0 reported, 1 void (wrong answers, errors), 2 cannot start.
"""

import argparse
import sys
import time
from pathlib import Path

from loadtests.benchmark import machine
from loadtests.benchmark.material import make_material
from loadtests.benchmark.processes import ROOT, ProcessError
from loadtests.benchmark.programs import MissingProgramError, find_programs
from loadtests.benchmark.rounds import order
from loadtests.benchmark.servers import VoidRunError
from loadtests.benchmark.wrk import WrkOutputError
from loadtests.scaling.arrangements import ARRANGEMENTS
from loadtests.scaling.measuring import Sample, Site, measure
from loadtests.scaling.report import to_json, to_markdown

VOID = 1
CANNOT_START = 2
INTERRUPTED = 130
FULL = 5, 4
QUICK = 1, 1


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.scaling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: half a minute instead of five")
    parser.add_argument("--out", type=Path, default=ROOT / ".bench", help="where Markdown and JSON go")
    arguments = parser.parse_args()
    rounds, seconds = QUICK if arguments.quick else FULL
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        samples = _measure(arguments.out, rounds, seconds)
    except MissingProgramError as error:
        print(error, file=sys.stderr)
        return CANNOT_START
    except (VoidRunError, ProcessError, WrkOutputError) as error:
        print(f"void, nothing is reported: {error}", file=sys.stderr)
        return VOID
    except KeyboardInterrupt:
        print("interrupted; servers are stopped, nothing is reported", file=sys.stderr)
        return INTERRUPTED
    described = machine.describe()
    print(f"\n{to_markdown(samples, described, seconds)}\n")
    for name, write in {"scaling.md": to_markdown, "scaling.json": to_json}.items():
        (arguments.out / name).write_text(write(samples, described, seconds).rstrip() + "\n", encoding="utf-8")
        print(arguments.out / name)
    return 0


def _measure(out: Path, rounds: int, seconds: int) -> dict[str, list[Sample]]:
    programs = find_programs(print)
    directory = out / "scaling"
    directory.mkdir(exist_ok=True)
    site = Site(directory, make_material(directory), programs)
    samples: dict[str, list[Sample]] = {one.name: [] for one in ARRANGEMENTS}
    began = time.monotonic()
    for number in range(rounds):
        for one in order(ARRANGEMENTS, number, rounds):
            sample = measure(one, site, seconds)
            samples[one.name].append(sample)
            print(
                f"{time.monotonic() - began:4.0f} s  round {number + 1} of {rounds}  {one.name:<20}"
                f"{sample.rate:>9,.0f}/s  {sample.per_core:>9,.0f} per core-second",
                flush=True,
            )
    return samples


if __name__ == "__main__":
    sys.exit(main())
