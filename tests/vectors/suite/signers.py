"""Every way in which a signature of the vectors was made, valid and invalid: functions of the signed octets.

All are deterministic, so the signer of a signature is found by trying all, and then signs a changed token.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.vector_keys import GOOD, PRIVATE, rsa_key

Sign = Callable[[bytes], bytes]

_SIZE: Final = 256
_DIGEST_INFO: Final = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha256-without-null": bytes.fromhex("302f300b06096086480165030402010420"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


def signer_of(signed: bytes, signature: bytes) -> Sign | None:
    """Return the function that made `signature` of `signed`; None if none did."""
    return next((sign for sign in _all() if sign(signed) == signature), None) if signature else None


@cache
def _all() -> tuple[Sign, ...]:
    """Return all signers, the one of nearly all vectors first."""
    return (
        _pkcs1("issuer"),
        *_rsa(),
        *_symmetric(),
        *_curves(),
        *_broken_signatures(),
        *_broken_blocks(),
        _cube_root,
    )


def _pkcs1(key: str, algorithm: HashAlgorithm | None = None) -> Sign:
    return lambda signed: rsa(key).sign(signed, padding.PKCS1v15(), algorithm or SHA256())


def _pss(key: str) -> Sign:
    return lambda signed: rsa(key).sign(signed, padding.PSS(padding.MGF1(SHA256()), 0), SHA256())


rsa = cache(rsa_key)


def _rsa() -> Iterator[Sign]:
    for name in (name for name, key in PRIVATE.items() if key["kty"] == "RSA"):
        yield _pkcs1(name)
        yield _pss(name)
    yield from (_pkcs1("issuer", algorithm) for algorithm in (SHA384(), SHA512(), SHA1()))


def _symmetric() -> Iterator[Sign]:
    """Yield HMACs whose secret is a spelling of the public key."""
    public = GOOD.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = json.loads(GOOD.jwks)["keys"][0]
    secrets = (
        pem,
        pem.strip(),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        json.dumps(jwk).encode(),
        GOOD.jwks,
        urlsafe_b64decode(jwk["n"] + "=="),
        jwk["n"].encode(),
        b"",
    )
    for secret in secrets:
        yield lambda signed, secret=secret: hmac.digest(secret, signed, "sha256")  # type: ignore[misc]  # mypy cannot infer a default argument of a lambda


def _curves() -> Iterator[Sign]:
    yield _es256
    ed25519 = Ed25519PrivateKey.from_private_bytes(urlsafe_b64decode(PRIVATE["ed25519"]["d"] + "=="))
    yield ed25519.sign


def _es256(signed: bytes) -> bytes:
    secret = int.from_bytes(urlsafe_b64decode(PRIVATE["p-256"]["d"] + "=="), "big")
    key = ec.derive_private_key(secret, ec.SECP256R1())
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _broken_signatures() -> Iterator[Sign]:
    """Yield valid signatures in other encodings."""
    good, modulus = _pkcs1("issuer"), rsa("issuer").public_key().public_numbers().n

    def number(signed: bytes) -> int:
        return int.from_bytes(good(signed), "big")

    yield lambda signed: (modulus - number(signed)).to_bytes(_SIZE, "big")
    yield lambda signed: (modulus + number(signed)).to_bytes(_SIZE + 1, "big")
    yield lambda signed: good(signed)[:-1]
    yield lambda signed: good(signed) + b"\0"
    yield lambda signed: b"\0" + good(signed)
    yield lambda signed: good(signed) * 2
    yield lambda signed: good(signed)[::-1]
    yield lambda signed: good(signed.split(b".")[1])


def _broken_blocks() -> Iterator[Sign]:
    """Yield RSA signatures of blocks that only a lax verifier accepts as those of RFC 8017 §9.2."""

    def block(name: str, digest: Callable[[bytes], bytes], **shape: int) -> Sign:
        info = _DIGEST_INFO.get(name, b"")
        return lambda signed: _raw(info + digest(signed), **shape)

    yield block("", _sha256)
    yield block("sha256-without-null", _sha256)
    yield block("sha1", lambda signed: _sha256(signed)[:20])
    yield block("sha512", lambda signed: hashlib.sha512(signed).digest())
    yield block("sha256", lambda signed: _sha256(signed) + b"garbage", room=40)
    yield block("sha256", _sha256, kind=2)
    yield block("sha256", _sha256, room=8)


def _sha256(signed: bytes) -> bytes:
    return hashlib.sha256(signed).digest()


def _raw(content: bytes, kind: int = 1, room: int | None = None) -> bytes:
    """Return an RSA signature of a custom block with `room` octets of padding."""
    padding_octets = _SIZE - 3 - len(content) if room is None else room
    block = (bytes([0, kind]) + b"\xff" * padding_octets + b"\0" + content).ljust(_SIZE, b"\0")
    message, numbers = int.from_bytes(block, "big"), rsa("issuer").private_numbers()
    # By the Chinese remainder theorem (RFC 8017 §5.1.2), four times as fast as with the private exponent.
    first, second = pow(message, numbers.dmp1, numbers.p), pow(message, numbers.dmq1, numbers.q)
    signature = second + numbers.q * ((first - second) * numbers.iqmp % numbers.p)
    return signature.to_bytes(_SIZE, "big")


def _cube_root(signed: bytes) -> bytes:
    """Return a signature without a key for exponent 3, valid if the end of the padding is not checked (2006)."""
    start = b"\0\x01" + b"\xff" * 8 + b"\0" + _DIGEST_INFO["sha256"] + _sha256(signed)
    target = int.from_bytes(start.ljust(_SIZE, b"\0"), "big")
    low, high = 0, 1 << 700
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= target else (low, middle - 1)
    return (low + 1).to_bytes(_SIZE, "big")
