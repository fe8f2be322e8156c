"""Lists the revisions of the schema, and checks that they are applied. `migrate` applies them. ADR 0002.

A server imports this module and not `migrate`, so that neither Alembic nor SQLAlchemy is in its process.
"""

import pkgutil
from functools import cache
from pathlib import Path
from typing import Final

from issuer.db.pool import Database

_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"


@cache
def revisions() -> tuple[str, ...]:
    """Return every revision of this release, oldest first: `v0001_users.py` is 0001."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(_VERSIONS)]))
    return tuple(name.removeprefix("v").partition("_")[0] for name in names)


async def is_migrated(database: Database) -> bool:
    """Return whether the schema is at this release's head revision or a later one.

    It is at a later one while a newer release is being rolled out, whose migration keeps this release working.

    Raises:
        DatabaseUnavailableError: PostgreSQL is unreachable.
    """
    async with database.connection() as connection:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return False
        applied = await connection.fetchval("SELECT version_num FROM alembic_version")
    return applied is not None and applied not in revisions()[:-1]
