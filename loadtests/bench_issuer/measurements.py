"""One round of the benchmark: each figure, and the bound that it is compared with, one after the other.

A round is over in about a minute. Ratios are taken within a round, so that a machine that changes its speed
changes both sides.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final
from uuid import UUID

import asyncpg  # noqa: TID251 - measures PostgreSQL without an issuer
from argon2 import PasswordHasher  # noqa: TID251 - measures argon2 without an issuer
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from issuer.db.queries import load_queries
from issuer.passwords.hasher import DEFAULT_PARAMETERS
from issuer.tokens.models import FIRST_PARTY_CLIENT
from loadtests.bench_issuer import requests
from loadtests.bench_issuer.client import Connection, Response, Sample, Step, closed_loops, open_loop
from loadtests.bench_issuer.comparison import Pair, compare
from loadtests.bench_issuer.operations import Operations, send
from loadtests.bench_issuer.testbed import PASSWORD, IssuerTestbed
from loadtests.processes import ROOT, InvalidRunError
from shared.access_token import MIN_KEY_BITS

LOGIN_CONNECTIONS: Final = 32
REFRESH_CONNECTIONS: Final = 64
AUDIENCE: Final = "gatepass"
"""The default audience of the issuer."""
DATABASE_CONNECTIONS: Final = 10
"""As many as the issuer has by default."""
OVERLOAD: Final = 1.5
REVOCATIONS: Final = 100
POLL_SECONDS: Final = 0.02
TIMEOUT_SECONDS: Final = 30.0
PROBES_PER_SECOND: Final = 20.0
_LIVE_SESSIONS: Final = "SELECT id, generation FROM sessions WHERE ended_at IS NULL ORDER BY random() LIMIT $1"


@dataclass(frozen=True, slots=True)
class Round:
    """The figures of one round: rates per second, times in seconds, memory in bytes."""

    argon2_rate: float
    login_rate: float
    overload_offered: float
    overload_served: float
    overload_rejected: float
    overload_p99: float
    memory_before: int
    memory_after: int
    refresh_p95: float
    me_p95: float
    revocation_p99: float
    swap_rate: float
    signature_rate: float
    refresh_rate: float
    costs: Mapping[str, Pair]

    @property
    def refresh_ceiling(self) -> float:
        """Refreshes a second if each were a compare-and-swap, a signature and nothing else, on all cores."""
        return 1 / (1 / self.swap_rate + 1 / self.signature_rate)


async def measure(
    testbed: IssuerTestbed, seconds: float, overload_seconds: float, report: Callable[[str], None]
) -> Round:
    """Measure one round, each part for `seconds`, and overload and logouts for longer."""
    # The issuer does nothing while argon2 is measured alone.
    alone = await asyncio.to_thread(hashes, seconds)
    report(f"argon2 alone: {alone:.0f}/s")
    issuer, operations = testbed.ours, Operations(testbed.ours)
    logins = await closed_loops(issuer.port, operations.logins(LOGIN_CONNECTIONS), seconds)
    report(f"logins: {logins.rate():.0f}/s")
    before = issuer.resident_bytes()
    overload = await overloaded(operations, alone, overload_seconds)
    after = issuer.resident_bytes()
    report(f"at {OVERLOAD:g} times that: {overload.rate():.0f}/s served, p99 {overload.percentile(0.99):.2f} s")
    refresh, me = await beside_logins(operations, seconds)
    report(f"while logins saturate: refresh p95 {refresh * 1000:.1f} ms, /me p95 {me * 1000:.1f} ms")
    revoked = await revocations(operations, testbed.stack.ports["VERIFIER_PORT"], overload_seconds)
    report(f"{REVOCATIONS} logouts, seen by the verifier: p99 {revoked.percentile(0.99):.2f} s")
    swaps = await _swaps(testbed, seconds)
    report(f"compare-and-swap in PostgreSQL: {swaps:.0f}/s")
    signatures = await asyncio.to_thread(_signatures, seconds / 2)
    report(f"RS256 signatures: {signatures:.0f}/s")
    refreshing = Operations(issuer)
    await refreshing.log_in(REFRESH_CONNECTIONS)
    refreshes = await closed_loops(issuer.port, refreshing.refreshes(REFRESH_CONNECTIONS), seconds)
    report(f"refreshes: {refreshes.rate():.0f}/s")
    costs = await compare(testbed)
    report(", ".join(f"{name}: {pair.ratio:.2f} x naive" for name, pair in costs.items()))
    return Round(
        argon2_rate=alone,
        login_rate=logins.rate(),
        overload_offered=OVERLOAD * alone,
        overload_served=overload.rate(),
        overload_rejected=overload.rate(503),
        overload_p99=overload.percentile(0.99),
        memory_before=before,
        memory_after=after,
        refresh_p95=refresh,
        me_p95=me,
        revocation_p99=revoked.percentile(0.99),
        swap_rate=swaps,
        signature_rate=signatures,
        refresh_rate=refreshes.rate(),
        costs=costs,
    )


async def overloaded(operations: Operations, rate: float, seconds: float) -> Sample:
    """Log in at a multiple of `rate`, which the issuer cannot serve."""
    sample = await open_loop(operations.server.port, operations.login, OVERLOAD * rate, seconds)
    if wrong := sample.statuses.keys() - {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}:
        raise InvalidRunError(f"unexpected responses: {', '.join(map(str, sorted(wrong)))}")
    return sample


async def beside_logins(operations: Operations, seconds: float) -> tuple[float, float]:
    """Return the 95th percentiles of refresh and `GET /me` at a modest rate, while logins use all cores."""
    port = operations.server.port
    sessions = Operations(operations.server)
    await sessions.log_in(2)
    [refresh, _], [_, read] = sessions.refreshes(2), sessions.readings(2)

    async def probe(number: int, step: Step) -> float:
        sample, connection = Sample(seconds), await Connection.open(port, number)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            response = await step(connection)
            sample.add(response)
            await asyncio.sleep(max(0.0, 1 / PROBES_PER_SECOND - response.seconds))
        connection.close()
        return sample.percentile(0.95)

    logins = operations.logins(LOGIN_CONNECTIONS)
    load = asyncio.create_task(closed_loops(port, logins, seconds + 1.0, warm_up=0.5))
    await asyncio.sleep(0.5)
    percentiles = await asyncio.gather(probe(100, refresh), probe(101, read))
    await load
    return percentiles


async def revocations(operations: Operations, verifier_port: int, seconds: float) -> Sample:
    """Measure the time from the response to a logout until the verifier rejects; logouts come at random times."""
    sample = Sample(seconds)

    async def follow(number: int, token: str) -> None:
        await asyncio.sleep(random.uniform(0, seconds))  # noqa: S311 - spreads load, is no secret
        issuer = await Connection.open(operations.server.port, number)
        verifier = await Connection.open(verifier_port, number)
        check = requests.with_token("GET", "/verify", token)
        await send(verifier, check)
        await send(issuer, requests.with_token("POST", "/logout", token))
        logged_out = time.monotonic()
        while (response := await verifier.send(check)).status == HTTPStatus.OK:
            if time.monotonic() - logged_out > TIMEOUT_SECONDS:
                raise InvalidRunError("a logout never reached the verifier")
            await asyncio.sleep(POLL_SECONDS)
        if response.status != HTTPStatus.UNAUTHORIZED:
            raise InvalidRunError(f"unexpected response of the verifier: {response.status}")
        sample.add(Response(response.status, b"", time.monotonic() - logged_out))
        issuer.close()
        verifier.close()

    sessions = await operations.log_in(REVOCATIONS)
    await asyncio.gather(*(follow(number, one["access_token"]) for number, one in enumerate(sessions)))
    return sample


async def _swaps(testbed: IssuerTestbed, seconds: float) -> float:
    """Measure how many times a second PostgreSQL executes the statement of a refresh.

    It is the issuer's statement on the issuer's table, over as many connections; no HTTP, no signature.
    """
    statement = load_queries(ROOT / "issuer/sessions/store.sql")["rotate-session"]
    swapped = 0
    connections = [await asyncpg.connect(testbed.database_url) for _ in range(DATABASE_CONNECTIONS)]
    rows = await connections[0].fetch(_LIVE_SESSIONS, DATABASE_CONNECTIONS)
    until = time.monotonic() + seconds

    async def swap(connection: asyncpg.Connection, session: UUID, generation: int) -> None:
        nonlocal swapped
        while time.monotonic() < until:
            now = datetime.now(UTC)
            idle_end = now + timedelta(days=1)
            row = await connection.fetchrow(
                statement, session, generation, FIRST_PARTY_CLIENT, now, idle_end, None, None, AUDIENCE
            )
            if row is None:
                raise InvalidRunError("a compare-and-swap found another generation")
            generation, swapped = row["generation"], swapped + 1

    await asyncio.gather(*(swap(one, *row) for one, row in zip(connections, rows, strict=True)))
    for connection in connections:
        await connection.close()
    return swapped / seconds


def hashes(seconds: float) -> float:
    """Measure password hashes per second on all cores, by the library and at the cost of the issuer."""
    hasher = PasswordHasher.from_parameters(DEFAULT_PARAMETERS)
    encoded = hasher.hash(PASSWORD)
    return _on_all_cores(lambda: hasher.verify(encoded, PASSWORD), seconds)


def _signatures(seconds: float) -> float:
    """Measure RS256 signatures per second on all cores, by the library that the issuer signs with."""
    key = rsa.generate_private_key(65537, MIN_KEY_BITS)
    return _on_all_cores(lambda: key.sign(b"x" * 600, PKCS1v15(), SHA256()), seconds)


def _on_all_cores(work: Callable[[], object], seconds: float) -> float:
    """Measure how many times a second `work` can be done; it must release the interpreter lock."""
    until = time.monotonic() + seconds

    def repeat(_: int) -> int:
        done = 0
        while time.monotonic() < until:
            work()
            done += 1
        return done

    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(repeat, range(cores))) / seconds
