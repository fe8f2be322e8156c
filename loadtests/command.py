"""Exit statuses, interruption, types of options and lines of progress, for all commands of this package."""

import signal
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

import asyncpg  # noqa: TID251 - its errors
import httpx

from loadtests.processes import CannotStartError, InvalidRunError, ProcessError

NO_RESULT = 1
CANNOT_START = 2
INTERRUPTED = 130


def exit_status(name: str, command: Callable[[], int]) -> int:
    """Run a command and return its exit status, or another with the reason on standard error.

    It stops its processes when it is interrupted, by SIGTERM as well.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return command()
    except CannotStartError as error:
        say(f"{name}: {error}", sys.stderr)
        return CANNOT_START
    except (ProcessError, InvalidRunError, OSError, httpx.HTTPError, asyncpg.PostgresError) as error:
        say(f"{name}: no result: {error} ({type(error).__name__})", sys.stderr)
        return NO_RESULT
    except KeyboardInterrupt:
        say(f"{name}: interrupted; everything that was started is stopped", sys.stderr)
        return INTERRUPTED


def say(line: str, file: TextIO | None = None) -> None:
    """Print a line at once, also into a pipe."""
    print(line, file=file, flush=True)


def between(least: float, most: float, number: Callable[[str], float] = int) -> Callable[[str], float]:
    """Return the type of an option that takes a number from `least` to `most`."""

    def parse(text: str) -> float:
        with suppress(ValueError):
            if least <= (value := number(text)) <= most:
                return value
        raise ArgumentTypeError(f"must be a number from {least} to {most}")

    return parse


def progress() -> Callable[[str], None]:
    """Return a function that prints a line with the time since now."""
    started = time.monotonic()

    def report(line: str) -> None:
        seconds = int(time.monotonic() - started)
        say(f"{seconds // 60}:{seconds % 60:02}  {line}")

    return report
