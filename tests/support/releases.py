"""Earlier releases of Gatepass, from the history of this repository, each with the packages of its lock."""

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT, finished, without_settings
from tests.support.programs import absent

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatepass/releases"
_LOCK: Final = "stack/requirements.lock"


@dataclass(frozen=True)
class Release:
    """A source tree, the interpreter that runs it, and the module of its issuer, with arguments."""

    tree: Path
    python: str
    issuer: str = "issuer"

    def command(self, module: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m module …` to its end. `settings` are variables with their prefix."""
        environ = without_settings() | settings
        return finished([self.python, "-m", module, *arguments], folder=self.tree, environ=environ)


CURRENT: Final = Release(ROOT, sys.executable)


def with_other_clock(seconds: int) -> Release:
    """Return this release on a machine whose clock is so many seconds ahead, as its issuer sees it."""
    return Release(ROOT, sys.executable, f"tests.support.issuer_with_other_clock {seconds}")


@cache
def previous_release() -> Release:
    """Return the release before this one: the last commit before `version` got its value."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    bumped = _git("log", "--format=%H", "--reverse", f'-Sversion = "{version}"', "--", "pyproject.toml").split()
    return _release(f"{bumped[0]}^" if bumped else "HEAD")


@cache
def release_before(added: str) -> Release:
    """Return the commit before the one that added a file."""
    return _release(f"{_git('log', '--format=%H', '--diff-filter=A', '--', added).split()[-1]}^")


def _release(revision: str) -> Release:
    if _git("rev-parse", "--is-shallow-repository").strip() == "true":
        absent("this clone lacks the history that holds the previous release (git fetch --unshallow)")
    commit = _git("rev-parse", revision).strip()
    tree = _CACHE / commit
    if not tree.exists():
        unfinished = _CACHE / f"{commit}.{os.getpid()}"
        unfinished.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", str(unfinished)], input=archive.stdout, check=True)
        unfinished.rename(tree)
    return Release(tree, _python_of(tree))


def _python_of(tree: Path) -> str:
    """Return an interpreter with the packages of a release: this one, if its lock is the same."""
    lock = tree / _LOCK
    if lock.read_bytes() == (ROOT / _LOCK).read_bytes():
        return sys.executable
    python = tree / ".venv/bin/python"
    uv = [sys.executable, "-m", "uv"]
    if not (tree / ".venv/complete").exists():
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, tree / ".venv"], check=True)
        install = ("pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:")
        subprocess.run([*uv, *install, "--python", python, "--requirement", lock], check=True)
        (tree / ".venv/complete").touch()
    return str(python)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        absent(f"the history of this tree cannot be read, and it holds the previous release: {error}")
    return done.stdout
