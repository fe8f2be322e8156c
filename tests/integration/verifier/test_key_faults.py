"""A faulty key set never replaces a valid one, delays no request, and is logged.

One verifier has an issuer for each fault, so that all faults happen at once.
"""

import base64
import contextlib
import gzip
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers

from tests.support.hostile_sources import hostile_responses, reset
from tests.support.jwks_server import Behaviour, JwksServer, response, sends, serves
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.token_forge import Forge, accepting, b64url
from tests.support.verifier_process import VerifierFolder, VerifierProcess, open_descriptors, resident_bytes

_FORGE: Final = Forge()
_VALID: Final[dict[str, Any]] = json.loads(_FORGE.jwks)["keys"][0]


def _set(*keys: Any, **members: Any) -> bytes:
    return json.dumps({"keys": list(keys), **members}).encode()


def _b64(number: int) -> str:
    return b64url(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()


def _private() -> dict[str, str]:
    numbers: RSAPrivateNumbers = _FORGE.key.private_numbers()
    return {**_VALID, "d": _b64(numbers.d), "p": _b64(numbers.p), "q": _b64(numbers.q)}


_OCT: Final = {"kty": "oct", "kid": "hmac", "k": base64.urlsafe_b64encode(b"a secret that is long enough").decode()}
_EC: Final = {"kty": "EC", "crv": "P-256", "kid": "ec", "x": _b64(2**255 + 1), "y": _b64(2**255 + 3)}
_SECRETS: Final = ("a secret that is long enough", _OCT["k"], _private()["d"], _private()["p"])

# A few: the vectors state what is read of a document.
DOCUMENTS: Final[dict[str, bytes]] = {
    "garbage": bytes(range(256)) * 4,
    "empty": b"",
    "an HTML page": b"<!doctype html><title>503</title>",
    "no keys at all": _set(),
    "half of it": _FORGE.jwks[: len(_FORGE.jwks) // 2],
    "compressed": gzip.compress(_FORGE.jwks),
    "nested without end": b'{"keys":' + b"[" * 50_000,
    "huge": _FORGE.jwks + b" " * 300_000,
    "a key of another type": _set(_EC),
    "a private key": _set(_private()),
    "a private key among valid ones": _set(_VALID, {**_private(), "kid": "other"}),
    "a symmetric key among valid ones": _set(_VALID, _OCT),
}


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_suffix(".gone"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _socket(path: Path) -> None:
    path.unlink()
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path.name)


def _truncated(path: Path) -> None:
    os.truncate(path, 100)


def _overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0" * 50)


FILES: Final[dict[str, Callable[[Path], None]]] = {
    "deleted": Path.unlink,
    "a link to a device without end": _device,
    "a link to itself": _loop,
    "a link to nothing": _dangling,
    "a pipe without a writer": _pipe,
    "a directory": _directory,
    "a unix socket": _socket,
    "truncated in place": _truncated,
    "overwritten in place": _overwritten,
}


RESPONSES: Final[dict[str, Behaviour]] = {
    **hostile_responses(_FORGE.jwks),
    "compressed and labelled": sends(response(gzip.compress(_FORGE.jwks), "Content-Encoding: gzip")),
    **{f"200 with {name}": serves(document) for name, document in DOCUMENTS.items() if name != "compressed"},
}


class Issuers:
    """An issuer for each fault, all with the same key, in one verifier."""

    def __init__(self, faults: list[str]) -> None:
        self.names = {fault: f"https://issuer-{number}.example" for number, fault in enumerate(faults)}

    def policies(self, where: Callable[[str], str]) -> str:
        """Return the policy document; `where` gives the source of a fault's issuer as TOML."""
        tables = [f'[issuers."{name}"]\n{where(fault)}\n' for fault, name in self.names.items()]
        return "\n".join([*tables, accepting(*self.names.values())])

    def tokens(self) -> dict[str, bytes]:
        """Return a valid token of each issuer."""
        return {fault: Forge(name, _FORGE.key).token(time.time()) for fault, name in self.names.items()}

    def wait_until_logged(self, verifier: VerifierProcess) -> None:
        """Wait until each fault was counted; meanwhile every token of every issuer, cached or new, is accepted."""
        cached = self.tokens()
        pending = set(self.names)
        deadline = time.monotonic() + 20
        with verifier.connect(timeout=2) as wire:
            while pending:
                assert time.monotonic() < deadline, f"not logged: {sorted(pending)}: {verifier.log()[-3000:]}"
                for tokens in (cached, self.tokens()):
                    for fault, token in tokens.items():
                        assert wire.ask(request("/verify", bearer(token))).status == 200, fault
                logged = {line["issuer"] for line in verifier.events("jwks_fetch_failed") if line["keys_in_use"] == 1}
                pending = {fault for fault in pending if self.names[fault] not in logged}
                time.sleep(0.2)
        failed = {labels["issuer"] for labels, value in verifier.samples("jwks_failures_total") if value >= 1}
        assert failed == set(self.names.values())
        assert {value for _, value in verifier.samples("jwks_keys")} == {1}


def _no_secret_is_in(log: str) -> None:
    assert not any(secret in log for secret in _SECRETS)


def _write(document: bytes, path: Path) -> None:
    path.write_bytes(document)


def test_an_invalid_key_file_never_replaces_a_valid_one(folder: VerifierFolder) -> None:
    changes: dict[str, Callable[[Path], Any]] = {
        **{name: partial(_write, document) for name, document in DOCUMENTS.items()},
        **FILES,
    }
    issuers = Issuers(list(changes))
    files = {fault: folder.path / f"{number}.json" for number, fault in enumerate(changes)}
    for file in files.values():
        file.write_bytes(_FORGE.jwks)
    policies = issuers.policies(lambda fault: f'jwks_file = "{files[fault]}"')
    with folder.running(policies=policies) as verifier:
        held = open_descriptors(verifier.process.pid)
        for fault, change in changes.items():
            change(files[fault])
        issuers.wait_until_logged(verifier)
        # Each is looked at again every second: what one look leaves open would add up.
        fetches = verifier.metric("jwks_failures_total")
        wait_until(lambda: verifier.metric("jwks_failures_total") > fetches + 2 * len(changes), "two fetches more")
        assert open_descriptors(verifier.process.pid) - held < 10
        _no_secret_is_in(verifier.log())
        assert "private or symmetric key material" in verifier.log()
        for file in files.values():
            _restore(file)
        taken = {line["issuer"] for line in verifier.events("jwks_updated")}
        wait_until(
            lambda: (
                {line["issuer"] for line in verifier.events("jwks_updated")[len(taken) :]}
                >= set(issuers.names.values())
            ),
            "every file is read again",
        )


def _restore(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    new = path.with_suffix(".new")
    new.write_bytes(_FORGE.jwks)
    new.replace(path)


@pytest.fixture
def servers() -> Iterator[dict[str, JwksServer]]:
    with contextlib.ExitStack() as stack:
        yield {fault: stack.enter_context(JwksServer(serves(_FORGE.jwks)).running()) for fault in RESPONSES}


def test_an_invalid_key_set_url_never_replaces_valid_keys(
    folder: VerifierFolder, servers: dict[str, JwksServer]
) -> None:
    issuers = Issuers(list(RESPONSES))
    # Policies are at most 64, issuers are not.
    policies = issuers.policies(lambda fault: f'jwks_url = "{servers[fault].url}"')
    with folder.running(policies=policies) as verifier:
        before = resident_bytes(verifier.process.pid)
        for fault, server in servers.items():
            server.behaviour = RESPONSES[fault]
        verifier.reload()
        issuers.wait_until_logged(verifier)
        assert resident_bytes(verifier.process.pid) - before < 40 * 2**20
        _no_secret_is_in(verifier.log())
        assert not verifier.events("decision_failed")
        assert b"GET /other" not in b"".join(servers["301 to a valid one"].requests)
        for server in servers.values():
            server.behaviour = serves(_FORGE.jwks)
        taken = len(verifier.events("jwks_updated"))
        verifier.reload()
        wait_until(
            lambda: len(verifier.events("jwks_updated")) >= taken + len(RESPONSES), "every key set is updated again"
        )
        held = open_descriptors(verifier.process.pid)
        assert held < 60, "sockets of sources stay open"


def test_an_initially_invalid_source_is_a_503_until_it_is_valid(folder: VerifierFolder) -> None:
    with JwksServer(reset).running() as server, folder.running(JWKS_URL=server.url, ready=503) as verifier:
        assert verifier.ask(token=verifier.token()).status == 503
        assert verifier.ask().status == 401
        server.behaviour = serves(folder.forge.jwks)
        verifier.wait_until_readiness_is(200)
        assert verifier.ask(token=verifier.token()).status == 200
