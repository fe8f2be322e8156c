"""Clients in other languages with a real issuer: their own tests, and the examples of `docs/clients`."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.faulty_issuer import LOST, faulty_issuer
from tests.support.issuer_process import PASSWORD, IssuerProcess
from tests.support.processes import ROOT, finished

CLIENTS: Final = ROOT / "docs/clients"


def example_of(page: str, fence: str, issuer: IssuerProcess) -> str:
    """Return the code block of a page of `docs/clients` that begins with `fence`, for this issuer."""
    text = (CLIENTS / page).read_text(encoding="utf-8")
    (example,) = re.findall(rf"^```{fence}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    here = {"https://auth.example": issuer.url, "https://app.example/notes": f"{issuer.url}/me"}
    for named, url in here.items():
        assert named in example
        example = example.replace(named, url)
    return str(example)


def run_tests(command: Sequence[str], given: Mapping[str, Any], folder: Path, **environ: str) -> None:
    """Run a command in `folder` that reads `given` from the variable `GATEPASS_TEST`, and must succeed."""
    variables = {**os.environ, **environ, "GATEPASS_TEST": json.dumps(given)}
    done = finished(command, folder=folder, environ=variables, seconds=280)
    assert done.returncode == 0, done.stdout + done.stderr


def run_tests_through_faults(command: Sequence[str], issuer: IssuerProcess, folder: Path, **environ: str) -> None:
    """Run the tests of an example client; no request may be sent more often than the faults require."""
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
        run_tests(command, given, folder, **environ)
    assert proxy.statuses("/login") == [503, 200]
    assert proxy.statuses("/token") == [LOST, 200, LOST, 200]
    assert proxy.statuses("/revoke") == [429, 200]
