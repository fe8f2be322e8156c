"""More logins than the machine can hash: some are served, the rest are told when to come back."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import httpx

from issuer.admission import usable_cores
from tests.support.issuer_process import IssuerProcess, running_issuer

COMPUTED = "gatepass_issuer_argon2_computations_total"
REFUSED = "gatepass_issuer_hash_refusals_total"


def test_logins_beyond_capacity_are_refused_unhashed_and_the_rest_is_served(database_url: str) -> None:
    with running_issuer(database_url, HASH_WAIT_SECONDS="0.05") as issuer:
        issuer.register("ann@example.com")
        before = issuer.metric(COMPUTED)
        with ThreadPoolExecutor(60) as pool:
            logins = [pool.submit(issuer.login, "ann@example.com") for _ in range(60)]
            assert httpx.get(f"{issuer.url}/.well-known/jwks.json", timeout=5).status_code == 200
            answers = [login.result() for login in logins]
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) == issuer.metric(COMPUTED) - before
        assert statuses.count(503) == issuer.metric(REFUSED)
        assert statuses.count(503) > 0 or usable_cores() > 8
        for answer in answers:
            if answer.status_code == 503:
                assert answer.json()["type"] == "urn:gatepass:problem:overloaded"
                assert 1 <= int(answer.headers["retry-after"]) <= 3
        assert issuer.login("ann@example.com").status_code == 200


class Crowd:
    """Clients behind a proxy who log in again and again, wrongly, each as somebody else, until it is over."""

    def __init__(self, issuer: IssuerProcess, address: str, clients: int) -> None:
        self.statuses = Counter[int]()
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
                self.statuses[client.post("/login", json=body).status_code] += 1


def test_a_flood_from_one_address_neither_starves_others_nor_stops_the_hashing(database_url: str) -> None:
    with running_issuer(database_url, HASH_WAIT_SECONDS="0.5", TRUSTED_HOPS="1") as issuer:
        issuer.register("ann@example.com")
        token = issuer.login("ann@example.com").json()["access_token"]
        before = issuer.metric(COMPUTED), issuer.metric(REFUSED)
        with Crowd(issuer, "198.51.100.1", 40) as flood:
            while issuer.metric(REFUSED) == before[1]:
                time.sleep(0.05)
            for _ in range(10):
                assert issuer.login("ann@example.com").status_code == 200
                me = httpx.get(f"{issuer.url}/me", headers={"Authorization": f"Bearer {token}"}, timeout=10)
                assert me.status_code == 200
        computed, refused = issuer.metric(COMPUTED) - before[0], issuer.metric(REFUSED) - before[1]
        assert set(flood.statuses) == {401, 503}
        assert (flood.statuses[401], flood.statuses[503]) == (computed - 10, refused)
        assert issuer.login("ann@example.com").status_code == 200


def test_while_logins_fill_the_machine_registrations_wait_or_are_refused(database_url: str) -> None:
    with running_issuer(database_url, HASH_WAIT_SECONDS="0.5", TRUSTED_HOPS="1") as issuer:
        issuer.register("ann@example.com")
        before = issuer.metric(REFUSED)
        with Crowd(issuer, "198.51.100.1", 30):
            while issuer.metric(REFUSED) == before:
                time.sleep(0.05)
            answers = [issuer.register(f"new{number}@example.com") for number in range(3)]
            assert issuer.login("ann@example.com").status_code == 200
        assert {answer.status_code for answer in answers} == {503}
        assert issuer.register("new@example.com").status_code == 201
