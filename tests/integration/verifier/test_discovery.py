"""Key sets whose URL is in the issuer's metadata: OpenID Connect Discovery 1.0 §4.3, RFC 8414 §3.3."""

import contextlib
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest

from tests.support.certificates import self_signed
from tests.support.identity_provider import (
    OAUTH,
    OPENID,
    Provider,
    metadata,
    metadata_faults,
    running_provider,
)
from tests.support.jwks_server import JwksServer, running_jwks_server, serves
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.token_forge import Forge, accepting
from tests.support.verifier_process import (
    VerifierFolder,
    VerifierProcess,
    open_descriptors,
    resident_bytes,
    verifier_command,
)
from verifier.refresh.metadata import MAX_METADATA_BYTES

_KEY: Final = Forge().key


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider(Forge("https://idp.example/tenant")) as it:
        yield it


def _settings(provider: Provider, **changes: Any) -> dict[str, Any]:
    return {"ISSUER": provider.forge.issuer, "JWKS_FILE": None, "DISCOVERY": provider.discovery, **changes}


def _wait_until_accepted(verifier: VerifierProcess, token: bytes) -> None:
    wait_until(lambda: verifier.ask(token=token).status == 200, "it is accepted")


@pytest.mark.parametrize("path", [OPENID, OAUTH, "/anywhere"])
def test_the_keys_are_those_of_the_key_set_that_the_metadata_name(
    folder: VerifierFolder, provider: Provider, path: str
) -> None:
    with running_jwks_server(serves(provider.forge.jwks)) as elsewhere:
        del provider.pages[OPENID], provider.pages["/keys"]
        provider.describe(path, jwks_uri=elsewhere.url)
        with folder.running(**_settings(provider, DISCOVERY=provider.server.url_of(path))) as verifier:
            assert verifier.ask(token=provider.token()).status == 200
            assert verifier.ask(token=Forge(provider.forge.issuer).token(time.time())).status == 401


def test_an_issuer_of_the_policy_file_is_discovered_too(folder: VerifierFolder, provider: Provider) -> None:
    policies = provider.table + accepting(folder.forge.issuer, provider.forge.issuer)
    with folder.running(policies=policies) as verifier:
        assert verifier.ask(token=provider.token()).status == 200
        assert verifier.ask(token=verifier.token()).status == 200


@pytest.fixture
def providers(provider: Provider) -> Iterator[dict[str, Provider]]:
    """Yield a provider for each fault, all with one key."""
    with contextlib.ExitStack() as stack:
        yield {
            fault: stack.enter_context(running_provider(Forge(f"https://idp.example/{number}/tenant", _KEY)))
            for number, fault in enumerate(metadata_faults(provider))
        }


def test_metadata_that_become_invalid_change_nothing_but_the_log(
    folder: VerifierFolder, providers: dict[str, Provider]
) -> None:
    policies = "".join(it.table for it in providers.values()) + accepting(
        *(it.forge.issuer for it in providers.values())
    )
    with folder.running(ISSUER=None, JWKS_FILE=None, policies=policies) as verifier:
        before = resident_bytes(verifier.process.pid)
        cached = {fault: it.token() for fault, it in providers.items()}
        for fault, it in providers.items():
            it.pages[OPENID] = metadata_faults(it)[fault]
        verifier.reload()
        failed: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + 30
        with verifier.connect(timeout=2) as wire:
            while missing := [fault for fault, it in providers.items() if it.forge.issuer not in failed]:
                assert time.monotonic() < deadline, f"not logged: {missing}: {verifier.log()[-3000:]}"
                for fault, it in providers.items():
                    for token in (cached[fault], it.token()):
                        assert wire.ask(request("/verify", bearer(token))).status == 200, fault
                failed = {line["issuer"]: line for line in verifier.events("metadata_fetch_failed")}
                time.sleep(0.2)
        for it in providers.values():
            assert failed[it.forge.issuer]["jwks_uri"] == it.server.url_of("/keys")
        counted = {labels["issuer"] for labels, value in verifier.samples("jwks_failures_total") if value >= 1}
        assert counted == {it.forge.issuer for it in providers.values()}
        assert {value for _, value in verifier.samples("jwks_keys")} == {1}
        assert resident_bytes(verifier.process.pid) - before < 40 * 2**20
        assert not verifier.events("decision_failed")
        assert "password" not in verifier.log()
        assert not providers["301 to a valid one"].server.requests_of("/other")
        for it in providers.values():
            it.describe()
        taken = len(verifier.events("metadata_updated"))
        verifier.reload()
        wait_until(
            lambda: len(verifier.events("metadata_updated")) >= taken + len(providers), "all metadata are used again"
        )
        wait_until(lambda: open_descriptors(verifier.process.pid) < 60, "the sockets of sources are closed")


@pytest.mark.parametrize("members", [{"issuer": "https://another.example"}, {"jwks_uri": "http://10.0.0.1/keys"}])
def test_initially_invalid_metadata_affect_the_tokens_of_their_issuer_alone(
    folder: VerifierFolder, provider: Provider, members: dict[str, Any]
) -> None:
    provider.describe(**members)
    policies = provider.table + accepting(folder.forge.issuer, provider.forge.issuer)
    with folder.running(policies=policies) as verifier:
        assert verifier.ask(token=verifier.token()).status == 200
        assert verifier.ask(token=provider.token()).status == 503
        assert provider.forge.issuer in verifier.admin("/readyz").text
        assert not provider.server.requests_of("/keys")
        provider.describe()
        wait_until(lambda: verifier.admin("/readyz").text == "ready\n", "the keys are there")
        assert verifier.ask(token=provider.token()).status == 200


