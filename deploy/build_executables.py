"""Builds issuer, verifier and doctor as one file each, from their locks. `make dist`; ADR 0124.

A file needs only Python. It holds the locked packages, `shared/`, its own package and `pyproject.toml`, and unpacks
them at its first start. The same commit, Python and locks give the same bytes, in any folder and at any time.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PROGRAMS: Final = ("issuer", "verifier", "doctor")

_EXCLUDED_SUFFIXES: Final = ("Dockerfile", ".lock")
_INSTALLATION_RECORDS: Final = ("INSTALLER", "RECORD", "REQUESTED", "uv_cache.json")
"""Records of an installation; some hold times and paths of the building machine."""

_NOT_IGNORED: Final = ("--cached", "--others", "--exclude-standard")
_REVISION: Final = ("--always", "--abbrev=40", "--exclude=*", "--dirty")

_START: Final = '''\
"""Rejects a Python for which the packages of this file were not built, and names the revision of the source."""

import os
import sys
import sysconfig

if {abi!r} not in (None, sysconfig.get_config_var("SOABI")):
    sys.exit(
        "{name} was built for {abi}, and this Python is " + str(sysconfig.get_config_var("SOABI"))
        + ": start it with such a Python, or build it with this one (make dist PYTHON=...)"
    )
os.environ.setdefault("GATEPASS_REVISION", {revision!r})
'''


def build(program: str, output: Path) -> Path:
    """Write the executable of a program into the folder `output` and return its path.

    Raises:
        subprocess.CalledProcessError: a package could not be installed, or this is not a Git working tree.
    """
    target = output / f"gatepass-{program}"
    with tempfile.TemporaryDirectory(prefix="gatepass-dist-") as folder:
        tree, start = Path(folder, "site-packages"), Path(folder, "gatepass_start.py")
        _install(ROOT / program / "requirements.lock", tree)
        _copy_sources(program, tree)
        abi = sysconfig.get_config_var("SOABI") if any(tree.rglob("*.so")) else None
        start.write_text(_START.format(abi=abi, name=target.name, revision=_git("describe", *_REVISION).strip()))
        _set_modes(Path(folder))
        # Isolated (-I): neither the environment nor the folder of the user brings other modules.
        python = f"python{sys.version_info.major}.{sys.version_info.minor}" if abi else "python3"
        subprocess.run(
            [
                *(sys.executable, "-W", "ignore", "-m", "shiv", "--reproducible", "--compile-pyc"),
                *("--entry-point", f"{program}.__main__:main", "--python", f"/usr/bin/env -S {python} -I"),
                *("--root", "~/.cache/gatepass", "--preamble", str(start), "--site-packages", str(tree)),
                *("--output-file", str(target)),
            ],
            env=os.environ | {"SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct").strip()},
            check=True,
        )
    return target


def _install(lock: Path, tree: Path) -> None:
    command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python", sys.executable]
    wanted = ["--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)]
    # Copied, because links would share their modes with the cache.
    subprocess.run([*command, "--target", str(tree), "--link-mode", "copy", *wanted], check=True)
    # Scripts begin with the path of this machine's Python.
    shutil.rmtree(tree / "bin", ignore_errors=True)
    (tree / ".lock").unlink(missing_ok=True)
    for information in tree.glob("*.dist-info"):
        for name in _INSTALLATION_RECORDS:
            (information / name).unlink(missing_ok=True)


def _copy_sources(program: str, tree: Path) -> None:
    """Copy what Git does not ignore, so that no private key and no state of this machine gets into the file."""
    wanted = _git("ls-files", "-z", *_NOT_IGNORED, "--", "pyproject.toml", "shared", program).split("\0")
    for name in sorted(set(wanted)):
        if (ROOT / name).is_file() and not name.endswith(_EXCLUDED_SUFFIXES):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)


def _set_modes(folder: Path) -> None:
    """Give all files and folders the same modes, whatever the umask and the modes in the wheels."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "dist", help="the folder for the files, dist/ by default"
    )
    # Without arguments Python 3.11 checks the empty list against the choices, so it has to be one of them.
    parser.add_argument("programs", nargs="*", choices=[*PROGRAMS, []], help="all by default")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.programs or PROGRAMS:
        print(build(name, options.output))
