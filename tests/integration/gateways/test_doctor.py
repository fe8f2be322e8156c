"""`python -m doctor`: silent about sound gateways, and right about each way to break one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from time import time
from typing import Any

import pytest

from doctor.__main__ import main
from tests.integration.gateways.broken_gateways import (
    BROKEN,
    FIRST_TOKEN_WINS,
    Addresses,
    broken_nginx,
    running_haproxy,
    running_nginx,
    sound,
)
from tests.integration.gateways.conftest import Gateway
from tests.support.gateways import Verifier
from tests.support.jwks_server import Exchange, answer, running_jwks_server
from tests.support.processes import ROOT, free_port
from tests.support.smtp import self_signed
from tests.support.token_forge import Forge

# What is done to the gateway, the exit status, and the causes of everything that is found.
FOUND: dict[str, tuple[int, set[str]]] = {
    "identity headers are not overwritten": (1, {"spoofed", "identity_absent"}),
    "one identity header is not overwritten": (1, {"spoofed"}),
    "underscores are let through": (1, {"underscored"}),
    "nobody is asked": (1, {"open", "identity_absent", "admin_unusable"}),
    "the challenge is lost": (0, {"no_challenge"}),
    "a refusal becomes a redirect": (0, {"other_refusal"}),
    "preflights are answered": (0, {"preflight"}),
    "ambiguous paths are passed on as they came": (1, {"policy_escaped"}),
    "ambiguous paths lead to a page that tells nothing": (2, {"policy_unknown", "no_echo"}),
    "a token may stand in the query": (1, {"token_in_query"}),
    "the verifier's pages are routed": (1, {"verifier_reached"}),
    "the identity goes to the client": (0, {"identity_told"}),
    "the application is told another subject": (1, {"identity_wrong"}),
    "another site of the port is open": (1, {"open_by_spelling"}),
    "the route has no echo": (2, {"no_echo"}),
    "the route shows the subject alone": (2, {"part_echo"}),
    "the route is not there": (2, {"route_unusable"}),
    "the application fails": (2, {"route_unusable"}),
}
ELSEWHERE = {"any upgrade is tunnelled", "an outage is 500", "the application tells everything"}


@dataclass(frozen=True)
class Examination:
    """What the doctor said with `--json`, its last line apart, and its exit status."""

    status: int
    findings: list[dict[str, Any]]
    counts: dict[str, int]

    @property
    def causes(self) -> set[str]:
        return {finding["cause"] for finding in self.findings if finding["severity"] != "fine"}

    def of(self, cause: str) -> list[dict[str, Any]]:
        return [finding for finding in self.findings if finding["cause"] == cause]


def told(token: bytes, url: str, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and faults of the command in this process."""
    output, faults = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(faults):
        patch.setenv("GATEPASS_TOKEN", token.decode())
        return main([url, *arguments]), output.getvalue(), faults.getvalue()


def examined(token: bytes, port: int, *arguments: str, scheme: str = "http") -> Examination:
    url = f"{scheme}://127.0.0.1:{port}/hello"
    status, output, faults = told(token, url, "--admin-path", "/admin/", "--json", *arguments)
    assert faults == ""
    *findings, counts = map(json.loads, output.splitlines())
    return Examination(status, findings, counts)


@pytest.fixture
def addresses(verifier: Verifier, application: int) -> Addresses:
    return Addresses(free_port(), verifier.port, verifier.admin_port, application)


@pytest.fixture
def token(verifier: Verifier) -> bytes:
    return verifier.forge.token(time())


@pytest.fixture
def sound_nginx(addresses: Addresses, tmp_path: Path) -> Iterator[int]:
    with running_nginx(sound(addresses), tmp_path, addresses.port) as port:
        yield port


def test_nothing_leaks_from_a_gateway_of_ours(gateway: Gateway) -> None:
    seen = examined(gateway.token(), gateway.port)
    assert [finding for finding in seen.findings if finding["severity"] in {"leak", "unjudged"}] == []
    assert seen.status == 0
    assert seen.counts["fine"] > 70
    names = [finding["probe"] for finding in seen.findings]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("what", FOUND)
