"""What the command lines of all programs have in common: their name and `--version`."""

import argparse
import sys
from pathlib import Path

from shared.version import VERSION


def program_name(package: str) -> str:
    """Return how the operator started a program: by its one-file executable, or by `python -m`."""
    name = Path(sys.argv[0]).name
    return name if name == f"gatepass-{package}" else f"python -m {package}"


def add_version(parser: argparse.ArgumentParser) -> None:
    """Give `parser` and all commands below it the option `--version`."""
    parser.add_argument("--version", action="version", version=f"gatepass {VERSION}", help="print the version")
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list subcommands
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                add_version(command)
