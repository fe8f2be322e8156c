"""`python -m loadtests.bench.algorithms`: the processor time of one decision in process, cached and by algorithm.

Each round measures all algorithms in turn, so that a busy machine slows all of them alike. HTTP is not included:
the other benchmark measures it, with RS256.
"""

import argparse
import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from shared.base64url import encode
from shared.command_line import add_version
from shared.jwks import JwkSet, PublicKey
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.metrics import Metrics
from verifier.policy_file import Configuration
from verifier.profile_file import read_profile
from verifier.subrequest.authorizer import Authorizer
from verifier.subrequest.decision_cache import DecisionCache

ISSUER: Final = "https://issuer.gatepass.example"
AUDIENCE: Final = "gatepass"
Sign = Callable[[bytes], bytes]


def main() -> int:
    """Measure and print; exit with 1 if a decision was wrong."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.algorithms", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=400, help="new tokens of each algorithm and round")
    add_version(parser)
    arguments = parser.parse_args()
    cases = {name: _Case(name, arguments.tokens) for name in ("RS256", "PS256", "ES256", "ES384", "EdDSA")}
    seconds: dict[str, list[float]] = {name: [] for name in ["cached", *cases]}
    for _ in range(arguments.rounds):
        for name, case in cases.items():
            seconds[name].append(case.new_tokens())
        seconds["cached"].append(cases["RS256"].cached())
    reference = statistics.median(seconds["RS256"])
    for name, values in seconds.items():
        median = statistics.median(values)
        sys.stdout.write(f"{name:7} {median * 1e6:7.1f} µs   {median / reference:5.2f} of a new RS256 token\n")
    return 0


class _Case:
    """An authorizer with one key, and tokens that it accepts."""

    def __init__(self, algorithm: str, tokens: int) -> None:
        sign, material = _key(algorithm)
        profile = read_profile({"algorithms": [algorithm]})
        policy = Policy("default", frozenset({ISSUER}), frozenset({AUDIENCE}), profiles={ISSUER: profile})
        self._configuration = Configuration({"default": policy}, {})
        cache = DecisionCache(10 * tokens, 2**28)
        self._authorizer = Authorizer(self._configuration, realm="r", metrics=Metrics(), cache=cache)
        key = PublicKey("k", material, frozenset({algorithm}))
        self._authorizer.replace_keys(TrustedKeys.from_issuers({ISSUER: JwkSet({"k": key}, {})}))
        self._tokens = [b"Bearer " + _token(algorithm, sign) for _ in range(tokens)]

    def new_tokens(self) -> float:
        """Return the seconds of processor time of one decision about a token that is not cached."""
        self._authorizer.replace_configuration(self._configuration)
        return self._measure()

    def cached(self) -> float:
        """Return the seconds of processor time of one cached decision."""
        return min(self._measure() for _ in range(5))

    def _measure(self) -> float:
        authorize, started = self._authorizer.authorize, time.process_time()
        for credentials in self._tokens:
            if not authorize(b"/verify", credentials).startswith(b"HTTP/1.1 200"):
                sys.exit("a valid token was rejected: no result")
        return (time.process_time() - started) / len(self._tokens)


def _token(algorithm: str, sign: Sign) -> bytes:
    now = int(time.time())
    claims: Mapping[str, Any] = {
        "iss": ISSUER,
        "sub": str(uuid.uuid4()),
        "aud": AUDIENCE,
        "exp": now + 3600,
        "iat": now,
        "jti": str(uuid.uuid4()),
        "client_id": "gatepass",
        "scope": "profile",
        "auth_time": now,
        "sid": str(uuid.uuid4()),
    }
    header = {"alg": algorithm, "kid": "k", "typ": "at+jwt"}
    data = ".".join(encode(json.dumps(part).encode()) for part in (header, claims)).encode()
    return data + b"." + encode(sign(data)).encode()


def _key(algorithm: str) -> tuple[Sign, Any]:
    """Return the function that signs, and the public key."""
    if algorithm in ("RS256", "PS256"):
        private = rsa.generate_private_key(65537, 2048)
        pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
        scheme = padding.PKCS1v15() if algorithm == "RS256" else pss
        return lambda data: private.sign(data, scheme, SHA256()), private.public_key()
    if algorithm == "EdDSA":
        edwards = ed25519.Ed25519PrivateKey.generate()
        return edwards.sign, edwards.public_key()
    curve = ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1())
    hashed, size = (SHA256(), 32) if algorithm == "ES256" else (SHA384(), 48)

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(curve.sign(data, ec.ECDSA(hashed)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign, curve.public_key()


if __name__ == "__main__":
    sys.exit(main())
