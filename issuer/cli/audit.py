"""`audit`: what happened, and whether the trail of it is as it was written."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from issuer.audit.events import EventKind
from issuer.audit.hash_chain import ChainCheck, Fault, Head
from issuer.audit.store import AuditTrail
from issuer.cli.output import Commands, add_command, add_subject, limit, show, with_database
from issuer.db.pool import Database
from issuer.errors import AuditTrailError
from issuer.settings import IssuerSettings

_PAGE: Final = 100
_PROGRESS: Final = 100_000


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Register them."""
    audit = add_subject(commands, "audit", "the audit trail")
    listing = add_command(audit, "list", "list events, newest first", _list)
    listing.add_argument("--user", type=UUID, metavar="ID", help="only events of this account")
    listing.add_argument("--kind", type=EventKind, choices=list(EventKind), metavar="KIND", help=", ".join(EventKind))
    listing.add_argument(
        "--since", type=_moment, metavar="TIME", help="only events from this time on, such as 2026-01-31T12:00+01:00"
    )
    listing.add_argument("--limit", type=limit, default=_PAGE, help=f"maximum number of events, default {_PAGE}")
    verify = add_command(audit, "verify", "verify every hash chain; exits with 1 if an event was changed", _verify)
    verify.add_argument("--heads", type=Path, metavar="FILE", help="earlier output of `audit heads`")
    add_command(audit, "heads", "print the last event of each chain, to keep where it cannot be altered", _heads)


def _list(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(
        options,
        with_database(
            settings,
            lambda database: AuditTrail(database).events(options.user, options.kind, options.since, options.limit),
        ),
    )


def _verify(settings: IssuerSettings, options: argparse.Namespace) -> None:
    check = ChainCheck(_read_heads(options.heads) if options.heads else ())
    found = 0

    def tell(fault: Fault) -> None:
        nonlocal found
        found += 1
        show(options, [{"chain": fault.chain, "position": fault.position, "fault": fault.what}])

    async def verify(database: Database) -> None:
        async for page in AuditTrail(database).links():
            for link in page:
                for fault in check.faults(link):
                    tell(fault)
                if check.checked % _PROGRESS == 0:
                    print(f"{check.checked} events so far", file=sys.stderr)
        for fault in check.missing_heads():
            tell(fault)

    with_database(settings, verify)
    if found:
        raise AuditTrailError(
            f"the audit trail is not as it was written; faults found: {found}, in {check.checked} events"
        )
    show(options, [{"verified_events": check.checked}])


def _heads(settings: IssuerSettings, options: argparse.Namespace) -> None:
    heads = with_database(settings, lambda database: AuditTrail(database).heads())
    show(options, [{"chain": head.chain, "position": head.position, "hash": head.hash.hex()} for head in heads])


def _read_heads(path: Path) -> list[Head]:
    """In either form that `audit heads` prints.

    Raises:
        AuditTrailError: it cannot be read, or is something else.
    """
    try:
        return [_head(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise AuditTrailError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise AuditTrailError(f"{path}: not what `audit heads` prints") from error


def _head(line: str) -> Head:
    values = (
        json.loads(line)
        if line.startswith("{")
        else dict(zip(("chain", "position", "hash"), line.split(), strict=True))
    )
    return Head(int(values["chain"]), int(values["position"]), bytes.fromhex(values["hash"]))


def _moment(text: str) -> datetime:
    """An ISO 8601 time; UTC if it does not say otherwise."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError from None
