"""Public clients: each has its audiences and scopes, and a token of one is not accepted for another."""

import asyncio
import random
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
import pytest

from issuer.errors import InvalidClientError, InvalidGrantError
from issuer.oauth.clients import ClientAuthenticator
from issuer.oauth.registry import ClientRegistry
from issuer.oauth.store import ClientStore
from issuer.sessions.authorization import LoginRequest
from issuer.tokens.size import TokenBudget
from tests.integration.issuer.sessions.test_session_races import LIVE_AND_UNFLAGGED
from tests.integration.issuer.sessions.test_sessions import INVALID_GRANT, row, status_and_body, wait_until_flagged
from tests.support.issuer_process import PASSWORD, IssuerProcess
from tests.support.machines import Machine, operate, public_client, with_secret
from tests.support.plain_http import HTTP
from tests.support.postgres import execute
from tests.support.session_bench import CONTEXT, ISSUER, session_bench
from tests.support.token_forge import claims_of

SHOP, STOCK = "https://shop.example", "https://stock.example"


@pytest.fixture(scope="module")
def shop(issuer: IssuerProcess) -> str:
    return public_client(issuer, "shop", "read write", [SHOP, STOCK])


@pytest.fixture(scope="module")
def off(issuer: IssuerProcess) -> str:
    """Create a disabled client."""
    client_id = public_client(issuer, "off")
    operate(issuer, lambda registry: registry.disable(client_id))
    return client_id


@pytest.fixture(scope="module")
def machine(issuer: IssuerProcess) -> Machine:
    return with_secret(issuer, "machine", "", [STOCK])


def log_in(issuer: IssuerProcess, email: str, account_scope: str = "read write admin", **body: Any) -> httpx.Response:
    if issuer.register(email).status_code == 201:
        execute(issuer.database_url, "UPDATE users SET scope = $2 WHERE email_key = $1", email, account_scope)
    return HTTP.post(f"{issuer.url}/login", json={"email": email, "password": PASSWORD} | body)


def contents(tokens: dict[str, Any]) -> tuple[str, str, str]:
    claims = claims_of(tokens["access_token"])
    assert claims["scope"] == tokens["scope"]
    return claims["client_id"], claims["aud"], claims["scope"]


def test_a_login_gets_what_account_and_client_share(issuer: IssuerProcess, shop: str) -> None:
    tokens = log_in(issuer, "shared@example.com", client_id=shop).json()
    assert contents(tokens) == ("shop", SHOP, "read write")
    assert contents(issuer.refresh(tokens["refresh_token"]).json()) == ("shop", SHOP, "read write")
    event = execute(
        issuer.database_url,
        "SELECT client_id FROM audit_events WHERE kind = 'login_succeeded' AND session_id = $1",
        UUID(claims_of(tokens["access_token"])["sid"]),
    )
    assert event[0][0] == "shop"


def test_a_login_without_a_client_is_for_the_default_client(issuer: IssuerProcess) -> None:
    tokens = log_in(issuer, "default@example.com").json()
    assert contents(tokens) == ("first-party", "gatepass", "read write admin")
    narrowed = issuer.refresh(tokens["refresh_token"], scope="admin", resource="gatepass").json()
    assert contents(narrowed) == ("first-party", "gatepass", "admin")
    assert contents(issuer.refresh(narrowed["refresh_token"]).json())[2] == "read write admin"


def test_rfc8707_2_2_a_session_has_tokens_for_each_audience_that_the_login_asked_for(
    issuer: IssuerProcess, shop: str
) -> None:
    tokens = log_in(issuer, "several@example.com", client_id=shop, resource=[STOCK, SHOP], scope="read").json()
    assert contents(tokens) == ("shop", STOCK, "read")
    tokens = issuer.refresh(tokens["refresh_token"], resource=SHOP).json()
    assert contents(tokens) == ("shop", SHOP, "read")
    one = log_in(issuer, "several@example.com", client_id=shop, resource=STOCK).json()
    assert contents(one) == ("shop", STOCK, "read write")
    assert status_and_body(issuer.refresh(one["refresh_token"], resource=SHOP)) == (400, {"error": "invalid_target"})


