"""The tables of what operations cost, from a real issuer."""

import pytest

from loadtests.bench_issuer import operation_cost


def test_each_operation_has_a_cost_and_each_table_a_weight(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation_cost, "LOGINS", 20)
    # A busy machine may make the issuer respond with 503, and then the figures are void.
    assert any(operation_cost.main() == 0 for _ in range(3))
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    costs = {name: figures for name, *figures in rows}
    assert float(costs["login"][0]) > float(costs["GET /me"][0]), "a login hashes a password"
    assert int(costs["login"][2].replace(",", "")) > 100, "and leaves something in the log"
    assert [costs[table][0] for table in ("sessions", "revocations")] == ["20", "20"]
    assert int(costs["sessions"][1].replace(",", "")) > 100
