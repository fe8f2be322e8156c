"""The issuer's processor time beside the naive application's, for the same operations on the same PostgreSQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg  # noqa: TID251 - measures PostgreSQL beside the issuer

from loadtests.bench_issuer.operations import Batch, Meter, Operations
from loadtests.bench_issuer.testbed import IssuerTestbed

SIZES: Final = {"login": 60, "refresh": 500, "client_credentials": 1_000, "key set": 2_000, "GET /me": 1_000}
"""Number of repetitions of each operation, on each side."""

_BATCHES: Final[Mapping[str, Batch]] = {
    "login": Operations.logins,
    "refresh": Operations.refreshes,
    "client_credentials": Operations.client_credentials,
    "key set": Operations.key_sets,
    "GET /me": Operations.readings,
}
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


async def compare(testbed: IssuerTestbed) -> dict[str, Pair]:
    """Measure each operation in the order ours, naive, naive, ours, so that a change of speed affects both alike."""
    database = await asyncpg.connect(testbed.database_url)
    try:
        meter = Meter(database, testbed.database_url)
        ours, naive = Operations(testbed.ours), Operations(testbed.naive)
        pairs = {}
        for name, size in SIZES.items():
            for side in (ours, naive):
                await meter.measure(side.server, _BATCHES[name](side, _WARM_UP))
            first, second, third, fourth = [
                (await meter.measure(side.server, _BATCHES[name](side, size // 2))).milliseconds
                for side in (ours, naive, naive, ours)
            ]
            pairs[name] = Pair((first + fourth) / 2, (second + third) / 2)
        return pairs
    finally:
        await database.close()
