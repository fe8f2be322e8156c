"""The issuer and the naive application do the same operations and are both measured."""

import asyncio

import pytest

from loadtests.bench_issuer import comparison
from loadtests.bench_issuer.comparison import compare
from loadtests.bench_issuer.testbed import running_testbed


def test_every_operation_costs_both_sides_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "SIZES", dict.fromkeys(comparison.SIZES, 20))
    monkeypatch.setattr(comparison, "_WARM_UP", 4)
    with running_testbed() as testbed:
        pairs = asyncio.run(compare(testbed))
    assert list(pairs) == ["login", "refresh", "client_credentials", "key set", "GET /me"]
    assert all(pair.ours > 0 and pair.naive > 0 for pair in pairs.values())
    cheapest = min(pairs.values(), key=lambda pair: pair.naive)
    assert cheapest is pairs["key set"]
    assert pairs["login"].naive > 5, "it computes the same hash"
