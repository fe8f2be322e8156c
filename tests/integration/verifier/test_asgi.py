"""Applications that verify tokens in their own process decide as the verifier does."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.integration.verifier.test_cookies import OUTCOMES, POLICIES, carriers
from tests.integration.verifier.test_vector_suite import policies_toml, suite
from tests.support.processes import finished, free_port, listens, running, wait_until
from tests.support.services import environment
from tests.support.status_lists import running_status_issuer
from tests.support.token_forge import AUDIENCE, ISSUER, Forge
from tests.support.vector_keys import OTHER_ISSUER
from tests.support.vectors import load

SPELLINGS: Final = ("X-Auth-Subject", "X_Auth_Subject", "X-Auth_Subject", "x.auth.subject", "X-Auth-Claim-Tenant")
HANDSHAKE: Final = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
]


def command(*options: str) -> list[str]:
    """Return the command that serves the application, without the port."""
    return [
        *(sys.executable, "-m", "uvicorn", "tests.support.protected_application:app", "--no-access-log"),
        *("--host", "127.0.0.1", "--http", "h11", "--ws", "wsproto", *options),
    ]


@dataclass(frozen=True)
class Response:
    status: int
    headers: Message
    text: str


@contextmanager
def application(folder: Path, *options: str, policies: str = "", **settings: Any) -> Iterator[str]:
    """Serve the application; yield its URL."""
    (folder / "policies.toml").write_text(policies, encoding="utf-8")
    port = free_port()
    values = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS_FILE": folder / "jwks.json"}
    environ = environment("verifier", values | {"POLICIES_FILE": folder / "policies.toml"} | settings)
    served = command(*options, "--port", str(port))
    with running(served, folder / "application.log", environ, lambda: listens(port), 60):
        yield f"http://127.0.0.1:{port}"


def ask(url: str, *fields: tuple[str, str], method: str = "GET") -> Response:
    """Send a request as it is: a client library would normalise its path."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=20)) as connection:
        connection.putrequest(method, parts.path or "/")
        for name, value in fields:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return Response(response.status, response.headers, "" if response.status == 101 else response.read().decode())


def bearer(token: bytes) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token.decode()}")


def split(lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, forge: Forge) -> Path:
    folder = tmp_path_factory.mktemp("application")
    (folder / "jwks.json").write_bytes(forge.jwks)
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """Yield an application whose default policy accepts a cookie."""
    with application(folder, policies=POLICIES) as url:
        yield url


def test_every_vector_is_decided_rightly(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps(load("key-sets")["issuer"][ISSUER]))
    issuers = f'[issuers."{OTHER_ISSUER}"]\njwks_file = {json.dumps(str(tmp_path / "other.json"))}\n'
    with application(tmp_path, policies=issuers + policies_toml()) as url:
        done = suite(f"{url}/verify/{{policy}}", "--identity", "--json")
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    assert report["total"]["sent"] > 750


def test_cookies_are_decided_as_by_the_verifier(url: str, forge: Forge) -> None:
    carried = carriers(forge.token(time.time()).decode())
    wrong = []
    # A part of them: what remains to be tested is where the fields of a request are found.
    for vector in load("browsers/requests")[::7]:
        fields = split(carried[vector["carrier"]])
        fields += [
            (name, vector[key]) for name, key in (("Sec-Fetch-Site", "site"), ("Origin", "origin")) if vector[key]
        ]
        fields += [("Sec-WebSocket-Version", "13")] if vector["websocket"] else []
        # Here a method is never unknown; one that is counts as unsafe.
        response = ask(url, *fields, method=vector["method"] or "PUT")
        if (response.status, response.headers.get("WWW-Authenticate")) != OUTCOMES[vector["expected"]]:
            wrong.append((vector, response.status))
    assert wrong == []


