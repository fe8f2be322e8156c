"""The strict parser of a compact JWS (RFC 7515), for every signed token that issuer and verifier receive.

It parses form and header, and verifies the signature with the caller's key. It does not check claims.
"""

from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from shared import base64url
from shared.access_token import ALGORITHM, MAX_HEADER_BYTES
from shared.signatures import PublicKeyMaterial, is_signed
from shared.strict_json import StrictJsonError, parse_object

# RFC 7515 and RFC 7516 header parameters that change what is signed, how it is parsed, or which key is used.
FORBIDDEN_HEADER_PARAMETERS: Final = frozenset(
    {"crit", "b64", "zip", "enc", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c", "cty"}
    | {"jwk", "jku", "x5u", "x5c"}
)


class JwsFault(StrEnum):
    """Faults of a JWS. The value is the label in metrics and logs."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    INVALID_HEADER = "invalid_header"


class JoseHeader(NamedTuple):
    """A JOSE header.

    Attributes:
        algorithm: `alg`, empty if there is none.
        type: `typ` as `normalise_type` returns it, empty if there is none.
        kid: empty if there is none.
        members: the names of all members, including unknown ones.
    """

    algorithm: str
    type: str
    kid: str
    members: frozenset[str]


class CompactJws(NamedTuple):
    """A JWS. Its signature is not verified."""

    header: JoseHeader
    payload: bytes
    signature: bytes
    signing_input: bytes

    def is_signed_by(self, key: PublicKeyMaterial, algorithm: str = ALGORITHM) -> bool:
        """Return whether `key` signed this by `algorithm`, which must be one of the key's. `alg` is ignored."""
        return is_signed(algorithm, key, self.signature, self.signing_input)


def read_compact(token: bytes, max_bytes: int) -> CompactJws | JwsFault:
    """Parse the compact serialization (RFC 7515 §3.1), bounded and canonical, with a header of strict JSON.

    Args:
        token: any bytes.
        max_bytes: of the whole token; the encoded header may have `MAX_HEADER_BYTES`.
    """
    if len(token) > max_bytes or token.find(b".") > MAX_HEADER_BYTES:
        return JwsFault.TOO_LARGE
    segments = token.split(b".")
    if len(segments) != 3:  # noqa: PLR2004 - header, payload, signature
        return JwsFault.MALFORMED
    encoded_header, encoded_payload, encoded_signature = segments
    try:
        signature, payload = base64url.decode(encoded_signature), base64url.decode(encoded_payload)
    except ValueError:
        return JwsFault.MALFORMED
    header = _read_header(encoded_header)
    if isinstance(header, JwsFault):
        return header
    return CompactJws(header, payload, signature, token[: -1 - len(encoded_signature)])


@lru_cache(maxsize=256)
def _read_header(encoded: bytes) -> JoseHeader | JwsFault:
    """Parse a header segment (RFC 7515 §4). Cached, since the tokens of an issuer have few different headers."""
    try:
        header = base64url.decode(encoded)
    except ValueError:
        return JwsFault.MALFORMED
    try:
        members = parse_object(header)
    except StrictJsonError:
        return JwsFault.INVALID_HEADER
    values = [members.get(name, "") for name in ("alg", "typ", "kid")]
    if not FORBIDDEN_HEADER_PARAMETERS.isdisjoint(members) or not all(type(value) is str for value in values):
        return JwsFault.INVALID_HEADER
    return JoseHeader(values[0], normalise_type(values[1]), values[2], frozenset(members))


def normalise_type(value: str) -> str:
    """Return a media type as RFC 7515 §4.1.9 compares it: in lower case, without `application/`."""
    return value.lower().removeprefix("application/") if value.isascii() else value
