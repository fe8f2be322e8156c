"""Go's `golang.org/x/oauth2` and `go-oidc` with a real issuer."""

from pathlib import Path
from typing import Final

import pytest

from tests.support.client_tests import run_tests
from tests.support.issuer_process import IssuerProcess
from tests.support.machines import with_secret
from tests.support.programs import absent_if_unavailable, program
from tests.support.real_providers.install import go_tests

AUDIENCE: Final = "https://orders.example"


@pytest.mark.timeout(300)  # the libraries are compiled once per machine
def test_oauth2_and_go_oidc_work_with_the_issuer(issuer: IssuerProcess, tmp_path: Path) -> None:
    """Run all tests of `go/libraries_test.go` in one process."""
    program("go", "golang-go")
    with absent_if_unavailable():
        tests = go_tests(Path(__file__).parent / "go")
    machine = with_secret(issuer, None, "orders:read orders:write", [AUDIENCE])
    given = {
        "issuer": issuer.url,
        "audience": AUDIENCE,
        "clientId": machine.id,
        "secret": machine.secret,
        "logins": [issuer.session(), issuer.session()],
    }
    run_tests([str(tests)], given, tmp_path)
