"""A revoked token is rejected within one poll, also where it was cached."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from shared.status_list import LIST_BITS, encode, pack
from tests.support.jwks_server import serves
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.status_lists import AGGREGATION, StatusIssuer, down, running_status_issuer, unavailable
from tests.support.token_forge import Forge, accepting
from tests.support.verifier_process import VerifierFolder, VerifierProcess, resident_bytes, verifier_command

POLL: Final = 0.2
OTHER: Final = "https://other.example"
LISTS: Final = (1, 2, 4, 5, 6, 7, 8)


@pytest.fixture
def issuer(folder: VerifierFolder) -> Iterator[StatusIssuer]:
    with running_status_issuer(folder.forge) as running:
        yield running


def _settings(issuer: StatusIssuer, **more: Any) -> dict[str, Any]:
    return {"STATUS_LISTS": issuer.aggregation_url, "STATUS_POLL_SECONDS": POLL, **more}


def _becomes(verifier: VerifierProcess, token: bytes, status: int, seconds: float = 20.0) -> None:
    wait_until(lambda: verifier.ask(token=token).status == status, f"the token gets {status}", seconds)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VerifierProcess, StatusIssuer]]:
    """Yield a verifier and its issuer; each test has its own lists."""
    folder = VerifierFolder(tmp_path_factory.mktemp("shared"))
    with running_status_issuer(folder.forge, LISTS) as issuer, folder.running(**_settings(issuer)) as it:
        yield it, issuer
        assert "Traceback" not in it.log()


def test_a_revoked_token_is_rejected_also_from_the_cache(
    shared: tuple[VerifierProcess, StatusIssuer],
) -> None:
    verifier, issuer = shared
    with verifier.connect() as wire:
        revoked, other = (request("/verify", bearer(issuer.token(idx))) for idx in (7, 8))
        assert {wire.ask(asked).status for asked in (revoked, other) * 5} == {200}
        assert verifier.metric("decisions_total", reason="cached") >= 8
        issuer.revoke(7)
        wait_until(lambda: wire.ask(revoked).status == 401, "it is rejected")
        assert {wire.ask(revoked).status for _ in range(5)} == {401}
        assert {wire.ask(other).status for _ in range(5)} == {200}
    assert verifier.metric("decisions_total", reason="revoked") >= 6
    _becomes(verifier, issuer.token(7), 401)
    assert verifier.ask(token=issuer.token(7)).challenge == 'Bearer realm="gatepass", error="invalid_token"'


def test_a_token_beyond_its_list_is_rejected_and_one_without_a_status_accepted(
    shared: tuple[VerifierProcess, StatusIssuer],
) -> None:
    verifier, issuer = shared
    assert verifier.ask(token=issuer.token(issuer.size - 1)).status == 200
    assert verifier.ask(token=issuer.token(issuer.size)).status == 401
    assert verifier.ask(token=verifier.token()).status == 200


def test_lists_with_several_bits_are_read(shared: tuple[VerifierProcess, StatusIssuer]) -> None:
    verifier, issuer = shared
    for bits in (2, 4, 8):
        issuer.revoked[bits] = {8 * bits, 8 * bits + bits - 1, 9 * bits + 1}
        lst = encode(pack(issuer.revoked[bits], issuer.size))
        issuer.publish(bits, status_list={"bits": bits, "lst": lst})
        _becomes(verifier, issuer.token(8, bits), 401)
        statuses = [verifier.ask(token=issuer.token(idx, bits)).status for idx in (7, 9, 10, 1024 // bits)]
        assert statuses == [200, 401, 200, 401]


def test_unchanged_lists_are_304(shared: tuple[VerifierProcess, StatusIssuer]) -> None:
    verifier, issuer = shared
    wait_until(lambda: issuer.server.requests_of(issuer.path(5)) > 12, "it is refreshed")
    asked = [head for head in issuer.server.requests if head.startswith(f"GET {issuer.path(5)} ".encode())]
    assert sum(b"If-None-Match" not in head for head in asked) == 1
    refreshed = verifier.metric("status_list_refreshed_timestamp_seconds")
    wait_until(lambda: verifier.metric("status_list_refreshed_timestamp_seconds") > refreshed, "a 304 is a refresh")


def test_an_older_list_never_replaces_a_newer_one(
    shared: tuple[VerifierProcess, StatusIssuer],
) -> None:
    verifier, issuer = shared
    now = time.time()

    def publish(issued_at: float, *revoked: int) -> None:
        issuer.revoked[6] = set(revoked)
        issuer.publish(6, iat=int(issued_at))

    publish(now + 30, 1)
    _becomes(verifier, issuer.token(1, 6), 401)
    publish(now + 30, 2)
    _becomes(verifier, issuer.token(2, 6), 401)
    _becomes(verifier, issuer.token(1, 6), 401)  # another process of the issuer revoked it
    publish(now - 20, 3)
    fetches = issuer.server.requests_of(issuer.path(6))
    wait_until(lambda: issuer.server.requests_of(issuer.path(6)) > fetches + 6, "it is refreshed")
    assert [verifier.ask(token=issuer.token(idx, 6)).status for idx in (1, 2, 3)] == [401, 401, 200]
    publish(now + 40, 3)
    _becomes(verifier, issuer.token(3, 6), 401)
    _becomes(verifier, issuer.token(1, 6), 200)


def test_a_list_that_is_no_longer_named_is_discarded(shared: tuple[VerifierProcess, StatusIssuer]) -> None:
    verifier, issuer = shared
    token = issuer.token(3, number=7)
    _becomes(verifier, token, 200)
    issuer.name(*(number for number in LISTS if number != 7))
    _becomes(verifier, token, 503)
    assert verifier.ask(token=issuer.token(3)).status == 200
    issuer.name(*LISTS)
    _becomes(verifier, token, 200)


def test_metrics_show_the_lists(shared: tuple[VerifierProcess, StatusIssuer]) -> None:
    verifier, issuer = shared
    name = issuer.forge.issuer
    assert verifier.metric("status_lists", issuer=name) == len(LISTS)
    bytes_before, before = verifier.metric("status_list_bytes", issuer=name), resident_bytes(verifier.process.pid)
    issuer.size = LIST_BITS
    for number in range(20, 30):
        issuer.publish(number)
    issuer.size = 1024
    issuer.name(*LISTS, *range(20, 30))
    wait_until(lambda: verifier.metric("status_lists", issuer=name) == len(LISTS) + 10, "ten more are held")
    held = verifier.metric("status_list_bytes", issuer=name) - bytes_before
    assert held == 10 * LIST_BITS // 8
    assert resident_bytes(verifier.process.pid) - before < 10 * 2**20
    issuer.routes[issuer.path(20)] = unavailable
    wait_until(lambda: verifier.metric("status_list_failures_total", issuer=name, cause="status") > 1, "counted")
    verifier.wait_for_event("status_list_fetch_failed", cause="status", lists_in_use=len(LISTS) + 10)


def test_issuers_without_status_lists_are_not_affected(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    issuer.revoke(7)
    policies = f'[issuers."{OTHER}"]\njwks_file = "{folder.jwks}"\n{accepting(folder.forge.issuer, OTHER)}'
    other = Forge(OTHER, folder.forge.key)
    with folder.running(policies=policies, **_settings(issuer)) as verifier:
        assert verifier.ask(token=issuer.token(7)).status == 401
        assert verifier.ask(token=verifier.token()).status == 200
        # An index that is revoked at one issuer does not revoke tokens of another issuer.
        assert verifier.ask(token=other.token(time.time(), status=issuer.status(7))).status == 200
    with folder.running() as verifier:
        assert verifier.ask(token=issuer.token(7)).status == 200


@pytest.mark.parametrize("prefix", ["", "/auth"], ids=["behind the proxy", "through the proxy"])
def test_an_issuer_below_a_path_is_followed_behind_its_proxy_and_through_it(tmp_path: Path, prefix: str) -> None:
    folder = VerifierFolder(tmp_path, Forge("https://app.example/auth"))
    with running_status_issuer(folder.forge) as issuer:
        for path in (AGGREGATION, issuer.path()):
            issuer.routes[f"{prefix}{path}"] = issuer.routes.pop(path)
        with folder.running(
            **_settings(issuer, STATUS_LISTS=issuer.server.url_of(f"{prefix}{AGGREGATION}"))
        ) as verifier:
            _becomes(verifier, issuer.token(7), 200)


def test_lists_of_one_issuer_never_apply_to_another(folder: VerifierFolder) -> None:
    other = Forge(OTHER)
    with running_status_issuer(folder.forge) as ours, running_status_issuer(other) as theirs:
        # Each also publishes, under the other's name for its list, a list in which everything is set.
        for issuer, victim in ((ours, theirs), (theirs, ours)):
            named = {"status_lists": [issuer.uri(), victim.uri(2), issuer.uri(3)]}
            issuer.routes[AGGREGATION] = serves(json.dumps(named).encode())
            # And where its own should be there is one that the other signed.
            issuer.routes[issuer.path(3)] = serves(victim.list_token(3, sub=issuer.uri(3)))
            everything = StatusIssuer(issuer.forge, issuer.server, {}, revoked={2: set(range(1024))})
            token = everything.list_token(2, sub=victim.uri(2))
            issuer.routes[victim.path(2)] = serves(token)
        policies = f'[issuers."{OTHER}"]\njwks_url = "{theirs.jwks_url}"\nstatus_lists = "{theirs.aggregation_url}"\n'
        policies += accepting(folder.forge.issuer, OTHER)
        with folder.running(policies=policies, **_settings(ours)) as verifier:
            for issuer in (ours, theirs):
                assert verifier.ask(token=issuer.token(7)).status == 200
                # The list of another issuer does not apply, so the list is unknown.
                assert verifier.ask(token=issuer.token(7, number=2)).status == 503
                assert verifier.ask(token=issuer.token(7, number=3)).status == 503
            theirs.revoke(7)
            _becomes(verifier, theirs.token(7), 401)
            assert verifier.ask(token=ours.token(7)).status == 200


def test_an_unknown_list_is_a_503_with_one_early_refresh(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    with folder.running(**_settings(issuer, STATUS_POLL_SECONDS=300)) as verifier:
        rejected = verifier.ask(token=issuer.token(3, number=2))
        assert (rejected.status, rejected["retry-after"]) == (503, "1")
        issuer.publish(2)
        issuer.name(1, 2)
        _becomes(verifier, issuer.token(3, number=2), 200)
        fetches, started = issuer.server.requests_of(AGGREGATION), time.monotonic()
        with verifier.connect() as wire:
            while time.monotonic() < started + 2:
                assert wire.ask(request("/verify", bearer(issuer.token(3, number=9)))).status == 503
        assert 1 <= issuer.server.requests_of(AGGREGATION) - fetches <= 2 + (time.monotonic() - started)
        unknown_key = Forge(issuer.forge.issuer).token(time.time(), status=issuer.status(3, 9))

        def is_fetched_for_an_unknown_key() -> bool:
            fetches = _settled(issuer)
            for _ in range(20):
                assert verifier.ask(token=unknown_key).status == 401
            return _settled(issuer) != fetches

        # On a busy machine an early refresh from before may come this late; it comes once.
        assert not all(is_fetched_for_an_unknown_key() for _ in range(3))


def _settled(issuer: StatusIssuer) -> int:
    """Wait until early refreshes are over; return how often the aggregation was fetched."""
    fetches, seen_at = issuer.server.requests_of(AGGREGATION), time.monotonic()
    while time.monotonic() < seen_at + 2:
        time.sleep(0.1)
        if issuer.server.requests_of(AGGREGATION) != fetches:
            fetches, seen_at = issuer.server.requests_of(AGGREGATION), time.monotonic()
    return fetches


def test_a_list_that_cannot_be_refreshed_is_valid_until_its_exp(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    issuer.revoke(7)
    with folder.running(**_settings(issuer)) as verifier:
        token = issuer.token(8)
        assert verifier.ask(token=token).status == 200
        fetches = issuer.server.requests_of(issuer.path())
        issuer.publish(exp=int(time.time()) + 8)
        wait_until(lambda: issuer.server.requests_of(issuer.path()) > fetches + 2, "the list is fetched")
        issuer.server.behaviour = unavailable
        time.sleep(5 * POLL)
        assert (verifier.ask(token=token).status, verifier.ask(token=issuer.token(7)).status) == (200, 401)
        assert verifier.readiness() == 200
        _becomes(verifier, token, 503, 20)
        assert verifier.ask(token=issuer.token(7)).status == 503
        assert verifier.ask(token=verifier.token()).status == 200
        verifier.wait_until_readiness_is(503)
        assert "no status list yet" in verifier.admin("/readyz").text


def test_with_the_strict_setting_a_list_must_be_refreshed(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    behaviour = issuer.server.behaviour
    issuer.publish(2, ttl=60)
    issuer.name(1, 2)
    with folder.running(**_settings(issuer, STATUS_STALE="reject", STATUS_POLL_SECONDS=0.5)) as verifier:
        token = issuer.token(8)
        started = time.monotonic()
        while time.monotonic() < started + 2.5:
            assert verifier.ask(token=token).status == 200, "a 304 confirms it"
        issuer.server.behaviour = down
        _becomes(verifier, token, 503)
        assert verifier.ask(token=issuer.token(8, number=2)).status == 200, "this list has a ttl"
        issuer.server.behaviour = behaviour
        _becomes(verifier, token, 200)


def test_a_list_is_discarded_with_its_signing_key(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    issuer.revoke(7)
    with folder.running(**_settings(issuer, STATUS_POLL_SECONDS=300)) as verifier:
        assert verifier.ask(token=issuer.token(8)).status == 200
        new = Forge(issuer.forge.issuer)
        stolen, issuer.forge = issuer.forge, new
        folder.publish(new.jwks)
        verifier.wait_for_event("status_list_removed", reason="its key was removed")
        _becomes(verifier, issuer.token(8), 503)
        assert verifier.ask(token=stolen.token(time.time(), status=issuer.status(8))).status == 401
        issuer.publish()
        _becomes(verifier, issuer.token(8), 200)
        assert verifier.ask(token=issuer.token(7)).status == 401


def test_saved_lists_are_used_after_a_restart(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    issuer.revoke(7)
    cache = folder.path / "cache"
    cache.mkdir()
    settings = _settings(issuer, JWKS_URL=issuer.jwks_url, CACHE_DIR=cache)
    with folder.running(**settings) as verifier:
        assert verifier.ask(token=issuer.token(8)).status == 200
    issuer.server.behaviour = down
    with folder.running(**settings) as verifier:
        assert verifier.ask(token=issuer.token(8)).status == 200
        assert verifier.ask(token=issuer.token(7)).status == 401
    for file in (*cache.glob("*.jwt"), *cache.glob("*.lists.json")):
        os.utime(file, (time.time() - 60, time.time() - 60))
    with folder.running(ready=503, **settings, STATUS_STALE="reject") as verifier:
        verifier.wait_for_event("status_list_loaded_from_cache")
        assert verifier.ask(token=issuer.token(8)).status == 503
    _forge_files(cache, Forge(issuer.forge.issuer), issuer)
    with folder.running(ready=None, **settings) as verifier:
        verifier.wait_for_event("status_list_cache_read_failed")
        assert verifier.ask(token=issuer.token(8)).status == 503


def _forge_files(cache: Path, unknown_key: Forge, issuer: StatusIssuer) -> None:
    """Write a list of another key into the cache; saved lists are verified like fetched ones."""
    (file,) = cache.glob("*.jwt")
    forged = StatusIssuer(unknown_key, issuer.server, {})
    file.write_bytes(forged.list_token())


def test_a_reload_adds_and_removes_status_lists(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    issuer.revoke(7)
    without = f'[issuers."{issuer.forge.issuer}"]\njwks_file = "{folder.jwks}"\n'
    source = f'status_lists = "{issuer.aggregation_url}"\n'
    settings: dict[str, Any] = {"ISSUER": None, "JWKS_FILE": None, "STATUS_POLL_SECONDS": POLL}
    with folder.running(policies=without, **settings) as verifier:
        token = issuer.token(7)
        assert {verifier.ask(token=token).status for _ in range(3)} == {200}

        def reload(policies: str) -> None:
            reloads = len(verifier.events("policies_reloaded"))
            folder.policies.write_text(policies, encoding="utf-8")
            verifier.reload()
            wait_until(lambda: len(verifier.events("policies_reloaded")) == reloads + 1, "the policies are reloaded")

        reload(without + source)
        wait_until(lambda: {verifier.ask(token=token).status for _ in range(3)} == {401}, "the list is fetched")
        # After a reload the lists that were fetched before stay in use, also while their source is down.
        issuer.server.behaviour = down
        reload(without + source + "[policies.more]\n")
        assert {verifier.ask(token=token).status for _ in range(3)} == {401}
        assert {verifier.ask(token=issuer.token(8)).status for _ in range(3)} == {200}
        reload(without)
        assert {verifier.ask(token=token).status for _ in range(3)} == {200}
        assert verifier.samples("status_list_refreshed_timestamp_seconds") == verifier.samples("status_lists") == []
        assert verifier.readiness() == 200


def test_plain_http_lists_are_rejected_beyond_loopback(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    folder.publish()
    settings: dict[str, Any] = {"ISSUER": issuer.forge.issuer, "JWKS_FILE": folder.jwks}
    for url in ("http://lists.example/status-lists", "https://u:p@lists.example/"):
        done = verifier_command("check-config", **settings, STATUS_LISTS=url)
        assert done.returncode == 2
        assert "VERIFIER_STATUS_LISTS" in done.stderr
        assert "u:p" not in done.stderr


def test_readiness_requires_the_status_lists(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    issuer.name()
    with folder.running(**_settings(issuer)) as verifier:
        assert verifier.metric("status_lists") == 0
        assert time.time() - verifier.metric("status_list_refreshed_timestamp_seconds") < 60
        issuer.name(1)
        _becomes(verifier, issuer.token(7), 200)
    issuer.routes[AGGREGATION] = unavailable
    with folder.running(ready=503, **_settings(issuer)) as verifier:
        assert verifier.ask(token=issuer.token(7)).status == 503
        issuer.name(1)
        verifier.wait_until_readiness_is(200)
        assert verifier.ask(token=issuer.token(7)).status == 200


def test_check_config_and_explain_read_the_lists(folder: VerifierFolder, issuer: StatusIssuer) -> None:
    issuer.revoke(7)
    folder.publish()
    settings = {**_settings(issuer), "ISSUER": issuer.forge.issuer, "JWKS_FILE": folder.jwks}
    done = verifier_command("check-config", **settings)
    assert done.returncode == 0, done.stderr
    assert f"issuer {issuer.forge.issuer}: 1 status lists, 128 bytes" in done.stdout
    for idx, number, results in ((8, 1, "passed"), (7, 2, "FAILED: status_unavailable")):
        explained = verifier_command("explain", stdin=issuer.token(idx, number), **settings)
        assert f"13. status      {results}" in explained.stdout
        assert explained.returncode == (0 if results == "passed" else 1)
    issuer.name(1, 2)
    done = verifier_command("check-config", **settings)
    assert done.returncode == 1
    assert f"status list {issuer.uri(2)}: the response is 404" in done.stderr
