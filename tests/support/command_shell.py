"""Commands of `python -m issuer` in one process, because starting one takes a second."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.issuer_process import environment_of
from tests.support.openapi import ROOT

_LOOP = """
import contextlib, io, json, sys
from issuer.__main__ import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(json.loads(line))
        except SystemExit as end:
            status = int(end.code or 0)
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """A command that has run."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class CommandShell:
    """A process that runs commands with the same settings."""

    process: subprocess.Popen[str]

    def run(self, *arguments: str) -> Done:
        """Run `python -m issuer …` to its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(arguments), file=self.process.stdin, flush=True)
        return Done(*json.loads(self.process.stdout.readline()))


@contextmanager
def command_shell(**settings: str) -> Iterator[CommandShell]:
    """`settings` are variables without their prefix."""
    with subprocess.Popen(
        [sys.executable, "-c", _LOOP],
        env=environment_of(settings),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield CommandShell(process)
