"""Request target and credentials in, ready answer out: one synchronous function, `Decider.decide`.

It owns the choice of the policy, the extraction of the one bearer token, and the cache around
`verification.verify`. It does no I/O but counting and, for refusals, a rate-limited log line.
"""

import time
from collections.abc import Callable
from hashlib import sha256 as _sha256
from typing import Final

import structlog

from verifier import answers
from verifier.cache import CachedDecision, DecisionCache
from verifier.keyset import KeySet
from verifier.metrics import LatencyHistogram, Name, Page
from verifier.policies import DEFAULT_POLICY, Policy, Rules
from verifier.reasons import UNDECIDABLE, Reason
from verifier.refusal_log import RefusalLog, Trail
from verifier.status import Status, StatusLists, StatusReference
from verifier.verification import Accepted, Rejected, verify

_PATIENCE: Final = 1024
"""How many requests more than were recalled may be remembered in vain before recalling takes a rest."""
_REST: Final = 65_536
"""How many requests it rests for."""
_VALID: Final = Status.VALID

_log = structlog.get_logger()


class _Route:
    """A policy with everything about it that can be made ready before a request comes."""

    def __init__(self, policy: Policy, realm: str, page: Page) -> None:
        def slot(outcome: str, reason: str) -> int:
            return page.slot(Name.DECISIONS, policy.name, outcome, reason)

        self.policy = policy
        self.digest_prefix = policy.name.encode() + b"\0"
        self.verified = slot("allowed", "verified")
        self.cached = slot("allowed", "cached")
        self.anonymous = slot("allowed", "anonymous")
        self.refusals = {reason: answers.refused(reason, policy, realm) for reason in Reason}
        self.refused = {
            reason: slot("undecidable" if reason in UNDECIDABLE else "refused", reason) for reason in Reason
        }


