"""Wires settings into a running issuer: every room is built here, once, and handed what it needs."""

import asyncio
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import structlog
from starlette.types import ASGIApp

from issuer.accounts import Accounts
from issuer.admin import AdminRoutes
from issuer.admission import Admission, check_memory, usable_cores, usable_memory
from issuer.app import build_app
from issuer.background import Background
from issuer.cleanup import Cleanup
from issuer.clients import Clients
from issuer.key_folder import KeyFolder
from issuer.key_lifecycle import Schedule
from issuer.key_ticker import KeyTicker
from issuer.letters import Stationery
from issuer.listeners import bind, listen
from issuer.live_keyring import LiveKeyring
from issuer.mail import parse_mail_url, sender_for
from issuer.metrics import Metrics
from issuer.outbox import Outbox
from issuer.password_policy import PasswordPolicy
from issuer.passwords import ARGON2_COSTS, Passwords
from issuer.presented_tokens import PresentedTokens
from issuer.published_lists import PublishedLists
from issuer.recovery import Recovery
from issuer.refresh_tokens import RefreshTokens
from issuer.routes.account import AccountRoutes
from issuer.routes.documents import DocumentRoutes
from issuer.routes.metadata import MetadataRoutes, endpoint_urls
from issuer.routes.oauth import OAuthRoutes
from issuer.routes.recovery import RecoveryRoutes
from issuer.routes.sessions import SessionRoutes
from issuer.routes.status_lists import StatusListRoutes
from issuer.sessions import Lifetimes, Sessions
from issuer.settings import IssuerSettings
from issuer.status_lists import StatusLists
from issuer.store.cleanup import DeadRows
from issuer.store.clients import ClientRows
from issuer.store.database import PROMPT, Database
from issuer.store.outbox import OutboxRows
from issuer.store.recovery import RecoveryRows
from issuer.store.schema import is_migrated, revisions
from issuer.store.sessions import SessionRows
from issuer.store.status_lists import StatusListRows
from issuer.store.throttles import Throttles
from issuer.store.users import Users
from issuer.throttle import Throttle, limits
from issuer.tokens import AccessTokens

_log = structlog.get_logger(__name__)


async def serve(settings: IssuerSettings) -> None:
    """Serve until a signal to stop. PostgreSQL and the signing key may come later, and go meanwhile.

    Raises:
        OperationError: the addresses or the keys folder cannot be used, or memory is too little.
    """
    check_memory(usable_cores(), ARGON2_COSTS[settings.argon2].memory_cost * 1024, usable_memory())
    sockets = bind(settings.host, settings.port), bind(settings.admin_host, settings.admin_port)
    metrics = Metrics()
    keyring = LiveKeyring(settings.keys_dir, metrics, settings.passphrase())
    database = Database(settings.database_url.get_secret_value(), settings.database_connections, PROMPT, metrics)
    admission = Admission(
        usable_cores(),
        settings.hash_wait_seconds,
        started=metrics.hash_wait_seconds.observe,
        refused=metrics.hash_refusals.inc,
    )
    await database.open()
    published = PublishedLists(StatusListRows(database), keyring, metrics, settings.url, _now)
    outbox = _outbox(settings, metrics, database)
    try:
        public = _public_app(settings, metrics, keyring, database, admission, published)
        _log.info("listening", host=settings.host, port=settings.port, admin_port=settings.admin_port)
        async with Background() as background:
            background.start("database", database.watch)
            background.start("key ring", keyring.watch)
            background.start("keys", _key_ticker(settings, metrics).watch)
            background.start("status lists", published.run)
            background.start("clean-up", _cleanup(database, metrics).run)
            if outbox is not None:
                background.start("outbox", outbox.run)
            await listen((public, sockets[0]), (_admin_app(metrics, keyring, database), sockets[1]))
    finally:
        admission.close()
        await database.close()
    _log.info("stopped")


