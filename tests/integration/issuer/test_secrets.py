"""Known secrets are sent to every endpoint and command; no output, log or table contains one."""

import argparse
import asyncio
import hashlib
import json
import re
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import psutil
import pytest

from issuer.__main__ import _parser
from tests.support.issuer_process import IssuerProcess, issuer_command, running_issuer
from tests.support.openapi import contract
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres, execute
from tests.support.processes import free_port, wait_until

PASSWORDS: Final = ("canary one: the tide takes everything", "canary two: the tide brings it back")
PASSPHRASE: Final = "canary-passphrase-of-the-keys-folder"
DATABASE_PASSWORD: Final = "canary-database-password"
MAIL_PASSWORD: Final = "canary-mail-password"
ANN: Final = "ann@example.com"
REJECTED: Final = "canary@example.com"


@dataclass
class Journey:
    """Requests to an issuer, the secrets in its responses, and its error responses."""

    issuer: IssuerProcess
    mail: Path
    secrets: set[str] = field(default_factory=set)
    asked: set[tuple[str, str]] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, route: str = "", **request: Any) -> httpx.Response:
        """Send a request; the secrets of its response are added to those that are searched for."""
        response = HTTP.request(method, self.issuer.url + path, **request)
        self.asked.add((method, route or path))
        if response.is_error:
            self.errors.append(f"{response.headers} {response.text}")
        elif response.headers.get("content-type") == "application/json":
            document = response.json()
            self.secrets |= {document[name] for name in ("access_token", "refresh_token") if name in document}
        return response

    def token_by_mail(self, prefix: str) -> str:
        """Return the newest one-time token of that kind."""
        found: list[str] = []

        def came() -> bool:
            mails = sorted(self.mail.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
            found[:] = [token for one in mails for token in re.findall(prefix + r"[\w-]{43}", one.read_text())]
            return bool(found)

        wait_until(came, f"a mail with a {prefix} token")
        self.secrets.update(found)
        return found[-1]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def drive_endpoints(journey: Journey, client: str, secret: str) -> None:
    """Send valid and invalid requests to every endpoint, with secrets in the right and in wrong places."""
    first, second = PASSWORDS
    ask = journey.ask
    ask("POST", "/register", json={"email": ANN, "password": first})
    ask("POST", "/register", json={"email": ANN, "password": first, first: secret})
    ask(
        "POST", "/register", content=f'{{"password": "{first}"'.encode(), headers={"Content-Type": "application/json"}
    )
    ask("POST", "/login", json={"email": ANN, "password": first})  # not verified yet
    ask("POST", "/email/verify/resend", json={"email": ANN})
    ask("POST", "/email/verify", json={"token": "gpv_" + "a" * 43})
    ask("POST", "/email/verify", json={"token": journey.token_by_mail("gpv_")})
    login = ask("POST", f"/login?password={quote(first)}", "/login", json={"email": ANN, "password": first}).json()
    ask("POST", "/login", json={"email": ANN, "password": second, "refresh_token": login["refresh_token"]})
    form = {"grant_type": "refresh_token", "refresh_token": login["refresh_token"]}
    fresh = ask("POST", "/token", data=form).json()
    ask("POST", "/token", data=form | {"refresh_token": fresh["access_token"], "password": first})
    ask("POST", "/token", data={"grant_type": "client_credentials"}, auth=(client, secret))
    ask("POST", "/token", data={"grant_type": "client_credentials"}, auth=(secret, secret))
    ask("POST", "/introspect", data={"token": fresh["access_token"]}, auth=(client, secret))
    ask("POST", "/introspect", data={"token": fresh["refresh_token"]}, auth=(client, f"{secret}x"))
    token = bearer(fresh["access_token"])
    ask("GET", f"/me?token={fresh['access_token']}", "/me", headers=token)
    ask("GET", "/me", headers=bearer(fresh["refresh_token"]))
    ask("GET", "/sessions", headers=token)
    ask("DELETE", f"/sessions/{fresh['refresh_token']}", "/sessions/{id}", headers=token)
    ask("POST", "/password", headers=token, json={"current_password": second, "new_password": first})
    ask("POST", "/password", headers=token, json={"current_password": first, "new_password": second})
    ask("POST", "/password/forgot", json={"email": ANN})
    ask("POST", "/password/reset", json={"token": "gpw_" + "a" * 43, "password": first})
    ask("POST", "/password/reset", json={"token": journey.token_by_mail("gpw_"), "password": first})
    again = ask("POST", "/login", json={"email": ANN, "password": first}).json()
    ask("POST", "/revoke", data={"token": again["refresh_token"], "client_id": "first-party"})
    ask("POST", "/logout", headers=bearer(again["access_token"]))
    last = ask("POST", "/login", json={"email": ANN, "password": first}).json()
    ask("DELETE", "/sessions", headers=bearer(last["access_token"]))
    last = ask("POST", "/login", json={"email": ANN, "password": first}).json()
    ask("DELETE", "/me", headers=bearer(last["access_token"]), json={"password": second})
    ask("DELETE", "/me", headers=bearer(last["access_token"]), json={"password": first})
    for path in (
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/openapi.json",
        "/status-lists",
    ):
        ask("GET", path, headers=bearer(last["access_token"]))
    ask("GET", "/status-lists/1", "/status-lists/{id}")
    fields = {"Cookie": f"token={last['access_token']}", "Referer": first, "User-Agent": secret}
    ask("GET", f"/{first}", "/nowhere", headers=fields)
    ask("POST", "/login", data={"email": ANN, "password": first})


def drive_errors_of_postgresql(journey: Journey, database: str) -> None:
    """Cause errors whose messages quote the values of a row."""
    account = {"email": REJECTED, "password": PASSWORDS[0]}
    execute(database, f"ALTER TABLE users ADD CONSTRAINT odd CHECK (email_key <> '{REJECTED}')")
    assert journey.ask("POST", "/register", json=account).status_code == 500
    execute(database, "ALTER TABLE users DROP CONSTRAINT odd")
    execute(database, "ALTER TABLE users RENAME TO elsewhere")
    for path in ("/register", "/login"):
        assert journey.ask("POST", path, json=account).status_code == 503
    execute(database, "ALTER TABLE elsewhere RENAME TO users")


def leaves(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command."""
    subjects = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not subjects:
        yield path
    for subject in subjects:
        for name, command in subject.choices.items():
            yield from leaves(command, (*path, name))


class Operator:
    """A runner of commands that records their output, except what a command must print."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.settings = settings
        self.ran: set[tuple[str, ...]] = set()
        self.printed = ""

    def run(self, *arguments: str, stdin: str = "", words: int = 2) -> str:
        """Run a command that must succeed; return its standard output."""
        done = issuer_command(*arguments, stdin=stdin, **self.settings)
        self.ran.add(arguments[:words])
        self.printed += done.stderr
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def record(self, *arguments: str, stdin: str = "", words: int = 2) -> str:
        """Run a command that must not print secrets; its output is searched."""
        printed = self.run(*arguments, stdin=stdin, words=words)
        self.printed += printed
        return printed


def make_client(operator: Operator, secrets: set[str]) -> tuple[str, str]:
    """Create a client and a second secret; return its id and secret. Only these two commands print secrets."""
    made = json.loads(operator.run("clients", "create", "reporting", "--scope", "reports", "--json"))
    renewed = json.loads(operator.run("clients", "rotate-secret", made["id"], "--json"))
    secrets.update({made["secret"], renewed["secret"]})
    return made["id"], renewed["secret"]


def drive_commands(operator: Operator, client: str, folder: Path) -> None:
    """Run every command but `serve`, which runs during the whole test."""
    record = operator.record
    bob = json.loads(record("users", "create", "bob@example.com", "--json", stdin=f"{PASSWORDS[0]}\n"))["id"]
    record("users", "import", "-", stdin="")
    for command in ("list", "show", "update", "disable", "enable", "revoke-sessions"):
        extra = {"list": (), "update": (bob, "--role", "reader")}.get(command, (bob,))
        record("users", command, *extra)
    record("users", "unlock", bob)
    record("users", "set-password", bob, stdin=f"{PASSWORDS[1]}\n")
    record("sessions", "list", "--user", bob)
    record("sessions", "revoke-all")
    for command in ("list", "show", "update", "disable", "enable", "delete"):
        extra = {"list": (), "update": (client, "--scope", "reports more")}.get(command, (client,))
        record("clients", command, *extra)
    for command in ("generate", "list", "rotate", "rotate-mac-secret", "advance", "rewrap"):
        # Too early for the next key to sign, so it is rejected.
        operator.printed += issuer_command("keys", command, **operator.settings).stderr
        operator.ran.add(("keys", command))
    secret = json.loads(record("keys", "list", "--mac-secrets", "--json").splitlines()[-1])
    assert "value" not in secret
    issuer_command("keys", "revoke", "no-such-key", **operator.settings)
    operator.ran.add(("keys", "revoke"))
    record("audit", "list")
    record("audit", "verify")
    (folder / "heads").write_text(record("audit", "heads", "--json"), encoding="utf-8")
    record("users", "delete", bob, "--yes")
    record("cleanup", words=1)
    record("migrate", words=1)
    record("calibrate", "--seconds", "1", words=1)


@contextmanager
def watched_arguments(seen: set[str]) -> Iterator[None]:
    """Record the command lines of all processes of the test; any local user can read them."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for process in psutil.Process().children(recursive=True):
                try:
                    seen.add(" ".join(process.cmdline()))
                except psutil.Error:
                    continue
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def spellings(secret: str) -> set[str]:
    """Return the encodings of a secret: plain, in a URL, in JSON, in base64 and at each offset of it."""
    raw = secret.encode()
    middle = secret[len(secret) // 3 : 2 * len(secret) // 3]
    coded = {f(raw).decode().rstrip("=") for f in (b64encode, urlsafe_b64encode)}
    return {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], *coded} | (
        {middle} if len(middle) >= 16 else set()
    )


@pytest.mark.timeout(300)  # through every endpoint and command
def test_no_secret_is_written_anywhere(postgres: Postgres, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(PASSPHRASE, encoding="utf-8")
    database = postgres.migrated_database().replace(":@", f":{DATABASE_PASSWORD}@", 1)
    assert DATABASE_PASSWORD in database
    (tmp_path / "database").write_text(database, encoding="utf-8")
    keys, mail = tmp_path / "keys", tmp_path / "mail"
    common: dict[str, Any] = {"KEYS_DIR": str(keys), "KEYS_PASSPHRASE_FILE": str(tmp_path / "passphrase")}
    operator = Operator(common | {"DATABASE_URL_FILE": str(tmp_path / "database")})
    secrets: set[str] = set()
    arguments: set[str] = set()
    with watched_arguments(arguments):
        operator.record("keys", "generate", "--if-missing")
        client, client_secret = make_client(operator, secrets)
        common |= {"EMAIL_VERIFICATION": "required", "MAIL_FROM": "no-reply@example.com", "LOG_LEVEL": "debug"}
        with running_issuer(database, keys, MAIL_URL=mail.as_uri(), **common) as issuer:
            journey = Journey(issuer, mail)
            drive_endpoints(journey, client, client_secret)
            drive_errors_of_postgresql(journey, database)
            metrics = issuer.admin("/metrics").text
            logs = issuer.log()
        secrets |= journey.secrets
        # A mail server that is down: what is logged about it has no password either.
        broken = f"smtp://gatepass:{MAIL_PASSWORD}@127.0.0.1:{free_port()}"
        with running_issuer(database, keys, MAIL_URL=broken, **common) as issuer:
            issuer.register("carol@example.com", PASSWORDS[0])
            wait_until(lambda: 'outcome="failed"' in issuer.admin("/metrics").text, "a failed mail")
            logs += issuer.log()
        drive_commands(operator, client, tmp_path)
    tables = asyncio.run(dump(database))
    documented = {
        (method.upper(), path)
        for path, methods in contract()["paths"].items()
        for method in methods
        if method != "parameters"
    }
    assert journey.asked - {("GET", "/nowhere")} == documented
    assert operator.ran | {("serve",)} >= set(leaves(_parser())) - {("sessions", "revoke")}
    assert len(secrets) >= 15
    secrets |= {*PASSWORDS, PASSPHRASE, DATABASE_PASSWORD, MAIL_PASSWORD, REJECTED}
    secrets.update(line for pem in (keys / "private").glob("*.pem") for line in pem.read_text().splitlines()[1:-1])
    # These are in the database.
    stored = [row[0].rsplit("$", 1)[1] for row in execute(database, "SELECT password_hash FROM users")]
    hashes = [hashlib.sha256(secret.encode()).hexdigest() for secret in secrets]
    assert stored
    assert [text for text in (ANN, *stored, *hashes) if text in logs] == []
    written = {
        "logs": logs,
        "metrics": metrics,
        "errors": "\n".join(journey.errors),
        "commands": operator.printed,
        "process arguments": "\n".join(arguments),
        "database": tables,
    }
    assert all(written.values())
    shown = {
        (where, spelling)
        for where, text in written.items()
        for secret in secrets
        for spelling in spellings(secret)
        if spelling in text
    }
    assert shown == set()


async def dump(url: str) -> str:
    """Return everything in the database, as text."""
    tables = await asyncio.to_thread(
        execute, url, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    rows = [
        row
        for table in tables
        for row in await asyncio.to_thread(execute, url, f"SELECT t::text FROM {table['table_name']} t")
    ]
    assert any("login_succeeded" in row[0] for row in rows)
    return "\n".join(row[0] for row in rows)