class Decider:
    """Decides for every connection of one worker.

    Args:
        rules: the policies.
        realm: named in challenges.
        page: where to count.
        cache: decisions to give again, or None to make each anew; whole requests get one of the same bounds.
        clock: seconds since the epoch.
        on_unknown_key: told when a token names a key that we lack; must return at once.
        on_unknown_list: told when a good token refers to a status list that we lack; must return at once.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        realm: str,
        page: Page,
        cache: DecisionCache | None,
        clock: Callable[[], float] = time.time,
        on_unknown_key: Callable[[], None] = lambda: None,
        on_unknown_list: Callable[[], None] = lambda: None,
    ) -> None:
        self._realm, self._page, self._clock = realm, page, clock
        self._counts = page.values
        self._latency = LatencyHistogram(page)
        self._refusal_log = RefusalLog(page)
        self._status_lists = StatusLists()
        self._on_unknown_key, self._on_unknown_list = on_unknown_key, on_unknown_list
        self._keys = KeySet()
        self._caching = cache is not None
        self._decisions = DecisionCache(0, 0) if cache is None else cache
        self._requests = DecisionCache(self._decisions.max_entries, self._decisions.max_size)
        self._find_decision, self._find_request = self._decisions.get_young, self._requests.get_young
        self._last_known: CachedDecision | None = None
        self._patience = _PATIENCE if self._caching else 0
        self._unknown_policy = answers.refused(Reason.UNKNOWN_POLICY, None, realm)
        self.replace_rules(rules)

    def replace_rules(self, rules: Rules) -> None:
        """Decide by other policies from the next request on; no decision of the old ones is given again."""
        self._routes = {
            name.encode(): _Route(policy, self._realm, self._page) for name, policy in rules.policies.items()
        }
        # The targets of most gateways, found without taking them apart.
        self._by_target = {b"/verify/" + name: route for name, route in self._routes.items()}
        self._by_target[b"/verify"] = self._routes[DEFAULT_POLICY.encode()]
        self._forget()

    def replace_keys(self, keys: KeySet) -> None:
        """Decide by other keys from the next request on; a key that is gone takes its decisions with it."""
        if not keys.keeps(self._keys):
            self._forget()
        self._keys = keys

    def replace_status_lists(self, lists: StatusLists) -> None:
        """Decide by these status lists from the next request on. Cached decisions are checked against them too."""
        self._status_lists = lists

    def decide(
        self,
        target: bytes,
        authorization: bytes | None,
        request_id: bytes | None = None,
        traceparent: bytes | None = None,
    ) -> bytes:
        """The answer to one subrequest, as the bytes of an HTTP/1.1 response.

        Args:
            target: the request target as received; its first two segments alone choose the policy.
            authorization: the field value, several joined by commas (RFC 9110 §5.3), None if there was none.
            request_id: for the log and no decision; as `Trail` has it.
            traceparent: likewise.
        """
        route = self._by_target.get(target) or self._route(target)
        if route is None or authorization is None or not self._caching:
            return self._judge(route, authorization, None, Trail(request_id, traceparent))
        digest = _sha256(route.digest_prefix + authorization).digest()
        known = self._find_decision(digest) or self._decisions.get(digest)
        if known is None:
            return self._judge(route, authorization, digest, Trail(request_id, traceparent))
        if not self._holds(known):
            self._decisions.discard(digest)
            return self._judge(route, authorization, digest, Trail(request_id, traceparent))
        self._counts[known.counter] += 1
        self._last_known = known
        return known.answer

    def recall(self, request: bytes) -> bytes | None:
        """The answer to a request that came before in the same bytes, or None if it has to be parsed.

        A gateway that forwards little but the credentials repeats itself to the byte, and what was parsed once
        parses the same: this spares it the parser, for the price of the digest that `decide` would take. It is
        asked only where a request begins.
        """
        if self._patience <= 0:
            self._rest()
            return None
        digest = _sha256(request).digest()
        known = self._find_request(digest) or self._requests.get(digest)
        if known is None:
            return None
        # `_holds` for most of the requests there are, without its call.
        answer, valid_from, valid_until, status, counter = known
        now = self._clock()
        if not valid_from <= now < valid_until or (status is not None and not self._is_valid(status, now)):
            self._requests.discard(digest)
            return None
        if self._patience < _PATIENCE:
            self._patience += 1
        self._counts[counter] += 1
        return answer

    def remember(self, request: bytes, answer: bytes) -> None:
        """Recall `answer` for `request` from now on, if it was given from the cache.

        Args:
            request: one whole request and nothing else, that `decide` has just answered.
            answer: as it was sent.
        """
        known = self._last_known
        if known is not None and known.answer is answer and self._patience > 0:
            # Known credentials in unknown bytes: where that is the rule, recalling is in vain.
            self._patience -= 1
            self._requests.put(_sha256(request).digest(), known)

    def report(self) -> None:
        """Bring the gauges of the cache up to date."""
        caches = (self._decisions, self._requests)
        self._page.set(Name.CACHE_ENTRIES, len(self._decisions))
        self._page.set(Name.CACHE_BYTES, sum(cache.size for cache in caches))
        self._page.set(Name.CACHE_EVICTIONS, sum(cache.evicted for cache in caches))

    def _forget(self) -> None:
        self._decisions.clear()
        self._requests.clear()
        self._last_known = None

    def _rest(self) -> None:
        self._patience -= 1
        if self._caching and self._patience <= -_REST:
            self._patience = _PATIENCE

    def _holds(self, known: CachedDecision) -> bool:
        """Whether a decision may be given again now: exact to the second and to the revocation."""
        now = self._clock()
        return known.valid_from <= now < known.valid_until and (
            known.status is None or self._is_valid(known.status, now)
        )

    def _is_valid(self, reference: StatusReference, now: float) -> bool:
        try:
            return self._status_lists.status(reference, now) is _VALID
        except Exception:  # noqa: BLE001 - fail closed: it is judged anew, which says what is wrong
            return False

    def _route(self, target: bytes) -> _Route | None:
        """The policy of `/verify/<policy>/whatever?else`: raw bytes of the second segment, nothing decoded."""
        root, *segments = target.partition(b"?")[0].split(b"/", 3)
        if root or segments[:1] != [b"verify"]:
            return None
        return self._routes.get(segments[1] if len(segments) > 1 else DEFAULT_POLICY.encode())

    def _judge(self, route: _Route | None, authorization: bytes | None, digest: bytes | None, trail: Trail) -> bytes:
        """Decide from scratch, fail closed, count, log."""
        started = time.perf_counter()
        if route is None:
            self._page.add(Name.DECISIONS, "", "refused", Reason.UNKNOWN_POLICY)
            return self._unknown_policy
        try:
            answer = self._answer(route, authorization, digest, trail)
        except Exception:  # noqa: BLE001 - fail closed
            # Whatever went wrong is ours, and no reason to let anyone through.
            _log.exception("decision_failed", policy=route.policy.name, **trail.ids())
            answer = self._refuse(route, Reason.INTERNAL_ERROR, b"", trail)
        self._latency.observe(time.perf_counter() - started)
        return answer

    def _answer(self, route: _Route, authorization: bytes | None, digest: bytes | None, trail: Trail) -> bytes:
        if authorization is None:
            if not route.policy.anonymous:
                return self._refuse(route, Reason.MISSING_TOKEN, b"", trail)
            self._counts[route.anonymous] += 1
            return answers.ANONYMOUS
        token = _bearer_token(authorization)
        if isinstance(token, Reason):
            return self._refuse(route, token, authorization, trail)
        decision = verify(
            token, keys=self._keys, policy=route.policy, now=self._clock(), revocations=self._status_lists
        )
        if isinstance(decision, Rejected):
            if decision.reason is Reason.STATUS_UNAVAILABLE:
                self._on_unknown_list()
            elif decision.reason in (Reason.UNKNOWN_KEY, Reason.KEYS_UNAVAILABLE):
                self._on_unknown_key()
            return self._refuse(route, decision.reason, token, trail)
        return self._allow(route, decision, digest)

    def _allow(self, route: _Route, accepted: Accepted, digest: bytes | None) -> bytes:
        answer = answers.allowed(accepted.claims)
        if digest is not None:
            self._decisions.put(
                digest,
                CachedDecision(
                    answer, accepted.valid_from, accepted.valid_until, accepted.claims.status, route.cached
                ),
            )
        self._counts[route.verified] += 1
        return answer

    def _refuse(self, route: _Route, reason: Reason, credentials: bytes, trail: Trail) -> bytes:
        self._counts[route.refused[reason]] += 1
        self._refusal_log.write(route.policy.name, reason, credentials, trail)
        return route.refusals[reason]


def _bearer_token(authorization: bytes) -> bytes | Reason:
    """The token of `Bearer token` (RFC 6750 §2.1): one of them, after one space, with nothing behind it."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        return Reason.MISSING_TOKEN
    if not token or b" " in token or b"," in token or b"\t" in token:
        return Reason.MALFORMED_CREDENTIALS
    return token
