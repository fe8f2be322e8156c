"""The TypeScript client of `docs/clients` with a real issuer, through a proxy that fails every first attempt."""

import json
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.support.client_tests import CLIENTS, example_of, run_tests_through_faults
from tests.support.issuer_process import IssuerProcess
from tests.support.processes import finished
from tests.support.programs import absent_if_unavailable, program
from tests.support.real_providers.install import with_npm_packages

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
    with absent_if_unavailable():
        packages = with_npm_packages(HERE / "node")
    example = example_of("typescript.md", 'typescript title="example.ts"', issuer)
    (tmp_path / "example.ts").write_text(example, encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER_OPTIONS}), encoding="utf-8")
    shutil.copy(CLIENTS / "gatepass-client.ts", tmp_path)
    command = [node, str(packages / "node_modules/typescript/bin/tsc")]
    done = finished(command, folder=tmp_path)
    assert done.returncode == 0, done.stdout
    return tmp_path


def test_the_client_keeps_a_session_through_faults(issuer: IssuerProcess, compiled: Path) -> None:
    """Run all tests of `example.test.mjs`, which imports the client from its folder, in one process."""
    command = [program("node"), "--test-reporter=spec", str(HERE / "example.test.mjs")]
    run_tests_through_faults(command, issuer, compiled)
