"""The log lines of requests contain no secrets."""

import hashlib
import json
import time
from base64 import b64encode
from typing import Any
from urllib.parse import quote

import httpx

from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.plain_http import HTTP
from tests.support.postgres import execute

PASSWORD = "canary: the tide takes everything"


def events(issuer: IssuerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in issuer.log().splitlines()]


def events_of(issuer: IssuerProcess, response: httpx.Response) -> list[dict[str, Any]]:
    """Return the log lines of a request. Waits for the last one, which is written after the response."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = [event for event in events(issuer) if event.get("request_id") == response.headers["x-request-id"]]
        if found and found[-1]["event"] == "request":
            return found
        time.sleep(0.01)
    raise AssertionError("the request was never logged")


def test_every_line_is_one_json_object(issuer: IssuerProcess) -> None:
    issuer.register("lines@example.com\r\nforged: line")
    HTTP.get(f"{issuer.url}/nope", headers={"User-Agent": "a\tb", "X-Request-Id": "x" * 200})
    assert {event["process"] for event in events(issuer)} == {"issuer"}


def test_a_response_and_its_log_line_share_the_request_id(issuer: IssuerProcess) -> None:
    logged = events_of(issuer, issuer.register("ids@example.com"))
    assert [event["event"] for event in logged] == ["account_registered", "request"]
    assert (logged[1]["route"], logged[1]["status"]) == ("/register", 201)


def test_a_gateways_request_id_and_trace_are_kept(issuer: IssuerProcess) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-Id": "gateway-0001", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    logged = events_of(issuer, HTTP.get(f"{issuer.url}/me", headers=headers))[-1]
    assert (logged["request_id"], logged["trace_id"]) == ("gateway-0001", trace)


def test_an_invalid_request_id_is_replaced(issuer: IssuerProcess) -> None:
    for given in (
        "short",
        "x" * 65,
        "a b c d e f",
        "id\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9",
        "<script>alert</script>",
    ):
        headers = [(b"X-Request-Id", given.encode())]
        assert HTTP.get(f"{issuer.url}/me", headers=headers).headers["x-request-id"] != given


def test_no_secret_is_ever_written(database_url: str) -> None:
    with running_issuer(database_url, LOG_LEVEL="debug") as issuer:
        secrets = [PASSWORD, "canary@example.com", "Canary@Example.com"]
        token = exercise(issuer)
        stored = execute(database_url, "SELECT password_hash FROM users")[0][0]
        secrets += [token, token.split(".")[2], stored, stored.rsplit("$", 1)[1], database_url]
        pem = next((issuer.keys_dir / "private").glob("*.pem")).read_text()
        secrets += pem.splitlines()[1:-1]
        issuer.stop()
        written = issuer.log()
    assert "account_registered" in written
    for secret in secrets:
        for spelling in (secret, quote(secret), quote(secret, safe=""), b64encode(secret.encode()).decode()):
            assert spelling not in written
        assert hashlib.sha256(secret.encode()).hexdigest() not in written


def exercise(issuer: IssuerProcess) -> str:
    """Send valid and invalid requests, with secrets in every place where clients put them."""
    issuer.register("Canary@Example.com", PASSWORD)
    issuer.register("canary@example.com", PASSWORD)
    issuer.login("canary@example.com", PASSWORD + "!")
    issuer.login(PASSWORD, PASSWORD)
    token: str = issuer.login("canary@example.com", PASSWORD).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    HTTP.get(f"{issuer.url}/me", headers=bearer)
    HTTP.get(f"{issuer.url}/me", headers={"Authorization": f"Bearer {token}x"})
    HTTP.get(f"{issuer.url}/me", params={"access_token": token, "password": PASSWORD})
    HTTP.get(f"{issuer.url}/{token}", headers={"Cookie": f"token={token}", "Referer": token, "User-Agent": token})
    HTTP.post(f"{issuer.url}/login", content=f'{{"email":"canary@example.com","password":"{PASSWORD}"')
    HTTP.post(f"{issuer.url}/login", json={PASSWORD: token})
    HTTP.post(f"{issuer.url}/login", data={"email": "canary@example.com", "password": PASSWORD})
    HTTP.request("DELETE", f"{issuer.url}/login", params={"password": PASSWORD}, headers=bearer)
    execute(issuer.database_url, "ALTER TABLE users RENAME TO elsewhere")
    issuer.login("canary@example.com", PASSWORD)
    issuer.register("canary@example.com", PASSWORD)
    execute(issuer.database_url, "ALTER TABLE elsewhere RENAME TO users")
    execute(issuer.database_url, "ALTER TABLE users ADD CONSTRAINT odd CHECK (email_key <> 'canary2@example.com')")
    assert issuer.register("canary2@example.com", PASSWORD).status_code == 500
    return token


def test_metrics_count_routes_and_never_paths(issuer: IssuerProcess) -> None:
    HTTP.get(f"{issuer.url}/no/such/canary")
    text = issuer.admin("/metrics").text
    assert "canary" not in text
    assert 'route="unmatched"' in text
