"""The Go client of `docs/clients` with a real issuer, through a proxy that fails every first attempt."""

import shutil
from pathlib import Path

import pytest

from tests.support.client_tests import CLIENTS, example_of, run_tests_through_faults
from tests.support.issuer_process import IssuerProcess
from tests.support.programs import program


@pytest.mark.timeout(300)  # Go compiles its standard library once per machine
def test_the_client_keeps_a_session_through_faults(issuer: IssuerProcess, tmp_path: Path) -> None:
    """Run all tests of `example_test.go` in one process."""
    go = program("go", "golang-go")
    module(tmp_path, issuer)
    command = [go, "test", "-count=1", "./gatepass"]
    run_tests_through_faults(command, issuer, tmp_path, GOPROXY="off", GOTOOLCHAIN="local")


def module(folder: Path, issuer: IssuerProcess) -> None:
    """Write a Go module with the client, its tests, and the example of its page for this issuer."""
    for package in ("gatepass", "notes"):
        (folder / package).mkdir()
    (folder / "go.mod").write_text("module example.com/app\n\ngo 1.22\n", encoding="utf-8")
    example = example_of("go.md", 'go title="notes.go"', issuer)
    (folder / "notes/notes.go").write_text(example, encoding="utf-8")
    shutil.copy(CLIENTS / "gatepass.go", folder / "gatepass")
    shutil.copy(Path(__file__).parent / "example_test.go", folder / "gatepass")
