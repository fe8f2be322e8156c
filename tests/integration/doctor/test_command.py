"""`python -m doctor` before anything is sent, and whatever the other side answers."""

import ssl
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from time import time

import pytest

from doctor.__main__ import main
from doctor.messages import Answer, Request, Silence
from doctor.raw_client import Wire
from doctor.target import Target
from tests.support.hostile_sources import hostile_answers
from tests.support.jwks_server import running_jwks_server
from tests.support.token_forge import Forge

URL = "http://127.0.0.1:1/hello"
TOKEN = Forge().token(time(), exp=int(time()) + 3600)
"""Made when tests are collected: its life has to be longer than theirs."""

REQUEST = Request("GET", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
SECONDS = 0.3


def refused(*arguments: str, token: bytes = TOKEN) -> str:
    """What the command says when it refuses to begin."""
    output, faults = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(faults):
        patch.delenv("GATEPASS_TOKEN", raising=False)
        patch.setattr(sys, "stdin", TextIOWrapper(BytesIO(token)))
        assert main(list(arguments)) == 2
    assert output.getvalue() == ""
    return faults.getvalue()


@pytest.mark.parametrize(
    ("arguments", "token", "why"),
    [
        ((TOKEN.decode(),), TOKEN, "URL: not an http(s) URL in ASCII"),
        ((URL, TOKEN.decode()), TOKEN, "the token comes from GATEPASS_TOKEN or standard input"),
        ((URL, f"--token={TOKEN.decode()}"), TOKEN, "the token comes from GATEPASS_TOKEN or standard input"),
        ((URL,), b"", "no token: set GATEPASS_TOKEN"),
        ((URL,), Forge().token(0), "the token has expired"),
        ((URL, "--admin-path", "admin"), TOKEN, "--admin-path: "),
        ((URL, "--gateway", "notepad"), TOKEN, "--gateway: none of nginx, envoy,"),
        ((URL, "--ca-file", "/nonexistent.pem"), TOKEN, "--ca-file: no PEM certificates"),
        ((URL, "--ca-file", __file__), TOKEN, "--ca-file: no PEM certificates"),
        (("http://192.0.2.1/",), TOKEN, "plain http beyond loopback"),
        (("http://192.0.2.1/", "--allow-http"), TOKEN, "plain http to a public address"),
        ((f"https://{'a' * 64}.invalid/",), TOKEN, "its host is not known"),
    ],
)
def test_what_can_not_be_examined_is_one_line_without_the_token(
    arguments: tuple[str, ...], token: bytes, why: str
) -> None:
    said = refused(*arguments, token=token)
    assert why in said
    assert said.count("\n") == 1
    assert TOKEN.decode() not in said


@pytest.mark.parametrize("how", hostile_answers(b"hello"))
def test_whatever_is_answered_a_request_ends(how: str) -> None:
    with running_jwks_server(hostile_answers(b"hello")[how]) as server:
        target = Target.parse(server.url_of("/hello"), allow_http=False)
        wire = Wire(target, ssl.create_default_context(), SECONDS)
        assert isinstance(wire.ask(REQUEST), Answer | Silence)
