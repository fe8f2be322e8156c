"""The tables for sizing, from a real issuer."""

import pytest

from loadtests.bench_issuer import sizing
from loadtests.command import exit_status


@pytest.mark.timeout(300)
def test_each_operation_has_a_cost_and_each_row_a_weight(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "LOGINS", 20)
    monkeypatch.setattr(sizing, "OPERATIONS", 20)
    monkeypatch.setattr(sizing, "REVOKED", (0, 100))
    # A busy machine may make the issuer respond with 503, and then the figures are void.
    assert any(exit_status("test", lambda: sizing.main(["--accounts", "1200", "1400"])) == 0 for _ in range(3))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rows = {name: figures for name, *figures in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}
    assert float(rows["login"][0]) > float(rows["GET /me"][0]), "a login hashes a password"
    assert int(rows["login"][2].replace(",", "")) > 100, "and leaves something in the log"
    assert [rows[name][0] for name in ("sessions", "revocations")] == ["20", "20"]
    assert int(rows["sessions"][1].replace(",", "")) > 100
    assert int(rows["100"][0].replace(",", "")) > int(rows["0"][0]), "a list with revoked sessions is longer"
    for login, refresh, me, logout, _, database, *_ in (rows["1,200"], rows["1,400"]):
        costs = [float(cost.split(" + ")[0]) for cost in (login, refresh, me, logout)]
        assert costs[0] > 5 * costs[1], "a login hashes a password"
        assert min(costs) > 0
        assert int(database) > 1


def test_the_numbers_of_accounts_must_ascend() -> None:
    with pytest.raises(SystemExit):
        sizing.main(["--accounts", "5000", "2000"])
