"""Command lines of all programs: names, help and `--version`, and how a program ends."""

import argparse
import errno
import functools
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec

from shared.version import VERSION

P = ParamSpec("P")

_CANNOT_BE_WRITTEN: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def program(failure: int) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Return a decorator for the `main` of a program, so that it ends in the same way as other programs do.

    A program that the user interrupts, or whose output is read by `head`, ends by the signal and prints nothing.

    Args:
        failure: the exit status if the output cannot be written, or after an unexpected error.
    """

    def decorate(main: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(main)
        def run(*arguments: P.args, **options: P.kwargs) -> int:
            _prepare_streams()
            try:
                status = main(*arguments, **options)
                sys.stdout.flush()
            except KeyboardInterrupt:
                return _end_by(signal.SIGINT)
            except BrokenPipeError:
                return _end_by(signal.SIGPIPE)
            except OSError as error:
                return _report_output(error, failure)
            except Exception:  # noqa: BLE001 - the exit status 1 has another meaning in some programs
                traceback.print_exc()
                return failure
            return status

        return run

    return decorate


def _prepare_streams() -> None:
    """Replace standard streams that are closed, and escape characters that the terminal cannot show."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The file gets the descriptor of the closed stream, which a connection would get otherwise.
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open until the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _end_by(number: signal.Signals) -> int:
    """End this process by a signal, so that its parent, such as a loop of a shell, can tell the reason."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def _report_output(error: OSError, failure: int) -> int:
    if error.errno not in _CANNOT_BE_WRITTEN:
        traceback.print_exc()
        return failure
    sys.stderr.write(f"the output cannot be written: {error.strerror}\n")
    # The interpreter writes the rest of the output when it ends, which would fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return failure


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
