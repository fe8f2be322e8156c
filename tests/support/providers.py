"""Reads `tests/vectors/providers/` and signs the tokens in it like their provider."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from shared.jwks import to_jwk
from tests.support.token_forge import b64url

FOLDER: Final = Path(__file__).parent.parent / "vectors" / "providers"
NOW: Final = 1_800_000_010
Json = dict[str, Any]


def load(name: str) -> Json:
    """Return one provider's vectors."""
    vectors: Json = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return vectors


NAMES: Final = sorted(path.stem for path in FOLDER.glob("*.json"))


def cases() -> Iterator[tuple[Json, Json]]:
    """Yield every accepted and rejected token, each with the file that it is from."""
    for name in NAMES:
        provider = load(name)
        for case in [*provider["accepted"], *provider["rejected"]]:
            yield provider, case


def parts(provider: Json, case: Json) -> tuple[Json, Json]:
    """Return the header and the claims of a token. A rejected one is described by changes to an accepted one."""
    base: Json = next((other for other in provider["accepted"] if other["id"] == case.get("like")), {})
    header = {**base.get("header", {}), **case.get("header", {})}
    claims = {**base.get("claims", {}), **case.get("claims", {})}
    return (
        {name: value for name, value in header.items() if name not in case.get("without_header", [])},
        {name: value for name, value in claims.items() if name not in case.get("without", [])},
    )


@dataclass(frozen=True)
class SigningKey:
    """A temporary key for one JWS algorithm."""

    algorithm: str
    key: Any
    kid: str

    def jwk(self, **changes: Any) -> Json:
        """Return the public JWK. A change to `...` leaves the member out."""
        jwk = {**_public_members(self.key), "kid": self.kid, "use": "sig", "alg": self.algorithm, **changes}
        return {name: value for name, value in jwk.items() if value is not ...}

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> bytes:
        """Return a compact JWS."""
        head = {"alg": self.algorithm, "kid": self.kid, **header}
        data = b64url(json.dumps(head).encode()) + b"." + b64url(json.dumps(claims).encode())
        return data + b"." + b64url(self.signature(data))

    def signature(self, data: bytes) -> bytes:
        """Return the signature in the form of RFC 7518."""
        match self.algorithm:
            case "RS256":
                return bytes(self.key.sign(data, padding.PKCS1v15(), SHA256()))
            case "PS256":
                pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
                return bytes(self.key.sign(data, pss, SHA256()))
            case "ES256" | "ES384":
                size = (self.key.key_size + 7) // 8
                hashed = SHA256() if self.algorithm == "ES256" else SHA384()
                r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashed)))
                return bytes(r.to_bytes(size, "big") + s.to_bytes(size, "big"))
            case _:
                return bytes(self.key.sign(data))


@cache
def signing_key(algorithm: str, kid: str = "key-1") -> SigningKey:
    """Return a key of this process for the algorithm; the same for the same `kid`."""
    match algorithm:
        case "RS256" | "PS256":
            key: Any = rsa.generate_private_key(65537, 2048)
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            key = ec.generate_private_key(ec.SECP384R1())
        case _:
            key = ed25519.Ed25519PrivateKey.generate()
    return SigningKey(algorithm, key, kid)


def _public_members(key: Any) -> Json:
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return {name: to_jwk(public)[name] for name in ("kty", "n", "e")}
    if isinstance(public, ec.EllipticCurvePublicKey):
        numbers, size = public.public_numbers(), (public.key_size + 7) // 8
        x, y = (b64url(value.to_bytes(size, "big")).decode() for value in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": f"P-{public.key_size}", "x": x, "y": y}
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url(public.public_bytes_raw()).decode()}
