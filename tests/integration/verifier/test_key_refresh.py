"""Keys change while requests are served; sources are fetched no more often than they allow."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from shared.jwks import format_jwks
from tests.support.jwks_server import Exchange, running_jwks_server, serves
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.token_forge import Forge
from tests.support.verifier_process import VerifierFolder, verifier_command
from verifier.refresh.document_cache import DocumentCache


def _jwks(*forges: Forge) -> bytes:
    return format_jwks([forge.key.public_key() for forge in forges])


def test_added_keys_are_used_and_removed_keys_end_cached_decisions(
    folder: VerifierFolder,
) -> None:
    old, new = folder.forge, Forge()
    with folder.running() as verifier, verifier.connect() as wire:

        def status(token: bytes) -> int:
            return wire.ask(request("/verify", bearer(token))).status

        by_old, by_new = old.token(time.time()), new.token(time.time())
        assert [status(by_old), status(by_old), status(by_new)] == [200, 200, 401]
        folder.publish(_jwks(old, new))
        wait_until(lambda: status(by_new) == 200, "the new key counts")
        assert status(by_old) == 200
        folder.publish(_jwks(new))
        wait_until(lambda: status(by_old) == 401, "the decisions of the old key are gone")
        assert status(by_new) == 200
        # Rewritten in place, not replaced; of the same size.
        folder.jwks.write_bytes(_jwks(old))
        wait_until(lambda: status(by_old) == 200, "the old key is back")
        assert status(by_new) == 401


def test_a_switched_symbolic_link_is_followed(folder: VerifierFolder) -> None:
    other = Forge()
    for name, forge in (("first", folder.forge), ("second", other)):
        (folder.path / name).mkdir()
        forge.publish(folder.path / name)
    link = folder.path / "data"
    link.symlink_to("first")
    with folder.running(JWKS_FILE=link / "jwks.json") as verifier:
        (folder.path / "data.new").symlink_to("second")
        (folder.path / "data.new").replace(link)
        wait_until(lambda: verifier.ask(token=other.token(time.time())).status == 200, "the other key counts")
        assert verifier.ask(token=verifier.token()).status == 401


def test_a_saved_key_set_lets_a_verifier_start_without_its_issuer(folder: VerifierFolder) -> None:
    cache_dir = folder.path / "kept"
    cache_dir.mkdir()
    with running_jwks_server(serves(folder.forge.jwks)) as server:
        with folder.running(JWKS_URL=server.url, CACHE_DIR=cache_dir) as verifier:
            assert verifier.ask(token=verifier.token()).status == 200
        (kept,) = cache_dir.iterdir()
        assert kept.stat().st_mode & 0o077 == 0
        server.behaviour = Exchange.hang
        with folder.running(JWKS_URL=server.url, CACHE_DIR=cache_dir) as verifier:
            assert verifier.ask(token=verifier.token()).status == 200
            assert time.time() - verifier.metric("jwks_refreshed_timestamp_seconds") < 60
        assert list(cache_dir.iterdir()) == [kept]


@pytest.mark.parametrize("what", ["stale", "garbage", "private"])
def test_an_expired_saved_key_set_is_a_503(folder: VerifierFolder, what: str) -> None:
    DocumentCache(folder.path, ".json", 2**20, folder.forge.issuer).store(folder.forge.jwks)
    (kept,) = folder.path.glob("*.json")
    _spoil(kept, what)
    settings: dict[str, Any] = {"CACHE_DIR": folder.path, "JWKS_MAX_STALE_SECONDS": 60}
    with (
        running_jwks_server(lambda _: None) as server,
        folder.running(JWKS_URL=server.url, ready=503, **settings) as verifier,
    ):
        assert server.requests
        assert verifier.ask(token=verifier.token()).status == 503


def _spoil(kept: Path, what: str) -> None:
    match what:
        case "stale":
            os.utime(kept, (time.time() - 70, time.time() - 70))
        case "garbage":
            kept.write_bytes(b"\0" * 1000)
        case _:
            kept.write_bytes(b'{"keys":[{"kty":"oct","k":"AAAA","kid":"x"}]}')


@pytest.mark.parametrize("command", ["serve", "check-config"])
@pytest.mark.parametrize("url", ["http://issuer.example/jwks?x=secret", "https://user:secret@issuer.example/jwks"])
def test_a_verifier_does_not_start_with_an_unsafe_url(command: str, url: str) -> None:
    done = verifier_command(command, ISSUER="https://issuer.example", JWKS_URL=url, PORT="0", ADMIN_PORT="0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "issuer.example/jwks" in done.stderr
    assert "secret" not in done.stderr
