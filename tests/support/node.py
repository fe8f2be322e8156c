"""Installs Express for the guide of an application in Node.js; without a package registry, skips the test."""

from pathlib import Path
from typing import Final

from tests.support.processes import finished
from tests.support.programs import absent, program

_VERSION: Final = "5.3.0"


def install_express(folder: Path) -> None:
    """Install Express into `folder`, for the programs in its subfolders."""
    program("node", "nodejs")
    npm = program("npm")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), f"express@{_VERSION}"]
    if finished(command).returncode:
        absent("Express cannot be installed")
