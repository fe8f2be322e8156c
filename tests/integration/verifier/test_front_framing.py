"""Ambiguous framing is rejected and the connection closed.

Each malformed request has a valid token, so that accepting it would be a 200.
"""

from typing import Final

import pytest

from tests.support.raw_http import Response, bearer, request
from tests.support.verifier_process import SubrequestListener

_CHUNKED: Final = "Transfer-Encoding: chunked"


def conversation(verifier: SubrequestListener, data: bytes) -> list[Response]:
    """Send `data`; return all responses. The server must close the connection and serve others."""
    with verifier.connect() as wire:
        responses = wire.send(data).finish().rest()
    assert verifier.ask(token=verifier.token()).status == 200
    return responses


def _malformed(token: str) -> dict[str, bytes]:
    valid = request("/verify", token)
    host = b"Host: verifier\r\n"
    return {
        "a bare LF after every line": valid.replace(b"\r\n", b"\n"),
        "a bare LF after one line": valid.replace(host, host[:-2] + b"\n"),
        "a bare LF at the end": valid[:-2] + b"\n",
        "a bare CR as the end of a line": valid.replace(host, host[:-1]),
        "a bare CR in a value": request("/verify", token, "X: a\rb"),
        "NUL in a value": request("/verify", token, "X: a\0b"),
        "NUL in a name": request("/verify", token, "X\0: a"),
        "NUL in the target": request("/verify\0", token),
        "obsolete folding": request("/verify", token, "X: a\r\n b"),
        "obsolete folding of the credentials": request("/verify", token.replace(" Bearer ", " Bearer\r\n ")),
        "a space before the colon": request("/verify", token, "X : a"),
        "a space before the colon of the credentials": request("/verify", token.replace(":", " :", 1)),
        "a space before the first name": valid.replace(host, b" " + host),
        "a line without a colon": request("/verify", token, "nonsense"),
        "an empty name": request("/verify", token, ": a"),
        "a name with an at sign": request("/verify", token, "X@: a"),
        "a name with a bracket": request("/verify", token, "X(: a"),
        "a name beyond ASCII": request("/verify", token, "X\xe9: a"),
        "HTTP/0.9 without a version": b"GET /verify\r\n\r\n",
        "HTTP/0.9 with fields": request("/verify", token, version="HTTP/0.9"),
        "HTTP/1.2": request("/verify", token, version="HTTP/1.2"),
        "HTTP/2.0": request("/verify", token, version="HTTP/2.0"),
        "HTTP/11": request("/verify", token, version="HTTP/11"),
        "http/1.1": request("/verify", token, version="http/1.1"),
        "ICE/1.0": request("/verify", token, version="ICE/1.0"),
        "HTTP/0.9 that would stay": request("/verify", token, "Connection: keep-alive", version="HTTP/0.9"),
        "HTTP/2.0 that would stay": request("/verify", token, "Connection: keep-alive", version="HTTP/2.0"),
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        "a method in lower case": request("/verify", token, method="get"),
        "an unknown method": request("/verify", token, method="FROB"),
        "a method that is no token": request("/verify", token, method="G@T"),
        "a method of RTSP": request("/verify", token, method="PLAY"),
        "CONNECT to an authority": request("verifier:443", token, method="CONNECT"),
        "CONNECT to a path": request("/verify", token, method="CONNECT"),
        "tabs between the parts of the first line": valid.replace(b" /verify ", b"\t/verify\t"),
        "a space in the target": request("/ver ify", token),
        "a control in the target": request("/verify\x01", token),
        "DEL in the target": request("/verify\x7f", token),
        "no Host": valid.replace(host, b""),
        "two Hosts": request("/verify", token, "Host: a", "Host: b"),
        "two equal Hosts": request("/verify", token, "Host: a", "Host: a"),
        "no HTTP at all": b"EHLO example.org\r\n\r\n",
        "only NUL": bytes(64),
    }


