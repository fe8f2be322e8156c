"""The bytes that a gateway sends to its verifier and to the application."""

import http.client
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from shared.identity_headers import IDENTITY_HEADERS
from tests.integration.gateways.conftest import Gateway
from tests.support.gateway_programs import PROGRAMS, Difference
from tests.support.gateways import running_gateway
from tests.support.taps import Tap, tapped

CLIENTS = 4
REQUESTS = 60


@dataclass(frozen=True)
class Tapped:
    """A gateway and the bytes that it sends."""

    gateway: Gateway
    to_verifier: Tap
    to_application: Tap


@pytest.fixture(scope="module")
def tapped_gateway(gateway: Gateway, application: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tapped]:
    """Yield another instance of the gateway, with taps on both connections."""
    folder = tmp_path_factory.mktemp("tapped")
    with (
        tapped(gateway.verifier.port) as to_verifier,
        tapped(application) as to_application,
        running_gateway(gateway.name, folder, to_verifier.port, to_application.port) as port,
    ):
        yield Tapped(Gateway(gateway.name, port, gateway.verifier), to_verifier, to_application)


@pytest.fixture
def line(tapped_gateway: Tapped) -> Tapped:
    """Return an empty tap."""
    tapped_gateway.to_verifier.clear()
    tapped_gateway.to_application.clear()
    return tapped_gateway


def test_hundreds_of_requests_use_few_connections(line: Tapped) -> None:
    gateway, tap = line.gateway, line.to_verifier
    opened, token = len(tap.connections), gateway.token().decode()

    def client(_: int) -> list[int]:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        # Accepted and rejected by turns: neither may close the connection.
        statuses = [_ask(connection, token if turn % 2 else "x") for turn in range(REQUESTS)]
        connection.close()
        return statuses

    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = [status for of_one in pool.map(client, range(CLIENTS)) for status in of_one]
    assert sorted(statuses) == [200] * (CLIENTS * REQUESTS // 2) + [401] * (CLIENTS * REQUESTS // 2)
    assert tap.sent.count(b" HTTP/1.1\r\n") >= CLIENTS * REQUESTS
    assert len(tap.connections) - opened <= 2 * CLIENTS


@pytest.mark.parametrize("gateway", PROGRAMS, indirect=True)
def test_the_verifier_gets_only_policy_authorization_and_ids(
    line: Tapped,
) -> None:
    gateway, tap = line.gateway, line.to_verifier
    secrets = ("Cookie: session=secret-cookie", "X-Api-Key: secret-key", "Content-Length: 11", "Accept: secret/type")
    response = gateway.ask("/a?secret-query", *secrets, method="POST", body=b"secret-body", token=gateway.token())
    assert response.status == 200
    assert tap.sent.count(gateway.token()[:20]) == 1
    assert b"secret" not in tap.sent
    assert re.match(rb"(GET|POST|HEAD) /verify/default\?? HTTP/1.1\r\n", tap.sent)


@pytest.mark.parametrize("gateway", PROGRAMS, indirect=True)
def test_verifier_and_application_get_the_same_ids(line: Tapped) -> None:
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    sent = (f"traceparent: {trace.decode()}", "tracestate: a=b", "X-Request-Id: of-the-client")
    line.gateway.ask("/", *sent, token=line.gateway.token())
    heard = [line.to_verifier.sent, line.to_application.sent]
    assert [re.findall(rb"(?im)^traceparent: (.*?)\r", head) for head in heard] == [[trace], [trace]]
    assert re.search(rb"(?im)^tracestate: a=b\r", line.to_application.sent)
    ids = [re.findall(rb"(?im)^x-request-id: (.*?)\r", head) for head in heard]
    if line.gateway.differs(Difference.GENERATES_NO_REQUEST_ID):
        assert ids[0] == []
    else:
        assert ids[0] == ids[1]
        assert [len(one) in {32, 36} for one in ids[0]] == [True]


@pytest.mark.parametrize("size", [0, 5, 70_000])
def test_no_body_goes_to_the_verifier(line: Tapped, size: int) -> None:
    gateway, tap = line.gateway, line.to_verifier
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"B" * size) if size else b"0\r\n\r\n"
    if gateway.differs(Difference.REJECTS_CHUNKED_BODIES):
        body = body[:100]  # It responds and closes before it has read a long one, and the response may be lost.
    response = gateway.ask("/", "Transfer-Encoding: chunked", method="POST", body=body, token=gateway.token())
    if not gateway.differs(Difference.REJECTS_CHUNKED_BODIES):
        assert response.application["body"]["bytes"] == size
        assert tap.sent.endswith(b"\r\n\r\n")
    assert b"BBBBB" not in tap.sent


def test_each_request_is_checked_once(line: Tapped) -> None:
    gateway, tap = line.gateway, line.to_verifier
    assert gateway.ask("/admin/", token=gateway.token()).status == 403
    assert tap.sent.count(b"/verify/admin") == 1
    assert tap.sent.count(b"/verify/default") == (1 if gateway.differs(Difference.CHECKS_DEFAULT_FIRST) else 0)


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [("/", b"x", 401), ("/", None, 401), ("/admin/", b"valid", 403), ("/x;y", b"valid", 400)],
)
def test_a_rejected_request_never_reaches_the_application(
    line: Tapped, path: str, token: bytes | None, status: int
) -> None:
    shown = line.gateway.token() if token == b"valid" else token
    response = line.gateway.ask(path, "Content-Length: 5", method="POST", body=b"hello", token=shown)
    assert response.status == status
    assert line.to_application.sent == b""


@pytest.mark.parametrize("target", ["app.example:443", "/", "/admin/", "/admin/../x"])
def test_connect_is_rejected(line: Tapped, target: str) -> None:
    for token in (None, line.gateway.token()):
        assert line.gateway.ask(target, method="CONNECT", token=token).status >= 400
    assert line.to_application.sent == b""


@pytest.mark.parametrize(
    "value",
    [
        "X-Auth-Subject",
        "close, x-auth-subject, x-auth-roles",
        "keep-alive, X-Auth-Scope\r\nConnection: X-Auth-Roles",
    ],
)
def test_no_connection_option_removes_identity_headers(line: Tapped, value: str) -> None:
    """A header that `Connection` names is meant for the next hop alone, so a proxy may drop it (RFC 9110 §7.6.1)."""
    response = line.gateway.ask("/", f"Connection: {value}", token=line.gateway.token(roles=["editor"]))
    assert set(response.identity) == set(IDENTITY_HEADERS)
    assert not re.search(rb"(?im)^connection:.*x-auth", line.to_application.sent)


def _ask(connection: http.client.HTTPConnection, token: str) -> int:
    connection.request("GET", "/", headers={"Host": "app.example", "Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    response.read()
    return response.status
