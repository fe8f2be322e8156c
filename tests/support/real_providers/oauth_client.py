"""An OAuth client of a provider: the code flow, its own credentials, and receiving logout tokens."""

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.http_listener import Handler, serving
from tests.support.processes import wait_until
from tests.support.real_providers.browser import REDIRECT_URI, Browser

PASSWORD: Final = "seven quiet green rivers"

REPORTS_KEY: Final = ec.generate_private_key(ec.SECP256R1())
"""The key of the client `reports`, for its assertions and its DPoP proofs."""

_JWK: Final = jwt.algorithms.ECAlgorithm.to_jwk(REPORTS_KEY.public_key(), as_dict=True)

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

HTTP: Final = httpx.Client(verify=False, timeout=30, limits=httpx.Limits(max_keepalive_connections=0))


def metadata_url(issuer: str) -> str:
    """Return the URL of a provider's metadata (OpenID Connect Discovery §4)."""
    return f"{issuer}/.well-known/openid-configuration"


def public_jwk() -> dict[str, Any]:
    """Return the public half of `REPORTS_KEY`."""
    return {**_JWK, "kid": "the key of reports", "alg": "ES256", "use": "sig"}


def client_assertion(audience: str, **changes: Any) -> str:
    """Return a client assertion of `reports` (RFC 7523 §3) that the provider at `audience` accepts."""
    now = int(time.time())
    claims = {
        "iss": "reports",
        "sub": "reports",
        "aud": audience,
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_hex(8),
    }
    return jwt.encode(claims | changes, REPORTS_KEY, "ES256", {"kid": "the key of reports"})


def dpop_proof(url: str) -> str:
    """Return a proof for a POST to `url` (RFC 9449 §4.2)."""
    claims = {"htm": "POST", "htu": url, "iat": int(time.time()), "jti": secrets.token_hex(8)}
    return jwt.encode(claims, REPORTS_KEY, "ES256", {"typ": "dpop+jwt", "jwk": _JWK})


def key_proof(audience: str, nonce: str) -> str:
    """Return a proof of `REPORTS_KEY` for a credential that is to be bound to it."""
    claims = {"aud": audience, "nonce": nonce, "iat": int(time.time())}
    return jwt.encode(claims, REPORTS_KEY, "ES256", {"typ": "openid4vci-proof+jwt", "jwk": _JWK})


@dataclass(frozen=True)
class Endpoints:
    """The endpoints that a provider names in its metadata."""

    metadata: Mapping[str, Any]

    @classmethod
    def discover(cls, issuer: str) -> "Endpoints":
        """Read the metadata of OpenID Connect Discovery."""
        response = HTTP.get(metadata_url(issuer)).raise_for_status()
        return cls(response.json())

    def __getitem__(self, name: str) -> str:
        return str(self.metadata[f"{name}_endpoint"])


@dataclass(frozen=True)
class Login:
    """A user's login at a provider through a client, and the browser of the user."""

    endpoints: Endpoints
    client_id: str
    browser: Browser
    granted: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Return a member of the token response."""
        return str(self.granted[name])

    def refreshed(self, **parameters: str) -> Mapping[str, str]:
        """Return the response to a refresh."""
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self["refresh_token"],
            "client_id": self.client_id,
            **parameters,
        }
        return ask(self.endpoints["token"], form)


def ask(url: str, form: Mapping[str, str], **request: Any) -> Mapping[str, str]:
    """POST a form that must succeed; return the members of the response."""
    response = HTTP.post(url, data=form, **request)
    assert response.is_success, f"{url}: {response.status_code} {response.text}"
    members: Mapping[str, str] = response.json()
    return members


def authorization_url(endpoints: Endpoints, client_id: str, **parameters: str) -> str:
    """Return an authorization request, OpenID Connect Core §3.1.2.1."""
    given = {
        "client_id": client_id,
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": "openid",
        "state": secrets.token_hex(8),
        "nonce": secrets.token_hex(8),
        **parameters,
    }
    return f"{endpoints['authorization']}?{urlencode(given)}"


def challenge(verifier: str) -> dict[str, str]:
    """Return the parameters of an authorization request for PKCE (RFC 7636 §4.3)."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return {"code_challenge": digest.decode(), "code_challenge_method": "S256"}


def log_in(
    endpoints: Endpoints,
    client_id: str,
    entries: Mapping[str, str],
    *,
    browser: Browser | None = None,
    headers: Mapping[str, str] | None = None,
    token_parameters: Mapping[str, str] | None = None,
    **parameters: str,
) -> Login:
    """Do the code flow with PKCE (RFC 7636) as a user with a browser and a public client.

    Args:
        entries: the inputs of the user.
        browser: of the user; a new one if None.
        headers: of the token request.
        token_parameters: further parameters of the token request.
        parameters: further parameters of the authorization request.
    """
    browser = browser or Browser()
    verifier = secrets.token_urlsafe(32)
    handed = browser.visit(authorization_url(endpoints, client_id, **challenge(verifier), **parameters), entries)
    assert "code" in handed, handed
    form = {
        "grant_type": "authorization_code",
        "code": handed["code"],
        "code_verifier": verifier,
        "redirect_uri": REDIRECT_URI,
        "client_id": client_id,
        **(token_parameters or {}),
    }
    return Login(endpoints, client_id, browser, ask(endpoints["token"], form, headers=headers))


@dataclass
class LogoutReceiver:
    """A client's back-channel logout endpoint (OpenID Connect Back-Channel Logout §2.5)."""

    url: str
    tokens: list[str] = field(default_factory=list)

    def wait_for_token(self) -> str:
        """Wait for a logout token; return the last one."""
        wait_until(lambda: bool(self.tokens), "a logout token")
        return self.tokens[-1]


@contextmanager
def receiving_logouts() -> Iterator[LogoutReceiver]:
    """Yield a listener for logout tokens."""

    class Endpoint(Handler):
        def on_request(self) -> None:
            receiver.tokens.extend(parse_qs(self.body().decode())["logout_token"])
            self.respond(200)

    with serving(Endpoint) as url:
        receiver = LogoutReceiver(f"{url}/logout")
        yield receiver


@dataclass(frozen=True)
class Provider:
    """A running provider, and where it sends logout tokens."""

    url: str
    logouts: LogoutReceiver

    @property
    def issuer(self) -> str:
        return self.url

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints.discover(self.issuer)
