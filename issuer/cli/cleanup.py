"""`cleanup`: delete expired rows once, as a serving issuer does every minute."""

import argparse
import asyncio
import random
from datetime import UTC, datetime

from issuer.cleanup import Cleanup
from issuer.cleanup_store import DeadRows
from issuer.cli.output import Commands, add_command, show, with_database
from issuer.db.pool import Database
from issuer.settings import IssuerSettings
from issuer.telemetry.metrics import Metrics


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Register the command."""
    add_command(commands, "cleanup", "delete expired rows once; a serving issuer does so every minute", _cleanup)


def _cleanup(settings: IssuerSettings, options: argparse.Namespace) -> None:
    async def cleanup(database: Database) -> dict[str, int]:
        rows, seconds = DeadRows(database), random.SystemRandom().random
        return await Cleanup(rows, Metrics(), lambda: datetime.now(UTC), asyncio.sleep, seconds).once()

    deleted = with_database(settings, cleanup)
    show(options, [{"subject": subject, "deleted_rows": count} for subject, count in deleted.items()])
