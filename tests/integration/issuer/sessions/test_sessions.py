"""Sessions over HTTP, on the real process: refresh, retry, reuse, logout, and the list of sessions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres, execute
from tests.support.processes import wait_until
from tests.support.token_forge import claims_of

INVALID_GRANT = (400, {"error": "invalid_grant"})


def token(issuer: IssuerProcess, **form: str) -> httpx.Response:
    return HTTP.post(f"{issuer.url}/token", data=form)


def status_and_body(response: httpx.Response) -> tuple[int, dict[str, Any]]:
    return response.status_code, response.json()


def row(issuer: IssuerProcess, tokens: dict[str, Any]) -> dict[str, Any]:
    session = UUID(claims_of(tokens["access_token"])["sid"])
    return dict(execute(issuer.database_url, "SELECT * FROM sessions WHERE id = $1", session)[0])


def change(issuer: IssuerProcess, tokens: dict[str, Any], assignment: str) -> None:
    session = UUID(claims_of(tokens["access_token"])["sid"])
    execute(issuer.database_url, f"UPDATE sessions SET {assignment} WHERE id = $1", session)


def events(issuer: IssuerProcess, tokens: dict[str, Any]) -> list[str]:
    session = UUID(claims_of(tokens["access_token"])["sid"])
    rows = execute(issuer.database_url, "SELECT kind FROM audit_events WHERE session_id = $1", session)
    return sorted(found["kind"] for found in rows)


def is_flagged(issuer: IssuerProcess, tokens: dict[str, Any]) -> bool:
    """Return whether the published list revokes the access token."""
    reference = claims_of(tokens["access_token"])["status"]["status_list"]
    return issuer.bit(reference["uri"], reference["idx"])


def wait_until_flagged(issuer: IssuerProcess, tokens: dict[str, Any]) -> None:
    wait_until(lambda: is_flagged(issuer, tokens), "the revocation is published")


def outcomes(issuer: IssuerProcess, name: str) -> float:
    return issuer.metric(f'gatepass_issuer_refreshes_total{{outcome="{name}"}}')


def test_a_refresh_gives_new_tokens_of_the_same_session(issuer: IssuerProcess) -> None:
    tokens = issuer.session("refresh@example.com")
    response = issuer.refresh(tokens["refresh_token"])
    assert response.status_code == 200
    assert (response.headers["cache-control"], response.headers["pragma"]) == ("no-store", "no-cache")
    assert set(response.json()) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    before, after = claims_of(tokens["access_token"]), claims_of(response.json()["access_token"])
    assert {name for name in before if before[name] == after[name]} >= {"sid", "sub", "auth_time", "status", "aud"}
    assert before["jti"] != after["jti"]
    assert issuer.request("GET", "/me", response.json()["access_token"]).status_code == 200


def pass_time(issuer: IssuerProcess, tokens: dict[str, Any], seconds: int) -> None:
    """Set the time of the session's last refresh back."""
    change(issuer, tokens, f"rotated_at = rotated_at - interval '{seconds} seconds'")


def test_a_retry_after_a_lost_response_gets_the_same_successor(issuer: IssuerProcess) -> None:
    tokens = issuer.session("lost@example.com")
    first = issuer.refresh(tokens["refresh_token"]).json()
    pass_time(issuer, tokens, 100)
    again = [issuer.refresh(tokens["refresh_token"]) for _ in range(51)]
    assert [response.status_code for response in again] == [200] * 50 + [400]
    assert {response.json()["refresh_token"] for response in again[:50]} == {first["refresh_token"]}
    assert len({response.json()["access_token"] for response in again[:50]}) == 50
    assert status_and_body(again[50]) == INVALID_GRANT
    assert issuer.refresh(first["refresh_token"]).status_code == 200
    assert events(issuer, tokens) == ["login_succeeded"]


def test_fifty_parallel_refreshes_get_one_successor(issuer: IssuerProcess) -> None:
    tokens = issuer.session("fifty@example.com")
    rotated = outcomes(issuer, "rotated")
    with ThreadPoolExecutor(50) as pool:
        responses = list(pool.map(lambda _: issuer.refresh(tokens["refresh_token"]), range(50)))
    assert [response.status_code for response in responses] == [200] * 50
    valid = [response.json() for response in responses]
    assert len({response["refresh_token"] for response in valid}) == 1
    assert outcomes(issuer, "rotated") - rotated == 1
    assert (row(issuer, tokens)["generation"], row(issuer, tokens)["retries"]) == (1, 0)
    assert issuer.refresh(valid[0]["refresh_token"]).status_code == 200
    assert {issuer.request("GET", "/me", response["access_token"]).status_code for response in valid[:5]} == {200}
    assert events(issuer, tokens) == ["login_succeeded"]


