"""How verifiers are arranged, as data."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One line of the report.

    Attributes:
        name: how the report calls it.
        family: what it is compared within; each begins with its smallest.
        verifiers: processes of their own, each with ports of its own.
        workers: of each verifier, on one port.
        gateway: asked by one nginx in turn, instead of by the load itself.
        cached: with the cache as it comes; without it every request costs a signature check.
    """

    name: str
    family: str
    verifiers: int = 1
    workers: int = 1
    gateway: bool = False
    cached: bool = False


ARRANGEMENTS: Final = (
    Arrangement("1 worker, cached", "workers, cached", cached=True),
    Arrangement("2 workers, cached", "workers, cached", workers=2, cached=True),
    Arrangement("1 worker", "workers"),
    Arrangement("2 workers", "workers", workers=2),
    Arrangement("1 behind nginx", "processes", gateway=True),
    Arrangement("2 behind nginx", "processes", verifiers=2, gateway=True),
    Arrangement("4 behind nginx", "processes", verifiers=4, gateway=True),
)
