"""Command lines of all programs: names, help and `--version`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from shared.version import VERSION


def program_name(package: str) -> str:
    """Return how the operator started a program: by its one-file executable, or by `python -m`."""
    name = Path(sys.argv[0]).name
    return name if name == f"gatepass-{package}" else f"python -m {package}"


def help_with_example(description: str, example: str) -> dict[str, Any]:
    """Return the arguments of an `ArgumentParser` that give it a description and an example.

    Args:
        description: one sentence; the capital letter and the period are optional.
        example: the arguments of the command; may end with a redirection.
    """
    sentence = f"{description[0].upper()}{description[1:].removesuffix('.')}."
    # Without wrapping, so that the example can be copied.
    return {
        "description": sentence,
        "epilog": f"example:\n  %(prog)s {example}".rstrip(),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def add_version(parser: argparse.ArgumentParser) -> None:
    """Give `parser` and all commands below it the option `--version`."""
    parser.add_argument("--version", action="version", version=f"gatepass {VERSION}", help="print the version")
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list subcommands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - nor to recognise them
            for command in action.choices.values():
                add_version(command)
