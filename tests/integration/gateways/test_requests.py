"""Requests pass a gateway unchanged: methods, bodies, WebSocket handshakes. None bypasses the check."""

import hashlib
import http.client
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tests.integration.gateways.conftest import Gateway
from tests.support.gateway_programs import Difference
from tests.support.gateways import Response, running_gateway
from tests.support.http2 import exchange

MEBIBYTE = bytes(range(256)) * 4096
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The handshake of RFC 6455 §1.3. HAProxy checks the response to it."""


@pytest.mark.parametrize("body", [b"", b"hello", MEBIBYTE], ids=["empty", "small", "1 MiB"])
def test_a_body_arrives_complete(gateway: Gateway, body: bytes) -> None:
    response = gateway.ask("/", f"Content-Length: {len(body)}", method="POST", token=gateway.token(), body=body)
    assert response.application["body"] == _described(body)


@pytest.mark.parametrize("size", [5, 70_000])
def test_a_chunked_body_arrives_complete(gateway: Gateway, size: int) -> None:
    chunks = [MEBIBYTE[start : start + size] for start in range(0, 3 * size, size)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    if gateway.differs(Difference.REJECTS_CHUNKED_BODIES):
        body = body[:100]  # It responds and closes before it has read a long one, and the response may be lost.
    response = gateway.ask("/", "Transfer-Encoding: chunked", method="POST", token=gateway.token(), body=body)
    if gateway.differs(Difference.REJECTS_CHUNKED_BODIES):
        assert response.status == HTTPStatus.LENGTH_REQUIRED
    else:
        assert response.application["body"] == _described(b"".join(chunks))


def test_a_trailer_never_becomes_a_header_of_the_application(gateway: Gateway) -> None:
    body = b"5\r\nhello\r\n0\r\nX-Auth-Subject: another-user\r\nX-Auth-Roles: admin\r\n\r\n"
    response = gateway.ask("/", "Transfer-Encoding: chunked", method="POST", token=gateway.token(), body=body)
    if gateway.differs(Difference.REJECTS_CHUNKED_BODIES):
        assert response.status == HTTPStatus.LENGTH_REQUIRED
    else:
        assert response.identity["X-Auth-Subject"] != "another-user"
        assert "X-Auth-Roles" not in response.identity


def test_a_trailer_over_http2_never_becomes_a_header_of_the_application(gateway: Gateway) -> None:
    # HAProxy and others recognise HTTP/2 by its first bytes, also where TLS has not negotiated it.
    fields = [
        *((":method", "POST"), (":scheme", "http"), (":authority", "app.example"), (":path", "/")),
        ("authorization", f"Bearer {gateway.token().decode()}"),
    ]
    trailers = [("x-auth-subject", "another-user"), ("x-auth-roles", "another-user")]
    response = exchange(gateway.port, fields, b"hello", trailers)
    assert response
    assert b"another-user" not in response


def test_the_body_of_a_rejected_request_reaches_no_application(gateway: Gateway) -> None:
    response = gateway.ask("/", "Content-Length: 5", method="POST", body=b"hello")
    assert response.status == 401


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_method_is_checked_and_passed_on(gateway: Gateway, method: str) -> None:
    response = gateway.ask("/", "Content-Length: 0", method=method, token=gateway.token())
    assert (response.status, response.application["method"]) == (200, method)
    assert gateway.ask("/", "Content-Length: 0", method=method).status == 401
    assert gateway.ask("/admin/", "Content-Length: 0", method=method, token=gateway.token()).status == 403


def test_head_is_checked_and_passed_on(gateway: Gateway) -> None:
    response = gateway.ask(method="HEAD", token=gateway.token())
    assert (response.status, response.body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0
    assert gateway.ask(method="HEAD").status == 401


def test_a_client_that_expects_100_continue_sends_its_body(gateway: Gateway) -> None:
    interim, response = _expect(gateway, gateway.token())
    assert interim == 100
    assert response.application["body"] == _described(b"hello")


def test_a_rejected_request_gets_no_100_continue(gateway: Gateway) -> None:
    _, response = _expect(gateway, b"x")
    assert (response.status, response.challenge) == (401, 'Bearer realm="gatepass", error="invalid_token"')


def _expect(gateway: Gateway, token: bytes) -> tuple[int, Response]:
    """Return the first status and the response; the body is sent after a 100 (RFC 9110 §10.1.1)."""
    head = (
        "POST / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nContent-Length: 5\r\n"
        f"Expect: 100-continue\r\nAuthorization: Bearer {token.decode()}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as connection:
        connection.sendall(head.encode())
        first = connection.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL)
        if first.endswith(b" 100"):
            connection.sendall(b"hello")
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        return int(first[-3:]), Response(response.status, response.headers, response.read())


class UpgradingApplication:
    """A server that accepts any upgrade, and then echoes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.heads: list[bytes] = []

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb", buffering=0) as stream:
                self._respond(stream)

    def _respond(self, stream: socket.SocketIO) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (byte := stream.read(1)):
                return
            head += byte
        self.heads.append(head)
        protocol = next((line[9:] for line in head.split(b"\r\n") if line.lower().startswith(b"upgrade: ")), None)
        if protocol is None:
            stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        fields = b"Connection: Upgrade\r\nUpgrade: %b\r\nSec-WebSocket-Accept: %b\r\n" % (protocol, ACCEPT)
        stream.write(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n" % fields)
        while received := stream.read(100):
            stream.write(received)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="module")
