"""Large heads, trailers and requests in one packet, on raw sockets."""

import re
import socket
import time

import pytest

from tests.support.issuer_process import IssuerProcess

HEAD = b"GET /me HTTP/1.1\r\nHost: x\r\n"


def exchange(issuer: IssuerProcess, *pieces: bytes) -> bytes:
    """Send the pieces and return all received bytes until the server closes."""
    with socket.create_connection(("127.0.0.1", issuer.port), timeout=15) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
            return b"".join(iter(lambda: client.recv(65536), b""))
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD + b"X: " + b"a" * 20_000 + b"\r\n\r\n"],
        [HEAD] + [b"X: " + b"a" * 1000 + b"\r\n"] * 20,
        [HEAD + b"X: "] + [b"a" * 1000] * 40,
        [b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
        [b"GET /"] + [b"a" * 1000] * 40,
    ],
)
def test_a_head_over_16_kib_is_rejected(issuer: IssuerProcess, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", issuer.port), timeout=15) as client:
        for piece in pieces:
            try:
                client.sendall(piece)
            except ConnectionError:
                break
            time.sleep(0.001)
        try:
            response = client.recv(65536)
        except ConnectionError:
            response = b"HTTP/1.1 431"
    assert response.startswith(b"HTTP/1.1 431")


def test_a_large_head_within_the_bound_is_served(issuer: IssuerProcess) -> None:
    response = exchange(issuer, HEAD + b"X: " + b"a" * 15_000 + b"\r\nConnection: close\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 401")


def test_a_trailer_never_becomes_a_field(issuer: IssuerProcess) -> None:
    token = issuer.token("trailer@example.com").encode()
    response = exchange(
        issuer,
        HEAD
        + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer "
        + token
        + b"\r\n\r\n",
    )
    assert response.startswith(b"HTTP/1.1 401")


def test_a_request_after_a_long_body_in_one_packet_is_served(issuer: IssuerProcess) -> None:
    body = b" " * 40_000
    first = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 40000\r\n\r\n"
    response = exchange(issuer, first + body + HEAD + b"Connection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+) ", response) == [b"400", b"401"]


def test_the_server_does_not_name_itself(issuer: IssuerProcess) -> None:
    assert b"\r\nserver:" not in exchange(issuer, HEAD + b"Connection: close\r\n\r\n").lower()
