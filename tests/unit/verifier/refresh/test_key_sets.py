"""Key sets are read beside requests, however many keys a document has."""

import asyncio
import json
import math

import pytest
from prometheus_client import CollectorRegistry, Counter

from shared import base64url
from shared.jwks import MAX_KEYS
from verifier.refresh.document import DocumentOptions
from verifier.refresh.document_log import DocumentLog
from verifier.refresh.key_sets import KeySetDocument, KeySource
from verifier.refresh.schedule import Schedule
from verifier.refresh.source import FetchResult, RefreshError

pytestmark = pytest.mark.anyio

SCHEDULE = Schedule(interval=10, max_age_bounds=None, max_backoff=10, min_interval=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Nothing:
    """A source that is not asked."""

    async def fetch(self, version: bytes | None) -> FetchResult:
        raise RefreshError("unreachable", str(version))


async def test_requests_are_served_while_a_large_key_set_is_read() -> None:
    keys = [
        {"kty": "OKP", "crv": "Ed25519", "kid": str(number), "x": base64url.encode(number.to_bytes(32, "little"))}
        for number in range(MAX_KEYS)
    ]
    failures = Counter("failures", "", ("issuer", "cause"), registry=CollectorRegistry())
    options = DocumentOptions(DocumentLog("jwks", failures, detailed=True), SCHEDULE)
    source = KeySource(Nothing(), remote=True, algorithms=frozenset({"EdDSA"}))
    document = KeySetDocument("https://issuer.example", source, options, math.inf, lambda: None)
    reading = asyncio.create_task(document.parse(json.dumps({"keys": keys}).encode()))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert len((await reading).keys) > MAX_KEYS // 4
    assert turns > 2
