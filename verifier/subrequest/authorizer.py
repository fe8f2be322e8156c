"""Decides about subrequests: `Authorizer.authorize` returns the ready response to request target and credentials.

It owns the choice of the policy, the extraction of the one token from header or cookie, and the cache around
`verification.verify`. It is synchronous. Its only I/O is log lines; those about rejections are rate-limited.
"""

import time
from collections.abc import Callable
from hashlib import sha256 as _sha256
from typing import Final

import structlog

from shared.access_token import MAX_TOKEN_BYTES
from shared.claims import StatusReference
from shared.jws import JwsFault, read_compact
from shared.same_origin import BrowserFields, is_same_origin
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.decision.reasons import UNDECIDABLE, RejectionReason
from verifier.decision.status import Status, StatusLists
from verifier.decision.verification import Accepted, Rejected, claimed_issuer, verify
from verifier.metrics import Metrics
from verifier.policy_file import DEFAULT_POLICY, Configuration
from verifier.subrequest import responses
from verifier.subrequest.cookies import cookie_token
from verifier.subrequest.decision_cache import CachedDecision, DecisionCache
from verifier.subrequest.rejection_log import RejectionLog, RequestIds

_VALID: Final = Status.VALID

# The last two: another issuer may use the `kid` of the missing key.
_MISSING_KEY_REASONS: Final = frozenset(
    {
        RejectionReason.UNKNOWN_KEY,
        RejectionReason.KEYS_UNAVAILABLE,
        RejectionReason.BAD_SIGNATURE,
        RejectionReason.UNSUPPORTED_ALGORITHM,
    }
)

_log = structlog.get_logger()


class _CompiledPolicy:
    """A policy with its responses and counters, which are built once and not for each request."""

    def __init__(self, policy: Policy, realm: str, metrics: Metrics) -> None:
        self.policy = policy
        self.digest_prefix = policy.name.encode() + b"\0"
        self.verified = metrics.decisions.labels(policy.name, "allowed", "verified")
        self.cached = metrics.decisions.labels(policy.name, "allowed", "cached")
        self.anonymous = metrics.decisions.labels(policy.name, "allowed", "anonymous")
        self.cookie = None if policy.cookie is None else policy.cookie.encode()
        self.origins = frozenset(origin.encode() for origin in policy.origins)
        additional = [header.name for header in policy.headers]
        self.ok_template = responses.ok_template(additional)
        self.anonymous_response = responses.anonymous_response(additional)
        self.error_responses = {reason: responses.error_response(reason, policy, realm) for reason in RejectionReason}
        self.rejected = {
            reason: metrics.decisions.labels(
                policy.name, "undecidable" if reason in UNDECIDABLE else "rejected", reason.value
            )
            for reason in RejectionReason
        }


