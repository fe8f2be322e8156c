"""Rate limits over HTTP, through proxies and at several issuers."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.plain_http import HTTP, visible
from tests.support.postgres import Postgres, execute
from tests.support.processes import wait_until

WRONG = "the wrong password, sadly"
COMPUTED = "gatepass_issuer_argon2_computations_total"


@pytest.fixture(scope="module")
def issuers(postgres: Postgres) -> Iterator[tuple[IssuerProcess, IssuerProcess]]:
    """Yield two issuers with one database and one keys folder, each behind one proxy."""
    with (
        running_issuer(
            postgres.migrated_database(), TRUSTED_PROXY_HOPS="1", PASSWORD_HASH_TIMEOUT_SECONDS="30"
        ) as one,
        running_issuer(
            one.database_url, one.keys_dir, TRUSTED_PROXY_HOPS="1", PASSWORD_HASH_TIMEOUT_SECONDS="30"
        ) as other,
    ):
        yield one, other


def login(issuer: IssuerProcess, email: str, forwarded: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    body = {"email": email, "password": password} | more
    return HTTP.post(f"{issuer.url}/login", json=body, headers={"X-Forwarded-For": forwarded}, timeout=60)


def all_have_failed(issuer: IssuerProcess, failures: int) -> None:
    """Set every existing counter to `failures`."""
    execute(issuer.database_url, "UPDATE rate_limit_counters SET count = $1, last_at = now()", failures)


def test_guesses_at_two_issuers_are_counted_together(issuers: tuple[IssuerProcess, IssuerProcess]) -> None:
    issuers[0].register("together@example.com")
    with ThreadPoolExecutor(24) as pool:
        guesses = [
            pool.submit(login, issuers[number % 2], "together@example.com", "192.0.2.1", WRONG)
            for number in range(24)
        ]
        assert {guess.result().status_code for guess in guesses} <= {401, 429}
    before = [issuer.metric(COMPUTED) for issuer in issuers]
    for issuer in issuers:
        response = login(issuer, "together@example.com", "192.0.2.1")
        assert response.status_code == 429
        assert response.json()["type"] == "urn:gatepass:problem:too-many-attempts"
        assert 1 <= int(response.headers["retry-after"]) <= 900
    assert [issuer.metric(COMPUTED) for issuer in issuers] == before


def test_a_user_with_a_session_can_log_in_while_others_are_blocked(
    issuers: tuple[IssuerProcess, IssuerProcess],
) -> None:
    issuer = issuers[0]
    issuer.register("owner@example.com")
    tokens = login(issuer, "owner@example.com", "192.0.2.10").json()
    refresh_token = tokens["refresh_token"]
    assert login(issuer, "owner@example.com", "198.51.100.1", WRONG).status_code == 401
    all_have_failed(issuer, 99)
    for forged in ("", "gpr_nothing", refresh_token[:-1] + ("A" if refresh_token[-1] != "A" else "B")):
        assert login(issuer, "owner@example.com", "192.0.2.10", refresh_token=forged).status_code == 429
    assert login(issuer, "owner@example.com", "203.0.113.5", refresh_token=refresh_token).status_code == 200
    assert login(issuer, "owner@example.com", "192.0.2.10").status_code == 429
    assert issuer.request("POST", "/logout", tokens["access_token"]).status_code == 204
    assert login(issuer, "owner@example.com", "203.0.113.5", refresh_token=refresh_token).status_code == 429


def test_responses_do_not_show_whether_a_network_is_known(
    issuers: tuple[IssuerProcess, IssuerProcess],
) -> None:
    issuer = issuers[0]
    issuer.register("here@example.com")
    assert login(issuer, "here@example.com", "192.0.2.70").status_code == 200
    people = ("here@example.com", "never.anywhere@example.com")
    for email in people:
        assert login(issuer, email, "198.51.100.7", WRONG).status_code == 401
    for failures, expected in ((56, 429), (99, 429), (49, 401)):
        all_have_failed(issuer, failures)
        responses = [login(issuer, email, "192.0.2.70", WRONG) for email in people]
        assert [response.status_code for response in responses] == [expected] * 2
        for response in responses:
            response.headers.pop("retry-after", None)
        assert visible(responses[0]) == visible(responses[1])


def test_logs_and_sessions_have_the_ip_address_of_the_trusted_proxy(
    issuers: tuple[IssuerProcess, IssuerProcess],
) -> None:
    issuer = issuers[0]
    issuer.register("named@example.com")
    responses = {
        login(issuer, "named@example.com", forwarded).headers["x-request-id"]: client
        for forwarded, client in [
            ("6.6.6.6, 192.0.2.30", "192.0.2.30"),
            ("192.0.2.30, ::ffff:192.0.2.31", "192.0.2.31"),
            ("192.0.2.30, [2001:db8::30]:443", "2001:db8::30"),
            ("192.0.2.30, unknown", "127.0.0.1"),
        ]
    }
    rows = execute(
        issuer.database_url, "SELECT host(address) AS address FROM sessions ORDER BY created_at DESC LIMIT 4"
    )
    assert {row["address"] for row in rows} == set(responses.values())
    assert {request: clients_of(issuer, request) for request in responses} == responses


@pytest.mark.parametrize(("hops", "warnings"), [("0", 1), ("1", 0)])
def test_an_undeclared_proxy_is_warned_about_once(database_url: str, hops: str, warnings: int) -> None:
    with running_issuer(database_url, TRUSTED_PROXY_HOPS=hops) as issuer:
        assert HTTP.get(f"{issuer.url}/.well-known/jwks.json").status_code == 200
        assert "forwarded_header_ignored" not in issuer.log()
        responses = [login(issuer, "nobody@example.com", "192.0.2.80") for _ in range(3)]
        assert clients_of(issuer, responses[-1].headers["x-request-id"]) == (
            "192.0.2.80" if int(hops) else "127.0.0.1"
        )
        found = issuer.events("forwarded_header_ignored")
    assert len(found) == warnings
    assert all("ISSUER_TRUSTED_PROXY_HOPS" in event["hint"] and event["level"] == "warning" for event in found)


def clients_of(issuer: IssuerProcess, request_id: str) -> str:
    return str(issuer.wait_for_event("request", request_id=request_id)["client_ip"])


def test_nothing_is_hashed_for_a_disconnected_client(issuers: tuple[IssuerProcess, IssuerProcess]) -> None:
    issuer = issuers[1]
    body = json.dumps({"email": "left@example.com", "password": PASSWORD}).encode()
    head = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Forwarded-For: 192.0.2.40\r\n"
    left = 'gatepass_issuer_http_requests_total{method="POST",route="/login",status="499"}'
    before = issuer.metric(left), issuer.metric(COMPUTED)
    clients = [socket.create_connection(("127.0.0.1", issuer.port)) for _ in range(20)]
    for client in clients:
        client.sendall(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    for client in clients:
        client.close()
    wait_until(lambda: issuer.metric(left) - before[0] >= 20, "it happens", 20)
    assert issuer.metric(COMPUTED) - before[1] < 20
