"""The Go client of `docs/clients` with a real issuer, through a proxy that fails every first attempt."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.faulty_issuer import LOST, faulty_issuer
from tests.support.issuer_process import PASSWORD, IssuerProcess
from tests.support.processes import ROOT
from tests.support.programs import program

CLIENTS: Final = ROOT / "docs/clients"


@pytest.mark.timeout(300)  # Go compiles its standard library once per machine
def test_the_client_keeps_a_session_through_faults(issuer: IssuerProcess, tmp_path: Path) -> None:
    """Run all tests of `example_test.go` in one process; no request was sent more often than necessary."""
    go = program("go", "golang-go")
    module(tmp_path, issuer)
    issuer.session("ada@example.com")
    expired, rejected, revoked = issuer.session(), issuer.session(), issuer.session()
    assert issuer.request("POST", "/logout", revoked["access_token"]).status_code == 204
    with faulty_issuer(issuer.url) as proxy:
        given = {
            "issuer": issuer.url,
            "proxy": proxy.url,
            "email": "ada@example.com",
            "password": PASSWORD,
            "expired": expired,
            "rejected": rejected,
            "revoked": revoked,
        }
        environ = {**os.environ, "GATEPASS_TEST": json.dumps(given), "GOPROXY": "off", "GOTOOLCHAIN": "local"}
        command = [go, "test", "-count=1", "./gatepass"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=280, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert proxy.statuses("/login") == [503, 200]
    assert proxy.statuses("/token") == [LOST, 200, LOST, 200]
    assert proxy.statuses("/revoke") == [429, 200]


def module(folder: Path, issuer: IssuerProcess) -> None:
    """Write a Go module with the client, its tests, and the example of its page for this issuer."""
    page = (CLIENTS / "go.md").read_text(encoding="utf-8")
    (example,) = re.findall(r'^```go title="notes.go"\n(.*?)^```', page, re.MULTILINE | re.DOTALL)
    here = {"https://auth.example": issuer.url, "https://app.example/notes": f"{issuer.url}/me"}
    for named, url in here.items():
        assert named in example
        example = example.replace(named, url)
    for package in ("gatepass", "notes"):
        (folder / package).mkdir()
    (folder / "go.mod").write_text("module example.com/app\n\ngo 1.22\n", encoding="utf-8")
    (folder / "notes/notes.go").write_text(example, encoding="utf-8")
    shutil.copy(CLIENTS / "gatepass.go", folder / "gatepass")
    shutil.copy(Path(__file__).parent / "example_test.go", folder / "gatepass")
