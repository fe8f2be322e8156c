"""The report of a run: a table and a list for people, JSON for programs."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tests.vectors.suite.running import Report, Result, Verdict

SEVERITIES: Final = ("must", "strict")
_BY_SEVERITY: Final = (Verdict.WRONG_ACCEPT, Verdict.WRONG_REJECT)
_FAILURES: Final = (Verdict.SERVER_ERROR, Verdict.NO_RESPONSE, Verdict.TOO_SLOW, Verdict.WRONG_IDENTITY)


def count(results: Sequence[Result], verdict: Verdict, severity: str | None = None) -> int:
    """Return the number of results with this verdict, of one severity or of both."""
    return sum(one.verdict is verdict and severity in (None, one.case.severity) for one in results)


def to_text(report: Report) -> str:
    """Return the table by check, what was not sent, and each vector that was decided wrongly."""
    return "\n".join([*_table(report), "", *_not_sent(report), *_list(report)])


def to_json(report: Report, **about: Any) -> str:
    """Return the counts and each wrong decision. `about` says what was tested."""
    document = {
        **about,
        "total": _counts(report.results),
        "checks": {check: _counts(results) for check, results in by_check(report).items()},
        "not_sent": dict(report.not_sent),
        "wrong": [
            {
                "check": one.case.check,
                "id": one.case.id,
                "attack": one.case.vector["attack"],
                "severity": one.case.severity,
                **({"source": one.case.source} if one.case.source else {}),
                "verdict": one.verdict,
                "status": one.status,
            }
            for one in report.wrong(strict=True)
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def by_check(report: Report) -> dict[str, list[Result]]:
    """Return the results of each check, in the order of the files."""
    found: dict[str, list[Result]] = {}
    for one in sorted(report.results, key=lambda result: result.case.check):
        found.setdefault(one.case.check, []).append(one)
    return found


def _counts(results: Sequence[Result]) -> dict[str, Any]:
    return {
        "sent": len(results),
        "must": sum(one.case.severity == "must" for one in results),
        **{v: {severity: count(results, v, severity) for severity in SEVERITIES} for v in _BY_SEVERITY},
        **{v: count(results, v) for v in _FAILURES},
    }


def _table(report: Report) -> Iterator[str]:
    yield f"{'':<16}{'vectors':>9}{'wrong accepts':>18}{'wrong rejects':>18}{'5xx':>8}{'no response':>13}{'other':>7}"
    yield f"{'check':<16}{'sent':>9}{'must':>9}{'strict':>9}{'must':>9}{'strict':>9}"
    rows = {**by_check(report), "all": report.results}
    for check, results in rows.items():
        kinds = Counter(one.verdict for one in results)
        split = (count(results, verdict, severity) for verdict in _BY_SEVERITY for severity in SEVERITIES)
        other = kinds[Verdict.TOO_SLOW] + kinds[Verdict.WRONG_IDENTITY]
        yield (
            f"{check:<16}{len(results):>9}" + "".join(f"{number:>9}" for number in split)
            + f"{kinds[Verdict.SERVER_ERROR]:>8}{kinds[Verdict.NO_RESPONSE]:>13}{other:>7}"
        )  # fmt: skip


def _not_sent(report: Report) -> Iterator[str]:
    for why, number in sorted(report.not_sent.items()):
        yield f"not sent: {number:>4} vectors: {why}"


def _list(report: Report) -> Iterator[str]:
    for one in report.wrong(strict=True):
        results = "no status" if one.status is None else one.status
        source = f", {one.case.source}" if one.case.source else ""
        name = f"{one.case.check}/{one.case.id}"
        yield f"{one.verdict}, {one.case.severity}: {name}: {results} ({one.case.vector['attack']}{source})"
