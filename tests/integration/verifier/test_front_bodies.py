"""A body is read and dropped; its bytes are never a request, and a trailer field never a header field."""

from typing import Final

import pytest

from tests.support.raw_http import bearer, request
from tests.support.verifier_process import SubrequestListener

_CHUNKED: Final = "Transfer-Encoding: chunked"
_LIMIT: Final = 64 * 1024


def _chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


def _statuses(verifier: SubrequestListener, *pieces: bytes) -> list[int]:
    with verifier.connect() as wire:
        return [response.status for response in wire.send(*pieces).finish().rest()]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"])
@pytest.mark.parametrize("size", [0, 1, 5, 4095, 4096, 4097, _LIMIT])
def test_a_body_is_discarded_and_the_connection_stays(verifier: SubrequestListener, method: str, size: int) -> None:
    head = request("/verify", bearer(verifier.token()), f"Content-Length: {size}", method=method)
    assert _statuses(verifier, head + b"x" * size + request()) == [200, 401]


@pytest.mark.parametrize("size", [1, 100, 4096, 60_000])
def test_a_chunked_body_is_discarded_and_the_connection_stays(verifier: SubrequestListener, size: int) -> None:
    head = request("/verify", bearer(verifier.token()), _CHUNKED, method="POST")
    body = _chunked(*[b"x" * 1000] * (size // 1000), b"x")
    assert _statuses(verifier, head + body + request()) == [200, 401]
    assert _statuses(verifier, head, body, request()) == [200, 401]


def test_a_request_in_a_body_gets_no_response(verifier: SubrequestListener) -> None:
    inner = request("/verify", bearer(verifier.token()))
    assert _statuses(verifier, request("/verify", f"Content-Length: {len(inner)}") + inner + request()) == [401, 401]
    assert _statuses(verifier, request("/verify", _CHUNKED) + _chunked(inner) + request()) == [401, 401]


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "TLS/1.0, HTTP/1.1"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_request_in_the_body_of_an_upgrade_gets_no_response(
    verifier: SubrequestListener, upgrade: str, framing: str
) -> None:
    # A response to it would be taken for that to the gateway's next request, of another client.
    inner = request("/verify", bearer(verifier.token()))
    fields = ["Connection: Upgrade", f"Upgrade: {upgrade}"]
    if framing == "length":
        data = request("/verify", *fields, f"Content-Length: {len(inner)}") + inner
    else:
        data = request("/verify", *fields, _CHUNKED) + _chunked(inner)
    assert _statuses(verifier, data + request()) in ([401], [401, 401])
    assert _statuses(verifier, data[:-5], data[-5:], request()) in ([401], [401, 401])


@pytest.mark.parametrize("beyond", [1, _LIMIT, 10 * _LIMIT])
def test_a_body_over_64_kib_ends_the_connection(verifier: SubrequestListener, beyond: int) -> None:
    # What one read can overstep the limit by (4 KiB) is granted.
    size = _LIMIT + 8192 + beyond
    head = request("/verify", bearer(verifier.token()), f"Content-Length: {size}")
    assert _statuses_until_closed(verifier, head + b"x" * size + request()) == [200]
    head = request("/verify", bearer(verifier.token()), _CHUNKED)
    assert _statuses_until_closed(verifier, head + _chunked(*[b"x" * 1000] * (size // 1000 + 1)) + request()) == [200]


def test_small_chunks_with_endless_extensions_end_the_connection(verifier: SubrequestListener) -> None:
    head = request("/verify", bearer(verifier.token()), _CHUNKED)
    assert _statuses_until_closed(verifier, head + b"1;" + b"x" * 10 * _LIMIT) == [200]
    assert _statuses_until_closed(verifier, head + b"1;x=y\r\na\r\n" * _LIMIT) == [200]


def test_endless_trailers_end_the_connection(verifier: SubrequestListener) -> None:
    head = request("/verify", bearer(verifier.token()), _CHUNKED)
    assert _statuses_until_closed(verifier, head + b"0\r\n" + b"X-Trailer: value\r\n" * _LIMIT) == [200]
    assert _statuses_until_closed(verifier, head + b"0\r\nX: " + b"x" * 10 * _LIMIT) == [200]


def _statuses_until_closed(verifier: SubrequestListener, data: bytes) -> list[int]:
    with verifier.connect() as wire:
        return [response.status for response in wire.send_until_closed(data)]


def test_credentials_in_a_trailer_are_ignored(verifier: SubrequestListener) -> None:
    trailer = bearer(verifier.token()).encode() + b"\r\n"
    body = b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n"
    for head in (request("/verify", _CHUNKED), request("/verify", _CHUNKED, "Trailer: Authorization")):
        assert _statuses(verifier, head + body + request()) == [401, 401]
        assert _statuses(verifier, head, body, request()) == [401, 401]
        whole = head + body + request()
        assert all(
            _statuses(verifier, whole[:at], whole[at:]) == [401, 401]
            for at in range(len(head) - 4, len(head) + len(body) + 4, 7)
        )


def test_credentials_in_a_trailer_do_not_affect_those_of_the_head(verifier: SubrequestListener) -> None:
    token = bearer(verifier.token())
    body = _chunked(b"abc", trailers=b"Authorization: Bearer another\r\n")
    assert _statuses(verifier, request("/verify", token, _CHUNKED) + body + request("/verify", token)) == [200, 200]


@pytest.mark.parametrize("trailer", [b"Connection: close", b"Expect: 100-continue", b"Content-Length: 7", b"Host: x"])
def test_a_trailer_does_not_affect_the_next_request(verifier: SubrequestListener, trailer: bytes) -> None:
    token = bearer(verifier.token())
    body = _chunked(b"abc", trailers=trailer + b"\r\n")
    data = request("/verify", token, _CHUNKED) + body + request("/verify", token) * 2
    # `Connection` is the parser's own to read: it ends the connection, which is safe.
    assert _statuses(verifier, data) in ([200, 200, 200], [200], [200, 400])
