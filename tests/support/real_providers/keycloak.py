"""Keycloak with a test realm: logins of a user and of two clients, and every kind of token that it issues."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.plain_http import get_status
from tests.support.processes import free_port, running, wait_until_ready
from tests.support.real_providers import install
from tests.support.real_providers.browser import Browser
from tests.support.real_providers.oauth_client import (
    ASSERTION_TYPE,
    HTTP,
    PASSWORD,
    Login,
    LogoutReceiver,
    Provider,
    ask,
    authorization_url,
    client_assertion,
    dpop_proof,
    log_in,
    public_jwk,
)
from tests.support.token_forge import claims_of

REALM: Final = Path(__file__).with_name("keycloak") / "realm.json"
ADA: Final = "5f0c3a52-6f0e-4f5e-9a3c-0d6f3f0d7a11"
BILLING_SECRET: Final = "a secret of the tests"
ALGORITHMS: Final = ("PS256", "ES256", "ES384", "EdDSA")
"""Signature algorithms other than RS256. Each is also the name of a client."""

ADMIN: Final = "admin"
"""Name and password of the administrator."""

_START_SECONDS: Final = 240.0
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:"


@dataclass(frozen=True)
class Keycloak(Provider):
    """A running Keycloak."""

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/shop"

    def log_in(self, client_id: str = "web", **request: Any) -> Login:
        """Log Ada in with the real login page."""
        return log_in(self.endpoints, client_id, {"username": "ada", "password": PASSWORD}, **request)

    def password_grant(self, client_id: str = "web", **form: str) -> Mapping[str, str]:
        """Log Ada in without a browser (direct access grant)."""
        given = {"grant_type": "password", "username": "ada", "password": PASSWORD, "client_id": client_id, **form}
        return ask(self.endpoints["token"], given)

    def billing(self, **form: str) -> Mapping[str, str]:
        """Return a token response to the client `billing`, which has a secret; `form` adds parameters."""
        given = {"grant_type": "client_credentials", **form}
        return ask(self.endpoints["token"], given, auth=("billing", BILLING_SECRET))

    def exchanged(self, token: str, kind: str) -> str:
        """Exchange the access token of a user as the client `billing`, and return the new token (RFC 8693).

        Args:
            kind: the requested kind: `access_token`, `refresh_token` or `id_token`.
        """
        asked = {"subject_token_type": f"{_TOKEN_TYPE}access_token", "requested_token_type": f"{_TOKEN_TYPE}{kind}"}
        response = self.billing(grant_type=_EXCHANGE, subject_token=token, **asked)
        return response["refresh_token" if kind == "refresh_token" else "access_token"]

    def permission_ticket(self) -> str:
        """Return the permission ticket of `billing` for a request (UMA 2.0, Federated Authorization §4)."""
        bearer = {"Authorization": f"Bearer {self.billing()['access_token']}"}
        protection = f"{self.issuer}/authz/protection"
        found = HTTP.get(f"{protection}/resource_set", params={"name": "invoices"}, headers=bearer)
        asked = [{"resource_id": found.raise_for_status().json()[0]}]
        ticket = HTTP.post(f"{protection}/permission", json=asked, headers=bearer)
        return str(ticket.raise_for_status().json()["ticket"])

    def party_token(self, ticket: str) -> str:
        """Return the access token for a user's permission ticket; its audience is `billing` (UMA 2.0 §3.3.1)."""
        bearer = {"Authorization": f"Bearer {self.log_in()['access_token']}"}
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:uma-ticket", "ticket": ticket}
        return ask(self.endpoints["token"], form, headers=bearer)["access_token"]

    def reports(self, **form: str) -> Mapping[str, str]:
        """Return a token response to the client `reports`, which has a key."""
        proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": client_assertion(self.issuer)}
        return ask(self.endpoints["token"], {"grant_type": "client_credentials", **proof, **form})

    def admin_token(self) -> str:
        """Return an access token of the realm `master`."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": ADMIN, "password": ADMIN}
        return ask(f"{self.url}/realms/master/protocol/openid-connect/token", form)["access_token"]

    def admin(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request to the admin API; it must succeed."""
        bearer = {"Authorization": f"Bearer {self.admin_token()}"}
        response = HTTP.request(method, f"{self.url}/admin/realms{path}", headers=bearer, **request)
        assert response.is_success, f"{path}: {response.status_code} {response.text}"
        return response

    def rotate_keys(self) -> None:
        """Add a signing key of higher priority: Keycloak signs with it from now on."""
        priorities = [
            int(component["config"].get("priority", ["0"])[0])
            for component in self.admin("GET", "/shop/components?type=org.keycloak.keys.KeyProvider").json()
        ]
        component = {
            "name": "rotated",
            "providerId": "rsa",
            "providerType": "org.keycloak.keys.KeyProvider",
            # Ours, because Keycloak takes seconds to generate one.
            "config": {"priority": [str(max(priorities) + 1)], "algorithm": ["RS256"], "privateKey": [_new_key()]},
        }
        self.admin("POST", "/shop/components", json=component)

    @cached_property
    def access_tokens(self) -> dict[str, str]:
        """Every kind of access token that an API should accept."""
        login = self.log_in()
        return {
            "a person's, after the login page": login["access_token"],
            "a person's, refreshed": login.refreshed()["access_token"],
            "a person's, direct access grant": self.password_grant()["access_token"],
            "a person's, for offline use": self.password_grant(scope="openid offline_access")["access_token"],
            "a person's, exchanged": self.exchanged(login["access_token"], "access_token"),
            "a person's, of the type at+jwt": self.password_grant("at+jwt")["access_token"],
            **{
                f"a person's, signed by {algorithm}": self.password_grant(algorithm)["access_token"]
                for algorithm in ALGORITHMS
            },
            "a machine's with a secret": self.billing()["access_token"],
            "a machine's with a key": self.reports()["access_token"],
        }

    @cached_property
    def other_tokens(self) -> dict[str, str]:
        """Every other kind of token."""
        login = self.log_in(scope="openid profile email")
        endpoints = login.endpoints
        implicit = Browser().visit(
            authorization_url(endpoints, "web", response_type="id_token"), {"username": "ada", "password": PASSWORD}
        )
        jarm = Browser().visit(
            authorization_url(endpoints, "web", response_mode="query.jwt"), {"username": "ada", "password": PASSWORD}
        )
        assert "code" in claims_of(jarm["response"])
        userinfo = HTTP.get(endpoints["userinfo"], headers={"Authorization": f"Bearer {login['access_token']}"})
        tokens_endpoint = endpoints["token"]
        bound = self.log_in(headers={"DPoP": dpop_proof(tokens_endpoint)})
        refreshed = login.refreshed()
        offline = self.password_grant(scope="openid offline_access")
        initial = self.admin("POST", "/shop/clients-initial-access", json={"count": 1, "expiration": 600}).json()
        registered = HTTP.post(
            f"{self.issuer}/clients-registrations/openid-connect",
            json={"redirect_uris": ["https://client.example/*"]},
            headers={"Authorization": f"Bearer {initial['token']}"},
        )
        self.admin("POST", f"/shop/users/{ADA}/logout")
        return {
            "ID token": login["id_token"],
            "ID token, refreshed": refreshed["id_token"],
            "ID token, implicit flow": implicit["id_token"],
            "ID token, exchanged": self.exchanged(self.log_in()["access_token"], "id_token"),
            "refresh token": login["refresh_token"],
            "refresh token, exchanged": self.exchanged(self.log_in()["access_token"], "refresh_token"),
            "offline token": offline["refresh_token"],
            "logout token": self.logouts.wait_for_token(),
            "userinfo JWT": userinfo.text,
            "authorization response JWT": jarm["response"],
            "identity cookie": login.browser.cookies["KEYCLOAK_IDENTITY"],
            "DPoP-bound access token": bound["access_token"],
            "lightweight access token": self.password_grant("light")["access_token"],
            "client assertion": client_assertion(self.issuer),
            "DPoP proof": dpop_proof(tokens_endpoint),
            "permission ticket": self.permission_ticket(),
            "initial access token": initial["token"],
            "registration access token": registered.json()["registration_access_token"],
        }


