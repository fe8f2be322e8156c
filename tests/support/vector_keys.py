"""The test keys of `tests/vectors`, and tokens signed with them."""

import json
import zlib
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from shared.jwks import to_jwk
from shared.status_list import pack
from tests.support.token_forge import ISSUER, Forge, b64url

FOLDER: Final = Path(__file__).parent.parent / "vectors"
NOW: Final = 1_800_000_000
"""The time of nearly all vectors, in seconds since the epoch."""
OTHER_ISSUER: Final = "https://other.example"
STATUS_LIST: Final = f"{ISSUER}/status-lists/1"

Json = dict[str, Any]
PRIVATE: Final[dict[str, dict[str, str]]] = json.loads((FOLDER / "private-keys.test-only.json").read_text())["keys"]


def rsa_key(name: str) -> RSAPrivateKey:
    """Return the RSA key of that name in `private-keys.test-only.json`."""
    values = (PRIVATE[name][part] for part in ("n", "e", "d", "p", "q", "dp", "dq", "qi"))
    n, e, d, p, q, dp, dq, qi = (int.from_bytes(urlsafe_b64decode(value + "=="), "big") for value in values)
    return RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n)).private_key()


def public(name: str, **changes: Any) -> Json:
    """Return the public JWK of a key, with other members."""
    if PRIVATE[name]["kty"] == "RSA":
        return {**to_jwk(rsa_key(name).public_key()), **changes}
    return {**{member: value for member, value in PRIVATE[name].items() if member != "d"}, **changes}


GOOD: Final = Forge(ISSUER, rsa_key("issuer"))
OTHER: Final = Forge(OTHER_ISSUER, rsa_key("other"))
UNPUBLISHED: Final = Forge(ISSUER, rsa_key("unpublished-key"))


def listed(*bits: int, issuer: str = ISSUER, **more: Any) -> Json:
    """Return the `status_lists` of a vector: one list of 16 indices in which `bits` are set.

    Not compressed, since another version of zlib may compress to other bytes.
    """
    return {issuer: {STATUS_LIST: {"lst": b64url(zlib.compress(pack(bits, 16), 0)).decode(), **more}}}


def having(**claims: Any) -> bytes:
    """Return the token that every verifier accepts, with other claims."""
    return GOOD.token(NOW, **claims)


def segments(header: bytes, payload: bytes) -> bytes:
    """Return a compact JWS of exactly these two segments, signed."""
    signing_input = header + b"." + payload
    return signing_input + b"." + b64url(GOOD.key.sign(signing_input, PKCS1v15(), SHA256()))


def with_raw(member: str, raw: str) -> bytes:
    """Return a signed token whose payload has `member` with this raw JSON text."""
    claims = json.dumps(GOOD.claims(NOW, **{member: "<raw>"})).replace('"<raw>"', raw)
    return GOOD.sign(json.dumps(GOOD.header()).encode(), claims.encode("utf-8", "surrogatepass"))
