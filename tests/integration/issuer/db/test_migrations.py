"""Migrations: forward only, repeatable, also at the same time from several processes."""

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from issuer.db import migrate as db_migrate
from issuer.db.schema import revisions
from issuer.db.url import parse_database_url
from issuer.errors import CommandError
from tests.support.issuer_process import issuer_command, running_issuer
from tests.support.postgres import Postgres, execute
from tests.support.processes import ROOT

DATA_MODEL: Final = ROOT / "specs/001-register-login-verify/data-model.md"


def run_migrate(url: str) -> subprocess.CompletedProcess[str]:
    return issuer_command("migrate", DATABASE_URL=url)


def test_migrating_twice_changes_nothing_the_second_time(postgres: Postgres) -> None:
    url = postgres.new_database()
    assert run_migrate(url).stdout == f"applied {', '.join(revisions())}\n"
    assert run_migrate(url).stdout == "nothing to apply\n"
    assert execute(url, "SELECT version_num FROM alembic_version")[0][0] == revisions()[-1]


def test_migrating_prints_each_revision_as_json(postgres: Postgres) -> None:
    url = postgres.new_database()
    results = [issuer_command("migrate", "--json", DATABASE_URL=url).stdout.splitlines() for _ in range(2)]
    assert [json.loads(line) for line in results[0]] == [{"applied": revision} for revision in revisions()]
    assert results[1] == []


def test_migrations_at_the_same_time_apply_each_revision_once(postgres: Postgres) -> None:
    url = postgres.new_database()
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(run_migrate, [url] * 4))
    assert [run.returncode for run in runs] == [0] * 4
    assert sum(run.stdout.startswith("applied") for run in runs) == 1


@pytest.mark.anyio
async def test_a_migration_that_does_not_end_is_named(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_migrate, "_LOCK_SECONDS", 0.1)
    async with db_migrate._sole_migrator(parse_database_url(database_url)):
        with pytest.raises(CommandError, match="another `migrate` has been running"):
            await db_migrate.migrate(database_url)


def test_a_revision_that_fails_says_what_to_do(postgres: Postgres) -> None:
    url = postgres.migrated_database()
    execute(url, "DELETE FROM alembic_version")
    failed = run_migrate(url)
    assert failed.returncode == 1
    assert failed.stderr.endswith("remove the cause and run `migrate` again\n")


def test_a_newer_schema_is_left_alone_and_served(postgres: Postgres) -> None:
    """After a rollback, Kubernetes and compose run this before they start the issuer."""
    url = postgres.migrated_database()
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    run = run_migrate(url)
    assert (run.returncode, run.stdout, run.stderr) == (0, "nothing to apply\n", "")
    assert execute(url, "SELECT version_num FROM alembic_version")[0][0] == "9999"
    with running_issuer(url) as issuer:
        assert issuer.register("old@example.com").status_code == 201


def test_the_users_table_is_that_of_the_data_model(database_url: str) -> None:
    columns = execute(
        database_url,
        "SELECT column_name, CASE data_type WHEN 'timestamp with time zone' THEN 'timestamptz' "
        "WHEN 'ARRAY' THEN 'text[]' ELSE data_type END, "
        "is_nullable = 'YES' FROM information_schema.columns WHERE table_name = 'users'",
    )
    section = DATA_MODEL.read_text(encoding="utf-8").partition("## `users`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([\w\[\]]+)(.*?) \| ", section, re.MULTILINE)
    assert {(name, kind, ", null" in rest) for name, kind, rest in rows} == {tuple(column) for column in columns}
