"""Every command of a guide, typed in order on real programs, prints what the guide shows."""

from pathlib import Path

import pytest

from tests.support.guides import GUIDES, Reader
from tests.support.postgres import running_postgres
from tests.support.programs import program

# A guide, and the sections of others that its reader has to follow first.
FIRST: dict[str, tuple[str, ...]] = {"nginx-fastapi.md": ()}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", FIRST)
def test_a_guide_works_as_it_is_written(name: str, tmp_path: Path) -> None:
    program("curl")
    program("openssl")
    with running_postgres() as postgres:
        Reader(tmp_path, postgres).follow((GUIDES / name).read_text(encoding="utf-8"))
