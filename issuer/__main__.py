"""`python -m issuer`: the operator's commands. An error is one line; exit status 2 for settings, 1 otherwise."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Final

from issuer.cli import audit, calibrate, cleanup, clients, keys, serve, sessions, users
from issuer.cli.output import Run
from issuer.errors import (
    CommandError,
    DatabaseUnavailableError,
    InvalidFieldsError,
    IssuerError,
    UnexpectedDatabaseError,
)
from issuer.http.problems import problem_of
from issuer.settings import IssuerSettings
from shared.command_line import add_version, help_with_example, program, program_name
from shared.settings import SettingsError

_KID_LIKE_AN_OPTION: Final = re.compile(r"-[A-Za-z0-9_-]{42}")
"""A key id that begins with `-`, as a thumbprint (RFC 7638) in base64url may. No option is so long."""

SUBJECTS: Final = (serve, keys, users, sessions, clients, audit, cleanup, calibrate)


@program(failure=1)
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(_kids_last(sys.argv[1:] if arguments is None else arguments))
    try:
        run: Run = options.command
        run(IssuerSettings.from_environment(os.environ), options)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except IssuerError as error:
        print(_line(error), file=sys.stderr)
        return 1
    return 0


def _kids_last(arguments: Sequence[str]) -> list[str]:
    """Move key ids that begin with `-` to the end, after `--`, where argparse does not read them as options."""
    kids = [argument for argument in arguments if _KID_LIKE_AN_OPTION.fullmatch(argument)]
    if not kids or "--" in arguments:
        return list(arguments)
    return [*(argument for argument in arguments if argument not in kids), "--", *kids]


def _line(error: IssuerError) -> str:
    """Return the error as one line for an operator."""
    match error:
        case CommandError():
            return str(error)
        case InvalidFieldsError():
            return "; ".join(f"{fault.field}: {fault.detail}" for fault in error.faults)
        case DatabaseUnavailableError():
            return f"PostgreSQL cannot be used: {error}"
        case UnexpectedDatabaseError():
            return f"PostgreSQL rejected an operation: {error}; run migrate, and report this if it happens again"
        case _:
            return problem_of(error).title


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program_name("issuer"), **help_with_example("Issue access tokens", "serve"))
    commands = parser.add_subparsers(required=True, metavar="command")
    for subject in SUBJECTS:
        subject.add(commands)
    add_version(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
