"""The audit trail is complete and cannot be changed; `verify` detects a change that bypasses the triggers."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.issuer_process import IssuerProcess, issuer_command, running_issuer
from tests.support.postgres import Postgres, execute


@pytest.fixture(scope="module")
def trail(postgres: Postgres) -> Iterator[IssuerProcess]:
    """Yield an issuer after a registration, a login and failures."""
    with running_issuer(postgres.migrated_database()) as issuer:
        issuer.register("ann@example.com")
        issuer.register("ann@example.com")
        issuer.login("ann@example.com", "not her password")
        issuer.login("nobody@example.com", "not their password")
        issuer.login("ann@example.com")
        for number in range(3):
            issuer.register(f"n{number}@example.com")
        yield issuer


@pytest.fixture
def copy(postgres: Postgres, trail: IssuerProcess) -> str:
    """Return a copy of the audit trail in another database."""
    url = postgres.migrated_database()
    rows = execute(trail.database_url, "SELECT jsonb_agg(to_jsonb(e))::text FROM audit_events e")[0][0]
    execute(url, "ALTER TABLE audit_events DISABLE TRIGGER USER")
    execute(
        url,
        "INSERT INTO audit_events SELECT * FROM jsonb_populate_recordset(NULL::audit_events, $1::text::jsonb)",
        rows,
    )
    return url


def kinds_of(url: str, account: UUID | None) -> list[str]:
    rows = execute(
        url, "SELECT kind FROM audit_events WHERE user_id IS NOT DISTINCT FROM $1 ORDER BY at, position", account
    )
    return [row[0] for row in rows]


def test_registrations_and_failed_logins_are_recorded_with_their_ip_address(trail: IssuerProcess) -> None:
    [[ann]] = execute(trail.database_url, "SELECT id FROM users WHERE email_key = 'ann@example.com'")
    recorded = kinds_of(trail.database_url, ann)
    assert recorded[:2] == ["account_registered", "login_failed"]
    assert "login_failed" not in recorded[2:]
    event = execute(trail.database_url, "SELECT * FROM audit_events WHERE user_id = $1 ORDER BY at, position", ann)[0]
    assert (event["actor"], str(event["address"])) == ("self", "127.0.0.1")
    assert event["request_id"] in trail.log()


def test_a_login_of_an_unknown_email_is_recorded_without_it(trail: IssuerProcess) -> None:
    assert kinds_of(trail.database_url, None) == ["login_failed"]
    everything = execute(trail.database_url, "SELECT jsonb_agg(to_jsonb(e))::text FROM audit_events e")[0][0]
    assert "@" not in everything
    assert "password" not in everything


@pytest.mark.parametrize(
    "change", ["UPDATE audit_events SET kind = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"]
)
def test_the_database_rejects_changes_of_audit_events(trail: IssuerProcess, change: str) -> None:
    with pytest.raises(Exception, match="never changed"):
        execute(trail.database_url, change)


def test_an_unaltered_trail_verifies_and_is_listed(trail: IssuerProcess) -> None:
    url = trail.database_url
    count = execute(url, "SELECT count(*) FROM audit_events")[0][0]
    verified = issuer_command("audit", "verify", "--json", DATABASE_URL=url)
    assert (verified.returncode, json.loads(verified.stdout)) == (0, {"verified_events": count})
    listed = issuer_command("audit", "list", "--kind", "login_failed", "--limit", "1", "--json", DATABASE_URL=url)
    assert json.loads(listed.stdout)["user_id"] is None


def test_an_altered_event_is_named_by_its_position(copy: str) -> None:
    [[chain, position]] = execute(
        copy,
        "UPDATE audit_events SET user_id = gen_random_uuid() WHERE kind = 'login_failed' AND user_id IS NOT NULL"
        " RETURNING chain, position",
    )
    # A function that an attacker has replaced is not called.
    execute(
        copy,
        "CREATE OR REPLACE FUNCTION audit_event_content(event audit_events) RETURNS text LANGUAGE sql"
        " AS $$ SELECT '' $$",
    )
    verified = issuer_command("audit", "verify", DATABASE_URL=copy)
    assert verified.returncode == 1
    assert verified.stdout.startswith(f"{chain}  {position}  altered")
    assert verified.stderr.startswith("the audit trail was altered: 1 faults in ")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_truncated_trail_is_found_by_saved_heads(copy: str, tmp_path: Path, form: list[str]) -> None:
    noted = tmp_path / "heads"
    noted.write_text(issuer_command("audit", "heads", *form, DATABASE_URL=copy).stdout)
    assert issuer_command("audit", "verify", "--heads", str(noted), DATABASE_URL=copy).returncode == 0
    execute(
        copy,
        "DELETE FROM audit_events WHERE (chain, position) IN "
        "(SELECT chain, max(position) FROM audit_events GROUP BY chain LIMIT 1)",
    )
    found = issuer_command("audit", "verify", "--heads", str(noted), DATABASE_URL=copy)
    assert found.returncode == 1
    assert "missing: it was exported" in found.stdout


def test_an_impossible_time_is_an_invalid_argument() -> None:
    rejected = issuer_command("audit", "list", "--since", "0001-01-01T00:00+14:00")
    assert (rejected.returncode, rejected.stderr.count("Traceback")) == (2, 0)


@pytest.mark.parametrize("content", ["hello\n", "", '{"chain": 1e999, "position": 1, "hash": "00"}\n'])
def test_a_file_without_heads_is_one_line(copy: str, tmp_path: Path, content: str) -> None:
    (tmp_path / "heads").write_text(content)
    rejected = issuer_command("audit", "verify", "--heads", str(tmp_path / "heads"), DATABASE_URL=copy)
    assert (rejected.returncode, rejected.stdout, rejected.stderr.count("\n")) == (1, "", 1)


def test_every_event_is_hashed_as_documented(trail: IssuerProcess) -> None:
    """The command and the function of the schema hash the same content."""
    wrong = execute(
        trail.database_url,
        "SELECT FROM audit_events e"
        " WHERE hash <> sha256(previous_hash || convert_to(audit_event_content(e), 'UTF8'))",
    )
    assert wrong == []
