"""Clients that send requests ahead, do not read responses or disconnect, and their effect on other clients."""

import json
import re
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

import psutil

from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.plain_http import HTTP
from tests.support.processes import wait_until

KEY_SET = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"


def connected(port: int, stack: ExitStack, receive_buffer: int = 4096) -> socket.socket:
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return client


def login_request(email: str) -> bytes:
    body = json.dumps({"email": email, "password": PASSWORD}).encode()
    head = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def open_connections(issuer: IssuerProcess) -> int:
    found = psutil.Process(issuer.process.pid).net_connections("tcp4")
    return sum(each.status == psutil.CONN_ESTABLISHED and each.laddr.port == issuer.port for each in found)


def peak_memory(issuer: IssuerProcess) -> int:
    """Return the peak memory in KiB."""
    status = Path(f"/proc/{issuer.process.pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


def test_pipelined_requests_take_no_memory_and_delay_no_other_client(database_url: str) -> None:
    with running_issuer(database_url) as issuer, ExitStack() as stack:
        before = peak_memory(issuer)
        for _ in range(20):
            client = connected(issuer.port, stack)
            with DefaultSelector() as selector:
                selector.register(client, EVENT_READ)
                for _ in range(20):
                    try:
                        client.send(KEY_SET * 1000)
                    except BlockingIOError:
                        time.sleep(0.002)
        for _ in range(20):
            assert HTTP.get(f"{issuer.url}/.well-known/jwks.json", timeout=10).status_code == 200
        assert peak_memory(issuer) - before < 24 * 1024


def test_a_disconnected_client_is_logged_as_such(issuer: IssuerProcess) -> None:
    complete = login_request("leaves@example.com")
    with ExitStack() as stack:
        for number in range(20):
            client = connected(issuer.port, stack)
            client.send(complete if number % 2 else complete[:-5])
    wait_until(lambda: open_connections(issuer) <= 1, "all have left")
    wait_until(lambda: len(issuer.events("client_disconnected")) == 10, "it is logged")
    left = {(event["level"], event["route"], event["status"]) for event in issuer.events("client_disconnected")}
    assert left == {("info", "/login", 499)}
    assert not [line for line in map(json.loads, issuer.log().splitlines()) if line["level"] == "error"]
    assert issuer.metric('gatepass_issuer_http_requests_total{method="POST",route="/login",status="500"}') == 0


def test_a_burst_of_logins_does_not_delay_other_requests(issuer: IssuerProcess) -> None:
    with ExitStack() as stack, DefaultSelector() as selector:
        for number in range(500):
            client = connected(issuer.port, stack)
            client.send(login_request(f"burst{number}@example.com"))
            selector.register(client, EVENT_READ)
        assert HTTP.get(f"{issuer.url}/.well-known/jwks.json", timeout=20).status_code == 200
        assert len(selector.select(0)) < 400


def test_a_hash_has_been_measured_before_the_first_login(issuer: IssuerProcess) -> None:
    (started,) = issuer.events("issuer_started")
    assert 1 < float(str(started["hash_milliseconds"])) < 10_000
