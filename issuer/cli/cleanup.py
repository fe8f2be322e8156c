"""`cleanup`: delete expired rows once, as a serving issuer does every minute."""

import argparse
import asyncio
import random
from datetime import UTC, datetime

from issuer.cleanup import Cleanup
from issuer.cli.output import Commands, add_command, show, with_database
from issuer.db.pool import Database
from issuer.settings import IssuerSettings
from issuer.telemetry.metrics import Metrics


def add(commands: Commands) -> None:
    """Register the command."""
    add_command(commands, "cleanup", "delete expired rows once; a serving issuer does so every minute", _cleanup)


def _cleanup(settings: IssuerSettings, options: argparse.Namespace) -> None:
    async def cleanup(database: Database) -> dict[str, int]:
        fraction = random.SystemRandom().random
        return await Cleanup(database, Metrics(), lambda: datetime.now(UTC), asyncio.sleep, fraction).once()

    deleted = with_database(settings, cleanup)
    show(options, [{"kind": kind, "deleted_rows": count} for kind, count in deleted.items()])
