"""Reads `tests/vectors/` into the verifier's types, for a real `Authorizer`."""

import json
from collections.abc import Mapping
from math import inf
from typing import Any, Final

from shared.identity_headers import IDENTITY_HEADERS
from shared.jwks import JwksError, parse_jwks
from shared.status_list import decode
from tests.support.vector_keys import FOLDER
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.decision.profile import ClaimRule, Location
from verifier.decision.reasons import RejectionReason
from verifier.decision.status import CurrentStatusList, StatusLists
from verifier.decision.verification import Accepted, Rejected, verify
from verifier.metrics import Metrics
from verifier.policy_file import Configuration
from verifier.subrequest.authorizer import Authorizer
from verifier.subrequest.decision_cache import DecisionCache
from verifier.subrequest.responses import error_response

CHECK_FILES: Final = sorted(path.stem for path in FOLDER.glob("[0-9][0-9]-*.json"))
REALM: Final = "gatepass"

Json = dict[str, Any]


def load(name: str) -> Any:
    """Return one file of vectors, by its name without `.json`."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))


def octets(text: str) -> bytes:
    """Return the octets that a vector writes as code points U+0000 to U+00FF."""
    return text.encode("latin-1")


def _policy(name: str, written: Json) -> Policy:
    values: dict[str, Any] = {
        key: frozenset(value) if isinstance(value, list) and key != "claims" else value
        for key, value in written.items()
    }
    lifetime = values.pop("max_lifetime_seconds")
    values["claims"] = tuple(
        ClaimRule(Location.of(rule["at"]), rule["test"], tuple(rule["values"])) for rule in written.get("claims", [])
    )
    return Policy(name=name, max_lifetime_seconds=dict.fromkeys(values["issuers"], lifetime), **values)


def _key_set(published: Json) -> TrustedKeys:
    usable = {}
    for issuer, document in published.items():
        try:
            usable[issuer] = parse_jwks(json.dumps(document).encode())
        except JwksError:
            continue
    return TrustedKeys.from_issuers(usable)


POLICIES: Final[Mapping[str, Policy]] = {name: _policy(name, written) for name, written in load("policies").items()}
KEY_SETS: Final[Mapping[str, TrustedKeys]] = {
    name: _key_set(published) for name, published in load("key-sets").items()
}
TOKEN_VECTORS: Final[list[Json]] = [
    {**vector, "id": f"{name}/{vector['id']}", "file": name} for name in CHECK_FILES for vector in load(name)
]


def status_lists(written: Json) -> StatusLists:
    """Return the `status_lists` of a vector."""
    return StatusLists(
        {
            issuer: {
                uri: CurrentStatusList(decode(entry["lst"]), 1, entry.get("counts_until", inf))
                for uri, entry in of_issuer.items()
            }
            for issuer, of_issuer in written.items()
        }
    )


def decide(vector: Json) -> Accepted | Rejected:
    """Return the decision about a token vector."""
    return verify(
        octets(vector["token"]),
        keys=KEY_SETS[vector["key_sets"]],
        policy=POLICIES[vector["policy"]],
        now=vector["now"],
        revocations=status_lists(vector.get("status_lists", {})),
    )


def identity(response: bytes) -> dict[str, str]:
    """Return the identity headers of a response."""
    fields = fields_of(response)
    return {name: fields[name] for name in IDENTITY_HEADERS if name in fields}


def fields_of(response: bytes) -> dict[str, str]:
    """Return the header fields of an HTTP/1.1 response without a body; AssertionError if one is repeated."""
    head, end, body = response.partition(b"\r\n\r\n")
    assert (end, body) == (b"\r\n\r\n", b"")
    lines = [line.split(": ", 1) for line in head.decode("ascii").split("\r\n")[1:]]
    fields = {line[0]: line[1] for line in lines}
    assert len(fields) == len(lines)
    return fields


def status_of(response: bytes) -> int:
    """Return the status code of a response."""
    version, code, _ = response.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(code)


class Bench:
    """A real authorizer with the clock, keys and revocations of a test, whose reasons can be read."""

    def __init__(
        self,
        policies: Mapping[str, Policy] = POLICIES,
        *,
        keys: TrustedKeys = KEY_SETS["issuer"],
        now: float = 0,
        cached: bool = True,
        cache: DecisionCache | None = None,
    ) -> None:
        self.now = now
        self.issuers_of_unknown_keys: list[str] = []
        self.unknown_lists = 0
        self.metrics = Metrics()
        self.cache = DecisionCache(1000 if cached else 0, 2**20) if cache is None else cache
        self.authorizer = Authorizer(
            Configuration(policies, {}),
            realm=REALM,
            metrics=self.metrics,
            cache=self.cache,
            clock=lambda: self.now,
            request_key_refresh=self.issuers_of_unknown_keys.append,
            request_status_refresh=self._count_unknown_list,
        )
        self.authorizer.replace_keys(keys)

    def follow(self, written: Json) -> None:
        """Replace the status lists by those of a vector."""
        self.authorizer.replace_status_lists(status_lists(written))

    @property
    def unknown_keys(self) -> int:
        """Return how often keys were requested."""
        return len(self.issuers_of_unknown_keys)

    def _count_unknown_list(self) -> None:
        self.unknown_lists += 1

    def decisions(self) -> dict[tuple[str, ...], float]:
        """Return the number of decisions by policy, outcome and reason."""
        # `collect` copies all 600 samples, twice for each vector.
        counters: dict[tuple[str, ...], Any] = vars(self.metrics.decisions)["_metrics"]
        return {labels: value for labels, counter in counters.items() if (value := counter._value.get())}

    def authorize(self, target: bytes, authorization: bytes | None) -> tuple[bytes, str | None]:
        """Return the response and the reason that was counted for it, None if the request was accepted."""
        before = self.decisions()
        response = self.authorizer.authorize(target, authorization)
        counted = [labels for labels, value in self.decisions().items() if value != before.get(labels, 0)]
        assert len(counted) == 1
        ((_, outcome, reason),) = counted
        return response, None if outcome == "allowed" else reason


def authorization_of(vector: Json) -> bytes | None:
    """Return the `Authorization` fields of a request, joined as RFC 9110 §5.3 requires."""
    return b", ".join(octets(value) for value in vector["authorization"]) if vector["authorization"] else None


def ready_response(reason: str, target: bytes) -> bytes:
    """Return the error response of the policy of `target`."""
    name = target.partition(b"?")[0].split(b"/")[2:3] or [b"default"]
    return error_response(RejectionReason(reason), POLICIES.get(name[0].decode("latin-1")), REALM)
