"""The verifier cannot reach secrets: checked on running processes and on the import contracts."""

import json
import os
import re
import shutil
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from issuer.keys.store import load_key_set
from tests.support.documents import files, git, text
from tests.support.processes import ROOT, finished
from tests.support.releases import Release
from tests.support.signing_keys import generate_key
from tests.support.token_forge import Forge
from tests.support.verifier_process import VerifierFolder, verifier_command

FOREIGN: Final = {"issuer", "stack", "asyncpg", "argon2", "bcrypt", "starlette", "sqlalchemy", "alembic", "jwt"}
CONFIGURATION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
CONTRACTS: Final = [contract["name"] for contract in CONFIGURATION["importlinter"]["contracts"]]

# One import for each contract, in the order of pyproject.toml, that it must not let pass.
VIOLATIONS: Final = (
    ("verifier/subrequest/responses.py", "import argon2"),
    ("verifier/decision/jws.py", "import pydantic"),
    ("verifier/refresh/document.py", "import verifier.server"),
    ("verifier/server.py", "import doctor.raw_client"),
    ("shared/jwks.py", "import verifier.subrequest.responses"),
    ("issuer/accounts/login.py", "import asyncpg"),
    ("issuer/accounts/login.py", "import starlette"),
    ("issuer/accounts/login.py", "import argon2"),
    ("issuer/http/middleware.py", "import opentelemetry"),
    ("verifier/subrequest/authorizer.py", "import pydantic"),
    ("issuer/keys/store.py", "import issuer.sessions.service"),
)
BANNED: Final = (
    "import asyncpg",
    "from argon2 import PasswordHasher",
    "import bcrypt",
    "from jwt import decode",
    "from cryptography.hazmat.primitives.serialization import load_pem_private_key",
)

# Runs `python -m verifier` and notes every file that it opens and every module that it imports, workers included.
_WITNESS: Final = """
import os, runpy, sys
notes = os.open({notes!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, arguments):
    if event in ("open", "import"):
        os.write(notes, f"{{event}} {{arguments[0]}}\\n".encode())
sys.addaudithook(note)
sys.argv[0] = "verifier"
runpy.run_module("verifier", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Return a keys folder as the issuer creates it, with its private and public parts."""
    folder = tmp_path / "keys"
    generate_key(folder, datetime.now(UTC))
    return folder


def test_a_running_verifier_imports_nothing_of_the_issuer_and_opens_no_private_key(
    keys: Path, tmp_path: Path
) -> None:
    notes, code, python = tmp_path / "notes", tmp_path / "witness.py", tmp_path / "python"
    code.write_text(_WITNESS.format(notes=str(notes)))
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "$(cat "{code}")"\n')
    python.chmod(0o700)
    signing = load_key_set(keys).signing
    assert signing
    jwks, release = keys / "public/jwks.json", Release(ROOT, str(python))
    folder = VerifierFolder(tmp_path, Forge(key=signing.private))
    with folder.running(policies="[policies.admin]\n", release=release, JWKS_FILE=jwks) as verifier:
        assert verifier.ask(token=verifier.token()).status == 200
        assert verifier.ask(token=Forge().token(0)).status == 401
        verifier.reload()
        verifier.wait_for_event("policies_reloaded")
        assert verifier.admin("/metrics").status_code == 200
        assert verifier.stop() == 0
    seen = [line.split(" ", 1) for line in notes.read_text(encoding="utf-8", errors="replace").splitlines()]
    opened = {Path(what).resolve() for event, what in seen if event == "open"}
    imported = {what.partition(".")[0] for event, what in seen if event == "import"}
    assert {jwks, tmp_path / "policies.toml"} <= opened
    assert not [path for path in opened if "private" in path.parts or path.name == "keys.json"]
    assert {"verifier", "shared", "cryptography"} <= imported
    assert imported.isdisjoint(FOREIGN)


def test_a_verifier_rejects_private_keys(tmp_path: Path) -> None:
    forge = Forge()
    private = {**json.loads(forge.jwks)["keys"][0], "d": "AQAB"}
    pem = forge.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for document in (json.dumps({"keys": [private]}).encode(), pem):
        (tmp_path / "given").write_bytes(document)
        done = verifier_command("check-config", ISSUER=forge.issuer, JWKS_FILE=tmp_path / "given")
        assert done.returncode == 1
        assert "0 of 1 issuers have keys" in done.stdout
        assert "AQAB" not in done.stderr
    folder = VerifierFolder(tmp_path, forge)
    folder.publish(json.dumps({"keys": [private]}).encode())
    with folder.running(ready=503) as verifier:
        assert verifier.ask(token=verifier.token()).status == 503
        rejected = verifier.wait_for_event("jwks_fetch_failed")
        assert "private or symmetric key material" in rejected["detail"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the packages that the import contracts cover."""
    for package in CONFIGURATION["importlinter"]["root_packages"]:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _lint_imports(tree: Path) -> tuple[int, list[str]]:
    """Return the exit status and the names of the broken contracts."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    wide = {**os.environ, "COLUMNS": "200"}
    done = finished(command, folder=tree, environ=wide)
    return done.returncode, re.findall(r"^(.*) BROKEN", done.stdout, re.MULTILINE)


def test_the_import_contracts_are_kept(tree: Path) -> None:
    assert _lint_imports(tree) == (0, [])


@pytest.mark.parametrize(("contract", "violation"), list(zip(CONTRACTS, VIOLATIONS, strict=True)))
def test_an_import_contract_fails_when_it_is_broken(tree: Path, contract: str, violation: tuple[str, str]) -> None:
    path, statement = violation
    with (tree / path).open("a", encoding="utf-8") as module:
        module.write(f"{statement}\n")
    status, broken = _lint_imports(tree)
    assert (status, contract in broken) == (1, True)


@pytest.mark.parametrize("statement", BANNED)
def test_a_banned_api_fails_the_linter(tree: Path, statement: str) -> None:
    (tree / "verifier/banned.py").write_text(f"{statement}\n", encoding="utf-8")
    ruff = [str(Path(sys.executable).with_name("ruff")), "check", "--no-cache", "--select", "TID251", "--quiet"]
    done = finished([*ruff, "verifier"], folder=tree)
    assert done.returncode == 1
    assert "TID251" in done.stdout
    assert "verifier/banned.py" in done.stdout


@pytest.mark.parametrize(
    "path",
    ["keys/private/any.pem", "keys/private/keys.json", "keys/public/jwks.json", ".gatepass/keys/private/a.pem"],
)
def test_git_ignores_key_material(path: str) -> None:
    assert git("check-ignore", "--quiet", path).returncode == 0


def test_no_key_material_is_in_the_tree_except_the_test_keys_of_the_vectors() -> None:
    vectors = ROOT / "tests/vectors"
    for path in files():
        if vectors in path.parents:
            continue
        assert path.suffix not in {".pem", ".key", ".p12", ".der"}, path
        assert not re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}", text(path)), path
        assert not re.search(r'"d"\s*:\s*"[A-Za-z0-9_-]{40,}"', text(path)), path
