"""Hostile bodies get a 4xx problem document that does not quote them, and have no other effect."""

import json
import socket
from collections.abc import Iterator
from itertools import count

import httpx
import pytest

from tests.support.issuer_process import PASSWORD, IssuerProcess
from tests.support.plain_http import HTTP
from tests.support.postgres import execute

JSON = "application/json"
CANARY = "hunter2-is-nobodys-business"


def credentials(email: object = "ann@example.com", password: object = PASSWORD, **more: object) -> bytes:
    return json.dumps({"email": email, "password": password} | more).encode()


# A few: unit tests have every way in which JSON is not strict, and every way in which an email is none.
NOT_JSON = [
    b"",
    b"null",
    b'[{"email":"ann@example.com"}]',
    credentials() + b" x",
    credentials()[:-1] + b',"password":"another lonely walk"}',
    credentials().replace(b"long", b"\xff\xfe"),
    b"\xef\xbb\xbf" + credentials(),
    credentials().decode().encode("utf-16"),
    b'{"email":"ann@example.com","password":' + b"9" * 5000 + b"}",
    b'{"email":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b"email=ann%40example.com&password=x",
]

NOT_ACCEPTABLE = [
    (b"{}", {"email", "password"}),
    (b'{"email":"ann@example.com"}', {"password"}),
    (b'{"password":"a long and lonely walk"}', {"email"}),
    (b'{"Email":"ann@example.com","Password":"x"}', {"email", "password", "Email", "Password"}),
    (credentials(email=None), {"email"}),
    (credentials(email=7), {"email"}),
    (credentials(email=["ann@example.com"]), {"email"}),
    (credentials(email={"$ne": ""}), {"email"}),
    (credentials(password=None), {"password"}),
    (credentials(password=7), {"password"}),
    (credentials(email=7, password=7), {"email", "password"}),
    (credentials(id="00000000-0000-0000-0000-000000000000"), {"id"}),
    (credentials(roles=["admin"]), {"roles"}),
    (credentials(is_admin=True), {"is_admin"}),
    (credentials(__proto__={"admin": True}), {"__proto__"}),
    (credentials(**{CANARY + "!": 1}), {"*"}),
    (credentials(**{"\r\nSet-Cookie: a=b": 1}), {"*"}),
    (credentials(**{"": 1}), {"*"}),
    (credentials(**{f"x{number}": 1 for number in range(500)}), {f"x{number}" for number in range(16)}),
    (credentials(email="ann\0@example.com"), {"email"}),
    (credentials(password="a long and\0 lonely walk"), {"password"}),
    (credentials(email="ann\ud800@example.com"), {"email"}),
    (credentials(password="\udc00 a long and lonely walk"), {"password"}),
    (credentials(email="ann\ud800@example.com", password="\ud800" * 20), {"email", "password"}),
    (credentials(email=CANARY), {"email"}),
    (credentials(email="a" * 60_000 + "@example.com"), {"email"}),
    (credentials(email="a@" + "b." * 20_000 + "com"), {"email"}),
    (credentials(password="x" * 257), {"password"}),
    (credentials(password="\u0323\u0307" * 5_000), {"password"}),
]

# Rejected only by a registration.
TOO_WEAK = [
    (credentials(password=""), {"password"}),
    (credentials(password=CANARY[:14]), {"password"}),
    (credentials(password="ann@example.com"), {"password"}),
    (credentials(email="", password=""), {"email", "password"}),
]


@pytest.fixture(autouse=True)
def nothing_is_stored(issuer: IssuerProcess) -> Iterator[None]:
    yield
    assert execute(issuer.database_url, "SELECT count(*) FROM users")[0]["count"] == 0
    assert issuer.process.poll() is None


def post(issuer: IssuerProcess, path: str, body: bytes, content_type: str = JSON) -> httpx.Response:
    response = HTTP.post(f"{issuer.url}{path}", content=body, headers={"Content-Type": content_type})
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code
    assert CANARY not in response.text
    return response


@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.parametrize("body", NOT_JSON, ids=count())
def test_a_body_that_is_not_one_json_object_is_malformed(issuer: IssuerProcess, path: str, body: bytes) -> None:
    response = post(issuer, path, body)
    assert response.status_code == 400
    assert response.json()["type"] == "urn:gatepass:problem:malformed-json"


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        *(("/register", *case) for case in NOT_ACCEPTABLE + TOO_WEAK),
        *(("/login", *case) for case in NOT_ACCEPTABLE),
    ],
    ids=count(),
)
def test_unacceptable_members_are_named(issuer: IssuerProcess, path: str, body: bytes, fields: set[str]) -> None:
    response = post(issuer, path, body)
    assert response.status_code == 422
    assert {error["field"] for error in response.json()["errors"]} == fields


@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/json;;",
        "application/jsonx",
        "application/json, text/plain",
    ],
)
def test_a_body_not_declared_as_json_is_not_read(issuer: IssuerProcess, path: str, content_type: str) -> None:
    assert post(issuer, path, credentials(), content_type).status_code == 415


@pytest.mark.parametrize("headers", [{}, {"Content-Type": JSON, "Content-Encoding": "gzip"}])
def test_a_compressed_body_or_one_of_no_type_is_not_read(issuer: IssuerProcess, headers: dict[str, str]) -> None:
    assert HTTP.post(f"{issuer.url}/register", content=credentials(), headers=headers).status_code == 415


def test_a_body_over_64_kib_is_rejected(issuer: IssuerProcess) -> None:
    assert post(issuer, "/register", b" " * (64 * 1024 + 1)).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/register/", 404),
        ("POST", "/Register", 404),
        ("GET", "/register/../me", 404),
        ("GET", "/%6De/..", 404),
        ("GET", "/metrics", 404),
        ("GET", "/healthz", 404),
        ("GET", "/register", 405),
        ("PUT", "/login", 405),
        ("POST", "/.well-known/jwks.json", 405),
        ("BREW", "/login", 405),
    ],
)
def test_unknown_paths_and_methods_are_problems_too(
    issuer: IssuerProcess, method: str, path: str, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", issuer.port), timeout=10) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        response = b"".join(iter(lambda: client.recv(65536), b""))
    if method == "BREW":
        assert response.startswith((b"HTTP/1.1 400", b"HTTP/1.1 405"))
    else:
        assert response.startswith(f"HTTP/1.1 {status}".encode())
        assert (b"\r\nallow: " in response) == (status == 405)
    assert b"application/problem+json" in response


def test_options_names_what_a_path_takes(issuer: IssuerProcess) -> None:
    response = HTTP.options(f"{issuer.url}/me")
    assert (response.status_code, response.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS")
    assert HTTP.options(f"{issuer.url}/nope").status_code == 404


def test_head_responds_as_get_without_its_body(issuer: IssuerProcess) -> None:
    got, head = (HTTP.request(method, f"{issuer.url}/openapi.json") for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
