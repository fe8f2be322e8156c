"""npm's oidc-provider: access tokens by RFC 9068 in ES256, EdDSA and PS256, and every other kind of token in each."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from tests.support.plain_http import get_status
from tests.support.processes import free_port, running
from tests.support.programs import program
from tests.support.real_providers import install
from tests.support.real_providers.browser import REDIRECT_URI, Browser
from tests.support.real_providers.oauth_client import (
    ASSERTION_TYPE,
    HTTP,
    PASSWORD,
    Login,
    LogoutReceiver,
    Provider,
    ask,
    authorization_url,
    challenge,
    client_assertion,
    dpop_proof,
    log_in,
    metadata_url,
    public_jwk,
)
from tests.support.token_forge import claims_of

ALGORITHMS: Final = ("ES256", "EdDSA", "PS256")
_ENTRIES: Final = {"login": "ada", "password": PASSWORD}


def audience(algorithm: str) -> str:
    """Return the API whose access tokens are signed by this algorithm."""
    return f"https://orders.example/{algorithm}"


@dataclass(frozen=True)
class OidcProvider(Provider):
    """A running oidc-provider."""

    def log_in(self, algorithm: str, **request: Any) -> Login:
        """Log Ada in, with tokens for the API of that algorithm."""
        given = {"scope": "openid offline_access orders:read", "prompt": "consent", **request}
        return log_in(
            self.endpoints,
            f"web-{algorithm}",
            _ENTRIES,
            resource=audience(algorithm),
            token_parameters={"resource": audience(algorithm)},
            **given,
        )

    def reports(self, algorithm: str) -> Mapping[str, str]:
        """Return a token response to the client `reports`, which has a key."""
        form = {"grant_type": "client_credentials", "scope": "orders:read", "resource": audience(algorithm)}
        return ask(self.endpoints["token"], form | self._proof())

    @cached_property
    def access_tokens(self) -> dict[str, dict[str, str]]:
        """Every kind of access token that an API should accept, by algorithm."""
        return {algorithm: self._access_tokens(algorithm) for algorithm in ALGORITHMS}

    @cached_property
    def other_tokens(self) -> dict[str, dict[str, str]]:
        """Every other kind of token, by algorithm."""
        return {algorithm: self._other_tokens(algorithm) for algorithm in ALGORITHMS}

    def _access_tokens(self, algorithm: str) -> dict[str, str]:
        login = self.log_in(algorithm)
        return {
            "a person's": login["access_token"],
            "a person's, refreshed": login.refreshed(resource=audience(algorithm))["access_token"],
            "a machine's": self.reports(algorithm)["access_token"],
        }

    def _other_tokens(self, algorithm: str) -> dict[str, str]:
        login = self.log_in(algorithm)
        endpoints, client = login.endpoints, login.client_id
        # Without an API the access token is for the userinfo endpoint alone, and opaque.
        opaque = log_in(endpoints, client, _ENTRIES)
        userinfo = HTTP.get(endpoints["userinfo"], headers={"Authorization": f"Bearer {opaque['access_token']}"})
        implicit = Browser().visit(authorization_url(endpoints, client, response_type="id_token"), _ENTRIES)
        jarm = Browser().visit(
            authorization_url(endpoints, client, response_mode="query.jwt", **challenge("unused")), _ENTRIES
        )
        assert "code" in claims_of(jarm["response"])
        introspection = HTTP.post(
            endpoints["introspection"],
            data={"token": opaque["access_token"], "client_id": client},
            headers={"Accept": "application/token-introspection+jwt"},
        )
        bound = self.log_in(algorithm, headers={"DPoP": dpop_proof(endpoints["token"])})
        refreshed = login.refreshed(resource=audience(algorithm))
        login.browser.submit(
            f"{endpoints['end_session']}?{urlencode({'id_token_hint': login['id_token']})}", {"logout": "yes"}
        )
        return {
            "ID token": login["id_token"],
            "ID token, refreshed": refreshed["id_token"],
            "ID token, implicit flow": implicit["id_token"],
            "opaque access token": opaque["access_token"],
            "refresh token": login["refresh_token"],
            "logout token": self.logouts.wait_for_token(),
            "userinfo JWT": userinfo.text,
            "authorization response JWT": jarm["response"],
            "introspection JWT": introspection.text,
            "DPoP-bound access token": bound["access_token"],
            "client assertion": client_assertion(self.issuer),
            "DPoP proof": dpop_proof(endpoints["token"]),
        }

    def _proof(self) -> dict[str, str]:
        return {
            "client_id": "reports",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": client_assertion(self.issuer),
        }


@contextmanager
def running_oidc_provider(folder: Path, logouts: LogoutReceiver) -> Iterator[OidcProvider]:
    """Run the provider, with its log in `folder`."""
    port = free_port()
    environ = {
        "PORT": str(port),
        "LOGOUT_URL": logouts.url,
        "REDIRECT_URI": REDIRECT_URI,
        "REPORTS_JWKS": json.dumps({"keys": [public_jwk()]}),
    }
    command = [program("node", "nodejs"), str(install.oidc_provider() / "server.mjs")]
    provider = OidcProvider(f"http://127.0.0.1:{port}", logouts)
    described = metadata_url(provider.issuer)
    with running(command, folder / "oidc-provider.log", environ, lambda: get_status(described) == 200):
        yield provider
