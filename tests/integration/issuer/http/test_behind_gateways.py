"""Request smuggling through real gateways: no client gets the response to another's body."""

import socket
import time
from itertools import product
from pathlib import Path

import pytest

from tests.support.issuer_gateways import CONFIGURATIONS, gateway_before
from tests.support.issuer_process import IssuerProcess
from tests.support.raw_responses import read_response

SMUGGLED = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"
KEY_SET_REQUESTS = 'gatepass_issuer_http_requests_total{method="GET",route="/.well-known/jwks.json",status="200"}'
FRAMINGS = (
    (b"Content-Length: %d" % len(SMUGGLED), SMUGGLED),
    (b"Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
)
DELAYS = (0, 0.001, 0.01, 0.05)
PROTOCOLS = (b"h2c", b"websocket", b"foo")


def connected(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_each_client_gets_its_own_response(issuer: IssuerProcess, name: str, tmp_path: Path) -> None:
    with gateway_before(issuer.port, name, tmp_path) as port:
        before = issuer.metric(KEY_SET_REQUESTS)
        for number, (protocol, (framing, body), delay) in enumerate(product(PROTOCOLS, FRAMINGS, DELAYS)):
            with connected(port) as attacker, connected(port) as victim:
                attacker.sendall(
                    b"POST /nothing HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n"
                    b"X-Request-Id: attacker-%d\r\n" % number + framing + b"\r\n\r\n"
                )
                time.sleep(delay)
                attacker.sendall(body)
                for ask in range(3):
                    request_id = b"victim-%d-%d" % (number, ask)
                    victim.sendall(b"GET /me HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + request_id + b"\r\n\r\n")
                    response = read_response(victim)
                    assert response.status == 401
                    assert b"x-request-id: " + request_id + b"\r\n" in response.head.lower()
        assert issuer.metric(KEY_SET_REQUESTS) == before
