"""Applies the revisions of the schema with Alembic. ADR 0002.

Forward only. Any number of `migrate` commands may run at once: an advisory lock admits one at a time, and the others
then find nothing to apply.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg  # noqa: TID251 - issuer.db is about PostgreSQL
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from issuer.db.connect import connect
from issuer.db.failures import ERRORS, describe_kind
from issuer.db.schema import revisions
from issuer.db.url import DatabaseUrl, parse_database_url
from issuer.errors import CommandError

_TRY_LOCK: Final = f"SELECT pg_try_advisory_lock({0x6761746570617373})"
_LOCK_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 10.0


async def migrate(url: str) -> tuple[str, ...]:
    """Migrate the schema to the head revision and return the revisions that this call applied.

    An unknown revision in the database is one of a newer release, whose schema this release can use: apply nothing.

    Raises:
        CommandError: PostgreSQL cannot be used, or a revision failed; the revisions before it stay applied.
    """
    server = parse_database_url(url)
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: _connect(server), poolclass=NullPool)
    known = revisions()
    try:
        async with _sole_migrator(server), engine.connect() as connection:
            before = await connection.run_sync(_applied)
            if before is not None and before not in known:
                return ()
            await connection.run_sync(_upgrade)
            await connection.commit()
    except ERRORS as error:
        kind = describe_kind(type(error).__name__)
        raise CommandError(f"PostgreSQL cannot be used: {server.name}: {kind}") from error
    except DBAPIError as error:
        raise CommandError(
            f"{server.name}: a revision failed and was undone: {error.orig}; remove the cause and run `migrate` again"
        ) from error
    finally:
        await engine.dispose()
    return known if before is None else known[known.index(before) + 1 :]


async def _connect(url: DatabaseUrl) -> asyncpg.Connection:
    return await connect(url, _CONNECT_SECONDS)


@asynccontextmanager
async def _sole_migrator(url: DatabaseUrl) -> AsyncIterator[None]:
    """Hold the migration lock on its own connection.

    Polls instead of waiting in PostgreSQL: a waiting statement holds a snapshot, and a `CREATE INDEX CONCURRENTLY` of
    the lock's holder would wait for that snapshot forever.
    """
    connection = await _connect(url)
    try:
        try:
            async with asyncio.timeout(_LOCK_SECONDS):
                while not await connection.fetchval(_TRY_LOCK):  # noqa: ASYNC110 - another process holds the lock
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise CommandError(
                f"{url.name}: another `migrate` has been running for {_LOCK_SECONDS:g} s; run this again when it has"
                " ended"
            ) from None
        yield
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _applied(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