class Authorizer:
    """The decisions about all subrequests of this process.

    Args:
        clock: seconds since the epoch.
        request_key_refresh: called for a token with an unknown key, with the issuer that the token names, which the
            policy accepts; must not block.
        request_status_refresh: called for a valid token with an unknown status list; must not block.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        realm: str,
        metrics: Metrics,
        cache: DecisionCache,
        clock: Callable[[], float] = time.time,
        request_key_refresh: Callable[[str], None] = lambda _: None,
        request_status_refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self._realm, self._metrics, self._clock = realm, metrics, clock
        self._observe_seconds = metrics.decision_seconds.observe
        self._rejection_log = RejectionLog(metrics)
        self._status_lists = StatusLists()
        self._request_key_refresh, self._request_status_refresh = request_key_refresh, request_status_refresh
        self._keys = TrustedKeys()
        self._cache = cache
        self._cache_enabled = cache.max_entries > 0
        self._unknown_policy = responses.error_response(RejectionReason.UNKNOWN_POLICY, None, realm)
        self._unknown_policy_counter = metrics.decisions.labels("", "rejected", RejectionReason.UNKNOWN_POLICY.value)
        metrics.cache_entries.set_function(lambda: len(cache))
        metrics.cache_bytes.set_function(lambda: cache.size_bytes)
        self.replace_configuration(configuration)

    def replace_configuration(self, configuration: Configuration) -> None:
        """Apply other policies from the next request on, and drop the decisions made by the old ones."""
        self._policies = {
            name.encode(): _CompiledPolicy(policy, self._realm, self._metrics)
            for name, policy in configuration.policies.items()
        }
        # The targets of most gateways, found without splitting them.
        self._by_target = {b"/verify/" + name: policy for name, policy in self._policies.items()}
        self._by_target[b"/verify"] = self._policies[DEFAULT_POLICY.encode()]
        self._cache.clear()

    def replace_keys(self, keys: TrustedKeys) -> None:
        """Use other keys from the next request on. When a key was removed, no decision is served again."""
        if not keys.is_superset_of(self._keys):
            self._cache.clear()
        self._keys = keys

    def replace_status_lists(self, lists: StatusLists) -> None:
        """Use other status lists from the next request on. Cached decisions are checked against them too."""
        self._status_lists = lists

    def authorize(
        self,
        target: bytes,
        authorization: bytes | None,
        request_id: bytes | None = None,
        traceparent: bytes | None = None,
        browser: BrowserFields | None = None,
    ) -> bytes:
        """Return the response to one subrequest, as the bytes of an HTTP/1.1 response.

        Args:
            target: the request target as received; its first two segments alone choose the policy.
            authorization: the field value, several joined by commas (RFC 9110 §5.3), None if there was none.
            request_id: for the log only, as in `RequestIds`.
            traceparent: for the log only, as in `RequestIds`.
            browser: the fields that a policy with a cookie checks; None if the gateway passed none of them on.
        """
        policy = self._by_target.get(target) or self._find_policy(target)
        if browser is not None and policy is not None and policy.cookie is not None:
            # Checked for each request, since a cached decision depends only on the policy and the token.
            credentials = _credentials(authorization, browser, policy.cookie, policy.origins)
            if isinstance(credentials, RejectionReason):
                return self._reject(policy, credentials, b"", RequestIds(request_id, traceparent))
            authorization = credentials
        if policy is None or authorization is None or not self._cache_enabled:
            return self._decide(policy, authorization, None, RequestIds(request_id, traceparent))
        digest = _sha256(policy.digest_prefix + authorization).digest()
        cached = self._cache.get(digest)
        if cached is None:
            return self._decide(policy, authorization, digest, RequestIds(request_id, traceparent))
        if not self._is_still_valid(cached):
            self._cache.discard(digest)
            return self._decide(policy, authorization, digest, RequestIds(request_id, traceparent))
        cached.hits.inc()
        return cached.response

    def _is_still_valid(self, cached: CachedDecision) -> bool:
        """Return whether a cached decision still applies: the token has not expired and is not revoked."""
        now = self._clock()
        return cached.valid_from <= now < cached.valid_until and (
            cached.status is None or self._is_not_revoked(cached.status, now)
        )

    def _is_not_revoked(self, reference: StatusReference, now: float) -> bool:
        try:
            return self._status_lists.status(reference, now) is _VALID
        except Exception:  # noqa: BLE001 - fail closed: a fresh decision follows, which logs the error
            return False

    def _find_policy(self, target: bytes) -> _CompiledPolicy | None:
        """Return the policy of `/verify/<policy>/anything?else`, by the raw bytes of the second segment."""
        root, *segments = target.partition(b"?")[0].split(b"/", 3)
        if root or segments[:1] != [b"verify"]:
            return None
        return self._policies.get(segments[1] if len(segments) > 1 else DEFAULT_POLICY.encode())

    def _decide(
        self, policy: _CompiledPolicy | None, authorization: bytes | None, digest: bytes | None, ids: RequestIds
    ) -> bytes:
        """Decide without the cache, fail closed, count, log."""
        started = time.perf_counter()
        if policy is None:
            self._unknown_policy_counter.inc()
            return self._unknown_policy
        try:
            response = self._evaluate(policy, authorization, digest, ids)
        except Exception:  # noqa: BLE001 - fail closed: an error in this code lets no request through
            _log.exception("decision_failed", policy=policy.policy.name, **ids.as_log_fields())
            response = self._reject(policy, RejectionReason.INTERNAL_ERROR, b"", ids)
        self._observe_seconds(time.perf_counter() - started)
        return response

    def _evaluate(
        self, policy: _CompiledPolicy, authorization: bytes | None, digest: bytes | None, ids: RequestIds
    ) -> bytes:
        # An empty field has no credentials: Caddy sends it if the client sent no such field.
        if not authorization:
            if not policy.policy.anonymous:
                return self._reject(policy, RejectionReason.MISSING_TOKEN, b"", ids)
            policy.anonymous.inc()
            return policy.anonymous_response
        token = _bearer_token(authorization)
        if isinstance(token, RejectionReason):
            return self._reject(policy, token, authorization, ids)
        decision = verify(
            token, keys=self._keys, policy=policy.policy, now=self._clock(), revocations=self._status_lists
        )
        if isinstance(decision, Rejected):
            if decision.reason is RejectionReason.STATUS_UNAVAILABLE:
                self._request_status_refresh()
            elif decision.reason in _MISSING_KEY_REASONS:
                self._request_missing_key(policy.policy, token)
            return self._reject(policy, decision.reason, token, ids)
        return self._accept(policy, decision, digest)

    def _request_missing_key(self, policy: Policy, token: bytes) -> None:
        """Request the keys of the issuer that a token claims, if the policy accepts it and we may lack the key.

        A token with an algorithm that the issuer does not use requests nothing: there is no key for it, and a fetch
        that finds no new key delays the next.
        """
        jws = read_compact(token, MAX_TOKEN_BYTES)
        if isinstance(jws, JwsFault):
            return
        issuer = claimed_issuer(jws.payload)
        if issuer is None or issuer not in policy.issuers or self._keys.has(issuer, jws.header.kid):
            return
        if jws.header.algorithm in policy.profile_of(issuer).algorithms:
            self._request_key_refresh(issuer)

    def _accept(self, policy: _CompiledPolicy, accepted: Accepted, digest: bytes | None) -> bytes:
        response = responses.ok_response(policy.ok_template, accepted.claims, accepted.additional)
        if digest is not None:
            self._cache.store(
                digest,
                CachedDecision(
                    response, accepted.valid_from, accepted.valid_until, accepted.claims.status, policy.cached
                ),
            )
        policy.verified.inc()
        return response

    def _reject(self, policy: _CompiledPolicy, reason: RejectionReason, credentials: bytes, ids: RequestIds) -> bytes:
        policy.rejected[reason].inc()
        self._rejection_log.write(policy.policy.name, reason, credentials, ids)
        return policy.error_responses[reason]


def _credentials(
    authorization: bytes | None, browser: BrowserFields, cookie: bytes, origins: frozenset[bytes]
) -> bytes | RejectionReason | None:
    """Return the credentials from `Authorization` or the cookie, in the form of `Authorization`; None without any."""
    token = cookie_token(browser.cookies, cookie)
    if token is None:
        return authorization
    if isinstance(token, RejectionReason):
        return token
    if authorization:
        return RejectionReason.MALFORMED_CREDENTIALS
    return b"Bearer " + token if is_same_origin(browser, origins) else RejectionReason.CROSS_ORIGIN


def _bearer_token(authorization: bytes) -> bytes | RejectionReason:
    """Return the token of `Bearer token` (RFC 6750 §2.1): exactly one, after one space, with nothing after it."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        return RejectionReason.MISSING_TOKEN
    if not token or b" " in token or b"," in token or b"\t" in token:
        return RejectionReason.MALFORMED_CREDENTIALS
    return token
