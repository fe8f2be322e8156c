"""`Upgrade` is ignored: a body stays a body in any split, and each request has one response."""

import json
import socket
import time
from itertools import chain

import pytest

from tests.support.issuer_process import PASSWORD, IssuerProcess
from tests.support.processes import ROOT, finished
from tests.support.programs import program
from tests.support.raw_responses import read_response

SMUGGLED = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
LENGTH = b"Content-Length: %d" % len(SMUGGLED)
FRAMINGS = {"length": (LENGTH, SMUGGLED), "chunks": (b"Transfer-Encoding: chunked", CHUNKED)}
PROTOCOLS = (b"h2c", b"websocket", b"foo", b"TLS/1.0, foo")


def head(method: bytes, protocol: bytes, framing: bytes) -> bytes:
    connection = b"Connection: Upgrade, HTTP2-Settings"
    lines = [method + b" /nothing HTTP/1.1", b"Host: x", connection, b"Upgrade: " + protocol]
    return b"\r\n".join([*lines, b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA", framing, b"", b""])


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("method", "protocol"),
    [*((b"POST", protocol) for protocol in PROTOCOLS), *((method, b"h2c") for method in (b"GET", b"DELETE"))],
)
def test_a_body_that_arrives_later_is_not_a_request(
    issuer: IssuerProcess, method: bytes, protocol: bytes, framing: str
) -> None:
    field, body = FRAMINGS[framing]
    with socket.create_connection(("127.0.0.1", issuer.port), timeout=10) as client:
        client.sendall(head(method, protocol, field))
        time.sleep(0.01)
        client.sendall(body)
        assert read_response(client).status == 404
        client.sendall(b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(client).status == 401


def test_the_jdk_client_works_at_its_defaults(issuer: IssuerProcess) -> None:
    java = program("java", "default-jdk-headless")
    assert issuer.register("jdk@example.com").status_code == 201
    requests = [
        ("/login", "application/json", json.dumps({"email": "jdk@example.com", "password": PASSWORD})),
        ("/token", "application/x-www-form-urlencoded", "grant_type=client_credentials"),
        ("/password/forgot", "application/json", json.dumps({"email": "jdk@example.com"})),
    ]
    command = [java, str(ROOT / "tests/support/JdkClient.java"), issuer.url, *chain.from_iterable(requests)]
    done = finished(command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == 3 * [
        "/login 200 HTTP_1_1",
        "/token 401 HTTP_1_1",
        "/password/forgot 202 HTTP_1_1",
    ]
