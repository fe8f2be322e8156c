"""The issuer's processor time beside the naive application's, for the same operations on the same PostgreSQL."""

from dataclasses import dataclass
from typing import Final

import asyncpg  # noqa: TID251 - measures PostgreSQL beside the issuer

from loadtests.bench_issuer.operations import Cost, Meter, Operations, Step
from loadtests.bench_issuer.testbed import Site

SIZES: Final = {"login": 60, "refresh": 500, "client_credentials": 1_000, "key set": 2_000, "GET /me": 1_000}
"""Number of repetitions of each operation, on each side."""

_WARM_UP: Final = 50


@dataclass(frozen=True, slots=True)
class Pair:
    """The cost of one operation: milliseconds of a core in the server and in PostgreSQL."""

    ours: float
    naive: float

    @property
    def ratio(self) -> float:
        """Our cost divided by the naive application's."""
        return self.ours / self.naive


async def compare(site: Site) -> dict[str, Pair]:
    """Measure each operation in two halves in the order ours, naive, naive, ours.

    Raises:
        ProcessError: an operation failed.
    """
    database = await asyncpg.connect(site.database_url)
    try:
        meter = Meter(database, site.database_url)
        ours, naive = Operations(site.ours), Operations(site.naive)
        pairs = {}
        for name, size in SIZES.items():
            for side in (ours, naive):
                await meter.measure(side.server, _batch(side, name, _WARM_UP))
            costs = [
                await meter.measure(side.server, _batch(side, name, size // 2)) for side in (ours, naive, naive, ours)
            ]
            pairs[name] = Pair(_mean(costs[0], costs[3]), _mean(costs[1], costs[2]))
        return pairs
    finally:
        await database.close()


def _mean(one: Cost, other: Cost) -> float:
    return (one.milliseconds + other.milliseconds) / 2


def _batch(operations: Operations, name: str, size: int) -> list[Step]:
    match name:
        case "login":
            return operations.logins(size)
        case "refresh":
            return operations.refreshes(size)
        case "client_credentials":
            return operations.client_credentials(size)
        case "key set":
            return operations.key_sets(size)
        case _:
            return operations.with_tokens("GET", "/me", size)
