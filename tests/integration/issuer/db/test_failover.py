"""A primary with a synchronous standby: the issuer uses the promoted server and loses no acknowledged write."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx
import psutil
import pytest

from tests.support.acknowledged_load import AcknowledgedLoad, stored_emails
from tests.support.issuer_process import issuer_command, running_issuer
from tests.support.postgres import Postgres, running_postgres, synchronous_standby
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


@pytest.mark.parametrize("lose", [Postgres.kill, Postgres.pause], ids=["killed", "frozen"])
def test_the_issuer_follows_a_promotion_and_loses_no_acknowledged_write(
    pair: Pair, lose: Callable[[Postgres], None]
) -> None:
    database = database_of(pair.primary.migrated_database())
    with running_issuer(pair.url(database, pair.primary, pair.standby)) as issuer:
        load = AcknowledgedLoad([issuer.url])
        with load.running():
            load.wait_for_writes(20)
            lose(pair.primary)
            wait_until(lambda: not issuer.metric("gatepass_issuer_database_up"), "the outage is detected")
            pair.standby.promote()
            load.wait_for_writes(20)
        load.assert_nothing_was_lost(stored_emails(pair.standby.url(database)))
        assert load.without_response == 0


def test_the_primary_is_found_behind_a_standby_by_every_command(pair: Pair) -> None:
    database = database_of(pair.primary.new_database())
    url = pair.url(database, pair.standby, pair.primary)
    assert issuer_command("migrate", DATABASE_URL=url).returncode == 0
    assert issuer_command("users", "list", DATABASE_URL=url).returncode == 0
    with running_issuer(url) as issuer:
        assert issuer.register("ann@example.com").status_code == 201


def database_of(url: str) -> str:
    return httpx.URL(url).path.lstrip("/")


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