def test_an_attacker_refreshing_in_step_is_detected_at_the_sixth_refresh(issuer: IssuerProcess) -> None:
    tokens = issuer.session("step@example.com")
    newest, seen = tokens["refresh_token"], []
    for _ in range(6):
        owner = issuer.refresh(newest).json()
        pass_time(issuer, tokens, 30)
        seen.append(issuer.refresh(newest).status_code)
        newest = owner["refresh_token"]
    assert seen == [200] * 5 + [400]
    assert status_and_body(issuer.refresh(newest)) == INVALID_GRANT
    assert row(issuer, tokens)["end_reason"] == "refresh_token_reuse"


def test_a_refresh_without_a_retry_resets_the_count_of_retries(issuer: IssuerProcess) -> None:
    tokens = issuer.session("bad-network@example.com")
    newest = tokens["refresh_token"]
    for number in range(12):
        successor = issuer.refresh(newest).json()["refresh_token"]
        pass_time(issuer, tokens, 30)
        if number % 6 != 5:
            assert issuer.refresh(newest).status_code == 200
        newest = successor
    assert issuer.refresh(newest).status_code == 200


def test_reuse_of_an_old_token_revokes_the_session(issuer: IssuerProcess) -> None:
    tokens = issuer.session("stolen@example.com")
    newest = issuer.refresh(issuer.refresh(tokens["refresh_token"]).json()["refresh_token"]).json()
    assert not is_flagged(issuer, newest)
    assert status_and_body(issuer.refresh(tokens["refresh_token"])) == INVALID_GRANT
    assert status_and_body(issuer.refresh(newest["refresh_token"])) == INVALID_GRANT
    assert issuer.request("GET", "/me", newest["access_token"]).status_code == 401
    wait_until_flagged(issuer, newest)
    assert row(issuer, tokens)["end_reason"] == "refresh_token_reuse"
    assert events(issuer, tokens) == ["login_succeeded", "refresh_token_reuse_detected", "session_revoked"]


@pytest.fixture(scope="module")
def configured(postgres: Postgres) -> Iterator[IssuerProcess]:
    """Yield an issuer with other limits of sessions than by default."""
    with running_issuer(
        postgres.migrated_database(),
        REFRESH_RETRY_SECONDS="300",
        SESSION_IDLE_SECONDS="3600",
        SESSION_SECONDS="5400",
        SESSIONS_PER_ACCOUNT="3",
    ) as issuer:
        yield issuer


def test_the_grace_period_for_retries_is_a_setting(configured: IssuerProcess) -> None:
    tokens = configured.session("patient@example.com")
    configured.refresh(tokens["refresh_token"])
    pass_time(configured, tokens, 290)
    assert configured.refresh(tokens["refresh_token"]).status_code == 200
    pass_time(configured, tokens, 11)
    assert status_and_body(configured.refresh(tokens["refresh_token"])) == INVALID_GRANT
    assert row(configured, tokens)["end_reason"] == "refresh_token_reuse"


def test_the_number_of_sessions_of_an_account_is_a_setting(configured: IssuerProcess) -> None:
    oldest = configured.session("ann@example.com")
    second, *_ = [configured.login("ann@example.com").json() for _ in range(3)]
    assert configured.request("GET", "/me", oldest["access_token"]).status_code == 401
    assert configured.request("GET", "/me", second["access_token"]).status_code == 200


def test_a_refresh_extends_only_the_idle_lifetime(configured: IssuerProcess) -> None:
    tokens = configured.session("lives@example.com")
    before = row(configured, tokens)
    assert (before["idle_expires_at"] - before["created_at"]).total_seconds() == 3600
    assert (before["expires_at"] - before["created_at"]).total_seconds() == 5400
    renewed = configured.refresh(tokens["refresh_token"]).json()
    after = row(configured, tokens)
    assert after["idle_expires_at"] > before["idle_expires_at"]
    assert after["expires_at"] == before["expires_at"]
    change(configured, tokens, "expires_at = now() + interval '60 seconds'")
    last = configured.refresh(renewed["refresh_token"]).json()
    capped = row(configured, tokens)
    assert capped["idle_expires_at"] == capped["expires_at"]
    assert claims_of(last["access_token"])["exp"] <= capped["expires_at"].timestamp()
    assert last["expires_in"] <= 60


