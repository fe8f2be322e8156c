"""Commands in our documents, and the output that the documents show.

An `sh` block is run in a shell; the `json` or `text` block after it is its complete output, in which `…` stands for
any text.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.settings import DEFAULT_PORTS
from tests.support.stack import Stack

BLOCK: Final = re.compile(
    r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^```\n'
    r"(?:```(?:json|text)\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
_SEPARATOR: Final = "\x1e"


@dataclass(frozen=True)
class Step:
    """One block of commands and the output that the document shows, if any."""

    commands: str
    output: str | None


def steps(document: Path) -> list[Step]:
    """Return the `sh` blocks of a document, without those that only call make."""
    found = BLOCK.finditer(document.read_text(encoding="utf-8"))
    return [
        Step(block["body"], block["output"])
        for block in found
        if block["kind"] == "sh" and not block["title"] and not block["body"].startswith("make ")
    ]


def make_targets(document: Path) -> set[str]:
    """Return the make targets in a document."""
    return set(re.findall(r"^make (\w+)", document.read_text(encoding="utf-8"), re.MULTILINE))


def follow(
    steps: Sequence[Step], translated: Callable[[str], str], folder: Path, environ: Mapping[str, str], seconds: float
) -> None:
    """Type the commands of each step in order into one shell; AssertionError if one prints not what is shown.

    `translated` replaces ports and paths in the commands and in the output. What they start ends with the shell.
    """
    script = f"printf '{_SEPARATOR}'\n".join(translated(step.commands) for step in steps)
    with tempfile.TemporaryFile() as output:
        shell = subprocess.Popen(
            ["sh"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environ,
            cwd=folder,
            start_new_session=True,
        )
        try:
            shell.communicate(script.encode(), timeout=seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
        output.seek(0)
        printed = output.read().decode().replace("\r\n", "\n").split(_SEPARATOR)
    for step, given in zip(steps, printed, strict=True):
        shown = translated(step.output or "")
        assert matches(shown, given), f"{step.commands}\nshall print\n{shown}\nand prints\n{given}"


def addressed(text: str, stack: Stack) -> str:
    """Return `text` with the ports of `stack` instead of the default ones."""
    for name, port in DEFAULT_PORTS.items():
        text = text.replace(f"127.0.0.1:{port or '-'}", f"127.0.0.1:{stack.ports[name]}")
    return text.replace(".gatepass/", f"{stack.home}/").replace(".venv/bin/python", sys.executable)


def matches(promised: str, given: str) -> bool:
    """Return whether `given` matches `promised`, in which `…` stands for any text."""
    parts = (re.escape(part) for part in promised.strip().split("…"))
    return re.fullmatch(".*?".join(parts), given.strip(), re.DOTALL) is not None