def test_metadata_and_key_set_of_two_hosts_are_fetched_by_https_with_a_private_authority(
    folder: VerifierFolder,
) -> None:
    tls, _ = self_signed(folder.path)
    with running_provider(tls=tls) as provider, JwksServer(serves(provider.forge.jwks), tls).running() as elsewhere:
        provider.describe(jwks_uri=elsewhere.url)
        authority = folder.path / "server.pem"
        with folder.running(**_settings(provider, CA_FILE=authority)) as verifier:
            assert verifier.ask(token=provider.token()).status == 200
        with folder.running(**_settings(provider), ready=503) as verifier:
            assert verifier.wait_for_event("metadata_fetch_failed")["detail"].startswith(
                "the certificate is not trusted ("
            )
            assert verifier.ask(token=provider.token()).status == 503
        assert verifier_command("discover", provider.forge.issuer).returncode == 1
        discovered = verifier_command("discover", provider.forge.issuer, CA_FILE=authority)
        assert (discovered.returncode, discovered.stderr) == (0, "")


def test_metadata_that_came_by_https_do_not_lead_to_plain_http_on_loopback(folder: VerifierFolder) -> None:
    tls, _ = self_signed(folder.path)
    with running_provider(tls=tls) as provider, running_jwks_server(serves(provider.forge.jwks)) as plain:
        provider.describe(jwks_uri=plain.url)
        settings = _settings(provider, CA_FILE=folder.path / "server.pem")
        with folder.running(**settings, ready=503) as verifier:
            assert "not an https URL" in verifier.wait_for_event("metadata_fetch_failed")["detail"]
            assert verifier.ask(token=provider.token()).status == 503
        assert not plain.requests


def test_a_key_set_that_moves_is_followed(folder: VerifierFolder, provider: Provider) -> None:
    with folder.running(**_settings(provider)) as verifier:
        new = Forge(provider.forge.issuer)
        provider.pages["/moved"] = serves(new.jwks)
        del provider.pages["/keys"]
        provider.describe(jwks_uri=provider.server.url_of("/moved"))
        _wait_until_accepted(verifier, new.token(time.time()))
        assert verifier.ask(token=provider.token()).status == 401


def test_a_key_set_that_moves_to_where_none_is_leaves_the_keys_as_they_are(
    folder: VerifierFolder, provider: Provider
) -> None:
    with folder.running(**_settings(provider)) as verifier:
        for number, page in enumerate((serves(b"{}"), lambda _: None)):
            path = f"/moved-{number}"
            provider.pages[path] = page
            provider.describe(jwks_uri=provider.server.url_of(path))
            verifier.reload()
            wait_until(partial(provider.server.requests_of, path), "the new place is asked")
            assert verifier.ask(token=provider.token()).status == 200
        verifier.wait_for_event("jwks_fetch_failed", cause="invalid", keys_in_use=1)
        verifier.wait_for_event("jwks_fetch_failed", cause="unreachable", keys_in_use=1)
        assert verifier.ask(token=provider.token()).status == 200


def test_a_new_key_is_found_without_fetching_the_metadata_again(folder: VerifierFolder, provider: Provider) -> None:
    with folder.running(**_settings(provider)) as verifier:
        new = Forge(provider.forge.issuer)
        provider.pages["/keys"] = serves(new.jwks)
        _wait_until_accepted(verifier, new.token(time.time()))
        assert provider.server.requests_of(OPENID) == 1


def test_metadata_and_keys_that_were_cached_let_a_verifier_start_without_their_issuer(
    folder: VerifierFolder, provider: Provider
) -> None:
    cache = folder.path / "cache"
    cache.mkdir()
    with folder.running(**_settings(provider, CACHE_DIR=cache)) as verifier:
        assert verifier.ask(token=provider.token()).status == 200
    assert len(list(cache.glob("*.metadata.json"))) == 1
    for pages in ({}, {"/keys": serves(provider.forge.jwks)}):
        provider.pages.clear()
        provider.pages.update(pages)
        with folder.running(**_settings(provider, CACHE_DIR=cache)) as verifier:
            assert verifier.ask(token=provider.token()).status == 200
            verifier.wait_for_event("metadata_fetch_failed", cause="status")


@pytest.mark.parametrize("spoil", ["another issuer", "plain http", "garbage", "too long"])
def test_cached_metadata_are_checked_like_fetched_ones(
    folder: VerifierFolder, provider: Provider, spoil: str
) -> None:
    cache = folder.path / "cache"
    cache.mkdir()
    with folder.running(**_settings(provider, CACHE_DIR=cache)):
        (cached,) = cache.glob("*.metadata.json")
    uri = provider.server.url_of("/keys")
    cached.write_bytes({
        "another issuer": json.dumps(metadata("https://another.example", uri)).encode(),
        "plain http": json.dumps(metadata(provider.forge.issuer, "http://10.0.0.1/keys")).encode(),
        "garbage": b"\0" * 100,
        "too long": cached.read_bytes() + b" " * MAX_METADATA_BYTES,
    }[spoil])  # fmt: skip
    for path in set(cache.iterdir()) - {cached}:
        path.unlink()
    del provider.pages[OPENID]
    with folder.running(**_settings(provider, CACHE_DIR=cache), ready=503) as verifier:
        verifier.wait_for_event("metadata_cache_read_failed")
        assert verifier.ask(token=provider.token()).status == 503
