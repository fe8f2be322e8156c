"""A flood of distinct valid tokens stays within the bounds of the cache."""

import time
from typing import Any

import pytest

from tests.support.raw_http import Wire, bearer, request
from tests.support.token_forge import Forge
from tests.support.verifier_process import VerifierFolder, resident_bytes

_TOKENS = 2000


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


@pytest.fixture(scope="module")
def flood(forge: Forge) -> list[bytes]:
    now = time.time()
    return [
        forge.token(now, jti=f"{number:06}" + "x" * 200, sub="s" * 200, scope="y" * 500) for number in range(_TOKENS)
    ]


@pytest.mark.parametrize("settings", [{"CACHE_ENTRIES": 500}, {"CACHE_BYTES": 65_536 * 8}, {"CACHE_ENTRIES": 0}])
def test_a_flood_of_distinct_tokens_stays_within_the_cache_size(
    folder: VerifierFolder, forge: Forge, flood: list[bytes], settings: dict[str, Any]
) -> None:
    tokens, folder.forge = flood, forge
    with folder.running(**settings) as verifier, verifier.connect() as wire:
        pid = verifier.process.pid
        _ask_all(wire, tokens[:600])
        before = resident_bytes(pid)
        _ask_all(wire, tokens)
        assert resident_bytes(pid) - before < 2 * 2**20
        assert verifier.metric("cache_entries") <= settings.get("CACHE_ENTRIES", 10**9)
        assert verifier.metric("cache_bytes") <= settings.get("CACHE_BYTES", 2**26)
        assert (verifier.metric("cache_evictions_total") > 0) == (settings.get("CACHE_ENTRIES") != 0)
        # The most recent requests are cached, unless caching is disabled.
        _ask_all(wire, tokens[-50:])
        assert (verifier.metric("cache_hits_total") >= 50) == (settings.get("CACHE_ENTRIES") != 0)


def _ask_all(wire: Wire, tokens: list[bytes]) -> None:
    for token in tokens:
        assert wire.ask(request("/verify", bearer(token))).status == 200
