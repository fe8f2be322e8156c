"""PostgreSQL or keys are missing at the start or later: the process reports it and recovers."""

from datetime import UTC, datetime
from pathlib import Path

import httpx

from tests.support.issuer_process import IssuerProcess, issuer_command, running_issuer
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres
from tests.support.processes import wait_until
from tests.support.signing_keys import generate_key


def assert_unavailable(response: httpx.Response, slug: str) -> None:
    assert response.status_code == 503
    assert response.json()["type"] == f"urn:gatepass:problem:{slug}"
    assert int(response.headers["retry-after"]) >= 1


def test_an_issuer_is_not_ready_before_the_schema_is_migrated(postgres: Postgres) -> None:
    url = postgres.new_database()
    with running_issuer(url, ready=503) as issuer:
        checks = issuer.admin("/readyz").json()["checks"]
        assert checks == {"database": "ok", "migrations": "failing", "signing_key": "ok", "status_lists": "failing"}
        assert_unavailable(issuer.register("ann@example.com"), "database-unavailable")
        assert issuer_command("migrate", DATABASE_URL=url).returncode == 0
        issuer.wait_until_readiness_is(200)
        assert issuer.register("ann@example.com").status_code == 201


def test_an_issuer_is_ready_when_a_first_key_appears(database_url: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with running_issuer(database_url, keys, ready=503) as issuer:
        assert issuer.register("ann@example.com").status_code == 201
        assert_unavailable(issuer.login("ann@example.com"), "no-signing-key")
        assert issuer.metric('gatepass_issuer_logins_total{outcome="accepted"}') == 0
        assert_unavailable(HTTP.get(f"{issuer.url}/.well-known/jwks.json"), "no-signing-key")
        generate_key(keys, datetime.now(UTC))
        issuer.wait_until_readiness_is(200)
        assert issuer.login("ann@example.com").status_code == 200


def test_a_next_key_is_published_without_a_restart(issuer: IssuerProcess) -> None:
    made = generate_key(issuer.keys_dir, datetime.now(UTC))
    wait_until(lambda: made.kid in HTTP.get(f"{issuer.url}/.well-known/jwks.json").text, "it happens")
