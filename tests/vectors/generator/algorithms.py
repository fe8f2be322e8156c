"""Vectors of checks 4 to 6: by what algorithm, for what purpose, under which key."""

import hmac
import json
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.token_forge import Forge
from tests.vectors.generator.material import (
    GOOD,
    NOW,
    OTHER,
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

NONE: Final = Attack("algorithm-none", ("CVE-2015-9235", "CVE-2026-28802", "RFC 8725 §2.1"))
CONFUSION: Final = Attack("algorithm-confusion", ("CVE-2022-29217", "CVE-2024-33663", "CVE-2026-48526"))
KEY_MISMATCH: Final = Attack("key-of-another-algorithm", ("CVE-2026-48523", "RFC 8725 §3.1"))
DEGENERATE: Final = Attack("degenerate-ecdsa", ("CVE-2022-21449",))
CROSS_JWT: Final = Attack("cross-jwt-confusion", ("RFC 8725 §2.8", "RFC 8725 §3.11", "RFC 9068 §4"))
KID: Final = Attack("kid-injection", ("CVE-2026-48524", "RFC 8725 §3.10"))
KEY_HYGIENE: Final = Attack("key-set-hygiene", ("RFC 7518 §3.3", "RFC 7518 §6.3", "RFC 8725 §3.5"))
OUTAGE: Final = Attack("outage", ("CVE-2026-31837",))
FORGED: Final = Attack("forged-signature", ("RFC 7515 §5.2",))
ISSUER_KEYS: Final = Attack("issuer-confusion", ("RFC 9068 §4", "RFC 8725 §3.8"))

Sign = Callable[[bytes], bytes]


def algorithm() -> list[Json]:
    """Check 4."""
    none: list[Any] = ["none", "None", "NONE", "nOnE", "", " none"]
    names: list[Any] = ["rs256", "RS256 ", " RS256", "RS256\0", "Rs256", "\uff32\uff33256", "RSA", "RS25", "RS2560"]
    public = GOOD.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secrets = {
        "pem": pem,
        "pem-stripped": pem.strip(),
        "pkcs1-pem": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "ssh": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "jwk": json.dumps(json.loads(GOOD.jwks)["keys"][0]).encode(),
        "jwks": GOOD.jwks,
        "modulus": public.public_numbers().n.to_bytes(256, "big"),
        "modulus-base64url": json.loads(GOOD.jwks)["keys"][0]["n"].encode(),
        "empty": b"",
    }

    def by(name: Any, sign: Sign | None, **changes: Any) -> bytes:
        return segments(header_of(alg=name, **changes), payload_of(), sign)

    refused = "unsupported_algorithm"
    return [
        *(vector(f"none-{n}-unsigned", NONE, by(name, lambda _: b""), refused) for n, name in enumerate(none, 1)),
        *(vector(f"none-{n}-signed", NONE, by(name, None), refused) for n, name in enumerate(none, 1)),
        vector("absent", NONE, by(..., None), refused),
        vector("absent-unsigned", NONE, by(..., lambda _: b""), refused),
        *(vector(f"spelling-{n}", KEY_MISMATCH, by(name, None), refused) for n, name in enumerate(names, 1)),
        *(vector(f"hs256-{n}", CONFUSION, by("HS256", _hmac(secret)), refused) for n, secret in secrets.items()),
        *(vector(f"{name.lower()}-pem", CONFUSION, by(name, _hmac(pem)), refused) for name in ("HS384", "HS512")),
        *(
            vector(name.lower(), KEY_MISMATCH, by(name, pkcs1(GOOD, algorithm)), refused)
            for name, algorithm in (("RS384", SHA384()), ("RS512", SHA512()), ("RS1", SHA1()))
        ),
        vector("ps256", KEY_MISMATCH, by("PS256", pss(GOOD)), refused),
        vector("ps256-by-its-key", KEY_MISMATCH, by("PS256", pss(OTHER), kid="ps256"), refused, key_sets="mixed"),
        vector("es256-by-its-key", KEY_MISMATCH, by("ES256", _es256, kid="es256"), refused, key_sets="mixed"),
        vector("eddsa-by-its-key", KEY_MISMATCH, by("EdDSA", _eddsa, kid="eddsa"), refused, key_sets="mixed"),
        vector("es256-zero", DEGENERATE, by("ES256", lambda _: bytes(64), kid="es256"), refused, key_sets="mixed"),
        vector("es256-zero-by-rsa-kid", DEGENERATE, by("ES256", lambda _: bytes(64)), refused),
    ]


def type_() -> list[Json]:
    """Check 5."""
    good = ["application/at+jwt", "AT+JWT", "At+Jwt", "APPLICATION/AT+JWT", "Application/at+JWT"]
    bad: list[Any] = [
        "JWT",
        "jwt",
        "application/jwt",
        "id_token",
        "statuslist+jwt",
        "secevent+jwt",
        "logout+jwt",
        "dpop+jwt",
    ]
    bad += [
        "",
        " at+jwt",
        "at+jwt ",
        "at+jwt;v=1",
        "text/at+jwt",
        "application/application/at+jwt",
        "application/",
        "at jwt",
    ]
    bad += [
        "at+jwt\0",
        "at+jwt,jwt",
        "application /at+jwt",
        "at+\u017fwt",
        "at+j\u1d21t",
        "\u212aat+jwt",
        "\uff41t+jwt",
        "at\u200b+jwt",
    ]
    return [
        *(
            vector(f"accepted-{n}", CONFORMANCE, GOOD.token(NOW, {"typ": value}), None)
            for n, value in enumerate(good, 1)
        ),
        *(
            vector(f"refused-{n}", CROSS_JWT, GOOD.token(NOW, {"typ": value}), "wrong_type")
            for n, value in enumerate(bad, 1)
        ),
        vector("absent", CROSS_JWT, GOOD.token(NOW, {"typ": ...}), "wrong_type"),
        vector("other-policy", CONFORMANCE, GOOD.token(NOW, {"typ": "JWT"}), None, policy="id-tokens"),
        vector("other-policy-at+jwt", CROSS_JWT, GOOD.token(NOW), "wrong_type", policy="id-tokens"),
        vector("other-policy-absent", CROSS_JWT, GOOD.token(NOW, {"typ": ...}), "wrong_type", policy="id-tokens"),
        vector("other-policy-k", CONFORMANCE, GOOD.token(NOW, {"typ": "KB+JWT"}), None, policy="id-tokens"),
        vector("kelvin-sign", CROSS_JWT, GOOD.token(NOW, {"typ": "\u212aB+JWT"}), "wrong_type", policy="id-tokens"),
    ]


def key() -> list[Json]:
    """Check 6."""
    kids: list[Any] = [
        ...,
        "",
        " ",
        GOOD.kid + " ",
        GOOD.kid[:-1],
        GOOD.kid.swapcase(),
        GOOD.kid + "\0",
        "x\0" + GOOD.kid,
    ]
    kids += [
        "../../../../dev/null",
        "/etc/passwd",
        "x' UNION SELECT 'key",
        "a\r\nX-Admin: 1",
        "http://169.254.169.254/",
    ]
    kids += ["x" * 600, "\uff10", "\u212a", "keys/0", "*", "__proto__"]
    unusable = ("es256", "eddsa", "ps256", "rs384", "encryption")
    return [
        *(vector(f"kid-{n}", KID, GOOD.token(NOW, {"kid": kid}), "unknown_key") for n, kid in enumerate(kids, 1)),
        vector("stranger", FORGED, STRANGER.token(NOW), "unknown_key"),
        vector("key-without-alg", CONFORMANCE, STRANGER.token(NOW, {"kid": "no-alg"}), None, key_sets="mixed"),
        *(
            vector(
                f"unusable-{kid}", KEY_MISMATCH, STRANGER.token(NOW, {"kid": kid}), "unknown_key", key_sets="mixed"
            )
            for kid in unusable
        ),
        *(
            vector(f"bits-{bits}", KEY_HYGIENE, short.token(NOW, {"kid": bits}), "unknown_key", key_sets="short")
            for bits in ("1024", "2047")
            for short in [Forge(key=rsa_key(f"short-{bits}"))]
        ),
        vector("rotating-old", CONFORMANCE, GOOD.token(NOW), None, key_sets="rotating"),
        vector("rotating-new", CONFORMANCE, STRANGER.token(NOW), None, key_sets="rotating"),
        vector("rotated", FORGED, GOOD.token(NOW), "unknown_key", key_sets="rotated"),
        vector(
            "no-keys", OUTAGE, GOOD.token(NOW), "keys_unavailable", "our trouble, not the client's", key_sets="none"
        ),
        vector("no-keys-of-this-issuer", OUTAGE, GOOD.token(NOW), "keys_unavailable", key_sets="other-issuer-alone"),
        vector("no-keys-of-one-issuer", OUTAGE, OTHER.token(NOW), "keys_unavailable", policy="two-issuers"),
        vector("keys-of-the-other-issuer", OUTAGE, GOOD.token(NOW), None, policy="two-issuers"),
        vector(
            "no-keys-bad-algorithm",
            OUTAGE,
            GOOD.token(NOW, {"alg": "none"}),
            "unsupported_algorithm",
            key_sets="none",
        ),
    ]


def _hmac(secret: bytes) -> Sign:
    return lambda message: hmac.digest(secret, message, "sha256")


def pkcs1(forge: Forge, algorithm: HashAlgorithm | None = None) -> Sign:
    return lambda message: forge.key.sign(message, padding.PKCS1v15(), algorithm or SHA256())


def pss(forge: Forge) -> Sign:
    return lambda message: forge.key.sign(message, padding.PSS(padding.MGF1(SHA256()), 0), SHA256())


def _es256(message: bytes) -> bytes:
    key = ec.derive_private_key(number(PRIVATE["p-256"]["d"]), ec.SECP256R1())
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _eddsa(message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(number(PRIVATE["ed25519"]["d"]).to_bytes(32, "big")).sign(message)
