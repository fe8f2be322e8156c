"""Registers commands and prints their output."""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from issuer.db.pool import Database
from issuer.errors import CommandError
from issuer.settings import IssuerSettings
from issuer.tokens.additional_claims import ClaimError, ClaimValue
from shared.command_line import help_with_example
from shared.logs import configure_logs

T = TypeVar("T")

EXAMPLE_ID: Final = "2b1f6c0e-8a4d-4c53-9d0b-5f1f6f6c2a11"
"""The id of an account or session in examples."""

MAX_SHOWN: Final = 10_000

# A string, since the type is generic for type checkers only.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - has no public name
Run = Callable[[IssuerSettings, argparse.Namespace], None]


def add_command(
    commands: Commands,
    name: str,
    summary: str,
    run: Run,
    example: str = "",
    *,
    has_output: bool = True,
) -> argparse.ArgumentParser:
    """Register a command; the caller adds its arguments. `example` has arguments for the example in the help.

    A command with output gets the option `--json`.
    """
    parser = commands.add_parser(name, help=summary, **help_with_example(summary, example))
    parser.set_defaults(command=run)
    if has_output:
        parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    return parser


def add_subject(commands: Commands, name: str, summary: str, example: str = "list") -> Commands:
    """Register a group of commands, such as `keys`."""
    return commands.add_parser(name, help=summary, **help_with_example(summary, example)).add_subparsers(
        required=True, metavar="command"
    )


def add_claims(parser: argparse.ArgumentParser) -> None:
    """Register the argument for additional claims."""
    parser.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an additional claim of ISSUER_ADDITIONAL_CLAIMS; repeat for more, or for a list; NAME= removes it",
    )


def read_claims(settings: IssuerSettings, options: argparse.Namespace) -> dict[str, ClaimValue | None]:
    """Return the claims of a command by name; None removes one.

    Raises:
        CommandError: a claim is not configured, or its value is not of the claim's type.
    """
    try:
        return settings.claim_types().read_arguments(options.claim)
    except ClaimError as error:
        raise CommandError(f"--claim: {error}") from None


def show(options: argparse.Namespace, rows: Iterable[Mapping[str, Any]]) -> None:
    """Print one line for each row: JSON if requested, otherwise its values separated by two spaces."""
    for row in rows:
        print(json.dumps(row, default=_plain) if options.json else "  ".join(map(_column, row.values())))


def with_database(settings: IssuerSettings, use: Callable[[Database], Awaitable[T]]) -> T:
    """Run `use` with an open database.

    Raises:
        SettingsError: ISSUER_DATABASE_URL is missing.
        DatabaseUnavailableError: PostgreSQL is unreachable.
    """
    url = settings.require_database()
    configure_logs("issuer", "error")

    async def run() -> T:
        database = Database(url, connections=1)
        try:
            return await use(database)
        finally:
            await database.close()

    return asyncio.run(run())


def limit(text: str) -> int:
    """Parse the maximum number of rows to print."""
    if not text.isdecimal() or not 1 <= int(text) <= MAX_SHOWN:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_SHOWN}")
    return int(text)


def account_id(text: str) -> UUID:
    """Parse the id of an account."""
    return _id(text, "account", "users show EMAIL")


def session_id(text: str) -> UUID:
    """Parse the id of a session."""
    return _id(text, "session", "sessions list")


def _id(text: str, what: str, command: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be the id of the {what}, which `{command}` prints") from None


def _column(value: Any) -> str:
    match value:
        case None | "":
            return "-"
        case list() | tuple():
            return ",".join(map(_column, value)) or "-"
        case dict():
            return json.dumps(value)
        case _:
            # User agents and names come from clients: control characters must not move the cursor or hide a line.
            return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(_plain(value)))


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat(timespec="seconds")
        case UUID():
            return str(value)
        case _:
            return value