def test_a_refresh_uses_the_current_scopes_and_roles(issuer: IssuerProcess) -> None:
    tokens = issuer.session("roles@example.com")
    execute(
        issuer.database_url,
        "UPDATE users SET scope = 'profile jobs', roles = '{admin}' WHERE email_key = $1",
        "roles@example.com",
    )
    renewed = issuer.refresh(tokens["refresh_token"]).json()
    assert renewed["scope"] == "profile jobs"
    claims = claims_of(renewed["access_token"])
    assert (claims["scope"], claims["roles"]) == ("profile jobs", ["admin"])


def test_a_disabled_account_is_not_refreshed(issuer: IssuerProcess) -> None:
    tokens = issuer.session("disabled@example.com")
    execute(issuer.database_url, "UPDATE users SET disabled_at = now() WHERE email_key = $1", "disabled@example.com")
    assert status_and_body(issuer.refresh(tokens["refresh_token"])) == INVALID_GRANT


def test_guessed_refresh_tokens_change_nothing(issuer: IssuerProcess) -> None:
    tokens = issuer.session("guess@example.com")
    before = row(issuer, tokens)
    valid = tokens["refresh_token"]
    for guess in (
        valid[:-1],
        valid[:-4] + "AAAA",
        valid + "A",
        valid.replace("gpr_", "gpx_"),
        "x",
        "\u00e9",
        "a" * 5000,
    ):
        assert status_and_body(issuer.refresh(guess)) == INVALID_GRANT
    assert row(issuer, tokens) == before


def test_rfc_6749_section_5_2_a_malformed_refresh_is_an_invalid_request(issuer: IssuerProcess) -> None:
    valid = issuer.session("request@example.com")["refresh_token"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    bodies: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({}, form),
        ({"content": f"refresh_token={valid}"}, form),
        ({"content": "grant_type=refresh_token"}, form),
        ({"content": f"grant_type=refresh_token&refresh_token={valid}&refresh_token={valid}"}, form),
        ({"content": f"grant_type=refresh_token&grant_type=refresh_token&refresh_token={valid}"}, form),
        ({"content": f"grant_type=refresh_token&refresh_token={valid}&other=%ff"}, form),
        ({"content": b"x" * 65_537}, form),
        ({"json": {"grant_type": "refresh_token", "refresh_token": valid}}, {}),
        ({"content": f"grant_type=refresh_token&refresh_token={valid}"}, {}),
    ]
    for body, headers in bodies:
        response = HTTP.post(f"{issuer.url}/token", headers=headers, **body)
        assert status_and_body(response) == (400, {"error": "invalid_request"})
        assert response.headers["cache-control"] == "no-store"
    assert issuer.refresh(valid).status_code == 200


def test_a_refresh_token_of_another_client_is_rejected(issuer: IssuerProcess) -> None:
    valid = issuer.session("client@example.com")["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": valid}
    assert status_and_body(token(issuer, **form, client_id="another")) == INVALID_GRANT
    assert token(issuer, **form).status_code == 200


def test_a_logout_revokes_the_session_and_its_access_tokens(issuer: IssuerProcess) -> None:
    tokens, other = issuer.session("logout@example.com"), issuer.login("logout@example.com").json()
    for _ in range(2):
        response = issuer.request("POST", "/logout", tokens["access_token"])
        assert (response.status_code, response.content) == (204, b"")
    assert issuer.request("GET", "/me", tokens["access_token"]).status_code == 401
    assert status_and_body(issuer.refresh(tokens["refresh_token"])) == INVALID_GRANT
    wait_until_flagged(issuer, tokens)
    assert not is_flagged(issuer, other)
    assert issuer.request("GET", "/me", other["access_token"]).status_code == 200
    assert events(issuer, tokens) == ["login_succeeded", "session_revoked"]
    assert row(issuer, tokens)["end_reason"] == "logout"


def test_a_logout_revokes_the_last_access_token_of_a_session_that_has_expired(issuer: IssuerProcess) -> None:
    tokens = issuer.session("last@example.com")
    change(issuer, tokens, "idle_expires_at = now(), expires_at = now()")
    assert issuer.request("POST", "/logout", tokens["access_token"]).status_code == 204
    wait_until_flagged(issuer, tokens)


