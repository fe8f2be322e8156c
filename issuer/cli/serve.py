"""`serve` and `migrate`."""

import argparse
import asyncio
import os

import uvloop

from issuer.app import serve
from issuer.cli.output import Commands, add_command, show
from issuer.settings import IssuerSettings
from issuer.telemetry.tracing import open_tracing
from shared.logs import configure_logs


def add(commands: Commands) -> None:
    """Register the commands."""
    add_command(commands, "serve", "run the issuer until stopped", _serve, has_output=False)
    add_command(commands, "migrate", "migrate the database schema to this version", _migrate)


def _serve(settings: IssuerSettings, _: argparse.Namespace) -> None:
    settings.require_database()
    tracing = open_tracing(os.environ)
    configure_logs("issuer", settings.log_level)
    uvloop.run(serve(settings, tracing))


def _migrate(settings: IssuerSettings, options: argparse.Namespace) -> None:
    # Imports Alembic and SQLAlchemy, which would take a third of the start time of every other command.
    from issuer.db.migrate import migrate  # noqa: PLC0415 - a server must not load them

    applied = asyncio.run(migrate(settings.require_database()))
    if options.json:
        show(options, [{"applied": revision} for revision in applied])
        return
    print("applied " + ", ".join(applied) if applied else "nothing to apply")
