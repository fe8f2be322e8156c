"""Rows that tests insert into the database directly, and cheap hashes of passwords."""

from typing import Final
from uuid import UUID, uuid4

from argon2 import Parameters, Type  # noqa: TID251 - cheap parameters for many hashes

from tests.support.postgres import execute

CHEAP_HASHES: Final = Parameters(
    type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=1, memory_cost=64, parallelism=1
)
_HASH: Final = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def add_account(url: str) -> UUID:
    """Insert an account without a usable password; return its id."""
    account = uuid4()
    execute(
        url,
        "INSERT INTO users (id, email, email_key, password_hash, created_at) VALUES ($1, $2, $2, $3, now())",
        account,
        f"{account}@example.com",
        _HASH,
    )
    return account


def add_sessions(url: str, account: UUID, count: int, *, expired: str = "-1 day", ended: str | None = None) -> None:
    """Insert sessions that expired, and were perhaps revoked, before now (intervals of PostgreSQL).

    Their status list indices are in a list from which no issuer leases.
    """
    execute(
        url,
        "INSERT INTO sessions (id, user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,"
        " ended_at, end_reason, status_list_id, status_idx, user_agent)"
        " SELECT gen_random_uuid(), $1, 'first-party', 'profile', now(), now(), now(), now() - $3::text::interval,"
        " now() - $4::text::interval, CASE WHEN $4::text IS NULL THEN NULL ELSE 'logout' END, 0,"
        " coalesce((SELECT max(status_idx) FROM sessions WHERE status_list_id = 0), -1) + n, E'Browser\\x1b[2J'"
        " FROM generate_series(1, $2::int) n",
        account,
        count,
        expired,
        ended,
    )
