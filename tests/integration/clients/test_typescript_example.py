"""The TypeScript client of `docs/clients` with a real issuer, through a proxy that fails every first attempt."""

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
from tests.support.programs import absent, program
from tests.support.real_providers.install import Unavailable, with_npm_packages

CLIENTS: Final = ROOT / "docs/clients"
HERE: Final = Path(__file__).parent
COMPILER_OPTIONS: Final = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "noImplicitReturns": True,
    "noUnusedLocals": True,
    "target": "es2022",
    "lib": ["es2022", "dom"],
    "module": "nodenext",
    "types": [],
}


@pytest.fixture
def compiled(tmp_path: Path, issuer: IssuerProcess) -> Path:
    """Return a folder with the client and the example of its page as JavaScript, for this issuer."""
    node = program("node", "nodejs")
    try:
        packages = with_npm_packages(HERE / "node")
    except Unavailable as reason:
        absent(str(reason))
    page = (CLIENTS / "typescript.md").read_text(encoding="utf-8")
    (example,) = re.findall(r'^```typescript title="example.ts"\n(.*?)^```', page, re.MULTILINE | re.DOTALL)
    here = {"https://auth.example": issuer.url, "https://app.example/notes": f"{issuer.url}/me"}
    for named, url in here.items():
        assert named in example
        example = example.replace(named, url)
    (tmp_path / "example.ts").write_text(example, encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER_OPTIONS}), encoding="utf-8")
    shutil.copy(CLIENTS / "gatepass-client.ts", tmp_path)
    command = [node, str(packages / "node_modules/typescript/bin/tsc")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    return tmp_path


def test_the_client_keeps_a_session_through_faults(issuer: IssuerProcess, compiled: Path) -> None:
    """Run all tests of `example.test.mjs` in one process; no request was sent more often than necessary."""
    issuer.session("ada@example.com")
    expired, rejected, revoked = issuer.session(), issuer.session(), issuer.session()
    assert issuer.request("POST", "/logout", revoked["access_token"]).status_code == 204
    with faulty_issuer(issuer.url) as proxy:
        given = {
            "folder": str(compiled),
            "issuer": issuer.url,
            "proxy": proxy.url,
            "email": "ada@example.com",
            "password": PASSWORD,
            "expired": expired,
            "rejected": rejected,
            "revoked": revoked,
        }
        command = [program("node"), "--test-reporter=spec", str(HERE / "example.test.mjs")]
        environ = {**os.environ, "GATEPASS_TEST": json.dumps(given)}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert proxy.statuses("/login") == [503, 200]
    assert proxy.statuses("/token") == [LOST, 200, LOST, 200]
    assert proxy.statuses("/revoke") == [429, 200]
