"""The table of what status lists cost."""

import pytest

from loadtests.bench_issuer import status_list_cost


def test_the_table_has_a_row_for_each_number_of_revocations(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_list_cost, "REVOKED", (0, 100))
    status_list_cost.main()
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| 0", "| 100"]
    assert all(row.count("|") == 6 for row in rows)
