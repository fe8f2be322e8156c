"""`make bench-vectors`: wrong decisions of the verifier and its alternatives about the vectors in tests/vectors.

Each is configured as strictly as it can be, and decides by the policy `default`. Exit status: 0 reported, 1 a server
failed, 2 cannot start.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from loadtests import machine
from loadtests.bench.contenders import CONTENDERS, Contender
from loadtests.bench.fixtures import Fixtures
from loadtests.bench.servers import Setup, started
from loadtests.bench.tools import find_tools, select, versions
from loadtests.command import exit_status, say
from loadtests.processes import ROOT, InvalidRunError, ProcessError
from loadtests.tables import table
from shared.command_line import add_version
from tests.support.token_forge import AUDIENCE, ISSUER
from tests.support.vector_keys import rsa_key
from tests.support.vectors import load
from tests.vectors.suite.cases import Selection
from tests.vectors.suite.report import count
from tests.vectors.suite.running import Result, UnfitEndpointError, Verdict, run
from tests.vectors.suite.sending import Endpoint

COMPARED: Final = ("verifier", "envoy", "haproxy", "heimdall", "oathkeeper", "oauth2-proxy")
KEY_SETS: Final = ("issuer", "mixed", "rotating", "rotated", "short", "exponent-3")
"""The key sets of one issuer."""
PEM_KEYS: Final = {"issuer": "issuer", "rotated": "unpublished-key", "exponent-3": "exponent-3"}
"""Key set → its only key, for HAProxy, which takes one key as PEM and no JWK Set."""
_LIFETIME_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decisions of one contender."""

    contender: Contender
    results: tuple[Result, ...]
    notes: tuple[str, ...]

    def wrong_accepts(self, severity: str, check: str = "") -> list[Result]:
        """Return the wrong accepts of one severity, of one check or of all."""
        wrong = [one for one in self.results if one.verdict is Verdict.WRONG_ACCEPT]
        return [one for one in wrong if one.case.severity == severity and check in ("", one.case.check)]

    @property
    def must_reject(self) -> int:
        """Return the number of vectors that a specification demands to reject."""
        return sum(one.case.severity == "must" and one.case.source != "" for one in self.results)

    def is_lacking(self, result: Result) -> bool:
        """Return whether the contender lacks the check that would reject this vector, whatever its configuration."""
        name = f"{result.case.check}/{result.case.id}"
        return any(fnmatchcase(name, pattern) for pattern in self.contender.lacks)


def main() -> int:
    """Send the vectors and report; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.wrong_decisions", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", choices=COMPARED, help="%(choices)s")
    add_version(parser)
    contenders = select(parser.parse_args().only, [one for one in CONTENDERS if one.name in COMPARED])
    cores, tools = machine.choose_cores(), find_tools()
    outcomes = [decide(one, tools, cores.server, ROOT / ".bench" / "vectors") for one in contenders]
    say(to_text(outcomes))
    path = ROOT / ".bench" / "wrong-decisions.json"
    path.write_text(json.dumps(_document(outcomes, versions(tools)), indent=1) + "\n", encoding="utf-8")
    say(str(path))
    return 0


def decide(
    contender: Contender, tools: Mapping[str, str], core: int, folder: Path, key_sets: Sequence[str] = KEY_SETS
) -> Outcome:
    """Start a contender once with each key set, and send it the vectors of that key set.

    Raises:
        ProcessError: it does not start with the key set `issuer`.
        InvalidRunError: it rejects a plain valid token.
    """
    results: list[Result] = []
    notes: list[str] = []
    needs_pem = contender.name == "haproxy"
    for key_set in key_sets:
        if needs_pem and key_set not in PEM_KEYS:
            notes.append(f"{key_set}: it takes one key")
            continue
        say(f"{contender.name}, key set {key_set}")
        directory = folder / f"{contender.name}-{key_set}"
        directory.mkdir(parents=True, exist_ok=True)
        setup = Setup(directory, _fixtures(directory, key_set), tools, core)
        try:
            with started(contender, setup) as served:
                endpoint = Endpoint("127.0.0.1", served.port, contender.path)
                results += run(Selection(endpoint, key_set)).results
        except UnfitEndpointError as error:
            raise InvalidRunError(str(error)) from error
        except ProcessError as error:
            if key_set == "issuer":
                raise
            notes.append(f"{key_set}: it does not start ({str(error).splitlines()[-1][:100]})")
    return Outcome(contender, tuple(results), tuple(notes))


def _fixtures(directory: Path, key_set: str) -> Fixtures:
    """Write the key set as JWK Set and, if it is one key, as PEM."""
    jwks, public_key = directory / "jwks.json", directory / "public.pem"
    jwks.write_text(json.dumps(load("key-sets")[key_set][ISSUER]))
    if key_set in PEM_KEYS:
        key = rsa_key(PEM_KEYS[key_set]).public_key()
        public_key.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return Fixtures(jwks, public_key, jwks, (), {}, {}, ISSUER, AUDIENCE, _LIFETIME_SECONDS)


def to_text(outcomes: Sequence[Outcome]) -> str:
    """Return a table with the decisions of each contender, and one with the wrong accepts of each check."""
    accepts, rejects = ("must", "must, no such check", "strict"), ("must", "strict")
    head = ["", "vectors", "must reject", *(f"wrong accepts, {one}" for one in accepts)]
    head += [*(f"wrong rejects, {one}" for one in rejects), "5xx", "no response"]
    checks = sorted({result.case.check for one in outcomes for result in one.results})
    by_check = [[check, *(str(len(one.wrong_accepts("must", check))) for one in outcomes)] for check in checks]
    lines = [
        table(head, map(_row, outcomes)),
        "must: a specification demands the rejection; no such check: it cannot be configured",
        "",
        table(["wrong accepts, must, by check", *(one.contender.name for one in outcomes)], by_check),
        *(f"{one.contender.name}: key set {note}" for one in outcomes for note in one.notes),
    ]
    return "\n".join(lines)


def _row(one: Outcome) -> list[str]:
    must = one.wrong_accepts("must")
    lacking = sum(map(one.is_lacking, must))
    numbers = (
        len(one.results),
        one.must_reject,
        len(must) - lacking,
        lacking,
        len(one.wrong_accepts("strict")),
        count(one.results, Verdict.WRONG_REJECT, "must"),
        count(one.results, Verdict.WRONG_REJECT, "strict"),
        count(one.results, Verdict.SERVER_ERROR),
        count(one.results, Verdict.NO_RESPONSE),
    )
    return [one.contender.name, *map(str, numbers)]


def _document(outcomes: Sequence[Outcome], programs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "versions": dict(programs),
        "contenders": {
            one.contender.name: {
                "vectors": len(one.results),
                "notes": one.notes,
                "wrong": [
                    {
                        "vector": f"{result.case.check}/{result.case.id}",
                        "severity": result.case.severity,
                        "source": result.case.source,
                        "verdict": result.verdict,
                        "status": result.status,
                        "can_be_configured": not one.is_lacking(result),
                    }
                    for result in one.results
                    if result.verdict is not Verdict.RIGHT
                ],
            }
            for one in outcomes
        },
    }


if __name__ == "__main__":
    sys.exit(exit_status("bench-vectors", main))