def _ambiguous_framing(token: str) -> dict[str, bytes]:
    def framed(*lines: str, body: bytes = b"0\r\n\r\n", version: str = "HTTP/1.1") -> bytes:
        return request("/verify", token, *lines, version=version) + body

    encodings = [
        *(
            "xchunked",
            "chunkedx",
            "x-chunked",
            "identity",
            "gzip",
            "gzip, chunked",
            "chunked, gzip",
            "chunked, identity",
        ),
        *(
            "chunked, chunked",
            ", chunked",
            "chunked,",
            "chunked;q=1",
            '"chunked"',
            "\x0bchunked",
            "chunked\x0b",
            "",
            "cow",
        ),
    ]
    lengths = ["+5", "-5", "0x5", "5 5", "5, 5", "5,", "", "5.0", "five", "1e1", "9" * 30, "5;", "\u0665"]
    return {
        **{f"Transfer-Encoding: {value!r}": framed(f"Transfer-Encoding: {value}") for value in encodings},
        **{
            f"Content-Length: {value!r}": request("/verify", token)[:-2]
            + f"Content-Length: {value}\r\n\r\nhello".encode()
            for value in lengths
        },
        "length and coding": framed("Content-Length: 5", _CHUNKED),
        "coding and length": framed(_CHUNKED, "Content-Length: 5"),
        "coding and a length of 0": framed(_CHUNKED, "Content-Length: 0"),
        "two lengths": framed("Content-Length: 5", "Content-Length: 6", body=b"hello!"),
        "one length twice": framed("Content-Length: 5", "Content-Length: 5", body=b"hello"),
        "a coding twice": framed(_CHUNKED, _CHUNKED),
        "identity, then chunked": framed("Transfer-Encoding: identity", _CHUNKED),
        "chunked, then identity": framed(_CHUNKED, "Transfer-Encoding: identity"),
        "a coding in HTTP/1.0": framed(_CHUNKED, version="HTTP/1.0"),
        "a coding with a space before the colon": framed("Transfer-Encoding : chunked"),
        "a length with a space before the colon": framed("Content-Length : 5", body=b"hello"),
    }


@pytest.mark.parametrize("case", _malformed("").keys())
def test_malformed_http_never_passes(verifier: SubrequestListener, case: str) -> None:
    data = _malformed(bearer(verifier.token()))[case]
    responses = conversation(verifier, data + request("/verify", bearer(verifier.token())))
    assert responses, "closed without a word"
    assert responses[0].status == 400
    assert responses[-1].closes
    assert {response.status for response in responses} <= {400, 401, 403}


@pytest.mark.parametrize("case", _ambiguous_framing("").keys())
def test_an_ambiguous_body_length_is_rejected_and_closed(verifier: SubrequestListener, case: str) -> None:
    data = _ambiguous_framing(bearer(verifier.token()))[case]
    responses = conversation(verifier, data + request("/verify", bearer(verifier.token())))
    assert [response.status for response in responses] == [400]
    assert responses[0].closes


@pytest.mark.parametrize("body", [
    b"zz\r\nabc\r\n0\r\n\r\n",
    b"3\nabc\n0\n\n",
    b"3\r\nabcX\r\n0\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n",
    b" 3\r\nabc\r\n0\r\n\r\n",
    b"-3\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"\r\nabc\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\n",
])  # fmt: skip
def test_a_malformed_chunk_closes_the_connection_without_a_second_response(
    verifier: SubrequestListener, body: bytes
) -> None:
    token = bearer(verifier.token())
    responses = conversation(verifier, request("/verify", token, _CHUNKED) + body + request("/verify", token))
    assert [response.status for response in responses] in ([200], [400])


@pytest.mark.parametrize("target", [
    "*", "verifier:443", "verify", "?", "#", "http://verifier/verify", "http://user@verifier/verify", "//verify",
    "https://verifier/verify/open",
])  # fmt: skip
def test_a_target_that_is_not_a_path_is_an_unknown_policy(verifier: SubrequestListener, target: str) -> None:
    (response,) = conversation(verifier, request(target, bearer(verifier.token()), method="OPTIONS"))
    assert response.status in (400, 403)


@pytest.mark.parametrize(("found", "sent"), [
    (b"GET ", b"\r\n\r\nGET "),  # RFC 9112 §2.2: a robust server ignores them
    (b"GET ", b"\nGET "),
    (b"GET ", b"GET   "),  # RFC 9112 §3: may be parsed on word boundaries
    (b" HTTP/", b"   HTTP/"),
    (b"HTTP/1.1", b"RTSP/1.0"),  # llhttp knows the protocol and does not say which it was
])  # fmt: skip
def test_tolerated_spellings_are_decided_normally(verifier: SubrequestListener, found: bytes, sent: bytes) -> None:
    for head, status in ((request("/verify", bearer(verifier.token())), 200), (request(), 401)):
        (response,) = conversation(verifier, head.replace(found, sent))
        assert response.status == status
