"""`make` in a source tree without an environment, on a machine with only Python."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.processes import ROOT, finished
from tests.support.programs import program


@pytest.fixture(autouse=True)
def _make_is_there() -> None:
    program("make")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a source tree with our Makefile, the uv of this environment, and empty lock files."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack/requirements.lock").write_text("# nothing\n")
    (tmp_path / "stack/__main__.py").write_text("print('the stack runs')\n")
    venv.create(tmp_path / ".venv")
    (tmp_path / ".venv/bin/uv").symlink_to(Path(sys.executable).with_name("uv"))
    return tmp_path


def _make(tree: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return finished(["make", *arguments], folder=tree, environ=own | environ)


def test_packages_are_installed_once_and_again_when_the_lock_changes(tree: Path) -> None:
    first, second = _make(tree, "run"), _make(tree, "run")
    assert ("Installing" in first.stdout, "Installing" in second.stdout) == (True, False)
    assert second.stdout == "the stack runs\n"
    (tree / "stack/requirements.lock").write_text("no-such-package==1.0 --hash=sha256:" + 64 * "0" + "\n")
    third = _make(tree, "run", UV_NO_INDEX="1", UV_OFFLINE="1")
    assert third.returncode != 0
    assert "no-such-package" in third.stderr
    assert "could not be installed" in third.stderr
    assert "the stack runs" not in third.stdout


def test_an_environment_that_a_guide_made_is_kept(tree: Path) -> None:
    uv = tree / ".venv/bin/uv"
    (tree / "requirements.lock").write_text("uv==1.0\n")
    (site_packages,) = (tree / ".venv").glob("lib/python*/site-packages")
    pip = site_packages / "pip"
    pip.mkdir()
    (pip / "__init__.py").touch()
    (pip / "__main__.py").write_text(f"import os; os.symlink({str(uv.readlink())!r}, {str(uv)!r})")
    uv.unlink()
    done = _make(tree, "run")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "the stack runs")
    assert pip.is_dir(), "its packages are still installed"


def test_an_unsupported_python_is_one_line(tree: Path) -> None:
    shutil.rmtree(tree / ".venv")
    tools = tree / "bin"
    tools.mkdir()
    for tool in ("sh", "cmp", "make"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    python = tools / "python3"
    python.write_text(f"#!{shutil.which('sh')}\n[ $1 = --version ] && echo Python 3.9.2 && exit\nexit 1\n")
    python.chmod(0o755)
    done = _make(tree, "run", PATH=str(tools))
    assert done.returncode != 0
    assert "Gatepass needs Python 3.11 or newer with its venv module; found: Python 3.9.2." in done.stderr
    assert not (tree / ".venv").exists()


def test_help_names_every_target(tree: Path) -> None:
    listed = [line.split()[1] for line in _make(tree).stdout.splitlines()]
    phony = next(line for line in (tree / "Makefile").read_text().splitlines() if line.startswith(".PHONY"))
    assert listed == phony.split()[1:]
