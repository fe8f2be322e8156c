"""The requests that the load sends, as bytes."""

import base64
import json
from urllib.parse import urlencode

from issuer.tokens.models import FIRST_PARTY_CLIENT
from loadtests.bench_issuer.testbed import PASSWORD
from loadtests.seed import email_of


def request(method: str, path: str, body: bytes = b"", *fields: str) -> bytes:
    """Return a request with further header fields, each a whole line."""
    head = [f"{method} {path} HTTP/1.1", "Host: issuer", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


def login(number: int) -> bytes:
    """Return the login request of one of the accounts."""
    body = json.dumps({"email": email_of(number), "password": PASSWORD}).encode()
    return request("POST", "/login", body, "Content-Type: application/json")


def refresh(token: str) -> bytes:
    """Return the request that refreshes a session."""
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": FIRST_PARTY_CLIENT}
    return request("POST", "/token", urlencode(form).encode(), "Content-Type: application/x-www-form-urlencoded")


def client_credentials(client_id: str, client_secret: str) -> bytes:
    """Return the request by which a client gets an access token."""
    credentials = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    fields = f"Authorization: Basic {credentials}", "Content-Type: application/x-www-form-urlencoded"
    return request("POST", "/token", b"grant_type=client_credentials", *fields)


def with_token(method: str, path: str, token: str) -> bytes:
    """Return a request with the access token."""
    return request(method, path, b"", f"Authorization: Bearer {token}")
