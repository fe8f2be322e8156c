"""Go's `golang.org/x/oauth2` and `go-oidc` with a real issuer."""

import json
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.issuer_process import IssuerProcess
from tests.support.machines import with_secret
from tests.support.programs import absent, program
from tests.support.real_providers.install import Unavailable, go_tests

AUDIENCE: Final = "https://orders.example"


@pytest.mark.timeout(300)  # the libraries are compiled once per machine
def test_oauth2_and_go_oidc_work_with_the_issuer(issuer: IssuerProcess) -> None:
    """Run all tests of `go/libraries_test.go` in one process."""
    program("go", "golang-go")
    try:
        tests = go_tests(Path(__file__).parent / "go")
    except Unavailable as reason:
        absent(str(reason))
    machine = with_secret(issuer, None, "orders:read orders:write", [AUDIENCE])
    given = {
        "issuer": issuer.url,
        "audience": AUDIENCE,
        "clientId": machine.id,
        "secret": machine.secret,
        "logins": [issuer.session(), issuer.session()],
    }
    environ = {**os.environ, "GATEPASS_TEST": json.dumps(given)}
    done = subprocess.run([tests], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
