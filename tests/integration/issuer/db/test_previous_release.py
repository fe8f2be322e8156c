"""The previous release works on this schema, on connections from before the migration and on new ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import asyncpg  # noqa: TID251 - speaks for a release that is not in this tree any more
import pytest

from issuer.db.migrate import migrate
from issuer.db.migrations import versions
from issuer.db.queries import load_queries
from issuer.db.schema import revisions
from issuer.errors import CommandError
from issuer.passwords.hash_queue import PasswordHashQueue, QueueClient
from issuer.passwords.hasher import PasswordHasher
from issuer.telemetry.metrics import Metrics
from tests.support.issuer_process import PASSWORD, running_issuer
from tests.support.postgres import Postgres, execute

RELEASE_0001: Final = load_queries(Path(__file__).with_name("release_0001.sql"))
SCHEMA_0001: Final = load_queries(Path(versions.__path__[0]) / "v0001_users.sql")
HASH: Final = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


async def use_release_0001(connection: asyncpg.Connection, email: str) -> None:
    """Register twice, log in, upgrade the hash and read the account with the statements of that release."""
    account, now = uuid4(), datetime.now(UTC)
    values = (email, email, HASH, now)
    assert await connection.fetchval(RELEASE_0001["insert-account"], account, *values) == account
    assert await connection.fetchval(RELEASE_0001["insert-account"], uuid4(), *values) is None
    found = await connection.fetchrow(RELEASE_0001["find-credentials"], email)
    assert found is not None
    assert dict(found) == {"id": account, "password_hash": HASH, "disabled_at": None, "security_version": 0}
    await connection.execute(RELEASE_0001["replace-password-hash"], account, HASH, HASH.replace("t=2", "t=3"))
    shown = await connection.fetchrow(RELEASE_0001["find-account"], account)
    assert shown is not None
    assert dict(shown) == {"id": account, "email": email, "created_at": now}


@pytest.fixture
def old_url(postgres: Postgres) -> str:
    """Return a database at revision 0001."""
    url = postgres.new_database()
    for statement in SCHEMA_0001.values():
        execute(url, statement)
    execute(url, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    execute(url, "INSERT INTO alembic_version VALUES ('0001')")
    return url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.anyio
async def test_a_process_of_the_previous_release_works_during_the_migration(old_url: str) -> None:
    async with connected(old_url) as connection:
        await use_release_0001(connection, "before@example.com")
        assert await migrate(old_url) == revisions()[1:]
        await use_release_0001(connection, "after@example.com")


@pytest.mark.anyio
async def test_a_process_of_the_previous_release_starts_on_this_schema(database_url: str) -> None:
    async with connected(database_url) as connection:
        await use_release_0001(connection, "ann@example.com")


def test_existing_accounts_log_in_after_the_migration(old_url: str) -> None:
    hash_queue = PasswordHashQueue(threads=1, wait_seconds=10)
    stored = asyncio.run(PasswordHasher(hash_queue, Metrics()).hash(PASSWORD, QueueClient()))
    hash_queue.close()
    account = UUID(int=1)
    values = (account, "ann@example.com", "ann@example.com", stored, datetime.now(UTC))
    execute(old_url, RELEASE_0001["insert-account"], *values)
    asyncio.run(migrate(old_url))
    [row] = execute(old_url, "SELECT * FROM users")
    assert (row["id"], row["scope"], row["roles"], row["security_version"]) == (account, "profile", [], 0)
    with running_issuer(old_url) as issuer:
        assert issuer.login("ann@example.com").status_code == 200


@pytest.mark.anyio
async def test_a_migration_without_its_lock_gives_up_and_blocks_no_request(old_url: str) -> None:
    async with connected(old_url) as holder:
        async with holder.transaction():
            await holder.execute("SELECT FROM users")
            with pytest.raises(CommandError, match="lock timeout"):
                await migrate(old_url)
        await use_release_0001(holder, "ann@example.com")
        assert await migrate(old_url) == revisions()[1:]
