"""Deadlines on the real clock; these tests share a dozen seconds.

Key sets are refreshed before their `max-age` is over, and slow clients have ten seconds. All of them start at once,
and each test waits for its result.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support.jwks_server import JwksServer, running_jwks_server, serves, serves_with_etag
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.token_forge import accepting
from tests.support.verifier_process import VerifierFolder, VerifierProcess

_ETAG = '"of the first"'
_WINDOW_SECONDS = 30.0


class SlowClients:
    """Three slow clients: one stops within the head, one sends it byte by byte, one never reads.

    Attributes:
        ended: seconds until the server closed each, and the statuses of its responses.
    """

    def __init__(self, verifier: VerifierProcess) -> None:
        self._verifier = verifier
        self.ended: dict[str, tuple[float, list[int]]] = {}
        self._threads = [threading.Thread(target=play) for play in (self._stall, self._drip, self._never_read)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have ended."""
        for thread in self._threads:
            thread.join()

    def _stall(self) -> None:
        started = time.monotonic()
        with self._verifier.connect(_WINDOW_SECONDS) as wire:
            responses = wire.send(b"GET /verify HTTP/1.1\r\n").rest()
            self.ended["stalls"] = time.monotonic() - started, [response.status for response in responses]

    def _drip(self) -> None:
        started = time.monotonic()
        with self._verifier.connect(0.25) as wire:
            wire.send(b"GET /verify HTTP/1.1\r\nX: ")
            while time.monotonic() - started < _WINDOW_SECONDS:
                try:
                    responses = wire.rest()
                except TimeoutError:
                    wire.send(b"x")
                else:
                    self.ended["drips"] = time.monotonic() - started, [response.status for response in responses]
                    return

    def _never_read(self) -> None:
        flood = request("/verify", bearer(self._verifier.token())) * 500
        started = time.monotonic()
        with self._verifier.connect(_WINDOW_SECONDS) as wire:
            try:
                while time.monotonic() - started < _WINDOW_SECONDS:
                    wire.send(flood)
            except (BrokenPipeError, ConnectionResetError):
                self.ended["never reads"] = time.monotonic() - started, []


@dataclass
class Scene:
    """A verifier that follows three sources and has slow clients, for a dozen seconds."""

    verifier: VerifierProcess
    tagged: JwksServer
    odd: JwksServer
    lasting: JwksServer
    kept: Path
    slow: SlowClients


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = VerifierFolder(tmp_path_factory.mktemp("verifier"))
    kept = tmp_path_factory.mktemp("kept")
    jwks, short, long = folder.forge.jwks, "Cache-Control: public, max-age=10", "Cache-Control: max-age=3600, private"
    with ExitStack() as stack:
        enter = stack.enter_context
        tagged = enter(running_jwks_server(serves_with_etag(jwks, _ETAG, short)))
        odd = enter(running_jwks_server(serves_with_etag(jwks, '"\xff"', short)))
        lasting = enter(running_jwks_server(serves(jwks, long)))
        policies = "\n".join(
            f'[issuers."https://{name}.example"]\njwks_url = "{server.url}"'
            for name, server in {"odd": odd, "lasting": lasting}.items()
        )
        policies += "\n" + accepting(folder.forge.issuer, "https://odd.example", "https://lasting.example")
        verifier = enter(folder.running(JWKS_URL=tagged.url, CACHE_DIR=kept, policies=policies))
        for path in kept.iterdir():
            os.utime(path, (1, 1))
        yield Scene(verifier, tagged, odd, lasting, kept, slow := SlowClients(verifier))
        slow.join()


def _is_asked_again(server: JwksServer) -> bool:
    return len(server.requests) > 1


def test_an_unchanged_key_set_is_revalidated_by_its_etag(scene: Scene) -> None:
    for server, etag in ((scene.tagged, _ETAG), (scene.odd, '"\xff"')):
        wait_until(partial(_is_asked_again, server), "it is asked again before max-age is over", 30)
        assert server.times[1] - server.times[0] >= 7
        assert b"If-None-Match" not in server.requests[0]
        assert b"If-None-Match: " + etag.encode("latin-1") in server.requests[1]
    assert scene.verifier.metric("jwks_failures_total") == 0
    assert scene.verifier.ask(token=scene.verifier.token()).status == 200


def test_a_304_renews_the_saved_key_set(scene: Scene) -> None:
    # Three are kept; two of the sources have been asked again, and responded that nothing changed.
    wait_until(lambda: sum(path.stat().st_mtime > 1 for path in scene.kept.iterdir()) == 2, "two are confirmed", 30)
    assert len(list(scene.kept.iterdir())) == 3


def test_a_key_set_cacheable_for_an_hour_is_fetched_once(scene: Scene) -> None:
    wait_until(lambda: len(scene.tagged.requests) > 1, "ten seconds have passed", 30)
    assert len(scene.lasting.requests) == 1


def test_a_request_for_a_key_set_has_only_the_needed_headers(scene: Scene) -> None:
    lines = scene.lasting.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /.well-known/jwks.json HTTP/1.1"
    assert sorted(line.partition(":")[0].lower() for line in lines[1:-2]) == ["accept", "connection", "host"]


@pytest.mark.parametrize(("client", "expected"), [("stalls", [408]), ("drips", [408]), ("never reads", [])])
def test_a_slow_client_is_closed_after_ten_seconds(scene: Scene, client: str, expected: list[int]) -> None:
    scene.slow.join()
    seconds, statuses = scene.slow.ended[client]
    assert 9 < seconds < _WINDOW_SECONDS
    assert statuses == expected
    assert scene.verifier.ask(token=scene.verifier.token()).status == 200
