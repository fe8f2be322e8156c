"""Measurements of the bounds, on real processes with their default settings.

Each scene yields names of bounds and the measured values.
"""

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import httpx
from prometheus_client import Counter

from loadtests.bench_issuer.measurements import beside_logins, hashes, overloaded, revocations
from loadtests.bench_issuer.operations import Operations
from loadtests.bench_issuer.testbed import running_testbed
from shared.claims import StatusReference
from shared.jwks import format_jwks
from tests.support.gateways import GATEWAYS, Verifier, ask, running_application, running_gateway
from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.jwks_server import running_jwks_server, serves
from tests.support.postgres import Postgres, running_postgres
from tests.support.processes import paused, wait_until
from tests.support.raw_http import request
from tests.support.stack import running_stack
from tests.support.token_forge import Forge
from tests.support.verifier_process import VerifierFolder, VerifierProcess, resident_bytes
from verifier.settings import VerifierSettings
from verifier.subrequest.decision_cache import CachedDecision, DecisionCache

Figures = Iterator[tuple[str, float]]

_MEBIBYTE: Final = 2**20
_SECONDS: Final = 6.0
_OVERLOAD_SECONDS: Final = 15.0
_ASKED_IN_AN_OUTAGE: Final = 20
_STALL_SECONDS: Final = 0.5
_RESPONSE_BYTES: Final = 400
"""About as long as the 200 of a user's token."""


def issuer_under_load() -> Figures:
    """Measure a stack of `make run` with a thousand accounts: overload, other requests during logins, revocations."""
    with running_testbed() as testbed:
        yield "issuer-memory", testbed.ours.resident_bytes() / _MEBIBYTE
        operations = Operations(testbed.ours)
        overload = asyncio.run(overloaded(operations, hashes(_SECONDS), _OVERLOAD_SECONDS))
        yield "overload", overload.percentile(0.99)
        refresh, me = asyncio.run(beside_logins(operations, _SECONDS))
        yield "refresh-beside-logins", refresh * 1000
        yield "me-beside-logins", me * 1000
        revoked = asyncio.run(revocations(operations, testbed.stack.ports["VERIFIER_PORT"], _OVERLOAD_SECONDS))
        yield "revocation", revoked.percentile(0.99)


def database_outages() -> Figures:
    """Measure an issuer whose PostgreSQL freezes, stalls and crashes."""
    with running_postgres() as postgres:
        postgres.make_template()
        with running_issuer(postgres.migrated_database()) as issuer:
            token = issuer.token("ann@example.com")
            first, slowest, recovery = _frozen(postgres, issuer, token)
            yield "silent-database", first
            slowest_after_a_crash, recovery_from_a_crash = _crashed(postgres, issuer, token)
            yield "known-outage", max(slowest, slowest_after_a_crash)
            yield "database-recovery", max(recovery, recovery_from_a_crash)
            yield "stall", _failures_in_a_stall(postgres, issuer, token)


def _frozen(postgres: Postgres, issuer: IssuerProcess, token: str) -> tuple[float, float, float]:
    """Return the seconds of the first 503, of the slowest one afterwards, and of the recovery."""
    postgres.pause()
    try:
        first = _seconds_until_503(lambda: issuer.request("GET", "/me", token))
        slowest = _slowest_503(issuer, token)
    finally:
        postgres.resume()
    return first, slowest, _seconds_until_served(issuer, token)


def _crashed(postgres: Postgres, issuer: IssuerProcess, token: str) -> tuple[float, float]:
    postgres.stop()
    try:
        slowest = _slowest_503(issuer, token)
    finally:
        postgres.start()
    return slowest, _seconds_until_served(issuer, token)


def _slowest_503(issuer: IssuerProcess, token: str) -> float:
    asked = (
        lambda: issuer.request("GET", "/me", token),
        lambda: issuer.login("ann@example.com"),
        lambda: issuer.register("bob@example.com"),
        lambda: issuer.request("POST", "/logout", token),
    )
    return max(_seconds_until_503(one) for _ in range(_ASKED_IN_AN_OUTAGE) for one in asked)


def _seconds_until_503(one: Callable[[], httpx.Response]) -> float:
    asked = time.monotonic()
    response = one()
    seconds = time.monotonic() - asked
    assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE, response.status_code
    assert int(response.headers["retry-after"]) >= 1
    return seconds


def _seconds_until_served(issuer: IssuerProcess, token: str) -> float:
    recovered = time.monotonic()
    wait_until(lambda: issuer.request("GET", "/me", token).status_code == httpx.codes.OK, "the issuer serves")
    return time.monotonic() - recovered


