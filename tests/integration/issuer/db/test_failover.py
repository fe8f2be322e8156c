"""A primary with a synchronous standby: the issuer uses the promoted server and loses no acknowledged write."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import psutil
import pytest

from tests.support.issuer_process import IssuerProcess, issuer_command, running_issuer
from tests.support.postgres import Postgres, execute, running_postgres, synchronous_standby
from tests.support.processes import wait_until


@dataclass(frozen=True)
class Pair:
    """A primary and its standby."""

    primary: Postgres
    standby: Postgres

    def url(self, database: str, *servers: Postgres) -> str:
        """Name a database on several servers."""
        hosts = ",".join(server.socket_folder for server in servers)
        return f"postgresql://postgres@/{database}?host={hosts}&target_session_attrs=read-write"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_postgres() as primary:
        primary.make_template()
        with synchronous_standby(primary) as standby:
            yield Pair(primary, standby)
            standby.resume()
        with suppress(psutil.NoSuchProcess, FileNotFoundError):  # a test killed it
            primary.resume()


@dataclass
class Acknowledged:
    """Writes that the issuer has acknowledged."""

    emails: list[str] = field(default_factory=list)
    refresh_tokens: dict[int, str] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)


@pytest.mark.parametrize("lose", [Postgres.kill, Postgres.pause], ids=["killed", "frozen"])
def test_the_issuer_follows_a_promotion_and_loses_no_acknowledged_write(
    pair: Pair, lose: Callable[[Postgres], None]
) -> None:
    database = database_of(pair.primary.migrated_database())
    with running_issuer(pair.url(database, pair.primary, pair.standby)) as issuer:
        with load_on(issuer) as acknowledged:
            wait_until(lambda: len(acknowledged.emails) > 5, "accounts before the failover")
            lose(pair.primary)
            wait_until(lambda: not issuer.metric("gatepass_issuer_database_up"), "the outage is detected")
            pair.standby.promote()
            before = len(acknowledged.emails)
            wait_until(lambda: len(acknowledged.emails) > before + 5, "accounts after the failover")
        stored = {row[0] for row in execute(pair.standby.url(database), "SELECT email_key FROM users")}
        assert set(acknowledged.emails) <= stored
        for token in acknowledged.refresh_tokens.values():
            assert issuer.refresh(token).status_code == 200
        assert set(acknowledged.failures) <= {503}


def test_the_primary_is_found_behind_a_standby_by_every_command(pair: Pair) -> None:
    database = database_of(pair.primary.new_database())
    url = pair.url(database, pair.standby, pair.primary)
    assert issuer_command("migrate", DATABASE_URL=url).returncode == 0
    assert issuer_command("users", "list", DATABASE_URL=url).returncode == 0
    with running_issuer(url) as issuer:
        assert issuer.register("ann@example.com").status_code == 201


def database_of(url: str) -> str:
    return httpx.URL(url).path.lstrip("/")


@contextmanager
def load_on(issuer: IssuerProcess) -> Iterator[Acknowledged]:
    """Register accounts and refresh sessions until the block ends; yield the acknowledged writes."""
    done, stop = Acknowledged(), threading.Event()
    issuer.register("ann@example.com")
    for number in range(2):
        done.refresh_tokens[number] = issuer.login("ann@example.com").json()["refresh_token"]

    def register(number: int) -> None:
        email = f"user{number}.{len(done.emails)}.{len(done.failures)}@example.com"
        if (status := issuer.register(email).status_code) == 201:
            done.emails.append(email)
        else:
            done.failures.append(status)

    def go_on_refreshing(number: int) -> None:
        response = issuer.refresh(done.refresh_tokens[number])
        if response.status_code == 200:
            done.refresh_tokens[number] = response.json()["refresh_token"]
        else:
            done.failures.append(response.status_code)

    def repeat(work: Callable[[int], None], number: int) -> None:
        while not stop.is_set():
            work(number)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(repeat, work, number) for work in (register, go_on_refreshing) for number in range(2)]
        try:
            yield done
        finally:
            stop.set()
        for thread in running:
            thread.result()


def test_a_retry_of_a_write_that_the_standby_lacks_is_not_acknowledged(pair: Pair) -> None:
    """A commit whose wait for the standby was cancelled would be visible on the primary, and lost with it."""
    database = database_of(pair.primary.migrated_database())
    with running_issuer(pair.url(database, pair.primary, pair.standby)) as issuer:
        left, kept = issuer.session("ann@example.com"), issuer.session("ann@example.com")
        pair.standby.pause()
        assert [issuer.request("POST", "/logout", left["access_token"]).status_code for _ in range(2)] == [503, 503]
        assert [issuer.refresh(kept["refresh_token"]).status_code for _ in range(2)] == [503, 503]
        pair.standby.resume()
        wait_until(lambda: issuer.request("POST", "/logout", left["access_token"]).status_code == 204, "logged out")
        assert issuer.refresh(kept["refresh_token"]).status_code == 200
