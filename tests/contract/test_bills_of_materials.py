"""`make sbom` lists every Python package of the images and executables, with its hashes."""

import json
import os
import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.processes import ROOT, finished
from tests.support.programs import program

SIDES: Final = ("issuer", "verifier", "doctor")
_ENVIRONMENT: Final = ".venv/dev.lock"
"""The virtual environment of these tests: `make` must not install it again."""


def _make(*arguments: str, **environ: str) -> str:
    command = [program("make"), "--silent", "--old-file", _ENVIRONMENT, *arguments]
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = finished(command, environ=own | environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbom")
    written = _make("sbom", f"SBOM={folder}")
    assert written.split() == [str(folder / f"{side}.cdx.json") for side in SIDES]
    return folder


def _bill(folder: Path, side: str) -> dict[str, Any]:
    bill: dict[str, Any] = json.loads((folder / f"{side}.cdx.json").read_text(encoding="utf-8"))
    return bill


@pytest.mark.parametrize("side", SIDES)
def test_a_bill_of_materials_is_valid_and_names_its_program(folder: Path, side: str) -> None:
    # Written only if it is valid by this schema: seconds that are not to be spent twice.
    assert _bill(folder, side)["$schema"] == "http://cyclonedx.org/schema/bom-1.6.schema.json"
    assert "--no-validate" not in (ROOT / "Makefile").read_text(encoding="utf-8")
    described = _bill(folder, side)["metadata"]["component"]
    assert (described["name"], described["type"]) == (f"gatepass-{side}", "application")
    assert described["licenses"][0]["license"]["id"] == "Apache-2.0"


@pytest.mark.parametrize("side", SIDES)
def test_a_bill_of_materials_has_each_locked_package_with_all_its_hashes(folder: Path, side: str) -> None:
    listed = {
        (component["name"], component["version"]): {
            found["content"] for source in component["externalReferences"] for found in source["hashes"]
        }
        for component in _bill(folder, side)["components"]
    }
    lock = (ROOT / side / "requirements.lock").read_text(encoding="utf-8")
    requirements = re.findall(r"^(\S+?)(?:\[\S*\])?==(\S+)(.*?)(?=^\S+==|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert listed == {
        (name, version): set(re.findall(r"--hash=sha256:(\w+)", rest)) for name, version, rest in requirements
    }
