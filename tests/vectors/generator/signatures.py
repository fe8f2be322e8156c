"""Vectors of check 7: whose signature it is, to the last bit."""

import hashlib
from base64 import urlsafe_b64encode
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1, SHA512

from tests.support.token_forge import Forge, b64url
from tests.vectors.generator.algorithms import FORGED, ISSUER_KEYS, KEY_HYGIENE, pkcs1, pss
from tests.vectors.generator.material import (
    EXPONENT_3,
    GOOD,
    NOW,
    PRIVATE,
    STRANGER,
    Attack,
    Json,
    header_of,
    number,
    payload_of,
    rsa_key,
    segments,
    vector,
)
from tests.vectors.generator.reading import CONFORMANCE

RSA: Final = Attack("rsa-signature-parsing", ("CVE-2006-4339", "RFC 8017 §8.2.2"))
_DIGEST_INFO: Final = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha256-no-null": bytes.fromhex("302f300b0609608648016503040201 0420"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


def signature() -> list[Json]:
    """Check 7."""
    header, payload, _ = GOOD.token(NOW).split(b".")
    signing_input = header + b"." + payload
    n = number(PRIVATE["issuer"]["n"])
    good = int.from_bytes(pkcs1(GOOD)(signing_input), "big")
    fixed: dict[str, bytes] = {
        "zero": bytes(256),
        "one": (1).to_bytes(256, "big"),
        "ones": b"\xff" * 256,
        "modulus": n.to_bytes(256, "big"),
        "modulus-minus-one": (n - 1).to_bytes(256, "big"),
        "negated": (n - good).to_bytes(256, "big"),
        "plus-modulus": (good + n).to_bytes(257, "big"),
        "truncated": good.to_bytes(256, "big")[:-1],
        "extended": good.to_bytes(256, "big") + b"\0",
        "leading-zero-added": bytes(1) + good.to_bytes(256, "big"),
        "twice": good.to_bytes(256, "big") * 2,
        "one-byte": b"\x01",
        "reversed": good.to_bytes(256, "big")[::-1],
        "of-another-token": pkcs1(GOOD)(b"x"),
        "of-the-payload-alone": pkcs1(GOOD)(payload),
        "sha1": pkcs1(GOOD, SHA1())(signing_input),
        "sha512": pkcs1(GOOD, SHA512())(signing_input),
        "pss": pss(GOOD)(signing_input),
        "by-a-stranger": pkcs1(STRANGER)(signing_input),
        "digest-info-missing": _encoded(hashlib.sha256(signing_input).digest()),
        "digest-info-without-null": _encoded(_DIGEST_INFO["sha256-no-null"] + hashlib.sha256(signing_input).digest()),
        "digest-info-of-sha1": _encoded(_DIGEST_INFO["sha1"] + hashlib.sha256(signing_input).digest()[:20]),
        "digest-info-of-sha512": _encoded(_DIGEST_INFO["sha512"] + hashlib.sha512(signing_input).digest()),
        "garbage-after-hash": _encoded(
            _DIGEST_INFO["sha256"] + hashlib.sha256(signing_input).digest() + b"garbage", size=40
        ),
        "block-type-2": _encoded(_DIGEST_INFO["sha256"] + hashlib.sha256(signing_input).digest(), kind=2),
        "short-padding": _encoded(_DIGEST_INFO["sha256"] + hashlib.sha256(signing_input).digest(), size=8),
    }
    leading_zero = _leading_zero()
    edited = segments(header, payload_of(sub="admin")).rsplit(b".", 1)[0]
    cases = {name: signing_input + b"." + b64url(value) for name, value in fixed.items()}
    return [
        vector("leading-zero", CONFORMANCE, leading_zero, None, "the first octet of the signature is zero"),
        vector("leading-zero-stripped", RSA, _without_leading_zero(leading_zero), "bad_signature"),
        *(vector(name, RSA, token, "bad_signature") for name, token in cases.items()),
        vector("payload-changed", FORGED, edited + GOOD.token(NOW)[-343:], "bad_signature"),
        vector(
            "header-changed", FORGED, header_of(pad="x") + b"." + payload + GOOD.token(NOW)[-343:], "bad_signature"
        ),
        vector("stranger-by-our-kid", FORGED, STRANGER.token(NOW, {"kid": GOOD.kid}), "bad_signature"),
        vector("exponent-3", CONFORMANCE, EXPONENT_3.token(NOW), None, key_sets="exponent-3"),
        vector(
            "bleichenbacher-2006",
            RSA,
            _cube_root_forgery(),
            "bad_signature",
            "garbage after the hash",
            key_sets="exponent-3",
        ),
        vector(
            "one-kid-issuer", CONFORMANCE, GOOD.token(NOW, {"kid": "shared"}), None, key_sets="one-kid-for-two-keys"
        ),
        vector(
            "one-kid-stranger",
            ISSUER_KEYS,
            STRANGER.token(NOW, {"kid": "shared"}),
            "bad_signature",
            key_sets="one-kid-for-two-keys",
        ),
        vector("short-key-by-our-kid", KEY_HYGIENE, _short_by_our_kid(), "bad_signature", key_sets="short"),
    ]


def _short_by_our_kid() -> bytes:
    return Forge(key=rsa_key("short-1024")).token(NOW, {"kid": GOOD.kid})


def _encoded(content: bytes, kind: int = 1, size: int | None = None) -> bytes:
    """An RSA signature over a message block of our own making; `size` octets of padding instead of all."""
    room = 256 - 3 - len(content) if size is None else size
    block = bytes([0, kind]) + b"\xff" * room + b"\0" + content
    block += bytes(256 - len(block))
    return pow(int.from_bytes(block, "big"), number(PRIVATE["issuer"]["d"]), number(PRIVATE["issuer"]["n"])).to_bytes(
        256, "big"
    )


def _leading_zero() -> bytes:
    tokens = (GOOD.token(NOW, jti=f"token-{n}") for n in range(10_000))
    return next(
        token
        for token in tokens
        if token.rsplit(b".", 1)[1].startswith(tuple(b"A%c" % c for c in b"ABCDEFGHIJKLMNOP"))
    )


def _without_leading_zero(token: bytes) -> bytes:
    signing_input, signature = token.rsplit(b".", 1)
    octets = number(signature.decode()).to_bytes(255, "big")
    return signing_input + b"." + urlsafe_b64encode(octets).rstrip(b"=")


def _cube_root_forgery() -> bytes:
    """A signature made without the key, which holds where the padding is not checked to its end."""
    signing_input = header_of(EXPONENT_3) + b"." + payload_of(EXPONENT_3, sub="admin")
    start = b"\0\x01" + b"\xff" * 8 + b"\0" + _DIGEST_INFO["sha256"] + hashlib.sha256(signing_input).digest()
    root = _cube_root(int.from_bytes(start + bytes(256 - len(start)), "big")) + 1
    assert pow(root, 3).to_bytes(256, "big").startswith(start)
    return signing_input + b"." + b64url(root.to_bytes(256, "big"))


def _cube_root(value: int) -> int:
    low, high = 0, 1 << 700
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= value else (low, middle - 1)
    return low
