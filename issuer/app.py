"""Builds a running issuer from the settings. Every service is created here, once, with its dependencies."""

import asyncio
import gc
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog
from starlette.routing import Route
from starlette.types import ASGIApp

from issuer.accounts.authentication import PasswordAuthenticator
from issuer.accounts.email_verification import EmailVerification
from issuer.accounts.login import LoginService
from issuer.accounts.password_reset import PasswordReset
from issuer.accounts.registration import RegistrationService
from issuer.accounts.routes import AccountRoutes
from issuer.accounts.self_service import SelfService
from issuer.accounts.self_service_store import SelfServiceStore
from issuer.accounts.store import AccountStore
from issuer.background import Background, Work
from issuer.cleanup import Cleanup
from issuer.db.pool import REQUEST_TIMEOUTS, Database
from issuer.db.schema import is_migrated
from issuer.http.app import build_app
from issuer.http.connections import Connections
from issuer.http.health import AdminRoutes
from issuer.http.server import Listener, address_of, allow_connections, listen, open_sockets
from issuer.http.well_known import DocumentRoutes
from issuer.keys.mac_secrets import MacSecret, new_secret
from issuer.keys.manager import KeyManager
from issuer.keys.rotation import RotationPolicy
from issuer.keys.rotation_task import RotationTask
from issuer.keys.watcher import KeyWatcher
from issuer.mail.limits import RecipientKeys
from issuer.mail.outbox import Outbox
from issuer.mail.store import OutboxStore
from issuer.mail.templates import MailComposer
from issuer.mail.transport import parse_mail_url, transport_for
from issuer.oauth.clients import ClientAuthenticator
from issuer.oauth.grants import Grants
from issuer.oauth.introspection import TokenIntrospection
from issuer.oauth.metadata import MetadataRoutes, endpoint_urls
from issuer.oauth.revocation import TokenRevocation
from issuer.oauth.routes import OAuthRoutes
from issuer.oauth.store import ClientStore
from issuer.passwords.hash_queue import PasswordHashQueue
from issuer.passwords.hasher import ARGON2_COSTS, PasswordHasher
from issuer.passwords.policy import PasswordPolicy
from issuer.passwords.resources import available_memory, ensure_memory
from issuer.sessions.cookies import SessionCookies
from issuer.sessions.models import SessionLimits
from issuer.sessions.routes import SessionRoutes
from issuer.sessions.service import SessionService
from issuer.sessions.store import SessionStore
from issuer.settings import IssuerSettings
from issuer.status_lists.allocator import StatusIndexAllocator
from issuer.status_lists.publisher import StatusListPublisher
from issuer.status_lists.routes import StatusListRoutes
from issuer.status_lists.store import StatusListStore
from issuer.telemetry.metrics import Metrics
from issuer.telemetry.tracing import Tracing
from issuer.throttling.store import RateLimitStore
from issuer.throttling.throttle import Throttle
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import default_client
from issuer.tokens.refresh_token import RefreshTokens
from shared.systemd import notify

_fraction: Final = random.SystemRandom().random
_log = structlog.get_logger(__name__)


async def serve(settings: IssuerSettings, tracing: Tracing) -> None:
    """Serve until a stop signal arrives. PostgreSQL and the signing key may be missing, at the start and later.

    Raises:
        CommandError: a listen address or the key directory cannot be used, or there is too little memory.
    """
    hash_bytes = ARGON2_COSTS[settings.argon2_memory_mib].memory_cost * 1024
    ensure_memory(settings.concurrent_hashes(), hash_bytes, available_memory())
    sockets = open_sockets(settings, os.environ)
    limit = allow_connections()
    infrastructure = _build_infrastructure(settings, tracing)
    metrics = infrastructure.metrics
    hash_seconds = await infrastructure.passwords.calibrate()
    try:
        public, admin = _public_app(infrastructure), _admin_app(infrastructure)
        _log.info(
            "issuer_started",
            public=address_of(sockets[0]),
            admin=address_of(sockets[1]),
            hash_milliseconds=round(hash_seconds * 1000, 1),
        )
        async with Background() as background:
            for name, work in _background_tasks(infrastructure):
                background.start(name, work)
            _freeze_gc()
            connections = Connections(limit, lambda reason: metrics.dropped_connections.labels(reason).inc())
            metrics.connections.set_function(lambda: len(connections))
            await listen(
                Listener(sockets[0], public, connections, ready=lambda: notify(os.environ, "READY=1")),
                Listener(sockets[1], admin, Connections(limit)),
            )
    finally:
        infrastructure.hash_queue.close()
        await infrastructure.database.close()
        tracing.close()
    _log.info("issuer_stopped")


