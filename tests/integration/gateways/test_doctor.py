"""`python -m doctor` has no findings about our gateways, and finds the fault of each broken one."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import pytest

from tests.integration.gateways.broken_gateways import (
    FIRST_TOKEN_WINS,
    Addresses,
    broken_nginx,
    running_haproxy,
    running_nginx,
    secure,
)
from tests.integration.gateways.conftest import Gateway
from tests.support import forks
from tests.support.certificates import self_signed
from tests.support.gateway_programs import PROGRAMS
from tests.support.gateways import Verifier, running_gateway
from tests.support.jwks_server import Exchange, response, running_jwks_server
from tests.support.processes import finished, free_port
from tests.support.token_forge import Forge

# What is broken, the exit status, and the issues that are found.
EXPECTED: dict[str, tuple[int, set[str]]] = {
    "identity headers are not overwritten": (1, {"identity_spoofed", "missing_identity"}),
    "one identity header is not overwritten": (1, {"identity_spoofed"}),
    "a location sets a header of its own": (1, {"identity_spoofed", "missing_identity"}),
    "underscores are allowed": (1, {"header_name_variant"}),
    "the verifier is not called": (1, {"unauthenticated_access", "missing_identity", "unsuitable_admin_path"}),
    "the challenge is lost": (0, {"missing_challenge"}),
    "a rejection becomes a redirect": (0, {"wrong_rejection_status"}),
    "preflights are accepted": (0, {"preflight_accepted"}),
    "ambiguous paths are forwarded unchanged": (1, {"policy_bypass"}),
    "control characters are forwarded": (1, {"policy_bypass"}),
    "ambiguous paths lead to a page without an echo": (2, {"possible_policy_bypass", "no_echo"}),
    "a token in the query is accepted": (1, {"token_in_query"}),
    "the verifier's endpoints are routed": (1, {"verifier_exposed"}),
    "the identity is sent to the client": (0, {"identity_disclosed"}),
    "the application receives another subject": (1, {"wrong_identity"}),
    "another site of the port is open": (1, {"authentication_bypass"}),
    "the route has no echo": (2, {"no_echo"}),
    "the route shows only the subject": (2, {"partial_echo"}),
    "the route does not exist": (2, {"unsuitable_route"}),
    "the application fails": (2, {"unsuitable_route"}),
}


@dataclass(frozen=True)
class Report:
    """The output of `--json`, its counts, and the exit status."""

    status: int
    findings: list[dict[str, Any]]
    counts: dict[str, int]

    @property
    def issues(self) -> set[str]:
        return {finding["issue"] for finding in self.findings if finding["severity"] != "pass"}

    def of(self, issue: str) -> list[dict[str, Any]]:
        return [finding for finding in self.findings if finding["issue"] == issue]


def output_of(token: bytes, url: str, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return the exit status, output and errors."""
    done = forks.run("doctor", [url, *arguments], {"GATEPASS_TOKEN": token.decode()})
    return done.returncode, done.stdout, done.stderr


def report_of(token: bytes, port: int, *arguments: str, scheme: str = "http") -> Report:
    url = f"{scheme}://127.0.0.1:{port}/hello"
    status, output, faults = output_of(token, url, "--admin-path", "/admin/", "--json", *arguments)
    assert faults == ""
    *findings, counts = map(json.loads, output.splitlines())
    return Report(status, findings, counts)


@pytest.fixture
def addresses(verifier: Verifier, application: int) -> Addresses:
    return Addresses(free_port(), verifier.port, verifier.admin_port, application)


@pytest.fixture
def token(verifier: Verifier) -> bytes:
    return verifier.forge.token(time())


@pytest.fixture
def secure_nginx(addresses: Addresses, tmp_path: Path) -> Iterator[int]:
    with running_nginx(secure(addresses), tmp_path, addresses.port) as port:
        yield port


@pytest.mark.parametrize("gateway", PROGRAMS, indirect=True)
def test_our_gateways_have_no_vulnerability(gateway: Gateway) -> None:
    report = report_of(gateway.token(), gateway.port)
    assert [finding for finding in report.findings if finding["severity"] in {"vulnerable", "inconclusive"}] == []
    assert report.status == 0
    assert report.counts["pass"] > 70
    names = [finding["probe"] for finding in report.findings]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("what", EXPECTED)
