"""Alternatives that are in no package of Debian or PyPI: built from their Go modules, once, into a cache folder.

`make bench-peers`. Exit status: 0 built, 1 one cannot be built, 2 there is no Go.
"""

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.command import exit_status, say
from loadtests.processes import CannotStartError, run
from shared.command_line import add_version

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER: Final = _CACHE / "gatepass" / "peers"
_BUILD_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A program, and the Go module whose root it is."""

    name: str
    module: str
    version: str

    @property
    def path(self) -> Path:
        """Return the path of the built program."""
        return FOLDER / f"{self.name}-{self.version}"


PEERS: Final = (
    Peer("heimdall", "github.com/dadrus/heimdall", "v0.17.18"),
    # The newest version that the module proxy serves: later ones have no version that Go modules allow.
    Peer("oathkeeper", "github.com/ory/oathkeeper", "v0.40.9"),
    Peer("oauth2_proxy", "github.com/oauth2-proxy/oauth2-proxy/v7", "v7.15.6"),
)


def built() -> dict[str, str]:
    """Return the path of each peer that has been built, by name."""
    return {peer.name: str(peer.path) for peer in PEERS if peer.path.exists()}


def build(peer: Peer) -> None:
    """Build a program, in a temporary Go module. Takes minutes."""
    say(f"building {peer.module} {peer.version}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program"
        for command in (
            ["go", "mod", "init", "peer.example/build"],
            ["go", "get", f"{peer.module}@{peer.version}"],
            ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), peer.module],
        ):
            run(["env", f"--chdir={folder}", *command], timeout=_BUILD_SECONDS)
        # In one step, so that an interrupted build leaves nothing that looks like a program.
        shutil.copy2(program, f"{peer.path}.new")
        Path(f"{peer.path}.new").replace(peer.path)


def main() -> int:
    """Build the missing programs and return the exit status."""
    parser = argparse.ArgumentParser("python -m loadtests.bench.peers", description=__doc__)
    add_version(parser)
    parser.parse_args()
    if shutil.which("go") is None:
        raise CannotStartError("Go is needed to build the peers (Debian, Ubuntu: apt-get install golang)")
    for peer in PEERS:
        if not peer.path.exists():
            build(peer)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status("bench-peers", main))
