"""Sends the cases and checks each response."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from tests.vectors.suite.cases import Case, Request, Selection
from tests.vectors.suite.sending import Endpoint, Response

_MARGIN_SECONDS: Final = 0.9
_TRIES: Final = 4


class Verdict(StrEnum):
    """The judgement of a response."""

    RIGHT = "right"
    WRONG_ACCEPT = "wrong accept"
    WRONG_REJECT = "wrong reject"
    WRONG_IDENTITY = "wrong identity"
    SERVER_ERROR = "5xx"
    NO_RESPONSE = "no response"
    TOO_SLOW = "too slow"


class UnfitEndpointError(Exception):
    """The endpoint does not accept the plain valid token, so its rejections say nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """A case and its verdict; `status` is that of the first wrong response, else of the last one."""

    case: Case
    verdict: Verdict
    status: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """All results, and how many vectors were not sent, by reason."""

    results: tuple[Result, ...]
    not_sent: Counter[str]

    def wrong(self, *, strict: bool) -> list[Result]:
        """Return the results that are not right; those of the severity `strict` only if asked for."""
        wrong = [one for one in self.results if one.verdict is not Verdict.RIGHT]
        return [one for one in wrong if strict or one.case.severity != "strict"]


def run(selection: Selection, *, identity: bool = False, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Send every vector that can be sent.

    Args:
        selection: the endpoint, and what applies to it.
        identity: accepted requests must have the identity headers of our contract.
        progress: is called with each line about the progress.

    Raises:
        UnfitEndpointError: the endpoint does not accept a plain valid token.
    """
    not_sent = Counter[str]()
    cases = list(selection.cases(lambda why: not_sent.update([why])))
    check = _Checker(selection, identity=identity)
    check.ensure_fit(cases)
    untimed, timed = ([case for case in cases if case.timed == wanted] for wanted in (False, True))
    progress(f"sending {len(untimed)} vectors, then {len(timed)} about time")
    results = [check(case, selection.requests_at(case, int(time.time()))) for case in untimed]
    return Report((*results, *_at_their_moment(selection, timed, check)), not_sent)


def _at_their_moment(selection: Selection, cases: Sequence[Case], check: "_Checker") -> list[Result]:
    """Move the time of every case to one second of the clock, and send all cases within that second."""
    results: list[Result] = []
    preparation = 1.0
    for _ in range(_TRIES if cases else 0):
        started = time.time()
        moment = math.ceil(started + preparation)
        requests = [selection.requests_at(case, moment) for case in cases]
        preparation = 2 * (time.time() - started)
        time.sleep(max(0.0, moment - time.time()))
        results = [check(case, one) for case, one in zip(cases, requests, strict=True)]
        if time.time() < moment + _MARGIN_SECONDS:
            return results
    return [Result(one.case, Verdict.TOO_SLOW, one.status) for one in results]


class _Checker:
    """Sends requests to an endpoint and checks the responses."""

    def __init__(self, selection: Selection, *, identity: bool) -> None:
        self._selection = selection
        self._endpoint: Endpoint = selection.endpoint
        self._identity = identity

    def ensure_fit(self, cases: Sequence[Case]) -> None:
        """Raise UnfitEndpointError unless the first accepted request with a plain token is accepted."""
        plain = next((case for case in cases if (case.check, case.id) == ("requests", "bearer")), None)
        if plain is None:
            return
        result = self(plain, self._selection.requests_at(plain, int(time.time())))
        if result.verdict not in (Verdict.RIGHT, Verdict.WRONG_IDENTITY):
            came = "no response" if result.status is None else f"the status {result.status}"
            raise UnfitEndpointError(f"{came} to a plain valid token: was the endpoint given the key set?")

    def __call__(self, case: Case, requests: Sequence[Request]) -> Result:
        status: int | None = None
        for request in requests:
            response = self._endpoint.ask(request.target, request.authorization)
            status = response.status
            if (verdict := self._verdict(request, response)) is not Verdict.RIGHT:
                return Result(case, verdict, status)
        return Result(case, Verdict.RIGHT, status)

    def _verdict(self, request: Request, response: Response) -> Verdict:
        if response.status is None:
            return Verdict.NO_RESPONSE
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Verdict.RIGHT if request.may_be_undecided else Verdict.SERVER_ERROR
        accepted = response.status < HTTPStatus.MULTIPLE_CHOICES
        if accepted != (request.identity is not None):
            return Verdict.WRONG_ACCEPT if accepted else Verdict.WRONG_REJECT
        if self._identity and request.identity is not None and _identity(response) != request.identity:
            return Verdict.WRONG_IDENTITY
        return Verdict.RIGHT


def _identity(response: Response) -> dict[str, str]:
    prefix = "x-auth-"
    return {
        "-".join(part.capitalize() for part in name.split("-")): value
        for name, value in response.fields.items()
        if name.startswith(prefix)
    }
