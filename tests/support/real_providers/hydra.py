"""Ory Hydra with JWT access tokens, and a login and consent application that accepts the user Ada."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.http_listener import Handler, serving
from tests.support.plain_http import get_status
from tests.support.processes import free_port, running
from tests.support.real_providers import install
from tests.support.real_providers.browser import REDIRECT_URI, Browser
from tests.support.real_providers.oauth_client import (
    ASSERTION_TYPE,
    HTTP,
    Login,
    LogoutReceiver,
    Provider,
    ask,
    authorization_url,
    client_assertion,
    key_proof,
    log_in,
    public_jwk,
)

AUDIENCE: Final = "https://orders.example"
SUBJECT: Final = "ada"
_SCOPE: Final = "openid offline orders:read"
_CREDENTIAL_SCOPE: Final = "userinfo_credential_draft_00"
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True)
class Hydra(Provider):
    """A running Hydra."""

    admin_url: str

    def log_in(self, client_id: str = "web", **request: Any) -> Login:
        """Log Ada in, with tokens for the API."""
        given = {"scope": _SCOPE, "audience": AUDIENCE, **request}
        return log_in(self.endpoints, client_id, {}, **given)

    def reports(self, **form: str) -> Mapping[str, str]:
        """Return a token response to the client `reports`, which has a key."""
        given = {
            "grant_type": "client_credentials",
            "scope": "orders:read",
            "audience": AUDIENCE,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": client_assertion(self.endpoints["token"]),
        }
        return ask(self.endpoints["token"], given | form)

    @cached_property
    def access_tokens(self) -> dict[str, str]:
        """Every kind of access token that an API should accept."""
        login = self.log_in()
        return {
            "a person's": login["access_token"],
            "a person's, refreshed": login.refreshed()["access_token"],
            "a person's, for an assertion": self._for_assertion(self._assertion())["access_token"],
            "a machine's": self.reports()["access_token"],
        }

    @cached_property
    def other_tokens(self) -> dict[str, str]:
        """Every other kind of token."""
        login = self.log_in()
        endpoints = login.endpoints
        userinfo = HTTP.get(endpoints["userinfo"], headers={"Authorization": f"Bearer {login['access_token']}"})
        implicit = Browser().visit(authorization_url(endpoints, "web", response_type="id_token"), {})
        hybrid = Browser().visit(authorization_url(endpoints, "web", response_type="code id_token"), {})
        refreshed = login.refreshed()
        login.browser.visit(f"{endpoints['end_session']}?{urlencode({'id_token_hint': login['id_token']})}", {})
        return {
            "ID token": login["id_token"],
            "ID token, refreshed": refreshed["id_token"],
            "ID token, implicit flow": implicit["id_token"],
            "ID token, hybrid flow": hybrid["id_token"],
            "opaque access token": self.log_in("opaque")["access_token"],
            "refresh token": login["refresh_token"],
            "logout token": self.logouts.wait_for_token(),
            "userinfo JWT": userinfo.text,
            "verifiable credential": self._credential(),
            "client assertion": client_assertion(endpoints["token"]),
            "authorization grant assertion": self._assertion(),
        }

    def _credential(self) -> str:
        """Return a verifiable credential about Ada, bound to a key (OpenID4VCI, draft)."""
        login = self.log_in(scope=f"openid {_CREDENTIAL_SCOPE}")
        proof = key_proof(self.issuer, login["c_nonce_draft_00"])
        response = HTTP.post(
            login.endpoints.metadata["credentials_endpoint_draft_00"],
            json={
                "format": "jwt_vc_json",
                "types": ["VerifiableCredential", "UserInfoCredential"],
                "proof": {"proof_type": "jwt", "jwt": proof},
            },
            headers={"Authorization": f"Bearer {login['access_token']}"},
        )
        return str(response.raise_for_status().json()["credential_draft_00"])

    def _assertion(self) -> str:
        """Return an assertion about Ada by an issuer that Hydra trusts (RFC 7523 §3)."""
        return client_assertion(self.endpoints["token"], iss="https://partner.example", sub=SUBJECT)

    def _for_assertion(self, assertion: str) -> Mapping[str, str]:
        form = {"grant_type": _JWT_BEARER, "assertion": assertion, "scope": "orders:read", "audience": AUDIENCE}
        return self.reports(**form)

    def set_up(self) -> None:
        """Register the clients."""
        web = {
            "client_id": "web",
            "token_endpoint_auth_method": "none",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token", "implicit"],
            "response_types": ["code", "id_token", "code id_token"],
            "scope": f"{_SCOPE} {_CREDENTIAL_SCOPE}",
            "audience": [AUDIENCE],
            "userinfo_signed_response_alg": "RS256",
            "backchannel_logout_uri": self.logouts.url,
            "backchannel_logout_session_required": True,
        }
        reports = {
            "client_id": "reports",
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "jwks": {"keys": [public_jwk()]},
            "grant_types": ["client_credentials", _JWT_BEARER],
            "scope": "orders:read",
            "audience": [AUDIENCE],
        }
        for client in (web, web | {"client_id": "opaque", "access_token_strategy": "opaque"}, reports):
            self._admin("POST", "/clients", client)
        partner = {
            "issuer": "https://partner.example",
            "allow_any_subject": True,
            "scope": ["orders:read"],
            "jwk": public_jwk(),
            "expires_at": "2100-01-01T00:00:00Z",
        }
        self._admin("POST", "/trust/grants/jwt-bearer/issuers", partner)

    def accept(self, kind: str, challenge: str) -> str:
        """Accept a login, a consent or a logout; return the next URL of the browser."""
        path = f"/oauth2/auth/requests/{kind}"
        asked = self._admin("GET", f"{path}?{kind}_challenge={challenge}")
        responses = {
            "login": {"subject": SUBJECT, "remember": True},
            "consent": {
                "grant_scope": asked.get("requested_scope"),
                "grant_access_token_audience": asked.get("requested_access_token_audience"),
            },
            "logout": None,
        }
        accepted = self._admin("PUT", f"{path}/accept?{kind}_challenge={challenge}", responses[kind])
        return str(accepted["redirect_to"])

    def _admin(self, method: str, path: str, document: Any = None) -> Any:
        response = HTTP.request(method, f"{self.admin_url}/admin{path}", json=document)
        assert response.is_success, f"{path}: {response.status_code} {response.text}"
        return response.json()


@contextmanager
def running_hydra(folder: Path, logouts: LogoutReceiver) -> Iterator[Hydra]:
    """Run Hydra and its login application, with its log in `folder`."""
    port, admin_port, login_port = free_port(), free_port(), free_port()
    hydra = Hydra(f"http://127.0.0.1:{port}", logouts, f"http://127.0.0.1:{admin_port}")
    config = {
        "dsn": "memory",
        "strategies": {"access_token": "jwt"},
        "secrets": {"system": ["a secret of the tests, long enough"]},
        "serve": {"public": {"host": "127.0.0.1", "port": port}, "admin": {"host": "127.0.0.1", "port": admin_port}},
        "urls": {
            "self": {"issuer": hydra.issuer},
            **{kind: f"http://127.0.0.1:{login_port}/{kind}" for kind in ("login", "consent", "logout")},
            "post_logout_redirect": REDIRECT_URI,
        },
        "sqa": {"opt_out": True},
    }
    file, log = folder / "hydra.json", folder / "hydra.log"
    file.write_text(json.dumps(config), encoding="utf-8")
    command = [str(install.hydra()), "serve", "all", "--dev", "--config", str(file)]
    with (
        serving(_login_application(hydra), login_port),
        running(command, log, ready=lambda: get_status(f"{hydra.admin_url}/health/ready") == 200, seconds=60),
    ):
        hydra.set_up()
        yield hydra


def _login_application(hydra: Hydra) -> type[Handler]:
    """Return the pages that Hydra leaves to its operator."""

    class Pages(Handler):
        def on_request(self) -> None:
            parts = urlsplit(self.path)
            kind = parts.path.strip("/")
            challenge = parse_qs(parts.query)[f"{kind}_challenge"][0]
            self.respond(302, ("Location", hydra.accept(kind, challenge)))

    return Pages
