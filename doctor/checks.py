"""The judgements that several probes share. All are pure: an answer, and what the echo can show, to a verdict."""

from doctor.echo import Echo
from doctor.findings import Cause
from doctor.messages import Answer
from doctor.probes import Bench, Judge, Verdict


def refused(cause: Cause = Cause.OPEN, *, exactly_401: bool = False) -> Judge:
    """A judge of requests that must not reach the application.

    Args:
        cause: of the finding if one does.
        exactly_401: a well-formed request without a good token: RFC 6750 §3 says how to refuse it.
    """

    def judge(answer: Answer, echo: Echo) -> Verdict:
        del echo
        if answer.status == 101:  # noqa: PLR2004 - RFC 9110 §15.2.2
            return Verdict(Cause.TUNNEL, "101: a tunnel")
        if answer.accepted:
            return Verdict(cause, f"{answer.status}: it passed")
        if answer.status == 401:  # noqa: PLR2004 - RFC 9110 §15.5.2
            kept = challenged(answer)
            return Verdict(
                None if kept else Cause.NO_CHALLENGE, f"401 {'and' if kept else 'without'} a Bearer challenge"
            )
        return Verdict(Cause.OTHER_REFUSAL if exactly_401 else None, f"{answer.status}: refused")

    return judge


def challenged(answer: Answer) -> bool:
    """Whether the client is told that a Bearer token is wanted."""
    return any(value.lower().startswith("bearer") for value in answer.values("www-authenticate"))


def preflight(bench: Bench, path: str, cause: Cause = Cause.OPEN) -> Judge:
    """A judge of OPTIONS: a gateway may answer it by itself (CORS), the application must not."""

    def judge(answer: Answer, echo: Echo) -> Verdict:
        if answer.accepted and not bench.reached(answer, path):
            return Verdict(Cause.PREFLIGHT, f"{answer.status}, by whom could not be seen")
        return refused(cause)(answer, echo)

    return judge


def not_reached(bench: Bench) -> Judge:
    """A judge of the test route by another name, without a token: whoever else answers may."""

    def judge(answer: Answer, echo: Echo) -> Verdict:
        if answer.accepted and not bench.reached(answer, bench.target.path):
            got = (
                f"{answer.status}, and not by the test route"
                if echo
                else f"{answer.status}, by whom could not be seen"
            )
            return Verdict(None if echo else Cause.NO_ECHO, got)
        return refused(Cause.OPEN_BY_SPELLING)(answer, echo)

    return judge
