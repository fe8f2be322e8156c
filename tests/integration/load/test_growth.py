"""The table of costs as accounts grow, from a real issuer."""

import pytest

from loadtests.bench_issuer import growth


def test_every_step_measures_every_operation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "OPERATIONS", 20)
    assert growth.main(["--accounts", "1200", "1400"]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| 1,")]
    assert [row[0] for row in rows] == ["1,200", "1,400"]
    for _, login, refresh, me, logout, *_, database, _ in rows:
        costs = [float(cost.split(" + ")[0]) for cost in (login, refresh, me, logout)]
        assert costs[0] > 5 * costs[1], "a login hashes a password"
        assert min(costs) > 0
        assert int(database) > 1


def test_the_steps_must_ascend() -> None:
    with pytest.raises(SystemExit):
        growth.main(["--accounts", "5000", "2000"])