def _cleanup(database: Database, metrics: Metrics) -> Cleanup:
    return Cleanup(DeadRows(database), metrics, _now, asyncio.sleep, random.SystemRandom().random)


def _key_ticker(settings: IssuerSettings, metrics: Metrics) -> KeyTicker:
    schedule = Schedule.of(settings.jwks_max_age_seconds, settings.key_rotation_days)
    return KeyTicker(KeyFolder(settings.keys_dir, schedule, _now, settings.passphrase()), metrics)


def _public_app(
    settings: IssuerSettings,
    metrics: Metrics,
    keyring: LiveKeyring,
    database: Database,
    admission: Admission,
    published: PublishedLists,
) -> ASGIApp:
    throttle = Throttle(
        Throttles(database),
        _throttle_secret(keyring),
        limits(settings.failures_per_address, settings.requests_per_address),
        metrics,
        _now,
    )
    passwords = Passwords(admission, metrics, ARGON2_COSTS[settings.argon2])
    policy = PasswordPolicy(settings.password_min_length, _service_names(settings))
    verified_only = settings.email_verification == "required"
    accounts = Accounts(
        Users(database), passwords, policy, throttle, metrics, _now, uuid4, verified_only=verified_only
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
    refresh_tokens = RefreshTokens(lambda: keyring.ring.mac_secrets)
    status_lists = StatusLists(StatusListRows(database), settings.url, published.wake)
    sessions = Sessions(
        SessionRows(database),
        tokens,
        refresh_tokens,
        status_lists,
        metrics,
        Lifetimes(timedelta(seconds=settings.session_idle_seconds), timedelta(seconds=settings.session_seconds)),
        _now,
        uuid4,
    )
    recovery = Recovery(
        RecoveryRows(database),
        accounts,
        sessions,
        passwords,
        policy,
        throttle,
        _now,
        sends_mail=bool(settings.mail_url.get_secret_value()),
    )
    clients = Clients(ClientRows(database), status_lists, endpoint_urls(settings.url), metrics, _now)
    presented = PresentedTokens(tokens, sessions, clients, settings.audience, _now)
    routes = [
        *AccountRoutes(accounts, sessions, tokens, refresh_tokens, recovery if verified_only else None).routes(),
        *RecoveryRoutes(recovery, accounts, tokens).routes(),
        *SessionRoutes(sessions, tokens).routes(),
        *OAuthRoutes(settings.url, sessions, clients, tokens, presented).routes(),
        *StatusListRoutes(published).routes(),
        *DocumentRoutes(keyring, settings.jwks_max_age_seconds).routes(),
    ]
    routes += MetadataRoutes(settings.url, {route.path for route in routes}).routes()
    return build_app(routes, metrics, settings.trusted_hops)


def _service_names(settings: IssuerSettings) -> frozenset[str]:
    host = urlsplit(settings.url).hostname or ""
    return frozenset({host, host.removeprefix("www."), settings.audience, settings.url})


def _throttle_secret(keyring: LiveKeyring) -> Callable[[], bytes]:
    """Of the ring; of this process alone while there is none, when nobody can log in either."""
    own = os.urandom(32)

    def secret() -> bytes:
        secrets = keyring.ring.mac_secrets
        return secrets[0].value if secrets else own

    return secret


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


def _outbox(settings: IssuerSettings, metrics: Metrics, database: Database) -> Outbox | None:
    """The loop that sends mail, where there is a way for it to leave."""
    url = settings.mail_url.get_secret_value()
    if not url:
        _log.warning("mail is not configured: nobody can verify an address or reset a password")
        return None
    return Outbox(
        OutboxRows(database),
        sender_for(parse_mail_url(url)),
        Stationery(settings.mail_from, settings.mail_link),
        metrics,
        _now,
        uuid4,
        os.urandom,
        random.SystemRandom().random,
    )


def _now() -> datetime:
    return datetime.now(UTC)