def test_a_broken_gateway_is_found(what: str, addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    status, issues = EXPECTED[what]
    with broken_nginx(what, tmp_path, addresses) as port:
        report = report_of(token, port)
    assert (report.status, report.issues) == (status, issues)


# A site that was merged wrongly: the issue that is found, the configuration, and a change of one of its files.
MERGED_WRONGLY: dict[str, tuple[str, str, tuple[str, str, str]]] = {
    # Before nginx 1.23 also a leak; see "a location sets a header of its own".
    "nginx: a location sets headers and includes no identity": (
        "missing_identity",
        "nginx/site",
        ("app.conf", "        include gatepass/identity.conf;\n", ""),
    ),
    "nginx: a location is public by mistake": (
        "unauthenticated_access",
        "nginx/site",
        ("app.conf", "    location / {\n", "    location / {\n        auth_request off;\n"),
    ),
    "caddy: a route beside the import": (
        "unauthenticated_access",
        "caddy/site",
        (
            "Caddyfile",
            "handle_path /auth/* {",
            "handle /hello* {\n\t\treverse_proxy @app\n\t}\n\thandle_path /auth/* {",
        ),
    ),
    "haproxy: the frontend does not use the defaults": (
        "identity_spoofed",
        "haproxy/site",
        ("haproxy.cfg", "frontend site from gatepass", "frontend site"),
    ),
    "haproxy: a public path that is too wide": (
        "unauthenticated_access",
        "haproxy/site",
        ("gatepass.public", "^/health$", "^/he"),
    ),
    "traefik: the entry point has no check": (
        "identity_spoofed",
        "traefik/site",
        ("traefik.yaml", "      middlewares: [gatepass@file]\n", ""),
    ),
    "envoy: the check is disabled for all other paths": (
        "unauthenticated_access",
        "envoy/site",
        (
            "envoy.yaml",
            '{ prefix: "/" }\n',
            '{ prefix: "/" }\n                          typed_per_filter_config: *public\n',
        ),
    ),
}


@pytest.mark.parametrize("what", MERGED_WRONGLY)
def test_a_site_that_was_merged_wrongly_is_found(
    what: str, verifier: Verifier, application: int, token: bytes, tmp_path: Path
) -> None:
    issue, name, (file, old, new) = MERGED_WRONGLY[what]
    change = (file, old, new.replace("@app", f"127.0.0.1:{application}"))
    with running_gateway(name, tmp_path, verifier.port, application, [change]) as port:
        assert issue in report_of(token, port).issues


def test_each_exposed_verifier_endpoint_is_reported(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    with broken_nginx("the verifier's endpoints are routed", tmp_path, addresses) as port:
        report = report_of(token, port)
    assert {finding["probe"] for finding in report.of("verifier_exposed")} == {
        "metrics-without-token",
        "metrics",
        "verify",
        "healthz-without-token",
        "healthz",
        "readyz-without-token",
        "readyz",
    }


def test_a_vulnerability_is_reported_with_its_fix(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    with broken_nginx("underscores are allowed", tmp_path, addresses) as port:
        status, output, _ = output_of(token, f"http://127.0.0.1:{port}/hello")
    assert status == 1
    assert "underscores: 200, the application received spoofed values: all eight identity headers" in output
    block = output.partition("VULNERABLE: header name variant\n")[2].partition("\n\n")[0]
    assert "sent      a valid token and all identity headers with `_` for `-`" in block
    assert "`underscores_in_headers off;`" in block
    assert "name one with --admin-path" in output
    assert "see       deploy/gateways/nginx/" in block
    assert output.splitlines()[-1].startswith("the gateway is vulnerable: 3 vulnerable, 0 warning, 0 inconclusive, ")


def test_the_fix_is_that_of_the_named_gateway(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    with broken_nginx("underscores are allowed", tmp_path, addresses) as port:
        report = report_of(token, port, "--gateway", "envoy")
    (finding, *_) = report.of("header_name_variant")
    assert "headers_with_underscores_action" in finding["fix"]
    assert finding["reference"] == "deploy/gateways/envoy/"


def test_accepting_one_of_two_tokens_is_found(secure_nginx: int, token: bytes, tmp_path: Path) -> None:
    with running_haproxy(FIRST_TOKEN_WINS, tmp_path, secure_nginx) as port:
        report = report_of(token, port)
    assert (report.status, report.issues) == (1, {"multiple_credentials", "ambiguous_length"})


def test_trailers_that_become_headers_are_found(application: int, token: bytes, tmp_path: Path) -> None:
    with running_haproxy("", tmp_path, application) as port:
        report = report_of(token, port)
    assert "trailer" in [finding["probe"] for finding in report.of("trailer_forwarded")]


def _switches(exchange: Exchange) -> None:
    upgrade = exchange.header("Upgrade")
    switched = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n"
    exchange.socket.sendall(switched.encode() if upgrade else response(b"hello"))


def test_a_tunnel_is_found(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    with running_jwks_server(_switches) as application:
        before = Addresses(addresses.port, addresses.verifier, addresses.verifier_admin, application.port)
        with broken_nginx("any upgrade is tunnelled", tmp_path, before) as port:
            report = report_of(token, port)
    assert report.status == 1
    assert [finding["probe"] for finding in report.of("tunnel_opened")] == ["h2c"]


def test_an_outage_is_not_a_rejection(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    unreachable = Addresses(addresses.port, free_port(), addresses.verifier_admin, addresses.application)
    with broken_nginx("an outage is 500", tmp_path, unreachable) as port:
        report = report_of(token, port)
    assert (report.status, report.issues) == (2, {"unsuitable_route", "server_error"})


def test_a_rejected_token_still_tests_requests_without_a_token(secure_nginx: int) -> None:
    foreign = Forge().token(4_000_000_000)
    report = report_of(foreign, secure_nginx)
    assert (report.status, report.issues) == (2, {"token_rejected"})
    assert "no-token" in [finding["probe"] for finding in report.findings]


def test_a_certificate_is_checked(addresses: Addresses, token: bytes, tmp_path: Path) -> None:
    self_signed(tmp_path)
    pem = tmp_path / "server.pem"
    tls = f"listen 127.0.0.1:{addresses.port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};"
    configuration = secure(addresses).replace(f"listen 127.0.0.1:{addresses.port};", tls)
    with running_nginx(configuration, tmp_path, addresses.port) as port:
        distrusted = report_of(token, port, scheme="https")
        trusted = report_of(token, port, "--ca-file", str(pem), scheme="https")
    assert (distrusted.status, distrusted.issues) == (2, {"unreachable"})
    assert "certificate is not trusted" in distrusted.findings[0]["received"]
    assert (trusted.status, trusted.issues) == (0, set())


def test_the_token_is_read_from_standard_input_and_never_printed(
    addresses: Addresses, token: bytes, tmp_path: Path
) -> None:
    with broken_nginx("the application echoes everything", tmp_path, addresses) as port:
        for arguments in ((), ("--json",)):
            command = [sys.executable, "-m", "doctor", f"http://127.0.0.1:{port}/hello", *arguments]
            done = finished(command, stdin=f"{token.decode()}\n")
            assert done.returncode == 0, done.stderr
            for part in token.decode().split("."):
                assert part not in done.stdout + done.stderr


@contextmanager
def _unrequested_server() -> Iterator[int]:
    with running_jwks_server(lambda exchange: exchange.socket.sendall(response(b""))) as server:
        yield server.port
        assert server.requests == []


def test_the_number_of_requests_is_announced_and_no_redirect_followed(token: bytes) -> None:
    with _unrequested_server() as other:
        location = f"Location: http://127.0.0.1:{other}/hello"
        redirected = response(b"", location, "Connection: close", status="302 Found")
        with running_jwks_server(lambda exchange: exchange.socket.sendall(redirected)) as server:
            _, output, _ = output_of(token, server.url_of("/hello"), "--admin-path", "/admin/")
            assert 20 < len(server.requests) <= int(output.split()[2]) < 90
    assert "give the URL of a route that responds to GET with 200; redirects are not followed" in output


def test_an_unreachable_gateway_is_inconclusive(token: bytes) -> None:
    report = report_of(token, free_port())
    assert (report.status, report.issues, len(report.findings)) == (2, {"unreachable"}, 1)


def test_a_gateway_without_tls_is_inconclusive(secure_nginx: int, token: bytes) -> None:
    assert report_of(token, secure_nginx, scheme="https").issues == {"unreachable"}
