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


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Register them."""
    add_command(commands, "serve", "run the issuer until stopped", _serve)
    add_command(commands, "migrate", "migrate the database schema to this version", _migrate)


def _serve(settings: IssuerSettings, _: argparse.Namespace) -> None:
    settings.require_database()
    tracing = open_tracing(os.environ)
    configure_logs("issuer", settings.log_level)
    uvloop.run(serve(settings, tracing))


def _migrate(settings: IssuerSettings, options: argparse.Namespace) -> None:
    # With Alembic and SQLAlchemy, which are a third of the start of every other command and of no use to it.
    from issuer.db.migrate import migrate  # noqa: PLC0415 - so that a server never has them in its process

    applied = asyncio.run(migrate(settings.require_database()))
    if options.json:
        show(options, [{"applied": revision} for revision in applied])
        return
    print("applied " + ", ".join(applied) if applied else "nothing to apply")
