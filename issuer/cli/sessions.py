"""`sessions`: list and revoke the sessions of users."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from issuer.accounts.models import SessionRecord
from issuer.cli.output import (
    EXAMPLE_ID,
    Commands,
    account_id,
    add_command,
    add_subject,
    session_id,
    show,
    with_database,
)
from issuer.cli.users import administer
from issuer.sessions.revoke_all_store import LOGIN_AFTER_SECONDS, count_issued, revoke_all
from issuer.settings import IssuerSettings


def add(commands: Commands) -> None:
    """Register the commands."""
    sessions = add_subject(commands, "sessions", "sessions of accounts", f"list --user {EXAMPLE_ID}")
    listing = add_command(
        sessions, "list", "list the sessions of an account, newest first", _list, f"--user {EXAMPLE_ID}"
    )
    listing.add_argument(
        "--user", type=account_id, required=True, metavar="ID", help="id of the account, see `users show EMAIL`"
    )
    revoke = add_command(sessions, "revoke", "revoke a session and its access tokens", _revoke, EXAMPLE_ID)
    revoke.add_argument(
        "session", type=session_id, metavar="SESSION_ID", help="id of the session, see `sessions list`"
    )
    revoke_all = add_command(
        sessions,
        "revoke-all",
        "revoke every session and token, as after restoring an older database; without --yes, only count them",
        _revoke_all,
        "--yes",
    )
    revoke_all.add_argument("--yes", action="store_true", help="revoke them: every user must log in again")


def _list(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, map(_document, administer(settings, lambda use: use.sessions(options.user))))


def _revoke(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_document(administer(settings, lambda use: use.revoke_session(options.session)))])


def _revoke_all(settings: IssuerSettings, options: argparse.Namespace) -> None:
    issued = with_database(settings, revoke_all if options.yes else count_issued)
    show(options, [{"state": "revoked" if options.yes else "live", **asdict(issued)}])
    if options.yes:
        print(f"users can log in again in {LOGIN_AFTER_SECONDS} s", file=sys.stderr)
    else:
        print("nothing was revoked; pass --yes to revoke all: every user must log in again", file=sys.stderr)


def _document(session: SessionRecord) -> Mapping[str, Any]:
    expired = min(session.idle_expires_at, session.expires_at) <= datetime.now(UTC)
    state = "revoked" if session.revoked_at else "expired" if expired else "live"
    return {"id": session.id, "state": state} | asdict(session)
