"""`python -m issuer`: the operator's commands. One clear line for each fault; 2 for settings, 1 for failures."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import uvloop

from issuer.errors import OperationError
from issuer.keyring import RingKey, generate_key, load_keyring
from issuer.serving import serve
from issuer.settings import IssuerSettings
from issuer.store.schema import migrate
from shared.logs import configure_logs
from shared.settings import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        command: Callable[[IssuerSettings, argparse.Namespace], None] = options.command
        command(IssuerSettings.from_environment(os.environ), options)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except OperationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m issuer", description="Issues access tokens.")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add(commands, "serve", "answer registrations and logins until stopped", _serve)
    _add(commands, "migrate", "bring the database schema to this release", _migrate)
    keys = commands.add_parser("keys", help="signing keys").add_subparsers(required=True, metavar="command")
    generate = _add(keys, "generate", "make a key: current if there is none, else next", _generate)
    generate.add_argument("--if-missing", action="store_true", help="do nothing if there is a current key already")
    _add(keys, "list", "show kid, state and time of each key", _list)
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    command: Callable[[IssuerSettings, argparse.Namespace], None],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=command)
    return parser


def _serve(settings: IssuerSettings, _: argparse.Namespace) -> None:
    settings.require_database()
    configure_logs("issuer", settings.log_level)
    uvloop.run(serve(settings))


def _migrate(settings: IssuerSettings, _: argparse.Namespace) -> None:
    applied = asyncio.run(migrate(settings.require_database()))
    print("applied " + ", ".join(applied) if applied else "nothing to apply")


def _generate(settings: IssuerSettings, options: argparse.Namespace) -> None:
    print(_line(generate_key(settings.keys_dir, datetime.now(UTC), only_first=options.if_missing)))


def _list(settings: IssuerSettings, _: argparse.Namespace) -> None:
    for key in load_keyring(settings.keys_dir).keys:
        print(_line(key))


def _line(key: RingKey) -> str:
    return f"{key.kid}  {key.state:<7}  {key.created_at.isoformat(timespec='seconds')}"


if __name__ == "__main__":
    sys.exit(main())
