"""Two issuers on one PostgreSQL and a verifier, in this process and in virtual time.

Each issuer is built by `issuer.app`: every service, store and background task. Only the sockets are missing: requests
go to the application, and background tasks run when the test advances the time. The verifier is a real authorizer
with its cache, and reads what the issuers publish over HTTP.

No clock runs. PostgreSQL uses time functions of the schema `virtual`, which read the time from a row.
"""

import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import asyncpg  # noqa: TID251 - tests look at the database from outside
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from starlette.types import Scope

from issuer import app as serving
from issuer.accounts import mail_requests
from issuer.accounts.administration import Administration
from issuer.accounts.administration_store import AdministrationStore
from issuer.audit.hash_chain import ChainVerifier
from issuer.audit.store import AuditStore
from issuer.db import pool
from issuer.http.exchange import Exchange
from issuer.keys import manager as key_management
from issuer.keys import store as key_files
from issuer.keys.manager import KeyManager
from issuer.keys.rotation import RotationPolicy
from issuer.sessions import revoke_all_store
from issuer.settings import IssuerSettings
from issuer.telemetry.tracing import UNTRACED
from shared.jwks import parse_jwks
from tests.support.accounts import CHEAP_HASHES
from tests.support.postgres import fetch
from tests.support.recovery_bench import token_in
from tests.support.signing_keys import load_key
from tests.support.vectors import Bench
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.decision.status import CurrentStatusList, StatusLists
from verifier.decision.status_list_token import StatusList, read_status_list
from verifier.refresh.aggregation import parse_aggregation
from verifier.refresh.status_lists import newest

URL: Final = "https://issuer.example"
BEGINNING: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS_MAX_AGE: Final = timedelta(seconds=300)
SESSIONS_PER_ACCOUNT: Final = 3
_VIRTUAL_TIME: Final = """
CREATE SCHEMA virtual;
CREATE TABLE virtual.clock (at timestamptz NOT NULL);
INSERT INTO virtual.clock VALUES (pg_catalog.now());
CREATE FUNCTION virtual.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM virtual.clock';
CREATE FUNCTION virtual.statement_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM virtual.clock';
CREATE FUNCTION virtual.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM virtual.clock'
"""


@dataclass(frozen=True)
class Response:
    """A response."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON, or None."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Mail:
    """A mail that was delivered: its recipient, its token, and when the token was made."""

    recipient: str
    token: str
    made_at: datetime


@dataclass
class Clock:
    """The virtual time, and how far ahead of it the clock of each machine is."""

    now: datetime = BEGINNING
    ahead: dict[str, timedelta] = field(default_factory=dict)

    def of(self, machine: str) -> datetime:
        """Return the time on the clock of this machine."""
        return self.now + self.ahead.get(machine, timedelta())


class Issuer:
    """One issuer process, without its sockets."""

    def __init__(self, name: str, clock: Clock, settings: IssuerSettings, ids: random.Random) -> None:
        self.name, self.clock, self.settings = name, clock, settings
        self.requests = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(serving, "_now", self.now)
            patch.setattr(serving, "REQUEST_TIMEOUTS", pool.COMMAND_TIMEOUTS)  # they run in real time
            patch.setattr(serving, "_fraction", lambda: 0.5)
            patch.setattr(serving, "uuid4", lambda: UUID(int=ids.getrandbits(128), version=4))
            patch.setattr(serving, "ARGON2_COSTS", {settings.argon2_memory_mib: CHEAP_HASHES})
            self.parts = serving._build_infrastructure(settings, UNTRACED)
            self.app = serving._public_app(self.parts)
            tasks: dict[str, Any] = dict(serving._background_tasks(self.parts))
        self.rotation = tasks["key rotation"].__self__
        self.cleanup = tasks["cleanup"].__self__
        self.outbox = tasks["outbox"].__self__
        self.operator = Administration(AdministrationStore(self.parts.database), self.now, settings.token_budget())
        self.audit = AuditStore(self.parts.database)

    def now(self) -> datetime:
        """Return the time on this machine."""
        return self.clock.of(self.name)

    async def send(
        self, method: str, path: str, document: object = None, *, form: dict[str, str] | None = None, token: str = ""
    ) -> Response:
        """Send a request. Each has another client IP, so that no rate limit applies."""
        self.requests += 1
        kind, body = b"application/json", b"" if document is None else json.dumps(document).encode()
        if form is not None:
            kind, body = b"application/x-www-form-urlencoded", urlencode(form).encode()
        fields = [(b"host", b"issuer.example"), (b"content-type", kind)]
        if token:
            fields.append((b"authorization", b"Bearer " + token.encode()))
        target, _, query = path.partition("?")
        ip = f"10.{self.requests >> 16 & 255}.{self.requests >> 8 & 255}.{self.requests & 255}"
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": target,
            "query_string": query.encode(),
            "headers": fields,
            "client": (ip, 1),
            "state": {"is_disconnected": lambda: False, "body_too_large": False},
        }
        replies: list[tuple[bytes | None, bytes]] = []
        await Exchange(scope, body, lambda head, content: replies.append((head, content))).run(self.app)
        [(head, content)] = replies
        assert head is not None, "the application failed"
        return Response(int(head[9:12]), content)

    async def close(self) -> None:
        """Stop."""
        self.parts.hash_queue.close()
        self.outbox._transport.close()
        await self.parts.database.close()


class Verifier:
    """An authorizer that polls the issuer's status lists, and fetches its key set when the copy is too old."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        policy = Policy("default", frozenset({URL}), frozenset({"gatepass"}))
        self._bench = Bench({"default": policy}, keys=TrustedKeys())
        self._keys = TrustedKeys()
        self._keys_at = datetime.min.replace(tzinfo=UTC)
        self._lists: dict[str, StatusList] = {}
        self._bodies: dict[str, bytes] = {}

    def accepts(self, token: str) -> bool:
        """Return whether a request with this access token passes now."""
        self._bench.now = self._clock.now.timestamp()
        return self._bench.authorizer.authorize(b"/verify", b"Bearer " + token.encode()).startswith(b"HTTP/1.1 200")

    def reason(self, token: str) -> str | None:
        """Return the reason for the rejection."""
        self._bench.now = self._clock.now.timestamp()
        return self._bench.authorize(b"/verify", b"Bearer " + token.encode())[1]

    async def poll(self, issuer: Issuer, *, keys: bool = False) -> None:
        """Fetch the status lists, and the key set if it is due or requested."""
        if keys or self._clock.now - self._keys_at >= KEYS_MAX_AGE:
            self._set_keys((await issuer.send("GET", "/.well-known/jwks.json")).body)
        uris = parse_aggregation((await issuer.send("GET", "/status-lists")).body).uris
        for uri in uris:
            await self._fetch(issuer, uri)
        self._lists = {uri: found for uri, found in self._lists.items() if uri in uris}
        current = {uri: CurrentStatusList(it.octets, it.bits, it.expires_at) for uri, it in self._lists.items()}
        self._bench.authorizer.replace_status_lists(StatusLists().with_lists(URL, current))

    def _set_keys(self, document: bytes) -> None:
        self._keys = TrustedKeys.from_issuers({URL: parse_jwks(document)})
        self._keys_at = self._clock.now
        self._lists = {uri: found for uri, found in self._lists.items() if self._keys.contains(found.key)}
        self._bench.authorizer.replace_keys(self._keys)

    async def _fetch(self, issuer: Issuer, uri: str) -> None:
        body = (await issuer.send("GET", urlsplit(uri).path)).body
        if uri in self._lists and self._bodies.get(uri) == body:
            return
        found = read_status_list(body, issuer=URL, uri=uri, keys=self._keys, now=self._clock.now.timestamp())
        if isinstance(found, StatusList):
            self._lists[uri] = newest(self._lists.get(uri), found)
            self._bodies[uri] = body


