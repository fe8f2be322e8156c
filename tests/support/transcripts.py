"""Commands in our documents, and the output that the documents show.

An `sh` block is run in a shell; the `json` or `text` block after it is its complete output, in which `…` stands for
any text.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.settings import DEFAULT_PORTS
from tests.support.processes import ROOT
from tests.support.stack import Stack

_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```\n(?:```(?:json|text)\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
_SEPARATOR: Final = "\x1e"
_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Step:
    """One block of commands and the output that the document shows, if any."""

    commands: str
    output: str | None


def steps(document: Path) -> list[Step]:
    """Return the `sh` blocks of a document, without those that only call make."""
    found = _BLOCK.findall(document.read_text(encoding="utf-8"))
    return [
        Step(body, response or None)
        for kind, body, response in found
        if kind == "sh" and not body.startswith("make ")
    ]


def make_targets(document: Path) -> set[str]:
    """Return the make targets in a document."""
    return set(re.findall(r"^make (\w+)", document.read_text(encoding="utf-8"), re.MULTILINE))


def typed(document_steps: list[Step], stack: Stack) -> list[str]:
    """Return the output of each step, run in order in one shell, with the ports of `stack`."""
    script = f"printf '{_SEPARATOR}'\n".join(addressed(step.commands, stack) for step in document_steps)
    own = {name: value for name, value in os.environ.items() if not re.match("ISSUER_|VERIFIER_", name)}
    done = subprocess.run(
        ["sh"],
        input=f"exec 2>&1\n{script}",
        env=own,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    return done.stdout.split(_SEPARATOR)


def addressed(text: str, stack: Stack) -> str:
    """Return `text` with the ports of `stack` instead of the default ones."""
    for name, port in DEFAULT_PORTS.items():
        text = text.replace(f"127.0.0.1:{port or '-'}", f"127.0.0.1:{stack.ports[name]}")
    return text.replace(".gatepass/", f"{stack.home}/").replace(".venv/bin/python", sys.executable)


def matches(promised: str, given: str) -> bool:
    """Return whether `given` matches `promised`, in which `…` stands for any text."""
    parts = (re.escape(part) for part in promised.strip().split("…"))
    return re.fullmatch(".*?".join(parts), given.strip(), re.DOTALL) is not None
