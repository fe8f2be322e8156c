"""Wires settings into a running issuer: every room is built here, once, and handed what it needs."""

import asyncio
import random
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from starlette.types import ASGIApp

from issuer.accounts import Accounts
from issuer.admin import AdminRoutes
from issuer.admission import Admission, usable_cores
from issuer.app import build_app
from issuer.background import Background
from issuer.cleanup import Cleanup
from issuer.listeners import bind, listen
from issuer.live_keyring import LiveKeyring
from issuer.metrics import Metrics
from issuer.password_policy import PasswordPolicy
from issuer.passwords import Passwords
from issuer.routes.account import AccountRoutes
from issuer.routes.documents import DocumentRoutes
from issuer.settings import IssuerSettings
from issuer.store.cleanup import DeadRows
from issuer.store.database import PROMPT, Database
from issuer.store.schema import is_migrated, revisions
from issuer.store.users import Users
from issuer.tokens import AccessTokens

_log = structlog.get_logger(__name__)


async def serve(settings: IssuerSettings) -> None:
    """Serve until a signal to stop. PostgreSQL and the signing key may come later, and go meanwhile.

    Raises:
        OperationError: the addresses or the keys folder cannot be used.
    """
    sockets = bind(settings.host, settings.port), bind(settings.admin_host, settings.admin_port)
    metrics = Metrics()
    keyring = LiveKeyring(settings.keys_dir, metrics)
    database = Database(settings.database_url.get_secret_value(), settings.database_connections, PROMPT, metrics)
    admission = Admission(
        usable_cores(),
        settings.hash_wait_seconds,
        started=metrics.hash_wait_seconds.observe,
        refused=metrics.hash_refusals.inc,
    )
    await database.open()
    try:
        public = _public_app(settings, metrics, keyring, database, admission)
        _log.info("listening", host=settings.host, port=settings.port, admin_port=settings.admin_port)
        async with Background() as background:
            background.start("key ring", keyring.watch)
            background.start("database", database.watch)
            background.start("clean-up", _cleanup(database, metrics).run)
            await listen((public, sockets[0]), (_admin_app(metrics, keyring, database), sockets[1]))
    finally:
        admission.close()
        await database.close()
    _log.info("stopped")


def _cleanup(database: Database, metrics: Metrics) -> Cleanup:
    return Cleanup(DeadRows(database), metrics, _now, asyncio.sleep, random.SystemRandom().random)


def _public_app(
    settings: IssuerSettings,
    metrics: Metrics,
    keyring: LiveKeyring,
    database: Database,
    admission: Admission,
) -> ASGIApp:
    accounts = Accounts(
        Users(database),
        Passwords(admission, metrics),
        PasswordPolicy(settings.password_min_length),
        metrics,
        _now,
        uuid4,
    )
    tokens = AccessTokens(
        keyring,
        settings.url,
        settings.audience,
        settings.access_token_seconds,
        _now,
        uuid4,
        random.SystemRandom().random,
    )
    return build_app([*AccountRoutes(accounts, tokens).routes(), *DocumentRoutes(keyring).routes()], metrics)


def _admin_app(metrics: Metrics, keyring: LiveKeyring, database: Database) -> ASGIApp:
    known = revisions()

    async def database_answers() -> bool:
        await database.ping()
        return True

    async def migrations_applied() -> bool:
        return await is_migrated(database, known)

    async def signing_key_present() -> bool:
        return keyring.ring.signing is not None

    checks = {
        "database": database_answers,
        "migrations": migrations_applied,
        "signing_key": signing_key_present,
    }
    return build_app(AdminRoutes(metrics, checks).routes(), metrics, quiet=True)


def _now() -> datetime:
    return datetime.now(UTC)
