"""Real Envoy with what the generators of Istio and Envoy Gateway wrote from our configurations.

The controllers themselves are not run.
"""

import posixpath
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from shared.identity_headers import IDENTITY_HEADERS
from tests.support.clusters.running import TRANSLATED, running_translation
from tests.support.gateways import Answer, Verifier, ask, paused, running_application
from tests.support.processes import wait_until

INVALID_TOKEN = 'Bearer realm="gatepass", error="invalid_token"'
INSUFFICIENT_SCOPE = 'Bearer realm="gatepass", error="insufficient_scope", scope="admin"'
TRICKS = (
    "//admin/", "/./admin/", "/x/../admin/", "/x//../admin/", "/x/%2e%2e/admin/", "/.%2e/admin/", "/%61dmin/",
    "/admin%2fusers", "/x%2f..%2fadmin/", "/x/..%5cadmin/", "/x\\..\\admin/", "/admin\\users", "/admin;x/users",
    "/x/..;/admin/", "/admin%3bx/users", "/admin/x/..", "/admin//", "/admin?x", "/admin/../admin/", "/admin%00/users",
)  # fmt: skip # one list


@dataclass(frozen=True)
class Cluster:
    """A translated configuration that runs."""

    name: str
    port: int
    verifier: Verifier

    def token(self, **changes: Any) -> bytes:
        return self.verifier.forge.token(time.time(), **changes)

    def ask(self, path: str = "/", *lines: str, **request: Any) -> Answer:
        return ask(self.port, path, *lines, **request)


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Verifier, int]]:
    folder = tmp_path_factory.mktemp("cluster")
    verifier = Verifier(folder)
    with verifier.running(), running_application(folder) as application:
        yield verifier, application


@pytest.fixture(scope="module", params=TRANSLATED)
def cluster(
    request: pytest.FixtureRequest, answering: tuple[Verifier, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    verifier, application = answering
    folder = tmp_path_factory.mktemp(request.param)
    with running_translation(request.param, folder, verifier.port, application) as port:
        yield Cluster(request.param, port, verifier)


def test_a_good_token_passes_with_its_identity(cluster: Cluster) -> None:
    response = cluster.ask("/hello", token=cluster.token(roles=["editor"]))
    assert (response.status, response.application["path"]) == (200, "/hello")
    assert set(response.identity) == set(IDENTITY_HEADERS)
    assert not [name for name in response.headers if name.lower().startswith("x-auth-")]


@pytest.mark.parametrize("path", ["/", "/admin/"])
def test_without_a_good_token_the_client_gets_a_challenge(cluster: Cluster, path: str) -> None:
    responses = [cluster.ask(path), cluster.ask(path, token=b"x")]
    assert [(response.status, response.headers.get_all("WWW-Authenticate")) for response in responses] == [
        (401, ['Bearer realm="gatepass"']),
        (401, [INVALID_TOKEN]),
    ]


@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin/users?all"])
def test_a_path_has_its_policy(cluster: Cluster, path: str) -> None:
    response = cluster.ask(path, token=cluster.token())
    assert (response.status, response.headers.get_all("WWW-Authenticate")) == (403, [INSUFFICIENT_SCOPE])
    assert cluster.ask(path, token=cluster.token(scope="profile admin")).status == 200


def test_a_path_that_only_begins_like_a_protected_one_is_another(cluster: Cluster) -> None:
    assert cluster.ask("/administrators", token=cluster.token()).status == 200


@pytest.mark.parametrize("spelling", ["X-Auth-{}", "x-auth-{}", "X_Auth_{}", "X-Auth_{}", "X.AUTH-{}", "x.auth.{}"])
def test_a_spoofed_identity_header_never_reaches_the_application(cluster: Cluster, spelling: str) -> None:
    names = [name.removeprefix("X-Auth-") for name in IDENTITY_HEADERS]
    lines = [f"{spelling.format(name)}: spoofed" for name in names for _ in range(2)]
    token = cluster.token()
    assert cluster.ask("/", *lines, token=token).identity == cluster.ask(token=token).identity
    silent = cluster.ask("/", *lines, token=cluster.token(scope=..., sid=..., auth_time=...))
    assert silent.status == 200
    assert {"X-Auth-Scope", "X-Auth-Roles", "X-Auth-Session"}.isdisjoint(silent.identity)
    assert b"spoofed" not in silent.body


@pytest.mark.parametrize("path", TRICKS)
def test_no_spelling_of_a_path_evades_its_policy(cluster: Cluster, path: str) -> None:
    response = cluster.ask(path, token=cluster.token())
    if response.status == 200:
        read = unquote(response.application["path"]).replace("\\", "/")
        assert not posixpath.normpath(re.sub(r";[^/]*", "", read)).startswith("/admin")
    else:
        assert response.status in {400, 403}


@pytest.mark.parametrize("path", ["/admin/../x", "/admin/%2e%2e/x", "/admin/..", "/x/../y", "/x//y"])
def test_the_application_gets_the_checked_path(cluster: Cluster, path: str) -> None:
    response = cluster.ask(path, token=cluster.token())
    assert response.status == 400 or not re.search(r"admin|\.\.|//", response.application["path"])


@pytest.mark.parametrize("path", ["/verify/admin/x", "/default", "/..", "/%2e%2e/verify/admin", "/x?/verify/default"])
def test_no_path_selects_another_policy(cluster: Cluster, path: str) -> None:
    assert cluster.ask(path).status in {400, 401}
    assert cluster.ask(path, token=cluster.token()).status in {200, 400}


def test_a_body_arrives_complete(cluster: Cluster) -> None:
    body = bytes(range(256)) * 2048
    response = cluster.ask("/", f"Content-Length: {len(body)}", method="POST", token=cluster.token(), body=body)
    assert response.application["body"]["bytes"] == len(body)
    assert cluster.ask("/", "Content-Length: 5", method="POST", body=b"hello").status == 401


def test_a_cleartext_http2_upgrade_is_never_passed_on(cluster: Cluster, tmp_path: Path) -> None:
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_note, args=(listener, heads), daemon=True)
        server.start()
        port = listener.getsockname()[1]
        with running_translation(cluster.name, tmp_path, cluster.verifier.port, port) as gateway:
            token = cluster.token().decode()
            _upgrade(gateway, "h2c", token)
            _upgrade(gateway, "websocket", token)
        assert any(b"upgrade: websocket" in head.lower() for head in heads)
        assert not any(b"h2c" in head.lower() for head in heads)


def _note(listener: socket.socket, heads: list[bytes]) -> None:
    """Record the head of each request, and respond to it."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            heads.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _upgrade(port: int, protocol: str, token: str) -> None:
    head = (
        f"GET /chat HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536)


@pytest.fixture(params=TRANSLATED)
def lonely(request: pytest.FixtureRequest, answering: tuple[Verifier, int], tmp_path: Path) -> Iterator[Cluster]:
    """One whose verifier does not run yet."""
    verifier = Verifier(tmp_path)
    with running_translation(request.param, tmp_path, verifier.port, answering[1]) as port:
        yield Cluster(request.param, port, verifier)


def test_without_a_response_of_the_verifier_no_request_passes(lonely: Cluster) -> None:
    token = lonely.token()
    assert {lonely.ask(path, token=token).status for path in ("/", "/admin/")} == {503}
    with ExitStack() as stack:
        verifier = stack.enter_context(lonely.verifier.running())
        wait_until(lambda: lonely.ask(token=token).status == 200, "open")
        with paused(verifier):
            asked = time.monotonic()
            assert lonely.ask(token=token).status == 503
            assert time.monotonic() - asked < 2
