"""This release uses the data of the previous one; both run at once under load, and the previous one can run again."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.acknowledged_load import AcknowledgedLoad, stored_emails
from tests.support.issuer_process import running_issuer
from tests.support.postgres import Postgres
from tests.support.releases import CURRENT, Release, previous_release, release_before
from tests.support.verifier_process import VerifierFolder

pytestmark = pytest.mark.timeout(240)  # five processes start, one after the other, under load


def prepare(release: Release, database_url: str, keys_dir: Path) -> None:
    """Migrate a database and create keys."""
    for command in (("migrate",), ("keys", "generate", "--if-missing")):
        done = release.command("issuer", *command, ISSUER_DATABASE_URL=database_url, ISSUER_KEYS_DIR=str(keys_dir))
        assert done.returncode == 0, done.stderr


def new_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_releases_run_side_by_side_and_roll_back(postgres: Postgres, tmp_path: Path) -> None:
    previous, url, keys = previous_release(), postgres.new_database(), tmp_path / "keys"
    prepare(previous, url, keys)
    with ExitStack() as stack:
        old = stack.enter_context(running_issuer(url, keys, release=previous))
        verifiers = [
            stack.enter_context(
                VerifierFolder(new_folder(tmp_path / name)).running(
                    release=release,
                    ISSUER=old.url,
                    JWKS_FILE=keys / "public/jwks.json",
                    STATUS_LISTS=f"{old.url}/status-lists",
                )
            )
            for name, release in (("previous", previous), ("current", CURRENT))
        ]
        load = AcknowledgedLoad([old.url], verifiers)
        with load.running():
            load.wait_for_writes(10)
            prepare(CURRENT, url, keys)
            load.wait_for_writes(10)
            with running_issuer(url, keys, URL=old.url) as new:
                load.use(old.url, new.url)
                load.wait_for_writes(20)
                load.use(new.url)
                load.wait_for_writes(10)
                # Back again, on the newer schema.
                with running_issuer(url, keys, release=previous, URL=old.url) as again:
                    load.use(new.url, again.url)
                    load.wait_for_writes(20)
                    load.use(again.url)
                    load.wait_for_writes(10)
                    load.use(old.url)
                    load.wait_for_writes(10)
        load.assert_nothing_was_lost(stored_emails(url))
        assert load.without_response == 0


def test_builds_before_the_first_release_are_stopped_renamed_and_started(postgres: Postgres, tmp_path: Path) -> None:
    old = release_before("issuer/db/migrations/versions/v0006_rate_limit_counters.py")
    url, keys = postgres.new_database(), tmp_path / "keys"
    prepare(old, url, keys)
    load = AcknowledgedLoad([])
    with running_issuer(url, keys, release=old) as issuer:
        load.urls = [issuer.url]
        with load.running():
            load.wait_for_writes(10)
        name = issuer.url
    (keys / "private/ring.json").rename(keys / "private/keys.json")
    prepare(CURRENT, url, keys)
    with running_issuer(url, keys, URL=name) as issuer:
        load.urls = [issuer.url]
        load.assert_nothing_was_lost(stored_emails(url))
        assert issuer.login(load.emails[0]).status_code == 200
