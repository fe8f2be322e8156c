"""Samples of a run with the figures of a test."""

from loadtests.bench.rounds import LoadLevel, Sample
from loadtests.bench.wrk import Measurement
from loadtests.machine import Busy


def measurement(rate: float = 1000.0, p99_ms: float = 1.0, errors: int = 0, lost: int = 0) -> Measurement:
    return Measurement(int(rate), rate, 0.5, 0.9, p99_ms, 2.0, 3.0, error_responses=errors, socket_errors=lost)


def sample(
    contender: str,
    rate: float,
    *,
    number: int = 0,
    under: LoadLevel = LoadLevel.FEW,
    p99_ms: float = 1.0,
    server_busy: float = 1.0,
    cpu_us: float = 10.0,
) -> Sample:
    return Sample(number, contender, under, measurement(rate, p99_ms), Busy(server_busy, 0.5, 0.0), cpu_us)