def test_a_broken_gateway_is_found_out(what: str, addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    status, causes = FOUND[what]
    with broken_nginx(what, tmp_path, addresses) as port:
        seen = examined(token, port)
    assert (seen.status, seen.causes) == (status, causes)


def test_every_way_to_break_a_gateway_is_tried() -> None:
    assert set(FOUND) | ELSEWHERE == set(BROKEN)


def test_each_page_of_the_verifiers_is_told_apart(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    with broken_nginx("the verifier's pages are routed", tmp_path, addresses) as port:
        seen = examined(token, port)
    assert {finding["probe"] for finding in seen.of("verifier_reached")} == {
        "metrics-without-token",
        "metrics",
        "verify",
        "readyz-without-token",
        "readyz",
    }


def test_a_leak_is_told_in_words_that_lead_to_its_cure(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    with broken_nginx("underscores are let through", tmp_path, addresses) as port:
        status, output, _ = told(token, f"http://127.0.0.1:{port}/hello")
    assert status == 1
    assert "underscores: 200, and the application was told the made-up identity headers, all eight" in output
    block = output.partition("LEAK: underscored\n")[2].partition("\n\n")[0]
    assert "sent     a good token and all identity headers with `_` for `-`" in block
    assert "`underscores_in_headers off;`" in block
    assert "name one with --admin-path" in output
    assert "see      deploy/gateways/nginx/" in block
    assert output.splitlines()[-1].startswith("it leaks: leak 3, weak 0, unjudged 0, fine ")


def test_the_cure_is_that_of_the_named_gateway(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    with broken_nginx("underscores are let through", tmp_path, addresses) as port:
        seen = examined(token, port, "--gateway", "envoy")
    (leak, *_) = seen.of("underscored")
    assert "headers_with_underscores_action" in leak["change"]
    assert leak["see"] == "deploy/gateways/envoy/"


def test_a_gateway_that_picks_one_of_two_tokens_is_found_out(sound_nginx: int, token: bytes, tmp_path: Path) -> None:
    with running_haproxy(FIRST_TOKEN_WINS, tmp_path, sound_nginx) as port:
        seen = examined(token, port)
    assert (seen.status, seen.causes) == (1, {"two_credentials", "two_lengths"})


def test_trailers_that_become_headers_are_found_out(application: int, token: bytes, tmp_path: Path) -> None:
    with running_haproxy("", tmp_path, application) as port:
        seen = examined(token, port)
    assert "trailer" in [finding["probe"] for finding in seen.of("trailer")]


def _switches(exchange: Exchange) -> None:
    upgrade = exchange.header("Upgrade")
    switched = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n"
    exchange.socket.sendall(switched.encode() if upgrade else answer(b"hello"))


def test_a_tunnel_is_found_out(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    with running_jwks_server(_switches) as application:
        before = Addresses(addresses.port, addresses.verifier, addresses.verifier_admin, application.port)
        with broken_nginx("any upgrade is tunnelled", tmp_path, before) as port:
            seen = examined(token, port)
    assert seen.status == 1
    assert [finding["probe"] for finding in seen.of("tunnel")] == ["h2c"]


def test_an_outage_is_told_from_a_refusal(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    away = Addresses(addresses.port, free_port(), addresses.verifier_admin, addresses.application)
    with broken_nginx("an outage is 500", tmp_path, away) as port:
        seen = examined(token, port)
    assert (seen.status, seen.causes) == (2, {"route_unusable", "server_error"})


def test_a_token_that_does_not_pass_shows_what_a_stranger_can_do_and_no_more(sound_nginx: int) -> None:
    stranger = Forge.another().token(4_000_000_000)
    seen = examined(stranger, sound_nginx)
    assert (seen.status, seen.causes) == (2, {"token_refused"})
    assert "no-token" in [finding["probe"] for finding in seen.findings]


def test_a_certificate_is_checked(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    self_signed(tmp_path)
    pem = tmp_path / "mail.pem"
    tls = f"listen 127.0.0.1:{addresses.port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};"
    configuration = sound(addresses).replace(f"listen 127.0.0.1:{addresses.port};", tls)
    with running_nginx(configuration, tmp_path, addresses.port) as port:
        distrusted = examined(token, port, scheme="https")
        trusted = examined(token, port, "--ca-file", str(pem), scheme="https")
    assert (distrusted.status, distrusted.causes) == (2, {"unreachable"})
    assert "certificate is not trusted" in distrusted.findings[0]["got"]
    assert (trusted.status, trusted.causes) == (0, set())


def test_the_token_comes_by_standard_input_and_is_in_no_output(
    addresses: Addresses, token: bytes, tmp_path: Path
) -> None:
    with broken_nginx("the application tells everything", tmp_path, addresses) as port:
        for arguments in ((), ("--json",)):
            done = subprocess.run(
                [sys.executable, "-m", "doctor", f"http://127.0.0.1:{port}/hello", *arguments],
                cwd=ROOT,
                input=token + b"\n",
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            for part in token.split(b"."):
                assert part not in done.stdout + done.stderr


@contextmanager
def _never_asked() -> Iterator[int]:
    with running_jwks_server(lambda exchange: exchange.socket.sendall(answer(b""))) as server:
        yield server.port
        assert server.requests == []


def test_it_sends_as_many_requests_as_it_says_and_follows_no_redirect(token: bytes) -> None:
    with _never_asked() as other:
        location = f"Location: http://127.0.0.1:{other}/hello"
        redirected = answer(b"", location, "Connection: close", status="302 Found")
        with running_jwks_server(lambda exchange: exchange.socket.sendall(redirected)) as server:
            _, output, _ = told(token, server.url_of("/hello"), "--admin-path", "/admin/")
            assert 20 < len(server.requests) <= int(output.split()[2]) < 90
    assert "give the URL of a route that answers GET with 200; redirects are not followed" in output


def test_what_can_not_be_reached_is_not_called_sound(token: bytes) -> None:
    seen = examined(token, free_port())
    assert (seen.status, seen.causes, len(seen.findings)) == (2, {"unreachable"}, 1)


def test_who_speaks_no_tls_is_not_called_sound(sound_nginx: int, token: bytes) -> None:
    assert examined(token, sound_nginx, scheme="https").causes == {"unreachable"}
