"""The version of Gatepass, from pyproject.toml, and the source revision that an image was built from."""

import argparse
import os
import tomllib
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"

VERSION: Final[str] = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"]
REVISION: Final = os.environ.get("GATEPASS_REVISION") or "unknown"
"""Set in the images; `unknown` in a source tree."""


def add_version(parser: argparse.ArgumentParser) -> None:
    """Give `parser` and all commands below it the option `--version`."""
    parser.add_argument("--version", action="version", version=f"gatepass {VERSION}", help="print the version")
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list subcommands
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                add_version(command)