def test_handshakes_of_websockets_are_checked(url: str, forge: Forge) -> None:
    carried = carriers(forge.token(time.time()).decode())
    wrong = []
    for vector in load("browsers/requests"):
        if not vector["websocket"] or vector["method"] != "GET":
            continue
        fields = [*HANDSHAKE, *split(carried[vector["carrier"]])]
        fields += [
            (name, vector[key]) for name, key in (("Sec-Fetch-Site", "site"), ("Origin", "origin")) if vector[key]
        ]
        response = ask(url, *fields)
        status, challenge = OUTCOMES[vector["expected"]]
        expected = (101, None) if status == 200 else (status, challenge)
        if (response.status, response.headers.get("WWW-Authenticate")) != expected:
            wrong.append((vector, response.status))
        assert ("X-Auth-Subject" in response.headers) == (response.status == 101)
    assert wrong == []


def test_a_client_cannot_choose_its_identity(url: str, forge: Forge) -> None:
    spoofed = [(name, "spoofed") for name in SPELLINGS]
    for path, fields in (("/", [bearer(forge.token(time.time()))]), ("/public", [])):
        response = ask(f"{url}{path}", *spoofed, *fields)
        assert response.status == 200
        assert "spoofed" not in response.text
    subjects = [
        value
        for name, value in json.loads(ask(url, bearer(forge.token(time.time()))).text)
        if name == "x-auth-subject"
    ]
    assert subjects == [forge.claims(0)["sub"]]


def test_only_the_public_path_itself_is_public(url: str) -> None:
    paths = ("/public", "/publi%63", "/public/", "/public/x", "//public", "/Public", "/x/../public", "/public;x", "/")
    statuses = {path: ask(f"{url}{path}").status for path in paths}
    assert [path for path, status in statuses.items() if status == 200] == ["/public", "/publi%63"]
    assert set(statuses.values()) == {200, 401}


def test_a_prefix_of_the_server_does_not_change_what_is_public(folder: Path) -> None:
    with application(folder, "--root-path", "/app") as url:
        assert [ask(f"{url}{path}").status for path in ("/public", "/app/public")] == [200, 401]


def test_each_policy_demands_what_its_file_says(folder: Path, forge: Forge) -> None:
    with application(folder, policies='[policies.admin]\nscopes_all = ["admin"]\n') as url:
        denied = ask(f"{url}/verify/admin", bearer(forge.token(time.time())))
        allowed = ask(f"{url}/verify/admin", bearer(forge.token(time.time(), scope="admin")))
    challenge = 'Bearer realm="gatepass", error="insufficient_scope", scope="admin"'
    assert (denied.status, denied.headers["WWW-Authenticate"]) == (403, challenge)
    assert allowed.status == 200


@pytest.mark.parametrize("lifespan", ["on", "off"])
def test_requests_wait_with_503_for_keys_and_then_pass(tmp_path: Path, lifespan: str) -> None:
    forge = Forge()
    with application(tmp_path, "--lifespan", lifespan) as url:
        response = ask(url, bearer(forge.token(time.time())))
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        (tmp_path / "jwks.json").write_bytes(forge.jwks)
        wait_until(lambda: ask(url, bearer(forge.token(time.time()))).status == 200, "the keys are read")


def test_a_revoked_token_is_rejected(tmp_path: Path) -> None:
    forge = Forge()
    (tmp_path / "jwks.json").write_bytes(forge.jwks)
    with running_status_issuer(forge) as issuer:
        lists: dict[str, Any] = {"STATUS_LISTS": issuer.aggregation_url, "STATUS_POLL_SECONDS": 0.2}
        with application(tmp_path, **lists) as url:
            wait_until(lambda: ask(url, bearer(issuer.token(7))).status == 200, "the list is here")
            issuer.revoke(7)
            wait_until(lambda: ask(url, bearer(issuer.token(7))).status == 401, "it is rejected")
            assert ask(url, bearer(issuer.token(8))).status == 200


def test_an_invalid_setting_stops_the_start(tmp_path: Path) -> None:
    values = {"ISSUER": ISSUER, "JWKS_FILE": tmp_path / "jwks.json", "LEEWAY_SECONDS": "61"}
    done = finished(command("--port", str(free_port())), environ=environment("verifier", values))
    assert done.returncode != 0
    assert "VERIFIER_LEEWAY_SECONDS" in done.stderr
