"""State folders outside of pytest's private ones, because as root PostgreSQL runs as another user."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gatepass-stack-") as folder:
        yield Path(folder)


folder = pytest.fixture(_folder, name="folder")
module_folder = pytest.fixture(_folder, name="module_folder", scope="module")
