"""`audit`: list and verify the audit trail."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from issuer.audit.events import AuditEventKind
from issuer.audit.hash_chain import ChainFault, ChainHead, ChainVerifier
from issuer.audit.store import AuditStore
from issuer.cli.output import Commands, account_id, add_command, add_subject, limit, show, with_database
from issuer.db.pool import Database
from issuer.errors import CommandError
from issuer.settings import IssuerSettings

_PAGE: Final = 100
_PROGRESS: Final = 100_000


def add(commands: Commands) -> None:
    """Register the commands."""
    audit = add_subject(commands, "audit", "the audit trail")
    listing = add_command(
        audit,
        "list",
        "list events, newest first",
        _list,
        "--kind password_changed --since 2026-01-31",
    )
    listing.add_argument("--user", type=account_id, metavar="ID", help="only events of this account")
    listing.add_argument(
        "--kind", choices=[kind.value for kind in AuditEventKind], metavar="KIND", help=", ".join(AuditEventKind)
    )
    listing.add_argument(
        "--since", type=_moment, metavar="TIME", help="only events from this time on, such as 2026-01-31T12:00+01:00"
    )
    listing.add_argument("--limit", type=limit, default=_PAGE, help=f"maximum number of events, default {_PAGE}")
    verify = add_command(
        audit, "verify", "verify all hash chains; exit with 1 if an event was changed", _verify, "--heads heads.txt"
    )
    verify.add_argument("--heads", type=Path, metavar="FILE", help="earlier output of `audit heads`")
    add_command(
        audit,
        "heads",
        "print the last event of each chain; store it where it cannot be altered",
        _heads,
        "> heads.txt",
    )


def _list(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(
        options,
        with_database(
            settings,
            lambda database: AuditStore(database).events(options.user, options.kind, options.since, options.limit),
        ),
    )


def _verify(settings: IssuerSettings, options: argparse.Namespace) -> None:
    check = ChainVerifier(_read_heads(options.heads) if options.heads else ())
    found = 0

    def report(fault: ChainFault) -> None:
        nonlocal found
        found += 1
        show(options, [{"chain": fault.chain, "position": fault.position, "fault": fault.what}])

    async def verify(database: Database) -> None:
        async for page in AuditStore(database).chained_events():
            for event in page:
                for fault in check.faults(event):
                    report(fault)
                if check.checked % _PROGRESS == 0:
                    print(f"{check.checked} events so far", file=sys.stderr)
        for fault in check.missing_heads():
            report(fault)

    with_database(settings, verify)
    if found:
        raise CommandError(f"the audit trail was altered: {found} faults in {check.checked} events")
    show(options, [{"verified_events": check.checked}])


def _heads(settings: IssuerSettings, options: argparse.Namespace) -> None:
    heads = with_database(settings, lambda database: AuditStore(database).heads())
    show(options, [{"chain": head.chain, "position": head.position, "hash": head.hash.hex()} for head in heads])


def _read_heads(path: Path) -> list[ChainHead]:
    """Read heads in one of the two formats of `audit heads`.

    Raises:
        CommandError: the file cannot be read or has another format.
    """
    try:
        heads = [_head(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CommandError(f"{path}: invalid heads; pass the output of `audit heads`") from error
    if not heads:
        # An `audit heads` that failed leaves an empty file, which would hide that the end of a chain is missing.
        raise CommandError(f"{path}: there are no heads in it; pass an earlier output of `audit heads`")
    return heads


def _head(line: str) -> ChainHead:
    values = (
        json.loads(line)
        if line.startswith("{")
        else dict(zip(("chain", "position", "hash"), line.split(), strict=True))
    )
    return ChainHead(int(values["chain"]), int(values["position"]), bytes.fromhex(values["hash"]))


def _moment(text: str) -> datetime:
    """Parse an ISO 8601 time; UTC if it has no offset."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError("must be a time such as 2026-01-31 or 2026-01-31T12:00+01:00") from None