def _freeze_gc() -> None:
    """Exempt all objects that exist now from garbage collection."""
    # A full collection that scans them would delay every request by 35 ms.
    gc.collect()
    gc.freeze()


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """Infrastructure that the services share, one of each per process."""

    settings: IssuerSettings
    metrics: Metrics
    tracing: Tracing
    key_watcher: KeyWatcher
    database: Database
    hash_queue: PasswordHashQueue
    passwords: PasswordHasher
    status_list_publisher: StatusListPublisher


def _build_infrastructure(settings: IssuerSettings, tracing: Tracing) -> Infrastructure:
    metrics = Metrics()
    key_watcher = KeyWatcher(settings.keys_dir, metrics, settings.passphrase())
    url, connections = settings.database_url.get_secret_value(), settings.database_connections
    database = Database(url, connections, REQUEST_TIMEOUTS, metrics, tracing)
    hash_queue = PasswordHashQueue(
        settings.concurrent_hashes(),
        settings.password_hash_timeout_seconds,
        started=metrics.hash_wait_seconds.observe,
        rejected=metrics.password_hash_rejections.inc,
    )
    passwords = PasswordHasher(hash_queue, metrics, ARGON2_COSTS[settings.argon2_memory_mib], tracing)
    publisher = StatusListPublisher(StatusListStore(database), key_watcher, metrics, settings.url)
    return Infrastructure(settings, metrics, tracing, key_watcher, database, hash_queue, passwords, publisher)


def _background_tasks(infrastructure: Infrastructure) -> Iterator[tuple[str, Work]]:
    """Yield every background task of the process with its name in the log."""
    settings, metrics, database = infrastructure.settings, infrastructure.metrics, infrastructure.database
    policy = RotationPolicy(settings.jwks_max_age_seconds, settings.key_rotation_days)
    manager = KeyManager(settings.keys_dir, policy, _now, settings.passphrase())
    yield "database", database.watch
    yield "key watcher", infrastructure.key_watcher.watch
    yield "key rotation", RotationTask(manager, metrics).run
    yield "status lists", infrastructure.status_list_publisher.run
    yield "cleanup", Cleanup(database, metrics, _now, asyncio.sleep, _fraction).run
    if url := settings.mail_url.get_secret_value():
        composer = MailComposer(settings.service_title(), settings.mail_from, settings.mail_link_base_url)
        transport = transport_for(parse_mail_url(url))
        outbox = Outbox(OutboxStore(database), transport, composer, metrics, _now, _fraction)
        yield "outbox", outbox.run
    else:
        _log.warning("mail_not_configured", hint="users can neither verify an email address nor reset a password")


