"""More logins than the machine can hash: some are served, the rest are told when to come back."""

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Self

import httpx
import pytest

from issuer.accounts.authentication import PasswordAuthenticator
from issuer.accounts.store import AccountStore
from issuer.context import RequestContext
from issuer.db.pool import Database
from issuer.errors import OverloadedError
from issuer.passwords.hash_queue import PasswordHashQueue
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.resources import available_cpus
from issuer.telemetry.metrics import Metrics
from issuer.throttling.models import Limits
from issuer.throttling.store import RateLimitStore
from issuer.throttling.throttle import Throttle
from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.processes import free_port

COMPUTED = "gatepass_issuer_argon2_computations_total"
REFUSED = "gatepass_issuer_password_hash_rejections_total"


def test_logins_beyond_capacity_are_rejected_without_a_hash(database_url: str) -> None:
    with running_issuer(database_url, PASSWORD_HASH_TIMEOUT_SECONDS="0.05") as issuer:
        issuer.register("ann@example.com")
        before = issuer.metric(COMPUTED)
        with ThreadPoolExecutor(60) as pool:
            logins = [pool.submit(issuer.login, "ann@example.com") for _ in range(60)]
            assert httpx.get(f"{issuer.url}/.well-known/jwks.json", timeout=5).status_code == 200
            answers = [login.result() for login in logins]
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {200, 503}
        refused = [
            answer for answer in answers if answer.json().get("type") == "urn:gatepass:problem:server-overloaded"
        ]
        assert refused or available_cpus() > 8
        assert len(refused) == issuer.metric(REFUSED)
        # A machine that is busy with other things may keep one waiting for PostgreSQL, too.
        assert 0 < statuses.count(200) <= issuer.metric(COMPUTED) - before <= 60 - len(refused)
        assert all(1 <= int(answer.headers["retry-after"]) <= 3 for answer in refused)
        assert issuer.login("ann@example.com").status_code == 200


def test_an_overload_rejection_does_not_query_the_database() -> None:
    async def log_in_while_hashing() -> None:
        hash_queue, metrics, done = PasswordHashQueue(1, 0.01), Metrics(), threading.Event()
        database = Database(f"postgresql://127.0.0.1:{free_port()}/nobody_listens", 1)
        throttle = Throttle(RateLimitStore(database), lambda: b"s" * 32, Limits(5, 5), metrics, _now)
        authenticator = PasswordAuthenticator(
            AccountStore(database), PasswordHasher(hash_queue, metrics), throttle, _now
        )
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

    asyncio.run(log_in_while_hashing())


def _now() -> datetime:
    return datetime.now(UTC)


class Crowd:
    """Clients behind a proxy who log in again and again, wrongly, each as somebody else, until it is over."""

    def __init__(self, issuer: IssuerProcess, address: str, clients: int) -> None:
        self.answers = Counter[str]()
        self._issuer = issuer
        self._address = address
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._log_in, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def _log_in(self, number: int) -> None:
        with httpx.Client(
            base_url=self._issuer.url, headers={"X-Forwarded-For": self._address}, timeout=30
        ) as client:
            attempt = 0
            while not self._over.is_set():
                attempt += 1
                body = {"email": f"person{number}.{attempt}@example.com", "password": "no password of theirs"}
                answer = client.post("/login", json=body)
                self.answers[answer.json()["type"].rpartition(":")[2]] += 1
                if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                    time.sleep(0.05)  # so that the machine is busy with hashing and not with refusing


def test_a_flood_from_one_ip_address_does_not_delay_other_logins(database_url: str) -> None:
    with running_issuer(database_url, PASSWORD_HASH_TIMEOUT_SECONDS="0.5", TRUSTED_PROXY_HOPS="1") as issuer:
        issuer.register("ann@example.com")
        token = issuer.login("ann@example.com").json()["access_token"]
        before = issuer.metric(COMPUTED), issuer.metric(REFUSED)
        with Crowd(issuer, "198.51.100.1", 40) as flood:
            while issuer.metric(REFUSED) == before[1]:
                time.sleep(0.05)
            for _ in range(5):
                assert issuer.login("ann@example.com").status_code == 200
                me = httpx.get(f"{issuer.url}/me", headers={"Authorization": f"Bearer {token}"}, timeout=10)
                assert me.status_code == 200
        computed, refused = issuer.metric(COMPUTED) - before[0], issuer.metric(REFUSED) - before[1]
        assert flood.answers["server-overloaded"] == refused
        assert 0 < flood.answers["invalid-credentials"] <= computed - 5
        assert set(flood.answers) <= {"invalid-credentials", "server-overloaded", "database-unavailable"}
        assert issuer.login("ann@example.com").status_code == 200


def test_during_an_overload_logins_come_before_registrations(database_url: str) -> None:
    with running_issuer(database_url, PASSWORD_HASH_TIMEOUT_SECONDS="0.5", TRUSTED_PROXY_HOPS="1") as issuer:
        issuer.register("ann@example.com")
        before = issuer.metric(REFUSED)
        with Crowd(issuer, "198.51.100.1", 30):
            while issuer.metric(REFUSED) == before:
                time.sleep(0.05)
            answers = [issuer.register(f"new{number}@example.com") for number in range(3)]
            assert issuer.login("ann@example.com").status_code == 200
        assert {answer.status_code for answer in answers} == {503}
        assert issuer.register("new@example.com").status_code == 201
