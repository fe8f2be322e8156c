"""All failed client authentications get the same error; metrics, log and audit trail have the reason."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from issuer.context import RequestContext
from issuer.errors import InvalidClientError
from issuer.oauth.clients import AuthFailure
from issuer.oauth.models import BasicCredentials, ClientAssertion, ClientCredentials
from tests.integration.issuer.oauth.test_client_races import Bench, assertion, on
from tests.support.machines import public_jwk
from tests.support.postgres import execute
from tests.unit.issuer.oauth.test_client_assertion import RSA_KEY, document

CONTEXT = RequestContext("client", "192.0.2.1", "a machine", "request-0001")


async def with_secret(bench: Bench) -> BasicCredentials:
    secret = (await bench.registry.create("a machine", "plain", "", ["api"], None)).secret
    assert secret is not None
    return BasicCredentials("plain", secret)


async def with_key(bench: Bench) -> ClientAssertion:
    await bench.registry.create("a machine", "keyed", "", ["api"], document(public_jwk()))
    return assertion("keyed")


async def unknown_id(_: Bench) -> ClientCredentials:
    return BasicCredentials("plain", "guess")


async def impossible_id(_: Bench) -> ClientCredentials:
    return BasicCredentials("a\0b", "guess")


async def unknown_subject(_: Bench) -> ClientCredentials:
    return assertion("keyed")


async def wrong_secret(bench: Bench) -> ClientCredentials:
    await with_secret(bench)
    return BasicCredentials("plain", "guess")


async def disabled_with_secret(bench: Bench) -> ClientCredentials:
    proof = await with_secret(bench)
    await bench.registry.disable("plain")
    return proof


async def disabled_with_key(bench: Bench) -> ClientCredentials:
    proof = await with_key(bench)
    await bench.registry.disable("keyed")
    return proof


async def secret_of_a_client_with_keys(bench: Bench) -> ClientCredentials:
    await with_key(bench)
    return BasicCredentials("keyed", "guess")


async def assertion_of_a_client_with_a_secret(bench: Bench) -> ClientCredentials:
    await with_secret(bench)
    return assertion("plain")


async def malformed_assertion(_: Bench) -> ClientCredentials:
    return ClientAssertion("a.b.c", None)


async def assertion_of_another_key(bench: Bench) -> ClientCredentials:
    await with_key(bench)
    return assertion("keyed", key=RSA_KEY)


async def assertion_beside_another_id(bench: Bench) -> ClientCredentials:
    await with_key(bench)
    return replace(assertion("keyed"), client_id="plain")


async def used_assertion(bench: Bench) -> ClientCredentials:
    proof = await with_key(bench)
    assert (await bench.clients.authenticate(proof, CONTEXT)).id == "keyed"
    return proof


@pytest.mark.parametrize(
    ("prepare", "failure", "client_id", "why"),
    [
        (unknown_id, AuthFailure.UNKNOWN, None, None),
        (impossible_id, AuthFailure.UNKNOWN, None, None),
        (unknown_subject, AuthFailure.UNKNOWN, None, None),
        (wrong_secret, AuthFailure.WRONG_SECRET, "plain", None),
        (disabled_with_secret, AuthFailure.DISABLED, "plain", None),
        (disabled_with_key, AuthFailure.DISABLED, "keyed", None),
        (secret_of_a_client_with_keys, AuthFailure.OTHER_METHOD, "keyed", None),
        (assertion_of_a_client_with_a_secret, AuthFailure.OTHER_METHOD, "plain", None),
        (malformed_assertion, AuthFailure.BAD_ASSERTION, None, "not a compact JWS"),
        (assertion_of_another_key, AuthFailure.BAD_ASSERTION, "keyed", "bad signature"),
        (assertion_beside_another_id, AuthFailure.BAD_ASSERTION, "keyed", None),
        (used_assertion, AuthFailure.USED_ASSERTION, "keyed", None),
    ],
)
def test_every_failure_has_its_reason(
    database_url: str,
    prepare: Callable[[Bench], Awaitable[ClientCredentials]],
    failure: AuthFailure,
    client_id: str | None,
    why: str | None,
) -> None:
    async def work(bench: Bench) -> None:
        proof = await prepare(bench)
        with capture_logs() as lines, pytest.raises(InvalidClientError):
            await bench.clients.authenticate(proof, CONTEXT)
        rejected = {"event": "client_assertion_rejected", "reason": why, "log_level": "info"}
        failed = {"event": "client_authentication_failed", "client": client_id, "log_level": "info"}
        assert lines == [rejected] * (why is not None) + [failed | {"reason": failure.value}]
        assert bench.authentications(failure.value) == 1

    on(database_url, work)
    (event,) = execute(
        database_url, "SELECT *, host(address) AS host FROM audit_events WHERE kind = 'client_authentication_failed'"
    )
    assert (event["client_id"], json.loads(event["detail"])) == (client_id, {"reason": failure.value})
    assert (event["actor"], event["host"], event["request_id"]) == ("client", "192.0.2.1", "request-0001")


def test_an_authenticated_client_is_counted(database_url: str) -> None:
    async def work(bench: Bench) -> None:
        assert (await bench.clients.authenticate(await with_secret(bench), CONTEXT)).id == "plain"
        assert bench.authentications("accepted") == 1

    on(database_url, work)
