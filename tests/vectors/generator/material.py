"""What the vectors are made of: throw-away keys, the sets and policies that name them, and a pen for tokens."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
)
from cryptography.hazmat.primitives.hashes import SHA256

from shared.jwks import to_jwk
from shared.status_list import encode, pack
from tests.support.token_forge import AUDIENCE, ISSUER, Forge, b64url

FOLDER: Final = Path(__file__).parent.parent
NOW: Final = 1_800_000_000
OTHER_ISSUER: Final = "https://other.example"
STATUS_LIST: Final = f"{ISSUER}/status-lists/1"

Json = dict[str, Any]
PRIVATE: Final[dict[str, dict[str, str]]] = json.loads((FOLDER / "private-keys.test-only.json").read_text())["keys"]


def number(encoded: str) -> int:
    """A Base64urlUInt of RFC 7518 §2."""
    return int.from_bytes(urlsafe_b64decode(encoded + "=="), "big")


def rsa_key(name: str) -> RSAPrivateKey:
    """One of the throw-away keys."""
    n, e, d, p, q, dp, dq, qi = (number(PRIVATE[name][part]) for part in ("n", "e", "d", "p", "q", "dp", "dq", "qi"))
    return RSAPrivateNumbers(p, q, d, dp, dq, qi, RSAPublicNumbers(e, n)).private_key()


def public(name: str, **changes: Any) -> Json:
    """The JWK to publish. A change to `...` leaves the member out."""
    if PRIVATE[name]["kty"] == "RSA":
        jwk: Json = {**to_jwk(rsa_key(name).public_key()), **changes}
    else:
        jwk = {**{member: PRIVATE[name][member] for member in PRIVATE[name] if member != "d"}, **changes}
    return {member: value for member, value in jwk.items() if value is not ...}


GOOD: Final = Forge(ISSUER, rsa_key("issuer"))
OTHER: Final = Forge(OTHER_ISSUER, rsa_key("other"))
STRANGER: Final = Forge(ISSUER, rsa_key("stranger"))
EXPONENT_3: Final = Forge(ISSUER, rsa_key("exponent-3"))

KEY_SETS: Final[dict[str, dict[str, list[Json]]]] = {
    "issuer": {ISSUER: [public("issuer")]},
    "two-issuers": {ISSUER: [public("issuer")], OTHER_ISSUER: [public("other")]},
    "one-kid-for-two-keys": {
        ISSUER: [public("issuer", kid="shared")],
        OTHER_ISSUER: [public("other", kid="shared")],
    },
    "kid-of-its-own": {ISSUER: [public("issuer", kid="shared")]},
    "kid-taken-over": {ISSUER: [public("stranger", kid="shared")]},
    "one-key-for-two-issuers": {ISSUER: [public("issuer")], OTHER_ISSUER: [public("issuer")]},
    "other-issuer-alone": {OTHER_ISSUER: [public("other")]},
    "rotated": {ISSUER: [public("stranger")]},
    "rotating": {ISSUER: [public("issuer"), public("stranger")]},
    "mixed": {
        ISSUER: [
            public("issuer"),
            public("p-256", kid="es256", alg="ES256", use="sig"),
            public("ed25519", kid="eddsa", alg="EdDSA", use="sig"),
            public("other", kid="ps256", alg="PS256"),
            public("stranger", kid="rs384", alg="RS384"),
            public("stranger", kid="encryption", use="enc"),
            public("stranger", kid="no-alg", alg=..., use=...),
        ]
    },
    "short": {ISSUER: [public("issuer"), public("short-1024", kid="1024"), public("short-2047", kid="2047")]},
    "exponent-3": {ISSUER: [public("exponent-3")]},
    "none": {},
}
"""Name → issuer → the keys of its JWK Set."""

POLICIES: Final[dict[str, Json]] = {
    "default": {},
    "two-issuers": {"issuers": [ISSUER, OTHER_ISSUER]},
    "other": {"issuers": [OTHER_ISSUER]},
    "other-audience": {"audiences": ["billing"]},
    "two-audiences": {"audiences": ["billing", AUDIENCE]},
    "dotted-audience": {"audiences": ["g.*"]},
    "no-leeway": {"leeway_seconds": 0},
    "fresh": {"max_age_seconds": 60},
    "short-lived": {"max_lifetime_seconds": 600},
    "id-tokens": {"token_types": ["jwt", "kb+jwt"]},
    "all-scopes": {"scopes_all": ["invoices:read", "invoices:write"]},
    "any-scope": {"scopes_any": ["admin", "audit"]},
    "dotted-scope": {"scopes_all": ["pro.*"]},
    "roles": {"roles_any": ["admin", "auditor"]},
    "dotted-role": {"roles_any": ["adm.."]},
    "anonymous": {"anonymous": True},
}
DEFAULTS: Final[Json] = {
    "issuers": [ISSUER],
    "audiences": [AUDIENCE],
    "token_types": ["at+jwt"],
    "scopes_all": [],
    "scopes_any": [],
    "roles_any": [],
    "leeway_seconds": 5,
    "max_lifetime_seconds": 86_400,
    "max_age_seconds": None,
    "anonymous": False,
}


def listed(*bits: int, uri: str = STATUS_LIST, issuer: str = ISSUER, **more: Any) -> Json:
    """What is known of status lists: one of 16 bits, those named are set. Stored, since compressors differ."""
    return {issuer: {uri: {"lst": encode(pack(bits, 16), level=0), **more}}}


def having(**claims: Any) -> bytes:
    """The token that everyone accepts, with other claims."""
    return GOOD.token(NOW, **claims)


@dataclass(frozen=True)
class Attack:
    """What a group of vectors is about, and where it was learnt."""

    name: str
    references: tuple[str, ...] = ()


def text(octets: bytes) -> str:
    """Any octets as a JSON string: one code point each, U+0000 to U+00FF."""
    return octets.decode("latin-1")


def accepted(token: bytes) -> Json:
    """The outcome of a token that passes: the identity it gives, by response header."""
    claims = json.loads(urlsafe_b64decode(token.split(b".")[1] + b"=="))
    return {
        "identity": {
            "X-Auth-Issuer": claims["iss"],
            "X-Auth-Subject": claims["sub"],
            "X-Auth-Client": claims["client_id"],
            "X-Auth-Scope": claims.get("scope", ""),
            "X-Auth-Roles": ",".join(claims.get("roles", [])),
            "X-Auth-Session": claims.get("sid", ""),
            "X-Auth-Token": claims["jti"],
            "X-Auth-Expires": str(int(claims["exp"])),
        }
    }


def vector(identifier: str, attack: Attack, token: bytes, reason: str | None, says: str = "", **more: Any) -> Json:
    """One token and its outcome. `reason` None: it is accepted."""
    return {
        "id": identifier,
        **({"says": says} if says else {}),
        "attack": attack.name,
        "references": list(attack.references),
        "key_sets": "issuer",
        "policy": "default",
        "now": NOW,
        **more,
        "token": text(token),
        "expected": {"reason": reason} if reason else accepted(token),
    }


def segments(header: bytes, payload: bytes, sign: Callable[[bytes], bytes] | None = None) -> bytes:
    """A compact JWS of two segments exactly as given, signed as they stand."""
    signing_input = header + b"." + payload
    signature = sign(signing_input) if sign else GOOD.key.sign(signing_input, PKCS1v15(), SHA256())
    return signing_input + b"." + b64url(signature)


def header_of(forge: Forge = GOOD, **changes: Any) -> bytes:
    """The header segment of a good token, or of one with changes."""
    return b64url(json.dumps(forge.header(**changes)).encode())


def payload_of(forge: Forge = GOOD, **changes: Any) -> bytes:
    """The payload segment of a good token, or of one with changes."""
    return b64url(json.dumps(forge.claims(NOW, **changes)).encode())


def with_raw(member: str, raw: str, **changes: Any) -> bytes:
    """A properly signed token whose payload holds `member` with JSON text that no serializer would write."""
    claims = json.dumps(GOOD.claims(NOW, **{member: "<raw>", **changes}))
    return GOOD.sign(
        json.dumps(GOOD.header()).encode(), claims.replace('"<raw>"', raw).encode("utf-8", "surrogatepass")
    )


def numbered(prefix: str, values: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    """Identifiers for variants that need no name of their own."""
    return ((f"{prefix}-{position}", value) for position, value in enumerate(values, 1))
