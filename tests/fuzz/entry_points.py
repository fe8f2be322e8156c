"""Entry points for the fuzzer, except the issuer's: no input may raise an unexpected exception."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from shared.identity_headers import IDENTITY_HEADERS
from shared.jwks import OWN_ALGORITHMS, JwksError, parse_jwks
from shared.signatures import KEY_TYPES
from tests.fuzz import issuer_entry_points
from tests.support.identity_provider import metadata as metadata_document
from tests.support.token_forge import ISSUER
from tests.support.vector_keys import GOOD, NOW, STATUS_LIST
from tests.support.vectors import KEY_SETS, POLICIES, REALM, Bench, load, octets
from verifier.decision.reasons import RejectionReason
from verifier.decision.status_list_token import read_status_list
from verifier.refresh.metadata import MAX_METADATA_BYTES, read_jwks_uri
from verifier.refresh.source import RefreshError, read_json
from verifier.subrequest.responses import anonymous_response, error_response

structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory(), cache_logger_on_first_use=True)

_BENCH: Final = Bench(now=NOW, keys=KEY_SETS["issuer"])
_HEADER: Final = json.dumps(GOOD.header()).encode()
_LIST_HEADER: Final = json.dumps(GOOD.header(typ="statuslist+jwt")).encode()
_READY: Final = {anonymous_response()} | {
    error_response(reason, policy, REALM) for reason in RejectionReason for policy in (None, *POLICIES.values())
}
_OUR_TROUBLE: Final = error_response(RejectionReason.INTERNAL_ERROR, POLICIES["default"], REALM)


def request(data: bytes) -> None:
    """Decide about a request: target and credentials, separated by a line feed."""
    target, found, credentials = data.partition(b"\n")
    _expect_a_response(target, credentials if found else None)
    _expect_a_response(b"/verify", credentials)


def signed(data: bytes) -> None:
    """Decide about a signed token: header and payload, separated by a line feed. The default header is valid."""
    header, _, payload = data.partition(b"\n")
    token = GOOD.sign(header or _HEADER, payload)
    _expect_a_response(b"/verify/anonymous", b"Bearer " + token)


def key_set(data: bytes) -> None:
    """Parse a JWK Set as of our own issuer and of another one; JwksError is the only exception."""
    for algorithms in (OWN_ALGORITHMS, KEY_TYPES.keys()):
        with suppress(JwksError):
            assert parse_jwks(data, algorithms).keys


def metadata(data: bytes) -> None:
    """Parse an issuer's metadata."""
    try:
        result = read_jwks_uri(read_json(data, MAX_METADATA_BYTES), ISSUER, ISSUER, allow_http=False)
        assert result.startswith("https://")
    except RefreshError as error:
        result = str(error)
    assert result.isascii()
    assert result.isprintable()


def status_list(data: bytes) -> None:
    """Verify a status list: header and payload, as in `signed`."""
    header, _, payload = data.partition(b"\n")
    token = GOOD.sign(header or _LIST_HEADER, payload)
    read_status_list(token, issuer=ISSUER, uri=STATUS_LIST, keys=KEY_SETS["issuer"], now=NOW)


def _expect_a_response(target: bytes, credentials: bytes | None) -> None:
    response = _BENCH.authorizer.authorize(target, credentials)
    # The keys are there, so "I can't decide" would hide an exception.
    assert response != _OUR_TROUBLE
    assert response in _READY or (
        response.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n") and _is_one_head(response)
    )


def _is_one_head(response: bytes) -> bool:
    *lines, end, body = response.split(b"\r\n")
    # The status line, Content-Length and the identity, and no line more, whatever a claim holds.
    whole = len(lines) == response.count(b"\n") - 1 == 2 + len(IDENTITY_HEADERS) and end == body == b""
    return whole and len(response) < 3.5 * 1024


ENTRY_POINTS: Final[dict[bytes, Callable[[bytes], None]]] = {
    b"R": request,
    b"S": signed,
    b"K": key_set,
    b"M": metadata,
    b"L": status_list,
    **issuer_entry_points.ENTRY_POINTS,
}
"""Entry points by the first byte of an input."""


def run(data: bytes) -> None:
    """Process one input of the fuzzer."""
    entry_point = ENTRY_POINTS.get(data[:1])
    if entry_point is not None:
        entry_point(data[1:])


def write_corpus(folder: Path) -> None:
    """Write the initial inputs: the vectors, and those of the issuer."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = [
        b"R" + octets(v["target"]) + b"\n" + b", ".join(map(octets, v["authorization"])) for v in load("requests")
    ]
    inputs += [b"K" + octets(v["document"]) for v in load("jwks")]
    documents = (metadata_document(issuer, f"{ISSUER}/keys") for issuer in (ISSUER, "https://another.example"))
    inputs += [b"M" + json.dumps(document).encode() for document in documents]
    inputs += [b"S" + part for part in _signed_parts()]
    inputs += [b"L" + part for part in _list_parts()]
    inputs += issuer_entry_points.corpus()
    for number, data in enumerate(inputs):
        (folder / f"vector-{number:04}").write_bytes(data)


def _signed_parts() -> list[bytes]:
    parts = []
    for name in ("03-header", "08-claims", "14-permission"):
        for vector in load(name):
            segments = octets(vector["token"]).split(b".")
            if len(segments) == 3:
                header, payload = (_decoded(segment) for segment in segments[:2])
                parts.append((header if name == "03-header" else b"") + b"\n" + payload)
    return parts


def _list_parts() -> list[bytes]:
    tokens = [octets(vector["token"]).split(b".") for vector in load("status-lists")]
    return [b"\n" + _decoded(segments[1]) for segments in tokens if len(segments) == 3]


def _decoded(segment: bytes) -> bytes:
    return urlsafe_b64decode(segment + b"==")
