"""Samples of a running stack: memory and descriptors of its processes, its tables, its status lists and its keys."""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg  # noqa: TID251 - reads the sizes of tables from PostgreSQL
import httpx
import psutil

from loadtests.cpu_usage import stack_processes
from loadtests.testbed import Testbed

_TIMEOUT_SECONDS: Final = 20.0
_TABLES: Final = (
    "SELECT relname AS name, pg_table_size(relid) AS table_bytes, pg_indexes_size(relid) AS index_bytes"
    " FROM pg_stat_user_tables ORDER BY relname"
)


@dataclass(frozen=True, slots=True)
class PartSample:
    """The processes of one part of the stack. Memory is their anonymous memory: what they allocated.

    Pages of a program's file count as private while one process runs it, and as shared while two do, so private
    memory would jump whenever another process of that program starts.
    """

    processes: int
    memory_bytes: int
    descriptors: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class TableSample:
    """One table and its indexes."""

    rows: int
    table_bytes: int
    index_bytes: int

    @property
    def bytes(self) -> int:
        """Size of the table with its indexes."""
        return self.table_bytes + self.index_bytes


@dataclass(frozen=True, slots=True)
class Sample:
    """A stack at one moment, `seconds` after the start of the run. Keys are by their kid, status lists by number."""

    seconds: float
    parts: Mapping[str, PartSample]
    tables: Mapping[str, TableSample]
    status_lists: Mapping[str, int]
    keys: Sequence[str]


async def take_sample(testbed: Testbed, started: float) -> Sample:
    """Take a sample of a stack whose run began at `started` (monotonic seconds).

    Raises:
        OSError, httpx.HTTPError, asyncpg.PostgresError: a part of it did not respond.
    """
    parts = {part: _part(processes) for part, processes in stack_processes(testbed.process.pid).items()}
    tables = await _tables(testbed.issuer_settings["ISSUER_DATABASE_URL"])
    async with httpx.AsyncClient(
        base_url=testbed.url("ISSUER_PORT"), timeout=_TIMEOUT_SECONDS, trust_env=False
    ) as issuer:
        keys = (await issuer.get("/.well-known/jwks.json")).raise_for_status().json()["keys"]
        uris = (await issuer.get("/status-lists")).raise_for_status().json()["status_lists"]
        numbers = [uri.rpartition("/")[2] for uri in uris]
        lists = {
            number: len((await issuer.get(f"/status-lists/{number}")).raise_for_status().content)
            for number in numbers
        }
    return Sample(time.monotonic() - started, parts, tables, lists, [key["kid"] for key in keys])


def _part(processes: Sequence[psutil.Process]) -> PartSample:
    memory = descriptors = 0
    cpu_seconds = 0.0
    for process in processes:
        # A backend of PostgreSQL may just have ended.
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            memory += _anonymous_bytes(process)
            descriptors += process.num_fds()
            cpu_seconds += sum(process.cpu_times()[:2])
    return PartSample(len(processes), memory, descriptors, cpu_seconds)


def _anonymous_bytes(process: psutil.Process) -> int:
    """Return `RssAnon` of proc_pid_status(5)."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace")
    [kibibytes] = re.findall(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE) or ["0"]  # none if it has just ended
    return int(kibibytes) * 1024


async def _tables(database_url: str) -> dict[str, TableSample]:
    database = await asyncpg.connect(database_url, timeout=_TIMEOUT_SECONDS)
    try:
        sizes = await database.fetch(_TABLES)
        return {
            row["name"]: TableSample(
                await database.fetchval(f'SELECT count(*) FROM "{row["name"]}"'),  # noqa: S608 - of the catalogue
                row["table_bytes"],
                row["index_bytes"],
            )
            for row in sizes
        }
    finally:
        await database.close()
