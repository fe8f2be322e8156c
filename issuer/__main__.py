"""`python -m issuer`: the operator's commands. One clear line for each fault; 2 for settings, 1 for failures."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from issuer.cli import audit, calibrate, clients, keys, sessions, users
from issuer.cli import cleanup as clean_up
from issuer.cli import serve as service
from issuer.cli.output import Run
from issuer.errors import InvalidFieldsError, IssuerError, OperationError, StoreFaultError, StoreUnavailableError
from issuer.http.problems import problem_of
from issuer.settings import IssuerSettings
from shared.settings import SettingsError
from shared.version import add_version

SUBJECTS: Final = (service, keys, users, sessions, clients, audit, clean_up, calibrate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
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


def _line(error: IssuerError) -> str:
    """What went wrong, for an operator; requests would be told the same by a problem document."""
    match error:
        case OperationError():
            return str(error)
        case InvalidFieldsError():
            return "; ".join(f"{fault.field}: {fault.detail}" for fault in error.faults)
        case StoreUnavailableError():
            return f"PostgreSQL cannot be used: {error}"
        case StoreFaultError():
            return f"PostgreSQL rejected an operation: {error}; run migrate, and report this if it happens again"
        case _:
            return problem_of(error).title


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m issuer", description="Issues access tokens.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for subject in SUBJECTS:
        subject.add(commands)
    add_version(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
