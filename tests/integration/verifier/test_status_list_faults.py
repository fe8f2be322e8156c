"""A faulty status list never replaces a valid one, delays no request, and is counted.

One verifier has an issuer for each fault, so that all faults happen at once.
"""

import gzip
import json
import random
import time
import zlib
from collections.abc import Iterator
from typing import Any, Final

import pytest

from shared.status_list import encode, pack
from tests.support.hostile_sources import hostile_responses
from tests.support.jwks_server import Behaviour, JwksServer, by_path, response, sends, serves
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.token_forge import Forge, accepting, b64url
from tests.support.verifier_process import VerifierFolder, VerifierProcess, open_descriptors, resident_bytes

_KEY: Final = Forge().key
_UNKNOWN_KEY: Final = Forge()
_BOMB: Final = b64url(zlib.compress(bytes(50 * 2**20), 9)).decode()
_SIZE: Final = 1024
_VALID: Final = 8
_REVOKED: Final = 7
_LATER: Final = 9


class Faulty:
    """An issuer whose list becomes invalid."""

    def __init__(self, number: int) -> None:
        self.forge = Forge(f"https://issuer-{number}.example", _KEY)
        self.aggregation = f"/{number}/status-lists"
        self.path = f"/{number}/status-lists/1"
        self.uri = self.forge.issuer + self.path

    def list(self, *revoked: int, **changes: Any) -> bytes:
        return self.forge.status_list(time.time(), self.uri, encode(pack(revoked, _SIZE)), **changes)

    def token(self, idx: int) -> bytes:
        status = {"status_list": {"uri": self.uri, "idx": idx}}
        return self.forge.token(time.time(), status=status, jti=f"{idx}-{time.monotonic_ns()}")

    def aggregated(self, *uris: Any) -> bytes:
        return json.dumps({"status_lists": list(uris)}).encode()


def _documents(it: Faulty) -> dict[str, bytes]:
    """Return documents that are not the list of this issuer with this URI: a few, since vectors state the rest."""
    valid = it.list()
    return {
        "garbage": random.Random(1).randbytes(5000),
        "empty": b"",
        "huge": valid + b"A" * 600_000,
        "a line feed behind it": valid + b"\n",
        "compressed": gzip.compress(valid),
        "signed by an unknown key": _UNKNOWN_KEY.status_list(
            time.time(), it.uri, encode(bytes(128)), header={"kid": it.forge.kid}
        ),
        "of another name": it.list(sub=it.uri + "0"),
        "expired": it.list(iat=int(time.time()) - 100, exp=int(time.time()) - 1),
        "a bomb": it.list(status_list={"bits": 1, "lst": _BOMB}),
    }


def _aggregations(it: Faulty) -> dict[str, bytes]:
    """Return documents that are not an aggregation: a few, since a property test reads any bytes."""
    return {
        "garbage": random.Random(2).randbytes(5000),
        "without the list": b"{}",
        "too many": it.aggregated(*(f"{it.uri}/{number}" for number in range(1025))),
        "huge": it.aggregated(it.uri) + b" " * 300_000,
        "a list of invalid entries": it.aggregated(
            it.uri, None, 7, "", "x", "file:///etc/passwd", "https://u:p@x/", "https://x/#y", "https://x/ y", [], {}
        ),
    }


def _faults() -> dict[str, tuple[str, Behaviour]]:
    """Return the faults by name, each with its faulty document. Issuer number `n` has fault number `n`."""
    names: list[tuple[str, str]] = [
        *(("list", name) for name in _documents(Faulty(0))),
        *(("aggregation", name) for name in _aggregations(Faulty(0))),
        *(("list", name) for name in [*hostile_responses(b"x" * 100), "compressed and labelled"]),
        # Fetched by the same code: a few will do.
        *(
            ("aggregation", name)
            for name in ("no response", "drips a body without end", "resets", "204", "404 with a valid document")
        ),
    ]
    faults: dict[str, tuple[str, Behaviour]] = {}
    for number, (what, name) in enumerate(names):
        it = Faulty(number)
        valid = it.list() if what == "list" else it.aggregated(it.uri)
        ways: dict[str, Behaviour] = {
            "compressed and labelled": sends(response(gzip.compress(valid), "Content-Encoding: gzip")),
            **hostile_responses(valid),
            **{name: serves(document) for name, document in _documents(it).items() if what == "list"},
            **{name: serves(document) for name, document in _aggregations(it).items() if what == "aggregation"},
        }
        faults[f"{what}: {name}"] = what, ways[name]
    return faults


@pytest.fixture
def routes() -> dict[str, Behaviour]:
    return {}


@pytest.fixture
def server(routes: dict[str, Behaviour]) -> Iterator[JwksServer]:
    with JwksServer(by_path(routes)).running() as running:
        yield running


