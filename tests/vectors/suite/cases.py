"""Vectors as requests with current times, and the reasons for those that cannot be sent."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.vectors.suite.moving import BASE, Json, move
from tests.vectors.suite.sending import DEFAULT_POLICY, Endpoint, can_be_sent

FOLDER: Final = Path(__file__).parents[1]
FILES: Final = (*sorted(FOLDER.glob("[0-9][0-9]-*.json")), FOLDER / "requests.json", FOLDER / "sequences.json")
UNDECIDABLE: Final = frozenset({"keys_unavailable", "status_unavailable"})
"""Reasons for which 503 is right: the verifier cannot decide."""
TIMES: Final = "12-time"
KEY_SETS: Final[dict[str, Json]] = json.loads((FOLDER / "key-sets.json").read_text())
"""Name → issuer → JWK Set."""
_CHANGES: Final = frozenset({"key_sets", "status_lists", "now"})
_POLICY_NAMES: Final[frozenset[str]] = frozenset(json.loads((FOLDER / "policies.json").read_text()))


class NotSentError(Exception):
    """The endpoint lacks what the vector needs; the message names it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request and the outcome that it must have.

    Attributes:
        identity: the response headers of an accepted request; None for one that must be rejected.
        may_be_undecided: a 5xx is right too.
    """

    target: bytes
    authorization: tuple[bytes, ...]
    identity: dict[str, str] | None
    may_be_undecided: bool


@dataclass(frozen=True, slots=True)
class Case:
    """A vector that applies to an endpoint.

    Attributes:
        check: the file that it comes from.
        vector: as it is written, at its own time.
        timed: its outcome depends on the exact second.
    """

    check: str
    vector: Json
    timed: bool

    @property
    def id(self) -> str:
        """Return its name in the file."""
        return str(self.vector["id"])

    @property
    def severity(self) -> str:
        """Either `must` or `strict`."""
        return str(self.vector["severity"])

    @property
    def source(self) -> str:
        """Return the section that requires its rejection, or an empty string."""
        return str(self.vector.get("source", ""))


@dataclass(frozen=True, slots=True)
class Selection:
    """The vectors that can be sent to an endpoint.

    Attributes:
        key_set: the key set that the endpoint was given, a name in `key-sets.json`.
        paths: the endpoint's paths are those of our contract, so that the vectors about paths apply.
        files: further files of tokens, beside those of this folder.
    """

    endpoint: Endpoint
    key_set: str = "issuer"
    paths: bool = False
    files: tuple[Path, ...] = ()

    def cases(self, not_sent: Callable[[str], None]) -> Iterator[Case]:
        """Yield the vectors that apply, and report why each other one does not."""
        for path in (*FILES, *self.files):
            for vector in json.loads(path.read_text(encoding="utf-8")):
                try:
                    self._ensure_applicable(vector)
                    self.requests(vector)
                except NotSentError as why:
                    not_sent(str(why))
                else:
                    yield Case(path.stem, vector, path.stem == TIMES or vector["now"] != BASE)

    def requests_at(self, case: Case, now: int) -> tuple[Request, ...]:
        """Return the requests of a case whose own time is `now`, in seconds since the epoch."""
        return self.requests(move(case.vector, now - int(case.vector["now"])))

    def requests(self, vector: Json) -> tuple[Request, ...]:
        """Return the requests of a vector.

        Raises:
            NotSentError: one of them cannot be sent to this endpoint.
        """
        return tuple(map(self._request, vector.get("steps", [vector])))

    def _ensure_applicable(self, vector: Json) -> None:
        if vector["key_sets"] != self.key_set:
            raise NotSentError(f"of the key set {vector['key_sets']}")
        if vector["now"] != int(vector["now"]):
            raise NotSentError("needs a clock that can be set to a fraction of a second")
        if vector.get("status_lists"):
            raise NotSentError("needs status lists")
        if any(step.keys() & _CHANGES for step in vector.get("steps", [])):
            raise NotSentError("needs keys, lists or a clock that change between requests")

    def _request(self, step: Json) -> Request:
        if "token" in step:
            values, target = [f"Bearer {step['token']}"], self._target(f"/verify/{step['policy']}")
        else:
            values, target = step["authorization"], self._target(step["target"])
        authorization = tuple(value.encode("latin-1") for value in values)
        if not all(map(can_be_sent, authorization)):
            raise NotSentError("no HTTP field can carry it")
        expected: dict[str, Any] = step["expected"]
        return Request(target, authorization, expected.get("identity"), expected.get("reason") in UNDECIDABLE)

    def _target(self, target: str) -> bytes:
        """Return the endpoint's target for one that is written in our contract's terms."""
        name = DEFAULT_POLICY if target == "/verify" else target.removeprefix("/verify/")
        if name not in _POLICY_NAMES:
            if not self.paths:
                raise NotSentError("about the paths of our own contract")
            return target.encode("latin-1")
        if name != DEFAULT_POLICY and not self.endpoint.has_policies:
            raise NotSentError("of other policies than `default`")
        return self.endpoint.target_of(name)