def upgrading_gateway(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, UpgradingApplication]]:
    application = UpgradingApplication()
    server = threading.Thread(target=application.serve)
    server.start()
    folder = tmp_path_factory.mktemp("upgrading")
    try:
        with running_gateway(gateway.name, folder, gateway.verifier.port, application.port) as port:
            yield Gateway(gateway.name, port, gateway.verifier), application
    finally:
        application.close()
        server.join()


@pytest.fixture
def upgrading(
    upgrading_gateway: tuple[Gateway, UpgradingApplication],
) -> tuple[Gateway, UpgradingApplication]:
    """Return the gateway in front of an application that upgrades; its records are empty."""
    upgrading_gateway[1].heads.clear()
    return upgrading_gateway


def _upgrade(gateway: Gateway, protocol: str, token: bytes) -> tuple[bytes, bytes]:
    """Return the status line, and the data that followed b"ping"."""
    head = (
        f"GET /chat HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"
        "HTTP2-Settings: AAMAAABkAAQAAP__\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\n"
        f"Authorization: Bearer {token.decode()}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as connection:
        connection.sendall(head.encode())
        with connection.makefile("rb") as stream:
            status = stream.readline()
            while stream.readline().strip():
                pass
            if b" 101 " not in status:
                return status, b""
            connection.sendall(b"ping")
            return status, stream.read(4)


def test_a_websocket_handshake_is_checked_and_then_tunnelled(
    upgrading: tuple[Gateway, UpgradingApplication],
) -> None:
    gateway, application = upgrading
    status, echoed = _upgrade(gateway, "websocket", gateway.token())
    assert (b" 101 " in status, echoed) == (True, b"ping")
    assert b"x-auth-subject: 7b7f6f3e" in application.heads[0].lower()


def test_a_websocket_without_a_valid_token_never_reaches_the_application(
    upgrading: tuple[Gateway, UpgradingApplication],
) -> None:
    gateway, application = upgrading
    status, _ = _upgrade(gateway, "websocket", b"x")
    assert b" 401 " in status
    assert application.heads == []


@pytest.mark.parametrize(
    "protocol",
    ["h2c", "H2C", "h2c, websocket", "websocket, h2c", "h2c\r\nUpgrade: websocket", "websocket/h2c", "tls/1"],
)
def test_no_protocol_but_websocket_is_ever_tunnelled(
    upgrading: tuple[Gateway, UpgradingApplication], protocol: str
) -> None:
    gateway, application = upgrading
    status, _ = _upgrade(gateway, protocol, gateway.token())
    upgraded = [line for head in application.heads for line in head.lower().split(b"\r\n") if b"upgrade:" in line]
    assert b" 101 " not in status or upgraded == [b"upgrade: websocket"]
    assert all(line == b"upgrade: websocket" for line in upgraded)


def _described(body: bytes) -> dict[str, object]:
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