def test_rfc6749_6_a_refresh_narrows_one_token_and_never_widens(issuer: IssuerProcess, shop: str) -> None:
    tokens = log_in(issuer, "narrow@example.com", client_id=shop, scope="read write").json()
    narrowed = issuer.refresh(tokens["refresh_token"], scope="write").json()
    assert contents(narrowed)[2] == "write"
    assert contents(issuer.refresh(narrowed["refresh_token"]).json())[2] == "read write"
    limited = log_in(issuer, "narrow@example.com", client_id=shop, scope="read").json()
    assert status_and_body(issuer.refresh(limited["refresh_token"], scope="write")) == (
        400,
        {"error": "invalid_scope"},
    )


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "read admin"}, "invalid_scope"),
        ({"scope": "read  write"}, "invalid_scope"),
        ({"scope": 'read"'}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"resource": "gatepass"}, "invalid_target"),
        ({"resource": f"{SHOP}/"}, "invalid_target"),
        ({"resource": SHOP, "audience": STOCK}, "invalid_target"),
        ({"resource": [SHOP, STOCK]}, "invalid_target"),
        ({"client_id": "first-party"}, "invalid_grant"),
        ({"client_id": "nothing-of-this-id"}, "invalid_grant"),
    ],
)
def test_an_invalid_refresh_does_not_use_up_the_token(
    issuer: IssuerProcess, shop: str, form: dict[str, str], error: str
) -> None:
    tokens = log_in(issuer, "invalid@example.com", client_id=shop).json()
    assert status_and_body(issuer.refresh(tokens["refresh_token"], **form)) == (400, {"error": error})
    assert row(issuer, tokens)["generation"] == 0
    used = issuer.refresh(tokens["refresh_token"], client_id=shop)
    assert used.status_code == 200
    # Nor does it as a retry, which would count.
    assert status_and_body(issuer.refresh(tokens["refresh_token"], **form)) == (400, {"error": error})
    assert (row(issuer, tokens)["generation"], row(issuer, tokens)["retries"]) == (1, 0)
    assert row(issuer, tokens)["ended_at"] is None


def test_parallel_refreshes_for_several_services_get_one_successor(issuer: IssuerProcess, shop: str) -> None:
    tokens = log_in(issuer, "parallel@example.com", client_id=shop).json()
    wanted = [{"resource": SHOP, "scope": "read"}, {"resource": STOCK, "scope": "write"}, {}] * 4
    with ThreadPoolExecutor(12) as pool:
        responses = [
            response.json()
            for response in pool.map(lambda form: issuer.refresh(tokens["refresh_token"], **form), wanted)
        ]
    assert [contents(each)[1:] for each in responses] == [(SHOP, "read"), (STOCK, "write"), (SHOP, "read write")] * 4
    assert len({each["refresh_token"] for each in responses}) == 1
    assert issuer.refresh(responses[0]["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"client_id": "nothing-of-this-id"}, "invalid-client"),
        ({"client_id": "no/id\u00e9"}, "invalid-client"),
        ({"client_id": "off"}, "invalid-client"),
        ({"client_id": "machine"}, "unauthorized-client"),
        ({"client_id": "shop", "scope": "admin"}, "invalid-scope"),
        ({"client_id": "shop", "scope": "read "}, "invalid-scope"),
        ({"scope": "unknown"}, "invalid-scope"),
        ({"scope": "read unknown"}, "invalid-scope"),
        ({"client_id": "shop", "resource": "gatepass"}, "invalid-target"),
        ({"client_id": "shop", "resource": [SHOP, "https://elsewhere.example"]}, "invalid-target"),
        ({"resource": SHOP}, "invalid-target"),
    ],
)
@pytest.mark.usefixtures("shop", "machine", "off")
def test_a_login_that_asks_for_too_much_is_rejected(
    issuer: IssuerProcess, body: dict[str, Any], problem: str
) -> None:
    before = execute(issuer.database_url, "SELECT count(*) FROM sessions")[0][0]
    response = log_in(issuer, "greedy@example.com", **body)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["type"]) == (400, f"urn:gatepass:problem:{problem}")
    assert response.json()["error"] == problem.replace("-", "_")
    assert execute(issuer.database_url, "SELECT count(*) FROM sessions")[0][0] == before


