"""`python -m loadtests.bench.algorithms`: the processor time of one decision in process, cached and by algorithm.

Each round measures all algorithms in turn, so that a busy machine slows all of them alike. HTTP is not included:
`make bench` measures it, with RS256.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key

from loadtests.bench.fixtures import AUDIENCE, ISSUER, claims
from shared.access_token import MIN_KEY_BITS, TOKEN_TYPE
from shared.command_line import add_version
from shared.jwks import JwkSet, PublicKey
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.metrics import Metrics
from verifier.policy_file import Configuration
from verifier.profile_file import read_profile
from verifier.subrequest.authorizer import Authorizer
from verifier.subrequest.decision_cache import DecisionCache

_NEW_KEY: Final[dict[str, Callable[[], Any]]] = {
    "RS256": partial(generate_rsa_key, 65537, MIN_KEY_BITS),
    "PS256": partial(generate_rsa_key, 65537, MIN_KEY_BITS),
    "ES256": partial(generate_ec_key, SECP256R1()),
    "ES384": partial(generate_ec_key, SECP384R1()),
    "EdDSA": Ed25519PrivateKey.generate,
}


def main() -> int:
    """Measure and print; exit with 1 if a decision was wrong."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.algorithms", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=400, help="new tokens of each algorithm and round")
    add_version(parser)
    arguments = parser.parse_args()
    cases = {name: _Case(name, arguments.tokens) for name in _NEW_KEY}
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
        private = _NEW_KEY[algorithm]()
        profile = read_profile({"algorithms": [algorithm]})
        policy = Policy("default", frozenset({ISSUER}), frozenset({AUDIENCE}), profiles={ISSUER: profile})
        self._configuration = Configuration({"default": policy}, {})
        cache = DecisionCache(10 * tokens, 2**28)
        self._authorizer = Authorizer(self._configuration, realm="r", metrics=Metrics(), cache=cache)
        key = PublicKey("k", private.public_key(), frozenset({algorithm}))
        self._authorizer.replace_keys(TrustedKeys.from_issuers({ISSUER: JwkSet({"k": key}, {})}))
        header = {"kid": "k", "typ": TOKEN_TYPE}
        self._tokens = [b"Bearer " + jwt.encode(claims(), private, algorithm, header).encode() for _ in range(tokens)]

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


if __name__ == "__main__":
    sys.exit(main())
