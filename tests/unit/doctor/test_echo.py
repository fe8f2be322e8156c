"""The doctor parses echoes in several formats, and the name of the gateway."""

import json

import pytest

from doctor.baseline import detect_gateway
from doctor.echo import contains, identity_headers, normalize_leniently, paths, subject_shown
from doctor.findings import Gateway
from doctor.messages import Response

SUBJECT = "7b7f6f3e-3a51-4f0e-9d0c-3f1f6c1c2a10"
ECHOES: dict[str, bytes] = {
    "httpbin": b'{"headers": {"Host": "a", "X-Auth-Subject": "NAME"}, "url": "https://app.example/hello"}',
    "lists": b'{"headers": {"X-Auth-Subject": ["NAME"]}, "path": "/hello"}',
    "raw headers": b'{"rawHeaders": ["Host", "a", "X-Auth-Subject", "NAME"], "path": "/hello"}',
    "pairs": b'{"headers": [["X-Auth-Subject", "NAME"]], "path": "/hello"}',
    "whoami": b"Hostname: a\nGET /hello HTTP/1.1\nHost: app.example\nX-Auth-Subject: NAME\n",
    "cgi": b"REQUEST_URI=/hello\nHTTP_X_AUTH_SUBJECT=NAME\n",
    "php": b"Array\n(\n    [REQUEST_URI] => /hello\n    [HTTP_X_AUTH_SUBJECT] => NAME\n)\n",
    "words": b"<p>hello NAME, this is /hello</p>",
}


@pytest.mark.parametrize("kind", ECHOES)
def test_common_echo_formats_are_read(kind: str) -> None:
    response = Response(200, (), ECHOES[kind].replace(b"NAME", SUBJECT.encode()))
    assert subject_shown(response, SUBJECT)
    assert identity_headers(response) == (frozenset() if kind == "words" else {"X-Auth-Subject"})
    assert contains(response, SUBJECT)
    assert any(normalize_leniently(path) == "/hello" for path in paths(response)) or kind == "words"


@pytest.mark.parametrize("kind", ECHOES)
def test_another_subject_is_not_recognised(kind: str) -> None:
    assert not subject_shown(Response(200, (), ECHOES[kind]), SUBJECT)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[" * 100_000, b"{", b"null", b"1", b'{"a": 1e999}', b"\0" * 1000])
def test_a_malformed_body_shows_no_subject_and_no_path(body: bytes) -> None:
    assert not subject_shown(Response(200, (), body), SUBJECT)
    assert list(paths(Response(200, (), body))) == []


def test_headers_of_the_original_path_are_ignored() -> None:
    body = json.dumps({"X-Envoy-Original-Path": "/admin/", "X-Forwarded-Uri": "/admin/", "path": "/x?/admin/"})
    assert list(paths(Response(200, (), body.encode()))) == ["/x"]


@pytest.mark.parametrize(
    ("server", "gateway"),
    [
        ("nginx/1.22.1", Gateway.NGINX),
        ("openresty", Gateway.NGINX),
        ("envoy", Gateway.ENVOY),
        ("istio-envoy", Gateway.ISTIO),
        ("Caddy", Gateway.CADDY),
        ("APISIX/3.9", Gateway.APISIX),
        ("gateway", None),
    ],
)
def test_a_gateway_is_detected_from_its_server_field(server: str, gateway: Gateway | None) -> None:
    assert detect_gateway(Response(401, (("server", server),))) is gateway
