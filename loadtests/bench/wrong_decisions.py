"""`make bench-vectors`: wrong decisions of the verifier and its alternatives about the vectors in tests/vectors.

Each is configured as strictly as it can be, and decides by the policy `default`. Exit status: 0 reported, 1 a server
failed, 2 cannot start.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from loadtests.bench import machine
from loadtests.bench.contenders import CONTENDERS, Contender
from loadtests.bench.fixtures import Fixtures
from loadtests.bench.peers import HOW_TO_BUILD, built
from loadtests.bench.processes import ROOT, ProcessError
from loadtests.bench.servers import InvalidRunError, Setup, started
from loadtests.bench.tools import MissingToolError, find_tools, versions
from shared.command_line import add_version
from tests.support.token_forge import AUDIENCE, ISSUER
from tests.support.vector_keys import rsa_key
from tests.support.vectors import load
from tests.vectors.suite.cases import Selection
from tests.vectors.suite.report import count
from tests.vectors.suite.running import Report, Result, UnfitEndpointError, Verdict, run
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
    options = _parse_arguments()
    selected = [one for one in CONTENDERS if one.name in (options.only or COMPARED)]
    missing = [one.name for one in selected if one.peer and one.peer not in built()]
    try:
        cores, tools = machine.choose_cores(), find_tools(_report)
    except (MissingToolError, machine.TooFewCoresError) as error:
        _report(str(error))
        return 2
    if missing:
        _report(f"not built: {', '.join(missing)}; `{HOW_TO_BUILD}` builds them")
    try:
        folder = ROOT / ".bench" / "vectors"
        outcomes = [decide(one, tools, cores.server, folder) for one in selected if one.name not in missing]
    except (InvalidRunError, ProcessError, UnfitEndpointError) as error:
        _report(str(error))
        return 1
    sys.stdout.write("\n".join(to_lines(outcomes)) + "\n")
    path = ROOT / ".bench" / "wrong-decisions.json"
    path.write_text(json.dumps(_document(outcomes, versions(tools)), indent=1) + "\n", encoding="utf-8")
    _report(str(path))
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.wrong_decisions", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", choices=COMPARED, help="%(choices)s")
    add_version(parser)
    return parser.parse_args()


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def decide(
    contender: Contender, tools: Mapping[str, str], core: int, folder: Path, key_sets: Sequence[str] = KEY_SETS
) -> Outcome:
    """Start a contender once with each key set, and send it the vectors of that key set.

    Raises:
        ProcessError, InvalidRunError: it does not start with the key set `issuer`.
        UnfitEndpointError: it rejects a plain valid token.
    """
    results: list[Result] = []
    notes: list[str] = []
    needs_pem = contender.name == "haproxy"
    for key_set in key_sets:
        if needs_pem and key_set not in PEM_KEYS:
            notes.append(f"{key_set}: it takes one key")
            continue
        _report(f"{contender.name}, key set {key_set}")
        directory = folder / f"{contender.name}-{key_set}"
        directory.mkdir(parents=True, exist_ok=True)
        setup = Setup(directory, _fixtures(directory, key_set), tools, core)
        try:
            with started(contender, setup) as served:
                results += _send(served.port, served.path, key_set).results
        except (InvalidRunError, ProcessError) as error:
            if key_set == "issuer":
                raise
            notes.append(f"{key_set}: it does not start ({str(error).splitlines()[-1][:100]})")
    return Outcome(contender, tuple(results), tuple(notes))


def _send(port: int, path: str, key_set: str) -> Report:
    return run(Selection(Endpoint("127.0.0.1", port, path), key_set))


def _fixtures(directory: Path, key_set: str) -> Fixtures:
    """Write the key set as JWK Set and, if it is one key, as PEM."""
    jwks, public_key = directory / "jwks.json", directory / "public.pem"
    jwks.write_text(json.dumps(load("key-sets")[key_set][ISSUER]))
    if key_set in PEM_KEYS:
        key = rsa_key(PEM_KEYS[key_set]).public_key()
        public_key.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return Fixtures(jwks, public_key, jwks, (), {}, {}, ISSUER, AUDIENCE, _LIFETIME_SECONDS)


def to_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield the table of all, then that of wrong accepts by check."""
    wrong = f"{'wrong accepts':>27}{'wrong rejects':>16}{'5xx':>6}{'no response':>13}"
    yield f"{'':<14}{'vectors':>8}{'must reject':>13}{wrong}"
    yield f"{'':<35}{'must':>9}{'no check':>10}{'strict':>8}{'must':>8}{'strict':>8}"
    for one in outcomes:
        must = one.wrong_accepts("must")
        lacking = sum(map(one.is_lacking, must))
        yield (
            f"{one.contender.name:<14}{len(one.results):>8}{one.must_reject:>13}{len(must) - lacking:>9}{lacking:>10}"
            f"{len(one.wrong_accepts('strict')):>8}"
            f"{count(one.results, Verdict.WRONG_REJECT, 'must'):>8}"
            f"{count(one.results, Verdict.WRONG_REJECT, 'strict'):>8}"
            f"{count(one.results, Verdict.SERVER_ERROR):>6}{count(one.results, Verdict.NO_RESPONSE):>13}"
        )
    yield "must: a specification demands the rejection; no check: the same, but it cannot be configured"
    yield ""
    yield from _by_check(outcomes)
    yield from (f"{one.contender.name}: key set {note}" for one in outcomes for note in one.notes)


def _by_check(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "wrong accepts, must, by check" + "".join(f"{one.contender.name:>14}" for one in outcomes)
    for check in sorted({result.case.check for one in outcomes for result in one.results}):
        numbers = (len(one.wrong_accepts("must", check)) for one in outcomes)
        yield f"{check:<29}" + "".join(f"{number:>14}" for number in numbers)


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
    sys.exit(main())
