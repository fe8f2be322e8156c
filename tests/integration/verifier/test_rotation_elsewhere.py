"""Another issuer signs with a new key at once: its new tokens are rejected for only a moment.

The exact times are tested in virtual time (test_key_staleness.py). These deadlines only distinguish a moment from the
ten seconds of the rate limit.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.support.jwks_server import JwksServer, running_jwks_server, serves
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.token_forge import Forge, accepting, b64url
from tests.support.verifier_process import VerifierFolder, VerifierProcess

_MOMENT_SECONDS = 5.0


def _wait_until_accepted(verifier: VerifierProcess, token: bytes, seconds: float = _MOMENT_SECONDS) -> None:
    with verifier.connect() as wire:
        wait_until(lambda: wire.ask(request("/verify", bearer(token))).status == 200, "it is accepted", seconds)


def _rotate(server: JwksServer, issuer: str) -> bytes:
    """Sign with another key from now on. Return a token."""
    new = Forge(issuer)
    server.behaviour = serves(new.jwks)
    return new.token(time.time())


@contextmanager
def _flood(verifier: VerifierProcess, forge: Forge) -> Iterator[None]:
    """Send tokens with random unknown keys, some hundred each second."""
    _, payload, signature = forge.token(time.time()).split(b".")
    statuses: set[int] = set()
    stopping = threading.Event()

    def send() -> None:
        number = 0
        with verifier.connect(timeout=30) as wire:
            while not stopping.wait(0.001):
                number += 1
                header = b64url(json.dumps(forge.header(kid=f"junk-{number}")).encode())
                statuses.add(wire.ask(request("/verify", bearer(b".".join([header, payload, signature])))).status)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
    assert statuses == {401}


def test_a_new_key_is_found_in_a_moment_however_often_each_issuer_rotates(folder: VerifierFolder) -> None:
    with ExitStack() as stack:
        names = ["https://first.example", "https://second.example"]
        servers = {name: stack.enter_context(running_jwks_server(serves(Forge(name).jwks))) for name in names}
        tables = [f'[issuers."{name}"]\njwks_url = "{server.url}"\n' for name, server in servers.items()]
        policies = "".join([*tables, accepting(*names)])
        verifier = stack.enter_context(folder.running(ISSUER=None, JWKS_FILE=None, policies=policies))
        for _ in range(3):
            for name, server in servers.items():
                _wait_until_accepted(verifier, _rotate(server, name))


def test_a_flood_of_unknown_keys_is_one_fetch_in_ten_seconds_and_delays_a_new_key_no_longer(
    folder: VerifierFolder,
) -> None:
    with (
        running_jwks_server(serves(folder.forge.jwks)) as server,
        folder.running(JWKS_URL=server.url) as verifier,
    ):
        before = len(server.requests)
        with _flood(verifier, folder.forge):
            wait_until(lambda: len(server.requests) == before + 1, "the flood requests the keys")
            _wait_until_accepted(verifier, _rotate(server, folder.forge.issuer), 15)
            assert len(server.requests) == before + 2


def test_a_flood_of_unknown_keys_of_one_issuer_delays_no_new_key_of_another(folder: VerifierFolder) -> None:
    with (
        running_jwks_server(serves(folder.forge.jwks)) as ours,
        running_jwks_server(serves(Forge().jwks)) as theirs,
    ):
        name = "https://another.example"
        policies = f'[issuers."{name}"]\njwks_url = "{theirs.url}"\n{accepting(folder.forge.issuer, name)}'
        with folder.running(JWKS_URL=ours.url, policies=policies) as verifier:
            before = len(ours.requests)
            with _flood(verifier, folder.forge):
                wait_until(lambda: len(ours.requests) > before, "the flood requests the keys")
                _wait_until_accepted(verifier, _rotate(theirs, name))
