"""`make chaos`: kill, freeze, disconnect and starve processes under load, and check that the promises hold.

Exit status: 0 every promise held, 1 one did not or there is no result, 2 invalid options. See
docs/operations/faults.md.
"""

import argparse
import asyncio
import random
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from loadtests.processes import ROOT
from shared.command_line import add_version, help_with_example
from tests.chaos.report import write
from tests.chaos.run import run

PUBLISHED: Final = ROOT / "docs/operations"
_MAX_MINUTES: Final = 24 * 60
_SEEDS: Final = 1_000_000


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit status."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    seed = random.randrange(_SEEDS) if options.seed is None else options.seed
    print(f"chaos: seed {seed}, {options.minutes:g} minutes", flush=True)
    result = asyncio.run(run(seed, options.minutes, options.out / "logs"))
    print(write(result, options.out, f"make chaos CHAOS_MINUTES={options.minutes:g} CHAOS_SEED={seed}"))
    if options.publish:
        for name in ("chaos.md", "chaos.svg"):
            shutil.copy(options.out / name, PUBLISHED / name)
    return 1 if result.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        allow_abbrev=False,
        **help_with_example(
            "Load a site, make faults, and check that the promises hold.\n"
            "Exit status: 0 everything held, 1 something did not or no result, 2 invalid options",
            "--minutes 2 --seed 1",
        ),
    )
    parser.add_argument("--minutes", type=_minutes, default=2.0, help="length of the run (2)")
    parser.add_argument("--seed", type=int, help="chooses faults, times and requests (random)")
    parser.add_argument("--out", type=Path, default=ROOT / ".chaos", help="folder for results (.chaos)")
    parser.add_argument("--publish", action="store_true", help="also write the result into docs/operations")
    add_version(parser)
    return parser


def _minutes(text: str) -> float:
    with suppress(ValueError):
        if 0 < (minutes := float(text)) <= _MAX_MINUTES:
            return minutes
    raise argparse.ArgumentTypeError(f"must be a number, more than 0 and at most {_MAX_MINUTES}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