@pytest.mark.parametrize(
    "body",
    [
        {"client_id": ""},
        {"client_id": None},
        {"client_id": ["shop"]},
        {"scope": ""},
        {"scope": ["read"]},
        {"scope": None},
        {"resource": ""},
        {"resource": []},
        {"resource": [""]},
        {"resource": [SHOP, 1]},
        {"resource": {"a": SHOP}},
        {"resource": None},
        {"resource": [f"{SHOP}/{number}" for number in range(17)]},
        {"resource": "\u0000"},
        {"audience": SHOP},
    ],
)
def test_a_malformed_member_is_named(issuer: IssuerProcess, body: dict[str, Any]) -> None:
    response = log_in(issuer, "malformed@example.com", **body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, next(iter(body)))


def test_a_wrong_password_is_reported_before_a_scope_of_the_account(issuer: IssuerProcess) -> None:
    response = log_in(issuer, "secretive@example.com", scope="read", password="not the password")
    assert response.json()["type"] == "urn:gatepass:problem:invalid-credentials"
    response = log_in(issuer, "nobody-at-all@example.com", password="not the password")
    assert response.status_code == 401


def test_the_issuers_own_endpoints_accept_tokens_for_its_audience_alone(issuer: IssuerProcess) -> None:
    portal = public_client(issuer, "portal", "profile", ["gatepass", "https://portal.example"])
    own = log_in(issuer, "own@example.com", client_id=portal).json()
    other = log_in(issuer, "own@example.com", client_id=portal, resource="https://portal.example").json()
    for method, path in (("GET", "/me"), ("GET", "/sessions"), ("DELETE", "/sessions"), ("POST", "/logout")):
        response = issuer.request(method, path, other["access_token"])
        assert (response.status_code, response.json()["type"]) == (401, "urn:gatepass:problem:invalid-token")
    for method, path, status in (("GET", "/me", 200), ("GET", "/sessions", 200), ("POST", "/logout", 204)):
        assert issuer.request(method, path, own["access_token"]).status_code == status
    assert issuer.refresh(other["refresh_token"]).status_code == 200


@pytest.mark.usefixtures("machine")
def test_rfc7009_a_public_client_revokes_its_own_sessions(issuer: IssuerProcess, shop: str) -> None:
    public_client(issuer, "other-application")
    tokens = log_in(issuer, "leaving@example.com", client_id=shop).json()

    def revoke(**form: str) -> tuple[int, str]:
        response = HTTP.post(f"{issuer.url}/revoke", data=form)
        return response.status_code, response.text and response.json()["error"]

    assert revoke(token=tokens["refresh_token"]) == (401, "invalid_client")
    assert revoke(token=tokens["refresh_token"], client_id="machine") == (401, "invalid_client")
    assert revoke(token=tokens["refresh_token"], client_id="nothing-of-this-id") == (401, "invalid_client")
    for client_id in ("first-party", "other-application"):
        assert revoke(token=tokens["access_token"], client_id=client_id) == (400, "unauthorized_client")
    assert row(issuer, tokens)["ended_at"] is None
    assert revoke(token=tokens["access_token"], client_id=shop) == (200, "")
    assert status_and_body(issuer.refresh(tokens["refresh_token"])) == INVALID_GRANT


