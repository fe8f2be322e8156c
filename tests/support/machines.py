"""Registered OAuth clients, and their requests."""

import base64
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote_plus

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from issuer.db.pool import Database
from issuer.oauth.registry import ClientRegistry
from issuer.oauth.store import ClientStore
from issuer.tokens.size import TokenBudget
from tests.support.issuer_process import IssuerProcess
from tests.support.plain_http import HTTP
from tests.support.postgres import with_database

T = TypeVar("T")

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY = rsa.generate_private_key(65537, 2048)
"""The private key of every client that has one."""


@dataclass(frozen=True)
class Machine:
    """A registered client with its secret or key."""

    issuer: IssuerProcess
    id: str
    secret: str | None = None

    def post(self, path: str, url: str | None = None, **form: str) -> httpx.Response:
        """POST a form as this client; `url` names another issuer process."""
        target = f"{url or self.issuer.url}{path}"
        if self.secret is None:
            proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion()}
            return HTTP.post(target, data=proof | form)
        return HTTP.post(target, data=form, headers=basic(self.id, self.secret))

    def ask(self, **form: str) -> httpx.Response:
        """POST /token for client_credentials."""
        return self.post("/token", grant_type="client_credentials", **form)

    def token(self, **form: str) -> str:
        """Return an access token."""
        response = self.ask(**form)
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    def assertion(self, **changes: Any) -> str:
        """Return a client assertion, valid unless changed."""
        now = int(time.time())
        claims = {
            "iss": self.id,
            "sub": self.id,
            "aud": f"{self.issuer.url}/token",
            "iat": now,
            "exp": now + 60,
            "jti": secrets.token_hex(8),
        } | changes
        return jwt.encode(claims, KEY, "RS256", {"kid": "k1"})


def basic(client_id: str, secret: str) -> dict[str, str]:
    """Return the Authorization field of RFC 6749 §2.3.1."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def operate(issuer: IssuerProcess, work: Callable[[ClientRegistry], Awaitable[T]]) -> T:
    """Run `work` on the client registry, in this process."""
    budget = TokenBudget(issuer.url, "gatepass")

    def registry(database: Database) -> ClientRegistry:
        return ClientRegistry(budget, ClientStore(database), lambda: datetime.now(UTC), secrets.token_bytes)

    return with_database(issuer.database_url, lambda database: work(registry(database)))


def with_secret(
    issuer: IssuerProcess, client_id: str | None = None, scope: str = "", audiences: Sequence[str] = ("gatepass",)
) -> Machine:
    """Return a new client with a secret."""
    made = operate(issuer, lambda registry: registry.create("a machine", client_id, scope, audiences, None))
    return Machine(issuer, made.client.id, made.secret)


def public_client(
    issuer: IssuerProcess, client_id: str, scope: str = "profile", audiences: Sequence[str] = ("gatepass",)
) -> str:
    """Create a client for which users log in; return its id."""
    operate(
        issuer, lambda registry: registry.create("an application", client_id, scope, audiences, None, public=True)
    )
    return client_id


def with_key(issuer: IssuerProcess, scope: str = "") -> Machine:
    """Return a new client with `KEY`."""
    jwks = json.dumps({"keys": [public_jwk()]}).encode()
    made = operate(issuer, lambda registry: registry.create("a machine", None, scope, ["gatepass"], jwks))
    return Machine(issuer, made.client.id)


def public_jwk() -> dict[str, Any]:
    """Return the public half of `KEY`."""
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())), "kid": "k1"}