def _failures_in_a_stall(postgres: Postgres, issuer: IssuerProcess, token: str) -> int:
    """Return the number of failed requests among those that were sent before and during the stall."""

    def me(number: int) -> bool:
        time.sleep(_STALL_SECONDS / 2 * (number % 2))
        return issuer.request("GET", "/me", token).status_code != httpx.codes.OK

    with ThreadPoolExecutor(20) as pool:
        postgres.pause()
        asked = [pool.submit(me, number) for number in range(20)]
        time.sleep(_STALL_SECONDS)
        postgres.resume()
        return sum(one.result() for one in asked)


def verifier() -> Figures:
    """Measure a verifier: its start, memory, key refresh and stop."""
    with _folder() as folder:
        folder.publish()
        started = time.monotonic()
        with folder.running(ready=None) as process:
            wait_until(lambda: _is_accepted(process, process.token()), "the verifier responds")
            yield "verifier-start", time.monotonic() - started
            yield "verifier-memory", resident_bytes(process.process.pid) / _MEBIBYTE
            yield "changed-key-file", _seconds_to_a_changed_file(folder, process)

            with process.connect() as idle:
                idle.ask(request())
                stopped = time.monotonic()
                process.stop()
                yield "verifier-drain", time.monotonic() - stopped
    yield "new-key", _seconds_to_a_new_key()
    # A new process, whose memory is not that of the measurements before.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield "verifier-cache", pool.submit(full_cache).result()


def _is_accepted(process: VerifierProcess, token: bytes) -> bool:
    try:
        return process.ask(token=token).status == httpx.codes.OK
    except OSError:
        return False


def _seconds_to_a_changed_file(folder: VerifierFolder, process: VerifierProcess) -> float:
    new = Forge()
    folder.publish(format_jwks([folder.forge.key.public_key(), new.key.public_key()]))
    changed = time.monotonic()
    wait_until(lambda: _is_accepted(process, new.token(time.time())), "the changed file is used")
    return time.monotonic() - changed


def full_cache() -> float:
    """Fill a cache of the default size in this process; return the MiB that it takes."""
    defaults, evicted, hits = VerifierSettings.model_fields, [], Counter("hits", "Hits.", registry=None)
    cache = DecisionCache(
        defaults["cache_entries"].default, defaults["cache_bytes"].default, lambda: evicted.append(1)
    )
    before, now = resident_bytes(os.getpid()), time.time()
    while not evicted:
        status = StatusReference("https://issuer.example", "https://issuer.example/status-lists/1", len(cache))
        response = b"HTTP/1.1 200 OK\r\n" + secrets.token_bytes(_RESPONSE_BYTES)
        cache.store(secrets.token_bytes(32), CachedDecision(response, now - len(cache), now + 600, status, hits))
    return (resident_bytes(os.getpid()) - before) / _MEBIBYTE


def _seconds_to_a_new_key() -> float:
    with _folder() as folder, running_jwks_server(serves(folder.forge.jwks)) as server:
        new = Forge()
        with folder.running(JWKS_URL=server.url) as process:
            server.behaviour = serves(format_jwks([folder.forge.key.public_key(), new.key.public_key()]))
            first = time.monotonic()
            wait_until(lambda: _is_accepted(process, new.token(time.time())), "the new key is used")
            return time.monotonic() - first


def gateways() -> Figures:
    """Measure each gateway while its verifier is suspended."""
    yield "slow-verifier", max(map(_seconds_until_rejected, GATEWAYS))


def _seconds_until_rejected(name: str) -> float:
    with _folder() as folder, running_application(folder.path) as application:
        verifier = Verifier(folder.path)
        with running_gateway(name, folder.path, verifier.port, application) as port, verifier.running() as process:
            token = verifier.forge.token(time.time())
            wait_until(lambda: ask(port, token=token).status == httpx.codes.OK, f"{name} lets a request through")
            with paused(process.process):
                asked = time.monotonic()
                assert ask(port, token=token).status >= httpx.codes.INTERNAL_SERVER_ERROR
                return time.monotonic() - asked


def stack() -> Figures:
    """Measure `make run` from SIGTERM to the end of its last process."""
    with _folder() as folder, running_stack(folder.path / "home") as running:
        descendants = running.descendants()
        stopped = time.monotonic()
        running.stop()
        wait_until(lambda: not any(one.is_running() for one in descendants), "all processes have ended")
        yield "stack-stop", time.monotonic() - stopped


@contextmanager
def _folder() -> Iterator[VerifierFolder]:
    with tempfile.TemporaryDirectory(prefix="gatepass-promises-") as folder:
        yield VerifierFolder(Path(folder))


SCENES: Final = (verifier, database_outages, gateways, stack, issuer_under_load)