def test_a_user_sees_their_sessions(issuer: IssuerProcess) -> None:
    issuer.register("devices@example.com")
    issuer.session("other@example.com")
    credentials = {"email": "devices@example.com", "password": "a long and lonely walk"}
    agent = {b"User-Agent": b"telephone " + "\u00e9".encode() * 300}
    telephone = HTTP.post(f"{issuer.url}/login", json=credentials, headers=agent).json()
    laptop = HTTP.post(f"{issuer.url}/login", json=credentials, headers={"User-Agent": "laptop"}).json()
    gone = issuer.login("devices@example.com").json()
    issuer.request("POST", "/logout", gone["access_token"])
    listed = issuer.request("GET", "/sessions", laptop["access_token"]).json()["sessions"]
    assert [entry["id"] for entry in listed] == [
        claims_of(tokens["access_token"])["sid"] for tokens in (laptop, telephone)
    ]
    assert [entry["current"] for entry in listed] == [True, False]
    assert listed[0]["user_agent"] == "laptop"
    assert listed[1]["user_agent"].startswith("telephone")
    assert {entry["ip_address"] for entry in listed} == {"127.0.0.1"}
    for entry in listed:
        created, used, expires = (
            datetime.fromisoformat(entry[name]) for name in ("created_at", "last_used_at", "expires_at")
        )
        assert created <= used < expires


def test_a_user_revokes_one_session(issuer: IssuerProcess) -> None:
    here, there = issuer.session("one@example.com"), issuer.login("one@example.com").json()
    there_id = claims_of(there["access_token"])["sid"]
    assert issuer.request("DELETE", f"/sessions/{there_id}", here["access_token"]).status_code == 204
    assert issuer.request("DELETE", f"/sessions/{there_id}", here["access_token"]).status_code == 404
    assert status_and_body(issuer.refresh(there["refresh_token"])) == INVALID_GRANT
    wait_until_flagged(issuer, there)
    assert row(issuer, there)["end_reason"] == "revoked_by_user"
    assert issuer.request("GET", "/me", here["access_token"]).status_code == 200


def test_a_user_cannot_revoke_another_users_session(issuer: IssuerProcess) -> None:
    mine, theirs = issuer.session("mine@example.com"), issuer.session("theirs@example.com")
    their_id = claims_of(theirs["access_token"])["sid"]
    for name in (their_id, str(uuid4()), their_id.upper(), "x", "0", "%00"):
        assert issuer.request("DELETE", f"/sessions/{name}", mine["access_token"]).status_code == 404
    assert issuer.request("GET", "/me", theirs["access_token"]).status_code == 200


def test_a_user_revokes_all_sessions(issuer: IssuerProcess) -> None:
    devices = [issuer.session("all@example.com"), *(issuer.login("all@example.com").json() for _ in range(2))]
    other = issuer.session("not-all@example.com")
    assert issuer.request("DELETE", "/sessions", devices[0]["access_token"]).status_code == 204
    for tokens in devices:
        assert status_and_body(issuer.refresh(tokens["refresh_token"])) == INVALID_GRANT
        wait_until_flagged(issuer, tokens)
    assert issuer.request("GET", "/me", other["access_token"]).status_code == 200


def test_a_user_revokes_all_other_sessions(issuer: IssuerProcess) -> None:
    here, *others = [issuer.session("others@example.com"), *(issuer.login("others@example.com").json() for _ in "ab")]
    for query in (
        "?keep_current=false",
        "?keep_current=",
        "?keep=current",
        "?keep_current=true&keep_current=true",
        "?keep_current=true&x=1",
    ):
        rejected = issuer.request("DELETE", f"/sessions{query}", here["access_token"])
        fault = {"field": "keep_current", "detail": "must be `true`; other parameters are not supported"}
        assert (rejected.status_code, rejected.json()["errors"]) == (422, [fault])
    for tokens in others:
        assert issuer.request("GET", "/me", tokens["access_token"]).status_code == 200
    assert issuer.request("DELETE", "/sessions?keep_current=true", here["access_token"]).status_code == 204
    for tokens in others:
        assert status_and_body(issuer.refresh(tokens["refresh_token"])) == INVALID_GRANT
    assert issuer.refresh(here["refresh_token"]).status_code == 200


def test_an_access_token_of_a_revoked_session_opens_no_account_endpoint(issuer: IssuerProcess) -> None:
    tokens, other = issuer.session("ended@example.com"), issuer.login("ended@example.com").json()
    issuer.request("POST", "/logout", tokens["access_token"])
    other_id = claims_of(other["access_token"])["sid"]
    for method, path in (
        ("GET", "/me"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions"),
        ("DELETE", f"/sessions/{other_id}"),
    ):
        assert issuer.request(method, path, tokens["access_token"]).status_code == 401
    assert issuer.request("GET", "/me", other["access_token"]).status_code == 200
