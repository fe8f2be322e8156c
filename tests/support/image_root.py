"""What the steps of a Dockerfile make, made in a plain folder: an image without an engine.

Follows COPY, and of RUN the few commands that it knows, each absolute path moved below the folder; any other step is
an error. It never runs a shell and never writes outside of its folder. The base image is the Python of this machine.
The packages come out of the environment that the tests run in, each in the version of the lock; or from pip, as in
the image, where GATEPASS_IMAGE_PIP=1. `python -m tests.support.image_root` prints what each image adds to its base.
"""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

from tests.support.processes import ROOT
from tests.support.programs import absent

USER: Final = 10001
_COMMANDS: Final = ("python -m venv ", "python -m pip ", "python -m compileall ", "install --directory ")
_OF_THE_BASE: Final = "python -m pip uninstall --yes pip"
_PIP: Final = os.environ.get("GATEPASS_IMAGE_PIP") == "1"


@dataclass
class Image:
    """A built stage: its folder, and what it says of how to run it.

    Attributes:
        path: where `/` of the image is.
        python: what stands for the `python` of the base image.
        environ: of ENV, as written.
        says: the last USER, WORKDIR, ENTRYPOINT, CMD, HEALTHCHECK, as written.
        given_away: folders that belong to its user, to mount volumes on.
    """

    path: Path
    python: Path
    environ: dict[str, str] = field(default_factory=dict)
    says: dict[str, str] = field(default_factory=dict)
    given_away: list[Path] = field(default_factory=list)

    def at(self, path: str) -> Path:
        """Where an absolute path of the image is on this machine."""
        return self.path / path.lstrip("/")

    def entry_point(self, *arguments: str) -> list[str]:
        """The command of a container that is started with `arguments`, or with none."""
        words = json.loads(self.says["ENTRYPOINT"]) + (list(arguments) or json.loads(self.says["CMD"]))
        return self._found(words)

    def health_check(self) -> list[str]:
        """The command of the HEALTHCHECK."""
        return self._found(json.loads(self.says["HEALTHCHECK"].partition("CMD ")[2]))

    def how_to_run(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of `subprocess` for a process as a container has it: environment, folder, user."""
        moved = {name: self._moved(value) for name, value in self.environ.items()}
        as_somebody = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
        return {
            "env": moved | {name: str(value) for name, value in settings.items()},
            "cwd": self.at(self.says["WORKDIR"]),
            **as_somebody,
        }

    def run(self, *arguments: str, stdin: str = "", **settings: Any) -> subprocess.CompletedProcess[str]:
        """Run the entry point to its end."""
        return subprocess.run(
            self.entry_point(*arguments),
            **self.how_to_run(settings),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _moved(self, value: str) -> str:
        parts = value.replace("$PATH", "/usr/bin").split(":")
        return ":".join(str(self.at(part)) if part.startswith("/") else part for part in parts)

    def _found(self, words: list[str]) -> list[str]:
        # Popen looks in our PATH, a container's in its own.
        found = shutil.which(words[0], path=self._moved(self.environ["PATH"]))
        assert found, f"{words[0]} is not in the image"
        return [found, *words[1:]]

    def size(self) -> int:
        """Bytes of its files, which are what it adds to the base image."""
        return sum(path.lstat().st_size for path in self.path.rglob("*") if not path.is_dir())


@contextmanager
def image_root(side: str) -> Iterator[Image]:
    """The last stage of a side's Dockerfile, with nothing to be written but what belongs to its user."""
    # Not below pytest's own folders, which are private: another user has to get here.
    folder = Path(tempfile.mkdtemp(prefix=f"gatepass-{side}-image-"))
    folder.chmod(0o755)
    try:
        image = build(ROOT / side / "Dockerfile", folder)
        _write_protect(image)
        yield image
    finally:
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(folder)


def build(dockerfile: Path, folder: Path, **arguments: str) -> Image:
    """Follow every step, with these build arguments. The last stage."""
    python = _python_for_anybody()
    stages: dict[str, Image] = {}
    image = Image(folder, python)
    for instruction, written in steps(dockerfile):
        value = re.sub(r"\$\{(\w+)\}", lambda name: arguments.get(name[1], ""), written)
        match instruction:
            case "ARG":
                name, _, default = value.partition("=")
                arguments.setdefault(name, default)
            case "FROM":
                name = value.partition(" AS ")[2] or "final"
                image = stages[name] = Image(folder / name, python)
                image.path.mkdir()
            case "COPY":
                _copy(value, image, stages)
            case "RUN":
                for command in value.split("&&"):
                    _run(command.strip(), image)
            case "ENV":
                image.environ |= dict(word.split("=", 1) for word in shlex.split(value))
            case "USER" | "WORKDIR" | "ENTRYPOINT" | "CMD" | "HEALTHCHECK":
                image.says[instruction] = value
            case "LABEL" | "EXPOSE":
                pass
            case _:
                raise AssertionError(f"a step that nobody has tried: {instruction} {value}")
    return image


def steps(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction and what follows it, continued lines joined."""
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in whole.splitlines() if line]


def _copy(value: str, image: Image, stages: Mapping[str, Image]) -> None:
    *sources, target = value.split()
    origin = stages[sources.pop(0).removeprefix("--from=")].path if sources[0].startswith("--from=") else ROOT
    ignored = _dockerignored() if origin == ROOT else None
    for source in sources:
        path, goal = origin / source.lstrip("/"), image.at(target)
        goal.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, goal, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(path, goal)


def _dockerignored() -> Callable[[Any, list[str]], set[str]]:
    """What stays out of a build wherever it lies."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return shutil.ignore_patterns(*(line[3:].rstrip("/") for line in lines if line.startswith("**/")))


def _run(command: str, image: Image) -> None:
    if command == _OF_THE_BASE:  # which is this machine's
        return
    assert command.startswith(_COMMANDS), f"a command that nobody has tried: {command}"
    words = [str(image.at(word)) if word.startswith("/") else word for word in shlex.split(command)]
    if "pip" in words and not _PIP:
        _copy_packages(Path(words[-1]), image)
        return
    if words[0] == "python":
        words[0] = str(sys.executable if "pip" in words else image.python)
    if "compileall" in words:
        words[3:3] = ["-s", str(image.path), "-p", "/"]  # the files name their place in the image
    if words[0] == "install":
        image.given_away += _make_folders(words[2:])
    else:
        subprocess.run(words, check=True, capture_output=True, cwd=image.path)


def _make_folders(words: list[str]) -> list[Path]:
    """What GNU `install --directory` does; other systems have none."""
    options = dict(word[2:].split("=") for word in words if word.startswith("--"))
    folders = [Path(word) for word in words if not word.startswith("--")]
    for folder in folders:
        folder.mkdir()
        folder.chmod(int(options["mode"], 8))
        if os.geteuid() == 0:
            os.chown(folder, int(options["owner"]), int(options["group"]))
    return folders


def _copy_packages(lock: Path, image: Image) -> None:
    """What pip would unpack, from where it is unpacked already."""
    (site,) = image.at("/opt/gatepass/lib").glob("python*/site-packages")
    for line in re.findall(r"^(\S+==.*?) *\\?$", lock.read_text(encoding="utf-8"), re.MULTILINE):
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        found = distribution(wanted.name)
        assert wanted.specifier.contains(found.version), f"{line} is locked, and {found.version} installed"
        for file in found.files or ():
            if file.suffix != ".pyc":
                goal = site / file
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), goal)


def _python_for_anybody() -> Path:
    """A Python of our version that an unprivileged user may run: root's own may lie where nobody else gets."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ours = Path(sys.executable).resolve()
    for python in (ours, Path("/usr/local/bin") / name, Path("/usr/bin") / name):
        if python.exists() and all(folder.stat().st_mode & stat.S_IXOTH for folder in python.resolve().parents):
            return python
    return ours if os.geteuid() != 0 else absent(f"{name} is installed for root alone")


def _write_protect(image: Image) -> None:
    """As a read-only root filesystem: only what volumes are mounted on stays as it is."""
    for path in [image.path, *image.path.rglob("*")]:
        if not path.is_symlink() and path not in image.given_away:
            path.chmod(path.stat().st_mode & ~0o222)


if __name__ == "__main__":
    for name in ("verifier", "issuer"):
        with image_root(name) as measured:
            print(f"{name}: {measured.size() / 2**20:.1f} MiB on top of the base image")  # noqa: T201 - a command
