"""A folder with one key, for all tests of keys."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.signing_keys import generate_key


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    generate_key(tmp_path / "keys", datetime(2026, 3, 1, 12, tzinfo=UTC))
    return tmp_path / "keys"
