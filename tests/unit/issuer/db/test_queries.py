"""The loader of named SQL."""

from pathlib import Path

import pytest

from issuer.db.queries import load_queries


def load(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "x.sql"
    path.write_text(text)
    return load_queries(path)


def test_statements_are_found_by_name_in_their_order(tmp_path: Path) -> None:
    found = load(tmp_path, "-- About.\n\n-- name: one\nSELECT 1;\n\n-- name: two\n-- why\nSELECT\n 2;\n")
    assert list(found.items()) == [("one", "SELECT 1;"), ("two", "-- why\nSELECT\n 2;")]


@pytest.mark.parametrize("text", ["SELECT 1;", "-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;"])
def test_a_statement_without_a_unique_name_is_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"x\.sql"):
        load(tmp_path, text)