def test_an_invalid_list_never_replaces_a_valid_one(
    folder: VerifierFolder, server: JwksServer, routes: dict[str, Behaviour]
) -> None:
    faults = _faults()
    issuers = {name: Faulty(number) for number, name in enumerate(faults)}
    folder.publish(Forge(key=_KEY).jwks)
    for it in issuers.values():
        routes[it.aggregation] = serves(it.aggregated(it.uri))
        routes[it.path] = serves(it.list(_REVOKED, iat=int(time.time()) - 60))
    policies = "\n".join(
        f'[issuers."{it.forge.issuer}"]\n'
        f'jwks_file = "{folder.jwks}"\nstatus_lists = "{server.url_of(it.aggregation)}"\n'
        for it in issuers.values()
    )
    policies += accepting(*(it.forge.issuer for it in issuers.values()))
    settings: dict[str, Any] = {"ISSUER": None, "JWKS_FILE": None, "STATUS_POLL_SECONDS": 1}
    with folder.running(policies=policies, **settings) as verifier:
        before = resident_bytes(verifier.process.pid)
        for name, (what, behaviour) in faults.items():
            routes[issuers[name].path if what == "list" else issuers[name].aggregation] = behaviour
        _valid_tokens_are_still_accepted(verifier, issuers)
        assert not verifier.events("decision_failed")
        assert resident_bytes(verifier.process.pid) - before < 60 * 2**20
        assert b"GET /other" not in b"".join(server.requests)
        for it in issuers.values():
            routes[it.aggregation] = serves(it.aggregated(it.uri))
            routes[it.path] = serves(it.list(_REVOKED, _LATER))
        pending = dict(issuers)

        def all_taken() -> bool:
            for name in [name for name, it in pending.items() if verifier.ask(token=it.token(_LATER)).status == 401]:
                del pending[name]
            return not pending

        wait_until(all_taken, "every list is fetched again", 60)
        wait_until(lambda: open_descriptors(verifier.process.pid) < 60, "sockets of sources are closed", 10)
        assert "Traceback" not in verifier.log()


def _valid_tokens_are_still_accepted(verifier: VerifierProcess, issuers: dict[str, Faulty]) -> None:
    """Wait until each fault was counted; meanwhile every token, cached or new, gets the same response."""
    cached = {name: it.token(_VALID) for name, it in issuers.items()}
    pending = set(issuers)
    deadline = time.monotonic() + 60
    with verifier.connect(timeout=2) as wire:
        while pending:
            assert time.monotonic() < deadline, f"nothing was counted of {sorted(pending)}: {verifier.log()[-3000:]}"
            for name, it in issuers.items():
                for token, status in ((cached[name], 200), (it.token(_VALID), 200), (it.token(_REVOKED), 401)):
                    assert wire.ask(request("/verify", bearer(token))).status == status, name
            failed = {labels["issuer"] for labels, n in verifier.samples("status_list_failures_total") if n}
            pending = {name for name in pending if issuers[name].forge.issuer not in failed}
            time.sleep(0.2)
    assert verifier.readiness() == 200
    logged = {(line["issuer"], line["cause"]) for line in verifier.events("status_list_fetch_failed")}
    assert {issuer for issuer, _ in logged} == {it.forge.issuer for it in issuers.values()}
    assert len(logged) == len(verifier.events("status_list_fetch_failed")), "each cause is logged once a minute"


def test_a_hanging_list_does_not_delay_others(
    folder: VerifierFolder, server: JwksServer, routes: dict[str, Behaviour]
) -> None:
    it = Faulty(0)
    forge = Forge(it.forge.issuer, folder.forge.key)
    uris = [f"{it.uri}/{number}" for number in range(3)]
    hanging = hostile_responses(b"x" * 100)["no response"]
    routes[it.aggregation] = serves(it.aggregated(*uris))
    for uri in uris:
        routes[uri.removeprefix(it.forge.issuer)] = serves(
            forge.status_list(time.time() - 9, uri, encode(bytes(128)))
        )
    folder.forge = forge
    settings: dict[str, Any] = {"STATUS_LISTS": server.url_of(it.aggregation), "STATUS_POLL_SECONDS": 0.2}
    with folder.running(**settings) as verifier:
        first, _, last = uris
        routes[first.removeprefix(it.forge.issuer)] = hanging
        routes[it.aggregation] = hanging
        time.sleep(0.5)
        for idx in range(5):
            lst = encode(pack(range(idx + 1), 1024))
            routes[last.removeprefix(it.forge.issuer)] = serves(forge.status_list(time.time(), last, lst))
            token = forge.token(time.time(), status={"status_list": {"uri": last, "idx": idx}})
            wait_until(lambda token=token: verifier.ask(token=token).status == 401, "the list is fetched", 2)  # type: ignore[misc]  # a lambda with a default
