"""`clean-up`: what a serving issuer does each minute, once and now."""

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
    """Register it."""
    add_command(commands, "clean-up", "remove expired rows once; a serving issuer does so by itself", _clean_up)


def _clean_up(settings: IssuerSettings, options: argparse.Namespace) -> None:
    async def clean_up(database: Database) -> dict[str, int]:
        rows, seconds = DeadRows(database), random.SystemRandom().random
        return await Cleanup(rows, Metrics(), lambda: datetime.now(UTC), asyncio.sleep, seconds).once()

    removed = with_database(settings, clean_up)
    show(options, [{"subject": subject, "removed_rows": count} for subject, count in removed.items()])
