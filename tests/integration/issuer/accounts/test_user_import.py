"""Accounts of another system are imported with their hashes; a login replaces the hash."""

import hashlib
import json
import subprocess
from base64 import b64encode
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import bcrypt  # noqa: TID251 - makes the hashes of the other system
import pytest
from argon2 import PasswordHasher, Type  # noqa: TID251 - makes hashes as another system

from tests.support.issuer_process import PASSWORD, IssuerProcess, issuer_command
from tests.support.postgres import execute

SECRET = PASSWORD.encode()
COMPUTED = "gatepass_issuer_argon2_computations_total"


def b64(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


def pbkdf2(algorithm: str) -> bytes:
    return hashlib.pbkdf2_hmac(algorithm, SECRET, b"seasalt", 1000)


FOREIGN = {
    "bcrypt": bcrypt.hashpw(SECRET, bcrypt.gensalt(4)).decode(),
    "bcrypt-of-php": bcrypt.hashpw(SECRET, bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
    "passlib": f"$pbkdf2-sha256$1000${b64(b'seasalt')}${b64(pbkdf2('sha256'))}",
    "passlib-512": f"$pbkdf2-sha512$1000${b64(b'seasalt')}${b64(pbkdf2('sha512'))}",
    "django": f"pbkdf2_sha256$1000$seasalt${b64encode(pbkdf2('sha256')).decode()}",
    "scrypt": f"$scrypt$ln=10,r=8,p=1${b64(b'seasalt')}"
    f"${b64(hashlib.scrypt(SECRET, salt=b'seasalt', n=1024, r=8, p=1, dklen=32))}",
}
ARGON2 = {
    "argon2i": PasswordHasher(2, 64, 1, type=Type.I).hash(PASSWORD),
    "argon2d": PasswordHasher(2, 64, 1, type=Type.D).hash(PASSWORD),
    "argon2id": PasswordHasher(1, 64, 1).hash(PASSWORD),
}


def run(url: str, source: Path | bytes, *options: str) -> subprocess.CompletedProcess[str]:
    if isinstance(source, Path):
        return issuer_command("users", "import", str(source), *options, DATABASE_URL=url)
    return issuer_command(
        "users", "import", "-", *options, stdin=source.decode(errors="surrogateescape"), DATABASE_URL=url
    )


def lines(*accounts: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(account).encode() + b"\n" for account in accounts)


def account(email: str, **members: Any) -> dict[str, Any]:
    return {"email": email, "password_hash": FOREIGN["bcrypt"]} | members


def stored(url: str, email: str) -> str:
    return str(execute(url, "SELECT password_hash FROM users WHERE email_key = $1", email)[0][0])


@pytest.fixture(scope="module")
def imported(issuer: IssuerProcess) -> IssuerProcess:
    hashes = FOREIGN | ARGON2 | {"disabled": FOREIGN["bcrypt"]}
    done = run(issuer.database_url, lines(*(account(f"{n}@example.com", password_hash=h) for n, h in hashes.items())))
    assert (done.returncode, done.stdout) == (0, f"{len(hashes)}  imported  0  0\n")
    return issuer


@pytest.mark.parametrize("kind", FOREIGN)
def test_an_imported_hash_is_replaced_at_the_first_login(imported: IssuerProcess, kind: str) -> None:
    email = f"{kind}@example.com"
    before = imported.metric(COMPUTED)
    assert imported.login(email, "the wrong password, sadly").status_code == 401
    assert stored(imported.database_url, email) == FOREIGN[kind]
    assert imported.metric(COMPUTED) - before == 1
    assert imported.login(email).status_code == 200
    assert imported.metric(COMPUTED) - before == 2
    upgraded = stored(imported.database_url, email)
    assert upgraded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert imported.login(email).status_code == 200
    assert stored(imported.database_url, email) == upgraded


@pytest.mark.parametrize("kind", ARGON2)
def test_any_argon2_hash_can_be_imported(imported: IssuerProcess, kind: str) -> None:
    assert imported.login(f"{kind}@example.com", "the wrong password, sadly").status_code == 401
    assert imported.login(f"{kind}@example.com").status_code == 200


def test_optional_members_are_imported(database_url: str) -> None:
    ann = account(
        "Ann@Example.com", created_at="2020-01-02T03:04:05Z", email_verified=True, scope="a b", roles=["x", "y"]
    )
    assert run(database_url, lines(ann, account("bob@example.com"))).returncode == 0
    rows = execute(database_url, "SELECT * FROM users ORDER BY email_key")
    assert (rows[0]["email"], rows[0]["email_key"]) == ("Ann@Example.com", "ann@example.com")
    assert rows[0]["created_at"].isoformat() == "2020-01-02T03:04:05+00:00"
    assert (rows[0]["scope"], rows[0]["roles"]) == ("a b", ["x", "y"])
    assert rows[0]["email_verified_at"]
    assert (rows[1]["email_verified_at"], rows[1]["scope"], rows[1]["roles"]) == (None, "profile", [])
    events = execute(database_url, "SELECT kind, actor, user_id FROM audit_events")
    assert {tuple(event) for event in events} == {("account_imported", "operator", row["id"]) for row in rows}


def test_a_file_may_begin_with_a_byte_order_mark(database_url: str) -> None:
    done = run(database_url, BOM_UTF8 + lines(account("ann@example.com"), account("bob@example.com")))
    assert (done.returncode, done.stdout) == (0, "2  imported  0  0\n")


def test_invalid_lines_are_reported_unquoted_and_the_rest_is_imported(database_url: str, tmp_path: Path) -> None:
    source = tmp_path / "users.jsonl"
    source.write_bytes(
        lines(account("ann@example.com"), account("canary"))
        + b"\n"
        + lines(account("bob@example.com", password_hash="canary" * 10), account("ANN@example.com"))
        + b'{"email":"' + b"x" * 40_000 + b'"}\n'
        + lines(account("bob@example.com"))[:-1]
    )  # fmt: skip
    done = run(database_url, source, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"accounts": 2, "outcome": "imported", "skipped": 1, "rejected": 3}
    assert done.stderr.splitlines() == [
        "line 2: email: must be an email address such as name@example.com",
        "line 4: password_hash: is malformed or of an unknown kind",
        "line 5: skipped, since the email has an account",
        "line 6: is not a JSON object with distinct members",
        "7 lines: 2 accounts",
        "3 of 7 lines were rejected; fix them and run it again (imported accounts are skipped)",
    ]
    assert "canary" not in done.stdout + done.stderr


def test_an_import_can_be_repeated(database_url: str) -> None:
    assert run(database_url, lines(account("ann@example.com"))).returncode == 0
    many = lines(*(account(f"person{number}@example.com") for number in range(1200)))
    assert (
        run(database_url, lines(account("ANN@example.com", password_hash=ARGON2["argon2id"])) + many).returncode == 0
    )
    assert stored(database_url, "ann@example.com") == FOREIGN["bcrypt"]
    again = run(database_url, many)
    assert (again.returncode, again.stdout) == (0, "0  imported  1200  0\n")
    assert "further lines of this kind are only counted" in again.stderr
    assert execute(database_url, "SELECT count(*) FROM users")[0][0] == 1201


def test_a_dry_run_stores_nothing(database_url: str) -> None:
    assert run(database_url, lines(account("bob@example.com"))).returncode == 0
    done = run(database_url, lines(account("ann@example.com"), account("bob@example.com")), "--dry-run")
    assert (done.returncode, done.stdout) == (0, "1  would be imported  1  0\n")
    assert execute(database_url, "SELECT count(*) FROM users")[0][0] == 1


def test_a_dry_run_counts_as_the_import_does(database_url: str) -> None:
    accounts = [account(f"user{number}@example.com") for number in range(501)]
    repeated = lines(*accounts, accounts[0])
    assert run(database_url, repeated, "--dry-run").stdout == "501  would be imported  1  0\n"
    assert run(database_url, repeated).stdout == "501  imported  1  0\n"


def test_a_missing_file_is_one_line(database_url: str, tmp_path: Path) -> None:
    missing = run(database_url, tmp_path / "nothing.jsonl")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "No such file" in missing.stderr


def test_a_disabled_account_keeps_its_foreign_hash(imported: IssuerProcess) -> None:
    execute(imported.database_url, "UPDATE users SET disabled_at = now() WHERE email_key = 'disabled@example.com'")
    before = imported.metric(COMPUTED)
    assert imported.login("disabled@example.com").status_code == 401
    assert imported.metric(COMPUTED) - before == 1
    assert stored(imported.database_url, "disabled@example.com") == FOREIGN["bcrypt"]
