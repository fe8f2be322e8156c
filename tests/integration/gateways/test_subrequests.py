"""What passes between a gateway and its verifier, read off the line: little, on few connections."""

import http.client
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.gateways.conftest import Gateway
from tests.support.gateways import running_gateway
from tests.support.taps import Tap, tapped

CLIENTS = 4
REQUESTS = 60


@pytest.fixture(scope="module")
def line(
    gateway: Gateway, application: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Tap]]:
    """The gateway once more, with a tap before the verifier."""
    folder: Path = tmp_path_factory.mktemp("line")
    with (
        tapped(gateway.verifier.port) as tap,
        running_gateway(gateway.name, folder, tap.port, application) as port,
    ):
        yield Gateway(gateway.name, port, gateway.verifier), tap


def test_hundreds_of_requests_use_a_handful_of_connections(line: tuple[Gateway, Tap]) -> None:
    gateway, tap = line
    opened, token = len(tap.connections), gateway.token().decode()

    def client(_: int) -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        # Allowed and refused by turns: neither may end the connection.
        statuses = [_ask(connection, token if turn % 2 else "x") for turn in range(REQUESTS)]
        connection.close()
        return statuses

    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = [status for of_one in pool.map(client, range(CLIENTS)) for status in of_one]
    assert sorted(statuses) == [200] * (CLIENTS * REQUESTS // 2) + [401] * (CLIENTS * REQUESTS // 2)
    assert tap.sent.count(b" HTTP/1.1\r\n") >= CLIENTS * REQUESTS
    assert len(tap.connections) - opened <= 2 * CLIENTS


def test_the_verifier_gets_the_policy_and_the_authorization_and_nothing_of_the_rest(
    line: tuple[Gateway, Tap],
) -> None:
    gateway, tap = line
    tap.forget()
    secrets = ("Cookie: session=secret-cookie", "X-Api-Key: secret-key", "Content-Length: 11", "Accept: secret/type")
    answer = gateway.ask("/a?secret-query", *secrets, method="POST", body=b"secret-body", token=gateway.token())
    assert answer.status == 200
    assert tap.sent.count(gateway.token()[:20]) == 1
    assert b"secret" not in tap.sent
    assert re.match(rb"(GET|POST|HEAD) /verify/default\?? HTTP/1.1\r\n", tap.sent)


@pytest.mark.parametrize("size", [0, 5, 70_000])
def test_no_body_goes_to_the_verifier(line: tuple[Gateway, Tap], size: int) -> None:
    gateway, tap = line
    tap.forget()
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"B" * size) if size else b"0\r\n\r\n"
    answer = gateway.ask("/", "Transfer-Encoding: chunked", method="POST", body=body, token=gateway.token())
    assert answer.application["body"]["bytes"] == size
    assert tap.sent.endswith(b"\r\n\r\n")
    assert b"BBBBB" not in tap.sent


def test_a_refused_request_is_asked_about_once(line: tuple[Gateway, Tap]) -> None:
    gateway, tap = line
    tap.forget()
    assert gateway.ask("/admin/", token=gateway.token()).status == 403
    assert tap.sent.count(b"/verify/admin") == 1
    assert tap.sent.count(b"/verify/") == 1


def _ask(connection: http.client.HTTPConnection, token: str) -> int:
    connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status
