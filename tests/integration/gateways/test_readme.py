"""deploy/gateways/: the commands of its READMEs work, and its tables are those of the code."""

import os
import re
from pathlib import Path

import pytest

from shared.identity_headers import IDENTITY_HEADERS
from stack import gateway_config
from tests.support.gateway_programs import COMPLETE, OURS, PROGRAMS, Difference
from tests.support.processes import ROOT, finished

FOLDER = ROOT / "deploy/gateways"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["README.md", *(f"{name}/README.md" for name in COMPLETE)])
def test_the_commands_of_a_readme_work(document: str, tmp_path: Path) -> None:
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", (FOLDER / document).read_text(encoding="utf-8"), re.DOTALL))
    programs = [Path(PROGRAMS[name].command(tmp_path)[0]).parent for name in COMPLETE if name in document]
    path = ":".join(map(str, [*programs, os.environ["PATH"]]))
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "XDG_DATA_HOME": str(tmp_path)}
    done = finished(["sh", "-euc", commands], folder=tmp_path, environ=environ)
    assert done.returncode == 0, done.stderr
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [text for text in written if "${" in text]


def test_the_readme_lists_where_gateways_differ() -> None:
    section = README.partition("## Where they differ")[2].partition("\n## ")[0]
    results = dict(reversed(row) for row in re.findall(r"^\| (.+) \| (.+) \|$", section, re.MULTILINE))
    assert results == {
        difference.value: ", ".join(name for name in OURS if difference in PROGRAMS[name].differences)
        for difference in Difference
    }


def test_the_readme_names_every_identity_header() -> None:
    assert set(re.findall(r"`(X-Auth-\w+)`", README)) == set(IDENTITY_HEADERS)


@pytest.mark.parametrize("name", gateway_config.names())
def test_every_placeholder_is_explained_and_used(name: str) -> None:
    explained = set(re.findall(r"\$\{([A-Z_]+)\}", README))
    templates = (FOLDER / name).glob("*.template")
    used = {found for path in templates for found in re.findall(r"\$\{([A-Z_]+)\}", path.read_text(encoding="utf-8"))}
    assert used <= explained
    assert used >= explained - {"CHECK_PORT"}
