"""How a command is registered and how it prints."""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from issuer.settings import IssuerSettings

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for what it hands out
Run = Callable[[IssuerSettings, argparse.Namespace], None]


def add_command(
    commands: "Commands[argparse.ArgumentParser]", name: str, summary: str, run: Run
) -> argparse.ArgumentParser:
    """Register a command; arguments are the caller's to add."""
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=run)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return parser


def add_subject(
    commands: "Commands[argparse.ArgumentParser]", name: str, summary: str
) -> "Commands[argparse.ArgumentParser]":
    """Register a subject, such as `keys`, that has commands of its own."""
    return commands.add_parser(name, help=summary, description=summary).add_subparsers(
        required=True, metavar="command"
    )


def show(options: argparse.Namespace, things: Iterable[Mapping[str, Any]]) -> None:
    """Print each thing on a line: as JSON if asked for, else its values, two spaces apart."""
    for thing in things:
        print(json.dumps(thing, default=_plain) if options.json else "  ".join(map(_column, thing.values())))


def _column(value: Any) -> str:
    match value:
        case None:
            return "-"
        case list() | tuple():
            return ",".join(map(str, value)) or "-"
        case _:
            return str(_plain(value))


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat(timespec="seconds")
        case UUID():
            return str(value)
        case _:
            return value
