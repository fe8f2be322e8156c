"""More logins than the machine can hash: some succeed, the others get 503 with Retry-After."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Self

import httpx
import pytest

from issuer.accounts.authentication import PasswordAuthenticator
from issuer.accounts.store import AccountStore
from issuer.context import RequestContext
from issuer.db.pool import Database
from issuer.errors import OverloadedError
from issuer.keys.mac_secrets import new_secret
from issuer.passwords.hash_queue import PasswordHashQueue
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.resources import available_cpus
from issuer.telemetry.metrics import Metrics
from issuer.throttling.store import RateLimitStore
from issuer.throttling.throttle import Throttle
from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.plain_http import HTTP
from tests.support.processes import free_port, wait_until

COMPUTED = "gatepass_issuer_argon2_computations_total"
REJECTED = "gatepass_issuer_password_hash_rejections_total"


def test_logins_beyond_capacity_are_rejected_without_a_hash(database_url: str) -> None:
    with running_issuer(database_url, PASSWORD_HASH_TIMEOUT_SECONDS="0.05") as issuer:
        issuer.register("ann@example.com")
        before = issuer.metric(COMPUTED)
        with ThreadPoolExecutor(60) as pool:
            logins = [pool.submit(issuer.login, "ann@example.com") for _ in range(60)]
            assert HTTP.get(f"{issuer.url}/.well-known/jwks.json").status_code == 200
            responses = [login.result() for login in logins]
        statuses = [response.status_code for response in responses]
        assert set(statuses) <= {200, 503}
        rejected = [
            response
            for response in responses
            if response.json().get("type") == "urn:gatepass:problem:server-overloaded"
        ]
        assert rejected or available_cpus() > 8
        assert len(rejected) == issuer.metric(REJECTED)
        # A machine that is busy with other things may keep one waiting for PostgreSQL, too.
        assert 0 < statuses.count(200) <= issuer.metric(COMPUTED) - before <= 60 - len(rejected)
        assert all(int(response.headers["retry-after"]) >= 1 for response in rejected)
        assert issuer.login("ann@example.com").status_code == 200


@pytest.mark.anyio
async def test_an_overload_rejection_does_not_query_the_database() -> None:
    hash_queue, metrics, done = PasswordHashQueue(1, 0.01), Metrics(), threading.Event()
    database = Database(f"postgresql://127.0.0.1:{free_port()}/nobody_listens", 1)
    throttle = Throttle(RateLimitStore(database), new_secret, 5, 5, metrics, _now)
    authenticator = PasswordAuthenticator(AccountStore(database), PasswordHasher(hash_queue, metrics), throttle, _now)
    await hash_queue.run(lambda: time.sleep(0.05))
    hashing = asyncio.create_task(hash_queue.run(done.wait))
    await asyncio.sleep(0)
    try:
        with pytest.raises(OverloadedError):
            await authenticator.authenticate("ann@example.com", "a long and lonely walk", RequestContext("self"))
    finally:
        done.set()
        await hashing
        hash_queue.close()


def _now() -> datetime:
    return datetime.now(UTC)


class Crowd:
    """Clients that send logins of unknown accounts from one IP address until the block ends."""

    def __init__(self, issuer: IssuerProcess, clients: int) -> None:
        self._issuer = issuer
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._log_in, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        started = self._issuer.metric(COMPUTED)
        for client in self._clients:
            client.start()
        wait_until(lambda: self._issuer.metric(COMPUTED) > started + 4, "the issuer hashes for the crowd")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def _log_in(self, number: int) -> None:
        headers = {"X-Forwarded-For": "198.51.100.1"}
        with httpx.Client(base_url=self._issuer.url, headers=headers, timeout=90) as client:
            for attempt in itertools.count():
                if self._over.is_set():
                    return
                email = f"person{number}.{attempt}@example.com"
                client.post("/login", json={"email": email, "password": "no password of theirs"})


@pytest.fixture
def patient_issuer(database_url: str) -> Iterator[IssuerProcess]:
    """Yield an issuer whose hash queue is long enough for a slow machine."""
    with running_issuer(database_url, PASSWORD_HASH_TIMEOUT_SECONDS="30", TRUSTED_PROXY_HOPS="1") as issuer:
        issuer.register("ann@example.com")
        yield issuer


def test_a_flood_from_one_ip_address_does_not_delay_other_logins(patient_issuer: IssuerProcess) -> None:
    clients = 40
    with Crowd(patient_issuer, clients):
        for _ in range(5):
            before = patient_issuer.metric(COMPUTED)
            assert patient_issuer.login("ann@example.com").status_code == 200
            # In order of arrival, this login would wait for one hash of each client of the crowd.
            assert patient_issuer.metric(COMPUTED) - before < clients / 2


def test_during_an_overload_logins_come_before_registrations(patient_issuer: IssuerProcess) -> None:
    with ThreadPoolExecutor(1) as pool:
        with Crowd(patient_issuer, 30):
            registration = pool.submit(patient_issuer.register, "new@example.com")
            assert patient_issuer.login("ann@example.com").status_code == 200
            assert not registration.done()
        assert registration.result().status_code == 201
