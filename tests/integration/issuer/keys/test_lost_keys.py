"""A running issuer whose keys folder is lost continues with its keys; a new issuer has none."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.lost_keys import move_away
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres
from tests.support.processes import wait_until

EMAIL = "ann@example.com"
USABLE = "gatepass_issuer_key_directory_usable"


@pytest.fixture(scope="module")
def served(postgres: Postgres) -> Iterator[IssuerProcess]:
    with running_issuer(postgres.migrated_database()) as issuer:
        assert issuer.register(EMAIL).status_code == 201
        yield issuer


def kid_of(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


def readiness(issuer: IssuerProcess) -> tuple[int, str, str]:
    response = issuer.admin("/readyz")
    document = response.json()
    return response.status_code, document["checks"]["signing_key"], document["warnings"]["key_directory"]


def published(issuer: IssuerProcess) -> list[str]:
    return [key["kid"] for key in HTTP.get(f"{issuer.url}/.well-known/jwks.json").json()["keys"]]


def test_a_lost_key_directory_stops_only_rotation(served: IssuerProcess, tmp_path: Path) -> None:
    keys, backup = served.keys_dir, tmp_path / "backup"
    before = served.login(EMAIL).json()
    shutil.copytree(keys, backup)
    assert readiness(served) == (200, "ok", "ok")
    move_away(keys)
    wait_until(lambda: served.metric(USABLE) == 0, "the loss noticed")
    assert readiness(served) == (200, "ok", "failing")
    assert served.login(EMAIL).status_code == 200
    assert kid_of(served.refresh(before["refresh_token"]).json()["access_token"]) == kid_of(before["access_token"])
    assert published(served) == [kid_of(before["access_token"])]
    assert "key_set_reload_failed" in served.log()
    shutil.rmtree(keys, ignore_errors=True)
    shutil.rmtree(keys.with_name("away"), ignore_errors=True)
    shutil.copytree(backup, keys)
    wait_until(lambda: served.metric(USABLE) == 1, "the key directory is used again")
    assert readiness(served) == (200, "ok", "ok")
    assert published(served) == [kid_of(served.login(EMAIL).json()["access_token"])]


def test_an_issuer_restarted_without_keys_issues_no_token(database_url: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with running_issuer(database_url) as first:
        first.register(EMAIL)
        move_away(first.keys_dir)
        wait_until(lambda: first.metric(USABLE) == 0, "the loss noticed")
        assert first.login(EMAIL).status_code == 200
    with running_issuer(database_url, keys, ready=503) as second:
        assert readiness(second) == (503, "failing", "failing")
        assert second.login(EMAIL).status_code == 503
        assert HTTP.get(f"{second.url}/.well-known/jwks.json").status_code == 503
        assert not keys.exists()
