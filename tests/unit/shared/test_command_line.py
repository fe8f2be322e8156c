"""A program ends as other programs do when it is interrupted or its output cannot be written."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Final

import pytest

_PROGRAM: Final = """
import sys
from shared.command_line import program

@program(failure=7)
def main():
    {body}
    return 0

sys.exit(main())
"""


def run(body: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _PROGRAM.format(body=body)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=60, **streams)


def test_an_interrupted_program_ends_by_the_signal_and_prints_nothing() -> None:
    run_of_program = run("raise KeyboardInterrupt")
    assert (run_of_program.returncode, run_of_program.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_program_whose_output_is_not_read_ends_by_the_signal(lines: int) -> None:
    end, output = os.pipe()
    os.close(end)
    try:
        run_of_program = run(f"print('line\\n' * {lines})", stdout=output)
    finally:
        os.close(output)
    assert (run_of_program.returncode, run_of_program.stderr) == (-signal.SIGPIPE, "")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_output_to_a_full_disk_is_an_error_of_one_line(lines: int) -> None:
    with full_disk() as output:
        run_of_program = run(f"print('line\\n' * {lines})", stdout=output)
    assert (run_of_program.returncode, run_of_program.stderr) == (
        7,
        "the output cannot be written: No space left on device\n",
    )


def full_disk() -> IO[bytes]:
    return Path("/dev/full").open("wb")


def test_an_unexpected_error_has_the_exit_status_of_the_program() -> None:
    run_of_program = run("raise RuntimeError('unexpected')")
    assert run_of_program.returncode == 7
    assert "RuntimeError: unexpected" in run_of_program.stderr


def test_closed_standard_streams_are_replaced() -> None:
    body = "assert (sys.stdin.read(), sys.stdin.fileno(), sys.stdout.fileno()) == ('', 0, 1); print('x')"
    command = ["sh", "-c", 'exec "$0" -c "$1" <&- >&-', sys.executable, _PROGRAM.format(body=body)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


def test_characters_that_the_terminal_cannot_show_are_escaped() -> None:
    run_of_program = run("print('jo@ex\\u00e4mple.de')", stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"})
    assert (run_of_program.returncode, run_of_program.stdout) == (0, "jo@ex\\xe4mple.de\n")