@contextmanager
def running_keycloak(folder: Path, logouts: LogoutReceiver) -> Iterator[Keycloak]:
    """Run Keycloak with the realm `shop`, with its log in `folder`."""
    port, health_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        str(install.keycloak() / "bin/kc.sh"),
        "start",
        "--optimized",
        "--cache=local",
        "--http-enabled=true",
        "--http-host=127.0.0.1",
        f"--http-port={port}",
        f"--http-management-port={health_port}",
        f"--hostname={url}",
    ]
    environ = {
        "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
        "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN,
        # Half of the processor time until it is ready: nothing here runs long enough for the second compiler.
        "JAVA_OPTS": "-Dfile.encoding=UTF-8 -Xms256m -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    log = folder / "keycloak.log"
    with running(command, log, environ) as process:
        try:
            health = f"http://127.0.0.1:{health_port}/health/ready"
            wait_until_ready(process, lambda: get_status(health) == 200, log, _START_SECONDS)
            keycloak = Keycloak(url, logouts)
            keycloak.admin("POST", "", json=_realm(logouts.url))
            yield keycloak
        finally:
            # The script waits for the server, which has nothing worth saving and takes its time.
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()


def _new_key() -> str:
    """Return a private key as PEM."""
    key = rsa.generate_private_key(65537, 2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def _realm(logout_url: str) -> Any:
    """Return the realm file with the values that are known only at its start."""
    jwks = json.dumps(json.dumps({"keys": [public_jwk()]}))[1:-1]
    text = REALM.read_text(encoding="utf-8")
    return json.loads(text.replace("${LOGOUT_URL}", logout_url).replace("${REPORTS_JWKS}", jwks))
