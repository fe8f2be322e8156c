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
from tests.integration.issuer.oauth.test_client_races import Bench, assertion, bench
from tests.support.machines import public_jwk
from tests.unit.issuer.oauth.test_client_assertion import RSA_KEY, document

__all__ = ["bench"]
pytestmark = pytest.mark.anyio

CONTEXT = RequestContext("client", "192.0.2.1", "a machine", "request-0001")
Prepare = Callable[[Bench, str], Awaitable[ClientCredentials]]


async def register_both(bench: Bench) -> str:
    """Create the clients `plain` and `keyed`; return the secret of `plain`."""
    await bench.registry.create("a machine", "keyed", "", ["api"], document(public_jwk()))
    secret = (await bench.registry.create("a machine", "plain", "", ["api"], None)).secret
    assert secret is not None
    return secret


def given(proof: ClientCredentials) -> Prepare:
    async def prepare(_bench: Bench, _secret: str) -> ClientCredentials:
        return proof

    return prepare


async def disabled_with_secret(bench: Bench, secret: str) -> ClientCredentials:
    await bench.registry.disable("plain")
    return BasicCredentials("plain", secret)


async def disabled_with_key(bench: Bench, _: str) -> ClientCredentials:
    await bench.registry.disable("keyed")
    return assertion("keyed")


async def used_assertion(bench: Bench, _: str) -> ClientCredentials:
    proof = assertion("keyed")
    assert (await bench.clients.authenticate(proof, CONTEXT)).id == "keyed"
    return proof


FAILURES: dict[str, tuple[Prepare, AuthFailure, str | None, str | None]] = {
    "unknown id": (given(BasicCredentials("unknown", "guess")), AuthFailure.UNKNOWN, None, None),
    "impossible id": (given(BasicCredentials("a\0b", "guess")), AuthFailure.UNKNOWN, None, None),
    "unknown subject": (given(assertion("unknown")), AuthFailure.UNKNOWN, None, None),
    "wrong secret": (given(BasicCredentials("plain", "guess")), AuthFailure.WRONG_SECRET, "plain", None),
    "disabled, with secret": (disabled_with_secret, AuthFailure.DISABLED, "plain", None),
    "disabled, with key": (disabled_with_key, AuthFailure.DISABLED, "keyed", None),
    "secret for keys": (given(BasicCredentials("keyed", "guess")), AuthFailure.OTHER_METHOD, "keyed", None),
    "assertion for a secret": (given(assertion("plain")), AuthFailure.OTHER_METHOD, "plain", None),
    "malformed": (given(ClientAssertion("a.b.c", None)), AuthFailure.BAD_ASSERTION, None, "not a compact JWS"),
    "another key": (given(assertion("keyed", RSA_KEY)), AuthFailure.BAD_ASSERTION, "keyed", "bad signature"),
    "beside another id": (
        given(replace(assertion("keyed"), client_id="plain")),
        AuthFailure.BAD_ASSERTION,
        "keyed",
        None,
    ),
    "used assertion": (used_assertion, AuthFailure.USED_ASSERTION, "keyed", None),
}


@pytest.mark.parametrize(("prepare", "failure", "client_id", "why"), FAILURES.values(), ids=FAILURES)
async def test_every_failure_has_its_reason(
    bench: Bench,
    prepare: Prepare,
    failure: AuthFailure,
    client_id: str | None,
    why: str | None,
) -> None:
    proof = await prepare(bench, await register_both(bench))
    with capture_logs() as lines, pytest.raises(InvalidClientError):
        await bench.clients.authenticate(proof, CONTEXT)
    rejected = {"event": "client_assertion_rejected", "reason": why, "log_level": "info"}
    failed = {"event": "client_authentication_failed", "client": client_id, "log_level": "info"}
    assert lines == [rejected] * (why is not None) + [failed | {"reason": failure.value}]
    assert bench.authentications(failure.value) == 1
    (event,) = await bench.execute(
        "SELECT *, host(address) AS host FROM audit_events WHERE kind = 'client_authentication_failed'"
    )
    assert (event["client_id"], json.loads(event["detail"])) == (client_id, {"reason": failure.value})
    assert (event["actor"], event["host"], event["request_id"]) == ("client", "192.0.2.1", "request-0001")


async def test_an_authenticated_client_is_counted(bench: Bench) -> None:
    proof = BasicCredentials("plain", await register_both(bench))
    assert (await bench.clients.authenticate(proof, CONTEXT)).id == "plain"
    assert bench.authentications("accepted") == 1
