"""Two issuers on a PostgreSQL under Patroni: acknowledged writes survive the loss of the primary."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg  # noqa: TID251 - writes past the issuers
import pytest

from issuer.db.failures import ERRORS
from tests.support.acknowledged_load import AcknowledgedLoad
from tests.support.issuer_process import IssuerProcess, issuer_command, running_issuer
from tests.support.patroni_cluster import Cluster, Machine, patroni_cluster
from tests.support.processes import core_waits, wait_until
from tests.support.verifier_process import VerifierFolder

pytestmark = pytest.mark.timeout(400)  # a failover and a standby that comes back take 30 s on an idle machine

BOUND_SECONDS: Final = 15.0
STARVED_SECONDS: Final = 2 * BOUND_SECONDS
"""The longest time for which processes that wait for a core of a busy machine excuse a longer gap."""

# A machine is lost; what brings it back.
LOSSES: Final[dict[str, tuple[Callable[[Machine], None], Callable[[Machine], None]]]] = {
    "killed": (Machine.kill, Machine.start),
    "frozen": (lambda machine: machine.signal(signal.SIGSTOP), lambda machine: machine.signal(signal.SIGCONT)),
    "cut off": (Machine.cut, Machine.connect),
    "cut off from its peers": (Machine.cut_from_peers, Machine.connect),
}


@dataclass(frozen=True)
class Site:
    """The cluster, two issuers, and load on them."""

    cluster: Cluster
    issuers: tuple[IssuerProcess, IssuerProcess]
    load: AcknowledgedLoad

    def rejects(self, *sessions: dict[str, Any]) -> bool:
        [verifier] = self.load.verifiers
        return {verifier.ask(token=tokens["access_token"].encode()).status for tokens in sessions} == {401}

    def core_waits(self) -> dict[int, float]:
        """Return the seconds for which each thread of the machines and the issuers has waited for a core."""
        waits: dict[int, float] = {}
        for issuer in self.issuers:
            waits |= core_waits(issuer.process.pid)
        for machine in self.cluster.machines:
            waits |= machine.core_waits()
        return waits

    def stored_emails(self) -> set[str]:
        return {row[0] for row in self.cluster.execute("SELECT email_key FROM users")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with patroni_cluster() as cluster:
        cluster.start()
        cluster.execute("CREATE DATABASE gatepass", database="postgres")
        cluster.execute("CREATE TABLE unwanted (at timestamptz)")
        assert issuer_command("migrate", DATABASE_URL=cluster.url()).returncode == 0
        with (
            running_issuer(cluster.url()) as one,
            running_issuer(cluster.url(), one.keys_dir, URL=one.url) as other,
            VerifierFolder(tmp_path_factory.mktemp("verifier")).running(
                **one.verifier_settings | {"STATUS_LISTS": f"{other.url}/status-lists"}
            ) as verifier,
        ):
            yield Site(cluster, (one, other), AcknowledgedLoad([one.url, other.url], [verifier]))


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_acknowledged_is_lost_with_the_primary(site: Site, loss: str) -> None:
    lose, bring_back = LOSSES[loss]
    old = site.cluster.primary()
    with site.load.running():
        site.load.wait_for_writes(20)
        lost_at, waits_before = time.monotonic(), site.core_waits()
        lose(old)
        try:
            time.sleep(1)  # what the old primary had acknowledged has arrived
            site.load.wait_for_writes(20, 3 * BOUND_SECONDS)
            starved = max(waits - waits_before.get(thread, 0) for thread, waits in site.core_waits().items())
            assert site.cluster.primary() != old
        finally:
            with writing_to(site.cluster, old) as written:
                bring_back(old)
                site.cluster.wait_until_whole()
        site.load.wait_for_writes(20)
    gap = site.load.longest_gap(lost_at)
    allowed = BOUND_SECONDS + min(starved, STARVED_SECONDS)
    assert gap <= allowed, f"no write was acknowledged for {gap:.1f} s; processes waited {starved:.1f} s for a core"
    site.load.assert_nothing_was_lost(site.stored_emails())
    assert written == [], "an old primary accepted writes"
    assert site.cluster.execute("SELECT FROM unwanted") == []


def test_a_restored_backup_revokes_no_session_as_stolen(site: Site) -> None:
    (issuer, _), load, cluster = site.issuers, site.load, site.cluster
    unchanged, refreshed, left = (load.log_in(load.register()) for _ in range(3))
    backup = cluster.primary().folder.parent / "db1/backup"
    cluster.back_up(backup)
    for _ in range(3):
        refreshed = load.refresh(refreshed)
    load.log_out(left)
    later = load.register()

    cluster.restore(backup)
    # The backup is an hour old, so no repetition is excused as a lost response.
    cluster.execute("UPDATE sessions SET rotated_at = rotated_at - interval '1 hour'")
    for process in site.issuers:
        process.wait_until_readiness_is(200)
    assert issuer.refresh(refreshed["refresh_token"]).status_code == 400
    assert issuer.metric('gatepass_issuer_refreshes_total{outcome="generation_ahead"}') == 1
    assert cluster.execute("SELECT FROM audit_events WHERE kind = 'refresh_token_reuse_detected'") == []
    assert cluster.execute("SELECT FROM sessions WHERE end_reason = 'refresh_token_reuse'") == []
    assert issuer.refresh(unchanged["refresh_token"]).status_code == 200
    assert issuer.refresh(left["refresh_token"]).status_code == 200, "a lost revocation, until the command runs"
    assert issuer.login(later).status_code == 401

    done = issuer_command("sessions", "revoke-all", "--yes", "--json", DATABASE_URL=cluster.url())
    assert done.returncode == 0, done.stderr
    assert issuer.refresh(left["refresh_token"]).status_code == 400
    wait_until(lambda: site.rejects(unchanged, refreshed, left), "the verifier rejects every token of before")
    again = load.log_in(load.emails[0])
    assert issuer.refresh(again["refresh_token"]).status_code == 200


@contextmanager
def writing_to(cluster: Cluster, old: Machine) -> Iterator[list[float]]:
    """Write directly to an old primary until the block ends; yield the times of acknowledged writes."""
    written: list[float] = []
    stop = threading.Event()
    url = cluster.url(hosts=[old])

    async def write() -> None:
        try:
            connection = await asyncpg.connect(url, timeout=1)
            try:
                await connection.execute("INSERT INTO unwanted VALUES (now())", timeout=1)
                written.append(time.monotonic())
            finally:
                connection.terminate()
        except ERRORS:
            await asyncio.sleep(0.05)

    def repeat() -> None:
        while not stop.is_set():
            asyncio.run(write())

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join()
