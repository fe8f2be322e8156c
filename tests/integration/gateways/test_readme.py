"""deploy/gateways/README.md: its commands work, and its table of placeholders is the configurations'."""

import os
import re
import subprocess
from pathlib import Path

from stack.gateway import TEMPLATES
from tests.support.gateways import find_envoy
from tests.support.processes import ROOT

README = (ROOT / "deploy/gateways/README.md").read_text(encoding="utf-8")


def test_the_commands_fill_in_the_addresses(tmp_path: Path) -> None:
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(["sh", "-euc", commands], cwd=tmp_path, env=environ, check=True)
    assert "server 127.0.0.1:8001;" in (tmp_path / "gatepass.conf").read_text()
    assert "10.0.0.7" in (tmp_path / "envoy.yaml").read_text()
    assert "${" not in (tmp_path / "gatepass.conf").read_text() + (tmp_path / "envoy.yaml").read_text()
    validate = [find_envoy(), "--mode", "validate", "-c", str(tmp_path / "envoy.yaml")]
    subprocess.run(validate, check=True, capture_output=True)


def test_every_placeholder_is_explained_and_used() -> None:
    explained = set(re.findall(r"\$\{([A-Z_]+)\}", README))
    for template in TEMPLATES.values():
        assert set(re.findall(r"\$\{([A-Z_]+)\}", template.read_text(encoding="utf-8"))) == explained
