"""`users import`: import accounts of another system with their password hashes.

Each line is a JSON object with `email` and `password_hash`, and optionally `created_at` (RFC 3339), `email_verified`,
`scope`, `roles` and `claims`. Lines are imported in batches. The command can be repeated: emails that have an account
are skipped. An invalid line is reported by its number and never quoted.
"""

import argparse
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from issuer.accounts.administration_store import AdministrationStore
from issuer.accounts.bulk_import import ImportRules, InvalidRecordError, read_line
from issuer.accounts.models import ImportedAccount
from issuer.accounts.store import AccountStore
from issuer.cli.output import Commands, add_command, show, with_database
from issuer.context import OPERATOR
from issuer.db.pool import Database
from issuer.errors import CommandError, DatabaseUnavailableError
from issuer.settings import IssuerSettings

_BATCH_LINES: Final = 500
_MAX_LINE_BYTES: Final = 16 * 1024
_REPORTED: Final = 100
"""Maximum number of lines of each kind that are reported one by one; further ones are only counted."""


@dataclass(slots=True)
class _Counts:
    """Counts of imported, skipped and rejected lines so far."""

    lines: int = 0
    imported: int = 0
    skipped: int = 0
    rejected: int = 0
    checked: set[int] = field(default_factory=set)
    """Hashes of the emails of a dry run, of which a real run finds the account."""

    def reject(self, number: int, reason: str) -> None:
        self.rejected += 1
        _report(self.rejected, f"line {number}: {reason}")

    def skip(self, number: int) -> None:
        self.skipped += 1
        _report(self.skipped, f"line {number}: skipped, since the email has an account")


def add_import(users: Commands) -> None:
    """Register the command below `users`."""
    command = add_command(
        users, "import", "import accounts with their password hashes", _import, "accounts.jsonl --dry-run"
    )
    command.add_argument("file", metavar="FILE", help="JSON lines; - for standard input")
    command.add_argument("--dry-run", action="store_true", help="check every line without importing")


def _import(settings: IssuerSettings, options: argparse.Namespace) -> None:
    with _opened(options.file) as source:
        counts = with_database(settings, lambda database: _run(database, source, settings, dry_run=options.dry_run))
    outcome = "would be imported" if options.dry_run else "imported"
    row = {"accounts": counts.imported, "outcome": outcome, "skipped": counts.skipped, "rejected": counts.rejected}
    show(options, [row])
    if counts.rejected:
        raise CommandError(
            f"{counts.rejected} of {counts.lines} lines were rejected;"
            " fix them and run it again (imported accounts are skipped)"
        )


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        source = Path(name).open("rb")  # noqa: SIM115 - closed below; only an error of `open` is converted
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}") from error
    with source:
        yield source


async def _run(database: Database, source: BinaryIO, settings: IssuerSettings, *, dry_run: bool) -> _Counts:
    users, counts, lines = AccountStore(database), _Counts(), enumerate(_lines(source), 1)
    try:
        rules = ImportRules(
            settings.token_budget(), await AdministrationStore(database).list_public_clients(), settings.claim_types()
        )
        while batch := list(islice(lines, _BATCH_LINES)):
            await _import_batch(users, counts, dict(_parse_batch(counts, batch, rules)), dry_run=dry_run)
            counts.lines += len(batch)
            print(f"{counts.lines} lines: {counts.imported} accounts", file=sys.stderr)
    except DatabaseUnavailableError as error:
        raise CommandError(
            f"PostgreSQL cannot be used: {error}; {counts.lines} lines are done and will be skipped in the next run"
        ) from error
    return counts


async def _import_batch(
    users: AccountStore, counts: _Counts, accounts: dict[int, ImportedAccount], *, dry_run: bool
) -> None:
    """Import a batch in one transaction, so that a later failure does not undo it."""
    if dry_run:
        keys = {account.email.key for account in accounts.values()}
        new = {key for key in keys - await users.find_registered(keys) if hash(key) not in counts.checked}
        counts.checked.update(map(hash, new))
    else:
        new = await users.import_accounts(accounts.values(), OPERATOR)
    for number, account in accounts.items():
        if account.email.key in new:
            counts.imported += 1
        else:
            counts.skip(number)


def _parse_batch(
    counts: _Counts, batch: Iterable[tuple[int, bytes]], rules: ImportRules
) -> Iterator[tuple[int, ImportedAccount]]:
    """Yield the valid lines of a batch, each email once."""
    now, seen = datetime.now(UTC), set[str]()
    for number, line in batch:
        if not line.strip():
            continue
        try:
            account = read_line(line, uuid4(), now, rules)
        except InvalidRecordError as error:
            counts.reject(number, str(error))
            continue
        if account.email.key in seen:
            counts.skip(number)
            continue
        seen.add(account.email.key)
        yield number, account


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Yield lines of bounded length. A longer line is cut, so it is not valid JSON and gets rejected."""
    beginning = BOM_UTF8  # programs of Windows write it
    while line := source.readline(_MAX_LINE_BYTES):
        rest = line
        while len(rest) == _MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = source.readline(_MAX_LINE_BYTES)
        yield line.removeprefix(beginning)
        beginning = b""


def _report(count: int, what: str) -> None:
    if count <= _REPORTED:
        print(what, file=sys.stderr)
    elif count == _REPORTED + 1:
        print("further lines of this kind are only counted", file=sys.stderr)