def _public_app(infrastructure: Infrastructure) -> ASGIApp:
    settings, metrics, database = infrastructure.settings, infrastructure.metrics, infrastructure.database
    tokens = AccessTokens(
        infrastructure.key_watcher,
        settings.token_profile(),
        _now,
        uuid4,
        _fraction,
    )
    refresh_tokens = RefreshTokens(lambda: infrastructure.key_watcher.key_set.mac_secrets)
    publisher = infrastructure.status_list_publisher
    status_lists = StatusIndexAllocator(StatusListStore(database), settings.url, publisher)
    session_limits = SessionLimits(
        idle=timedelta(seconds=settings.session_idle_seconds),
        absolute=timedelta(seconds=settings.session_seconds),
        retry=timedelta(seconds=settings.refresh_retry_seconds),
        per_account=settings.sessions_per_account,
    )
    session_store = SessionStore(database, default_client(settings.audience))
    sessions = SessionService(
        session_store, tokens, refresh_tokens, status_lists, metrics, session_limits, _now, uuid4
    )
    clients = ClientAuthenticator(ClientStore(database), status_lists, endpoint_urls(settings.url), metrics, _now)
    cookies = SessionCookies(settings.origins_with_cookies())
    routes = [
        *_account_routes(infrastructure, tokens, sessions, clients, cookies),
        *SessionRoutes(sessions, tokens, cookies).routes(),
        *OAuthRoutes(
            Grants(sessions, clients, tokens),
            TokenIntrospection(settings.url, tokens, sessions, clients),
            TokenRevocation(tokens, sessions, clients),
            cookies,
        ).routes(),
        *StatusListRoutes(publisher).routes(),
        *DocumentRoutes(infrastructure.key_watcher, settings.jwks_max_age_seconds).routes(),
        *MetadataRoutes(settings.url).routes(),
    ]
    return build_app(
        routes,
        metrics,
        settings.trusted_proxy_hops,
        infrastructure.tracing,
        cors_origins=settings.allowed_origins(),
    )


def _account_routes(
    infrastructure: Infrastructure,
    tokens: AccessTokens,
    sessions: SessionService,
    clients: ClientAuthenticator,
    cookies: SessionCookies,
) -> list[Route]:
    settings, metrics, database = infrastructure.settings, infrastructure.metrics, infrastructure.database
    throttle = Throttle(
        RateLimitStore(database),
        _counter_secret(infrastructure.key_watcher),
        settings.login_failures_per_ip,
        settings.requests_per_ip,
        metrics,
        _now,
    )
    passwords = infrastructure.passwords
    policy = PasswordPolicy(settings.password_min_length, settings.service_names())
    verification_required = settings.email_verification == "required"
    accounts = AccountStore(database)
    authenticator = PasswordAuthenticator(
        accounts, passwords, throttle, _now, require_verified_email=verification_required
    )
    recipients = RecipientKeys(_counter_secret(infrastructure.key_watcher))
    self_service_store = SelfServiceStore(database, recipients if settings.mail_url.get_secret_value() else None)
    registration = RegistrationService(
        accounts,
        passwords,
        policy,
        metrics,
        _now,
        uuid4,
        throttle,
        recipients if verification_required else None,
    )
    login = LoginService(authenticator, default_client(settings.audience), clients.public_client, sessions, metrics)
    self_service = SelfService(
        self_service_store, authenticator, passwords, policy, throttle, sessions.on_revoked, _now
    )
    reset = PasswordReset(self_service_store, passwords, policy, throttle, sessions.on_revoked, _now)
    verification = EmailVerification(self_service_store, throttle, _now)
    return AccountRoutes(registration, login, self_service, reset, verification, tokens, cookies).routes()


def _counter_secret(key_watcher: KeyWatcher) -> Callable[[], MacSecret]:
    """Return a function that returns the current MAC secret.

    While there is none, no login can succeed, and the function returns a random secret of this process.
    """
    own = new_secret()
    return lambda: next(iter(key_watcher.key_set.mac_secrets), own)


def _admin_app(infrastructure: Infrastructure) -> ASGIApp:
    async def database_reachable() -> bool:
        await infrastructure.database.ping()
        return True

    async def migrations_applied() -> bool:
        return await is_migrated(infrastructure.database)

    async def signing_key_present() -> bool:
        return infrastructure.key_watcher.key_set.signing is not None

    async def key_directory_usable() -> bool:
        return infrastructure.key_watcher.is_current

    async def status_lists_published() -> bool:
        return bool(infrastructure.status_list_publisher.uris())

    checks = {
        "database": database_reachable,
        "migrations": migrations_applied,
        "signing_key": signing_key_present,
        "status_lists": status_lists_published,
    }
    routes = AdminRoutes(infrastructure.metrics, checks, {"key_directory": key_directory_usable}).routes()
    return build_app(routes, infrastructure.metrics, quiet=True)


def _now() -> datetime:
    return datetime.now(UTC)
