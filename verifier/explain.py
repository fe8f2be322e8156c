"""Explains check by check why a token is accepted or rejected. The token itself is never shown."""

from typing import Final

from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.decision.reasons import RejectionReason as Reason
from verifier.decision.status import StatusLists
from verifier.decision.verification import Rejected, verify

CHECKS: Final[tuple[tuple[str, frozenset[Reason]], ...]] = (
    ("size", frozenset({Reason.TOO_LARGE})),
    ("form", frozenset({Reason.MALFORMED})),
    ("header", frozenset({Reason.INVALID_HEADER})),
    ("algorithm", frozenset({Reason.UNSUPPORTED_ALGORITHM})),
    ("type", frozenset({Reason.WRONG_TYPE})),
    ("key", frozenset({Reason.UNKNOWN_KEY, Reason.KEYS_UNAVAILABLE})),
    ("signature", frozenset({Reason.BAD_SIGNATURE})),
    ("claims", frozenset({Reason.NOT_ACCESS_TOKEN, Reason.INVALID_CLAIMS})),
    ("sender", frozenset({Reason.SENDER_CONSTRAINED})),
    ("issuer", frozenset({Reason.WRONG_ISSUER})),
    ("audience", frozenset({Reason.WRONG_AUDIENCE})),
    ("time", frozenset({Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.LIFETIME_TOO_LONG, Reason.TOO_OLD})),
    ("status", frozenset({Reason.REVOKED, Reason.STATUS_UNAVAILABLE})),
    ("permission", frozenset({Reason.INSUFFICIENT_SCOPE, Reason.INSUFFICIENT_ROLE, Reason.INSUFFICIENT_CLAIM})),
)
"""The numbered checks of `verification`, and the reasons that each can give."""


def explain(
    token: bytes, *, keys: TrustedKeys, policy: Policy, now: float, revocations: StatusLists
) -> tuple[list[str], bool]:
    """Return one line for each numbered check and one for the decision, and whether the token is accepted.

    The arguments are those of `verification.verify`, which decides.
    """
    decision = verify(token, keys=keys, policy=policy, now=now, revocations=revocations)
    reason = decision.reason if isinstance(decision, Rejected) else None
    failing = next((name for name, reasons in CHECKS if reason in reasons), None)
    lines, reached = [], True
    for number, (name, _) in enumerate(CHECKS, 1):
        failed = name == failing
        outcome = f"FAILED: {reason}" if failed else "passed" if reached else "not reached"
        lines.append(f"{number:2}. {name:<11} {outcome}")
        reached = reached and not failed
    verdict = "accepted" if reason is None else f"rejected: {reason}"
    return [*lines, f"{verdict} by policy {policy.name}"], reason is None
