"""`calibrate`: measure how many logins per second this machine can handle, and with how much memory.

A login costs about one password hash. Measures the configured parameters in as many threads as `serve` would use and
in fewer, and then the other parameter sets of the same strength. Needs neither database nor keys.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

from issuer.cli.output import Commands, add_command, show
from issuer.passwords.hash_queue import PasswordHashQueue
from issuer.passwords.hasher import ARGON2_COSTS, PasswordHasher
from issuer.passwords.resources import available_cpus, available_memory
from issuer.settings import IssuerSettings
from issuer.telemetry.metrics import Metrics

_SHORTEST: Final = 1.0
_LONGEST: Final = 600.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """Measured durations of hashes.

    Attributes:
        argon2_memory_mib: memory of each hash.
        configured: whether `serve` would use these parameters and this number of threads.
        threads: number of concurrent hashes.
        hashes_per_second: of all threads together.
        p50_milliseconds: median duration of one hash.
        memory_mib: of all concurrent hashes.
        queue_length: maximum number of waiting logins; further ones get 503.
    """

    argon2_memory_mib: int
    configured: bool
    threads: int
    hashes_per_second: float
    p50_milliseconds: float
    memory_mib: int
    queue_length: int


def add(commands: Commands) -> None:
    """Register the command."""
    command = add_command(
        commands,
        "calibrate",
        "measure how many logins per second this machine can handle",
        _calibrate,
        "--seconds 20",
    )
    command.add_argument(
        "--seconds",
        type=_seconds,
        default=5.0,
        help=f"duration of the measurement, {_SHORTEST:.0f} to {_LONGEST:.0f}",
    )


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if _SHORTEST <= (seconds := float(text)) <= _LONGEST:
            return seconds
    raise argparse.ArgumentTypeError(f"must be a number from {_SHORTEST:.0f} to {_LONGEST:.0f}")


def _calibrate(settings: IssuerSettings, options: argparse.Namespace) -> None:
    measurements = _measurements(settings, options.seconds)
    if options.json:
        show(options, map(asdict, measurements))
        return
    cores, memory = available_cpus(), available_memory() >> 20
    timeout = f"ISSUER_PASSWORD_HASH_TIMEOUT_SECONDS={settings.password_hash_timeout_seconds:g}"
    print(f"{cores} usable CPUs, {memory} MiB of memory, {timeout}")
    for found in measurements:
        print(_sentence(found))


def _sentence(found: Measurement) -> str:
    return (
        f"{'*' if found.configured else ' '} argon2 {found.argon2_memory_mib:>2} MiB  {found.threads:>2} threads  "
        f"{found.hashes_per_second:>6.1f} logins/s  p50 {found.p50_milliseconds:>6.1f} ms  "
        f"{found.memory_mib:>4} MiB  at most {found.queue_length} wait"
    )


def _measurements(settings: IssuerSettings, seconds: float) -> Iterator[Measurement]:
    """Measure the configured parameters in 1 to all threads, then the other parameters in all threads."""
    configured, all_threads = settings.argon2_memory_mib, settings.concurrent_hashes()
    plan = [(configured, threads) for threads in range(1, all_threads + 1)]
    plan += [(mib, all_threads) for mib in ARGON2_COSTS if mib != configured]
    for mib, threads in plan:
        durations, elapsed = _measure(mib, threads, seconds / len(plan))
        rate = len(durations) / elapsed
        yield Measurement(
            argon2_memory_mib=mib,
            configured=(mib, threads) == (configured, all_threads),
            threads=threads,
            hashes_per_second=round(rate, 1),
            p50_milliseconds=round(statistics.median(durations) * 1000, 1),
            memory_mib=threads * ARGON2_COSTS[mib].memory_cost >> 10,
            queue_length=round(rate * settings.password_hash_timeout_seconds),
        )


def _measure(mib: int, threads: int, seconds: float) -> tuple[list[float], float]:
    """Return the duration of each hash, and of the whole measurement, in seconds."""
    hashing = PasswordHasher(PasswordHashQueue(1, 1), Metrics(), ARGON2_COSTS[mib])
    started_at = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        runs = [pool.submit(_hash_until, hashing.measure, started_at + seconds) for _ in range(threads)]
        durations = [duration for run in runs for duration in run.result()]
    return durations, time.perf_counter() - started_at


def _hash_until(measure: Callable[[], None], deadline: float) -> list[float]:
    durations: list[float] = []
    while not durations or time.perf_counter() < deadline:
        started_at = time.perf_counter()
        measure()
        durations.append(time.perf_counter() - started_at)
    return durations