class VirtualDatabase:
    """A database in virtual time: emptied for each example, backed up and restored like a dump.

    Rows are copied instead of files. That takes milliseconds and keeps the issuers' connections.

    It is a migrated database that nothing else uses.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self) -> None:
        """Connect, and create the clock and the tables of the backup."""
        self._connection = await asyncpg.connect(self.url)
        await self._connection.execute(_VIRTUAL_TIME)
        name = await self._connection.fetchval("SELECT current_database()")
        await self._connection.execute(f"ALTER DATABASE {name} SET search_path = virtual, pg_catalog, public")
        # Rows are moved as by a restore: without the triggers that chain and protect the audit trail.
        await self._connection.execute("SET session_replication_role = replica; CREATE SCHEMA backup")
        rows = await self._connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
        self._tables = [row["tablename"] for row in rows]
        for table in self._tables:
            await self._connection.execute(f"CREATE TABLE backup.{table} AS TABLE public.{table} WITH NO DATA")
        self._sequences: list[asyncpg.Record] = []

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()

    async def set_time(self, now: datetime) -> None:
        """Set the clock of PostgreSQL."""
        await self._connection.execute("UPDATE virtual.clock SET at = $1", now)

    async def empty(self) -> None:
        """Delete every row."""
        await self._run(*(f"DELETE FROM public.{table}" for table in self._tables))
        for row in await self._connection.fetch("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"):
            await self._connection.execute(f"ALTER SEQUENCE public.{row['sequencename']} RESTART")

    async def back_up(self) -> None:
        """Copy every row."""
        await self._run(*(self._copy(table, "public", "backup") for table in self._tables))
        self._sequences = await self._connection.fetch(
            "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'"
        )

    async def restore(self) -> None:
        """Replace every row by the backup."""
        await self._run(*(self._copy(table, "backup", "public") for table in self._tables))
        for row in self._sequences:
            value = row["last_value"]
            sequence = f"'public.{row['sequencename']}', {value or 1}, {str(value is not None).lower()}"
            await self._connection.execute(f"SELECT setval({sequence})")

    def _copy(self, table: str, source: str, target: str) -> str:
        new = f"INSERT INTO {target}.{table} OVERRIDING SYSTEM VALUE SELECT * FROM {source}.{table}"
        return f"DELETE FROM {target}.{table}; {new}"

    async def _run(self, *statements: str) -> None:
        await self._connection.execute(f"BEGIN; {'; '.join(statements)}; COMMIT")


class Testbed:
    """Everything of one example: `open` first, `close` last.

    Args:
        database: emptied by `open`.
        keys: private keys to create signing keys from, since making one takes a tenth of a second.
        verified: whether a login needs a verified email.
    """

    __test__ = False

    def __init__(self, database: VirtualDatabase, keys: Iterator[RSAPrivateKey], *, verified: bool) -> None:
        self.database = database
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(key_management, "new_private", lambda: next(keys))
        self._patch.setitem(pool._SERVER_SETTINGS, "lock_timeout", "10s")  # waits are in real time too
        self._patch.setattr(key_files, "load_pem_private_key", load_key)
        self._patch.setattr(mail_requests, "MIN_RESPONSE_SECONDS", 0)  # hides times, which no model looks at
        self._patch.setattr(revoke_all_store, "_PROPAGATION_SECONDS", 0)  # no time passes by itself
        self._folder = tempfile.TemporaryDirectory(prefix="gatepass-model-")
        folder = Path(self._folder.name)
        self.clock = Clock()
        self._ids = random.Random(0)  # the same in each example, so that a failing one can be repeated
        self.keys = KeyManager(folder / "keys", RotationPolicy(), lambda: self.clock.now)
        self._mail = folder / "mail"
        self._settings = IssuerSettings.model_validate(
            {
                "url": URL,
                "database_url": database.url,
                "database_connections": 4,
                "keys_dir": folder / "keys",
                "sessions_per_account": SESSIONS_PER_ACCOUNT,
                "email_verification": "required" if verified else "off",
                "mail_url": f"file://{self._mail}",
                "mail_from": "no-reply@issuer.example",
                "hash_threads": 2,
                "password_hash_timeout_seconds": 30,
            }
        )
        self.verifier = Verifier(self.clock)
        self.issuers: list[Issuer] = []

    async def open(self) -> None:
        """Create a key and start the issuers."""
        await self.database.empty()
        await self._set_database_time()
        self.keys.generate()
        for name in ("one", "other"):
            self.issuers.append(Issuer(name, self.clock, self._settings, self._ids))
        await self.run_tasks()

    async def close(self) -> None:
        """Stop everything."""
        for issuer in self.issuers:
            await issuer.close()
        self._patch.undo()
        self._folder.cleanup()

    @property
    def database_now(self) -> datetime:
        """Return the time on PostgreSQL's machine."""
        return self.clock.of("database")

    async def let_pass(self, seconds: int) -> list[Mail]:
        """Let time pass, with the background tasks two seconds before the end and at the end; return the mail."""
        mails = []
        for step in (seconds - 2, 2) if seconds > 2 else (seconds,):
            self.clock.now += timedelta(seconds=step)
            await self._set_database_time()
            mails += await self.run_tasks()
        return mails

    async def step_clock(self, machine: str, seconds: int) -> None:
        """Set the clock of a machine ahead by `seconds`."""
        self.clock.ahead[machine] = timedelta(seconds=seconds)
        await self._set_database_time()

    async def run_tasks(self, *, fetch_keys: bool = False) -> list[Mail]:
        """Run the background tasks of both issuers once; return the mail that they delivered."""
        for issuer in self.issuers:
            issuer.rotation.run_once()
            issuer.parts.key_watcher.refresh()
            await issuer.parts.status_list_publisher.refresh()
        await self.issuers[0].outbox.deliver_due()
        mails = self._collect(self.issuers[0])
        # The verifier reaches one issuer or the other, as behind a load balancer.
        self.issuers.reverse()
        await self.verifier.poll(self.issuers[0], keys=fetch_keys)
        return mails

    async def restart(self, issuer: Issuer) -> None:
        """End an issuer and start it again."""
        await issuer.close()
        place = self.issuers.index(issuer)
        self.issuers[place] = Issuer(issuer.name, self.clock, self._settings, self._ids)
        await self.issuers[place].parts.status_list_publisher.refresh()

    async def revoke_everything(self) -> None:
        """Run `sessions revoke-all --yes`."""
        await revoke_all_store.revoke_all(self.issuers[0].parts.database)

    async def rows(self, statement: str) -> list[asyncpg.Record]:
        """Read the database."""
        return await fetch(self.issuers[0].parts.database, statement)

    async def audit_faults(self) -> list[str]:
        """Verify the audit trail, as `audit verify` does."""
        verifier, faults = ChainVerifier(), []
        async for page in self.issuers[0].audit.chained_events():
            for link in page:
                faults += [fault.what for fault in verifier.faults(link)]
        return faults

    async def _set_database_time(self) -> None:
        await self.database.set_time(self.database_now)

    def _collect(self, issuer: Issuer) -> list[Mail]:
        mails = []
        for path in sorted(self._mail.glob("*.eml")):
            message = message_from_bytes(path.read_bytes(), policy=SMTP)
            path.unlink()
            with suppress(AssertionError):  # a notice carries none
                mails.append(Mail(str(message["To"]), token_in(message), issuer.now()))
        return mails
