"""Fixtures: state folders outside of pytest's private ones, since root's PostgreSQL runs as another user."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import database_folder


def _folder() -> Iterator[Path]:
    folder = database_folder("stack")
    yield folder
    shutil.rmtree(folder)


folder = pytest.fixture(_folder, name="folder")
module_folder = pytest.fixture(_folder, name="module_folder", scope="module")
