"""`python -m doctor` with unusable arguments, and against hostile servers."""

import ssl
from time import time

import pytest

from doctor.messages import NoResponse, Request, Response
from doctor.raw_client import RawHttpClient
from doctor.target import Target
from tests.support import forks
from tests.support.hostile_sources import hostile_responses
from tests.support.jwks_server import running_jwks_server
from tests.support.token_forge import Forge

URL = "http://127.0.0.1:1/hello"
TOKEN = Forge().token(time(), exp=int(time()) + 3600)
"""Created when tests are collected, so it must be valid for longer than the tests run."""

REQUEST = Request("GET", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
SECONDS = 0.3


def usage_error(*arguments: str, token: bytes) -> str:
    """Return the usage error that the command prints."""
    done = forks.run("doctor", arguments, {}, token)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "token", "why"),
    [
        ((TOKEN.decode(),), TOKEN, "URL: not an http(s) URL in ASCII"),
        ((URL, TOKEN.decode()), TOKEN, "the token is read from GATEPASS_TOKEN or standard input"),
        ((URL, f"--token={TOKEN.decode()}"), TOKEN, "the token is read from GATEPASS_TOKEN or standard input"),
        ((URL,), b"", "no token: set GATEPASS_TOKEN"),
        ((URL,), Forge().token(0), "the token has expired"),
        ((URL, "--admin-path", "admin"), TOKEN, "--admin-path: "),
        ((URL, "--gateway", "notepad"), TOKEN, "--gateway: unknown gateway; choose one of nginx, envoy,"),
        *(
            ((URL, "--claim-header", name), TOKEN, "--claim-header: a name like X-Auth-Claim-Tenant")
            for name in ("X-Auth-Subject", "X-Auth-Claim-", "X-Auth-Claim-a_b", "X-Auth-Claim-a: b", "")
        ),
        ((URL, "--ca-file", "/nonexistent.pem"), TOKEN, "--ca-file: cannot read PEM certificates"),
        ((URL, "--ca-file", __file__), TOKEN, "--ca-file: cannot read PEM certificates"),
        (("http://192.0.2.1/",), TOKEN, "plain http is allowed to loopback only"),
        (("http://192.0.2.1/", "--allow-http"), TOKEN, "plain http to a public IP address"),
        ((f"https://{'a' * 64}.invalid/",), TOKEN, "the host name cannot be resolved"),
    ],
)
def test_an_unusable_argument_is_one_line_without_the_token(
    arguments: tuple[str, ...], token: bytes, why: str
) -> None:
    message = usage_error(*arguments, token=token)
    assert why in message
    assert message.count("\n") == 1
    assert TOKEN.decode() not in message


@pytest.mark.parametrize("how", hostile_responses(b"hello"))
def test_a_request_to_a_hostile_server_ends(how: str) -> None:
    with running_jwks_server(hostile_responses(b"hello")[how]) as server:
        target = Target.parse(server.url_of("/hello"), allow_http=False)
        client = RawHttpClient(target, ssl.create_default_context(), SECONDS)
        assert isinstance(client.send(REQUEST), Response | NoResponse)