def test_rfc7662_a_resource_server_learns_what_a_refresh_would_give(
    issuer: IssuerProcess, shop: str, machine: Machine
) -> None:
    tokens = log_in(issuer, "asked-about@example.com", client_id=shop, resource=STOCK, scope="read").json()
    found = machine.post("/introspect", token=tokens["refresh_token"]).json()
    assert (found["client_id"], found["aud"], found["scope"]) == ("shop", STOCK, "read")
    elsewhere = log_in(issuer, "asked-about@example.com", client_id=shop, resource=SHOP).json()
    assert machine.post("/introspect", token=elsewhere["refresh_token"]).json() == {"active": False}


@pytest.mark.parametrize("command", ["disable", "delete"])
def test_removing_a_client_revokes_its_sessions(issuer: IssuerProcess, command: str) -> None:
    client_id = public_client(issuer, f"short-lived-{command}")
    email = f"{client_id}@example.com"
    tokens = log_in(issuer, email, "profile", client_id=client_id).json()
    kept = log_in(issuer, email).json()
    operate(issuer, lambda registry: getattr(registry, command)(client_id))
    assert status_and_body(issuer.refresh(tokens["refresh_token"])) == INVALID_GRANT
    assert row(issuer, tokens)["end_reason"] == "client_disabled"
    wait_until_flagged(issuer, tokens)
    assert issuer.refresh(kept["refresh_token"]).status_code == 200
    assert log_in(issuer, email, client_id=client_id).json()["error"] == "invalid_client"
    events = execute(
        issuer.database_url,
        "SELECT kind FROM audit_events WHERE client_id = $1 AND actor = 'operator' ORDER BY at",
        client_id,
    )
    assert [event["kind"] for event in events][:3] == ["client_created", "client_disabled", "session_revoked"]


def test_a_session_follows_the_changes_of_its_client(issuer: IssuerProcess) -> None:
    client_id = public_client(issuer, "changing", "read", [SHOP])
    tokens = log_in(issuer, "following@example.com", client_id=client_id).json()
    operate(issuer, lambda registry: registry.update(client_id, "read write", [STOCK], None))
    tokens = issuer.refresh(tokens["refresh_token"]).json()
    assert contents(tokens) == (client_id, STOCK, "read write")


def test_a_public_client_has_no_credentials(issuer: IssuerProcess, shop: str) -> None:
    response = Machine(issuer, shop, "guess").ask()
    assert status_and_body(response) == (401, {"error": "invalid_client"})
    response = HTTP.post(f"{issuer.url}/token", data={"grant_type": "client_credentials", "client_id": shop})
    assert status_and_body(response) == (401, {"error": "invalid_client"})


async def later(action: Awaitable[object]) -> None:
    await asyncio.sleep(random.random() / 300)
    with suppress(InvalidClientError, InvalidGrantError):
        await action


@pytest.mark.anyio
async def test_no_session_outlives_the_disabling_of_its_client(database_url: str) -> None:
    async with session_bench(database_url, connections=12) as bench:
        store = ClientStore(bench.database)
        clients = ClientAuthenticator(store, bench.sessions.status_lists, frozenset(), bench.metrics, bench.clock)
        registry = ClientRegistry(TokenBudget(ISSUER, "gatepass"), store, bench.clock, random.randbytes)
        accounts = [await bench.account() for _ in range(6)]
        for number in range(60):
            client_id = f"client{number}"
            await registry.create("x", client_id, "profile", ["a"], None, public=True)
            request = LoginRequest(await clients.public_client(client_id))
            first = await bench.sessions.create(accounts[0], request, CONTEXT)
            await asyncio.gather(
                *(later(bench.sessions.create(account, request, CONTEXT)) for account in accounts),
                later(bench.refresh(first.refresh_token)),
                later(registry.disable(client_id)),
            )
        assert await bench.execute(LIVE_AND_UNFLAGGED) == []
        sessions = await bench.execute("SELECT count(*) FROM sessions")
        assert 60 < sessions[0][0] < 60 * 7
