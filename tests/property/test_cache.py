"""The cache keeps its bounds, and decisions with and without it are the same."""

from typing import Any, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from prometheus_client import Counter

from tests.support.token_forge import ISSUER
from tests.support.vector_keys import GOOD, NOW, OTHER, STATUS_LIST, UNPUBLISHED, listed
from tests.support.vectors import KEY_SETS, POLICIES, Bench
from verifier.policy_file import Configuration
from verifier.subrequest.decision_cache import ENTRY_OVERHEAD_BYTES, CachedDecision, DecisionCache

_KEYS: Final = st.integers(0, 12).map(lambda number: bytes([number]) * 32)
_HITS: Final = Counter("test_hits", "Not registered.", registry=None)
_STATUS: Final = {"status_list": {"uri": STATUS_LIST, "idx": 7}}


class CacheAgainstDictionary(RuleBasedStateMachine):
    """The cache compared with a dictionary, which evicts nothing."""

    @initialize(entries=st.integers(0, 16), room=st.integers(0, 30))
    def begin(self, entries: int, room: int) -> None:
        self.max_entries, self.max_bytes = entries, room * (ENTRY_OVERHEAD_BYTES + 50)
        self.cache = DecisionCache(self.max_entries, self.max_bytes)
        self.model: dict[bytes, CachedDecision] = {}

    @rule(key=_KEYS, response=st.binary(max_size=200))
    def store(self, key: bytes, response: bytes) -> None:
        decision = CachedDecision(response, 0, 1, None, _HITS)
        self.cache.store(key, decision)
        if self.max_entries and ENTRY_OVERHEAD_BYTES + len(response) <= self.max_bytes:
            self.model[key] = decision
            assert self.cache.get(key) is decision, "the newest is always there"

    @rule(key=_KEYS)
    def get(self, key: bytes) -> None:
        assert self.cache.get(key) in (None, self.model.get(key))

    @rule(key=_KEYS)
    def discard(self, key: bytes) -> None:
        self.cache.discard(key)
        self.model.pop(key, None)
        assert self.cache.get(key) is None

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.model.clear()
        assert len(self.cache) == 0

    @invariant()
    def within_bounds(self) -> None:
        assert 0 <= len(self.cache) <= self.max_entries
        held = self.cache._entries.values()
        assert self.cache.size_bytes == sum(ENTRY_OVERHEAD_BYTES + len(decision.response) for decision in held)
        assert self.cache.size_bytes <= self.max_bytes


_TOKENS: Final = {
    "plain": GOOD.token(NOW),
    "short": GOOD.token(NOW, exp=NOW + 30),
    "later": GOOD.token(NOW, nbf=NOW + 40),
    "revocable": GOOD.token(NOW, status=_STATUS, jti="revocable"),
    "other issuer": OTHER.token(NOW),
    "unknown key": UNPUBLISHED.token(NOW),
    "shared kid": GOOD.token(NOW, {"kid": "shared"}),
    "scoped": GOOD.token(NOW, scope="invoices:read invoices:write admin", roles=["admin"]),
    "forged": GOOD.token(NOW)[:-9] + b"AAAAAAAAA",
}
_LISTS: Final = [{}, {ISSUER: {}}, listed(), listed(7), listed(counts_until=NOW + 50), listed(issuer=OTHER.issuer)]
_POLICIES: Final = ["default", "two-issuers", "all-scopes", "roles", "fresh", "no-leeway", "anonymous"]


class CachedAgainstFresh(RuleBasedStateMachine):
    """Two authorizers with the same requests: one has a small cache, the other has none."""

    def __init__(self) -> None:
        super().__init__()
        self.cached = Bench(now=NOW, cache=DecisionCache(6, 2**16))
        self.fresh = Bench(now=NOW, cached=False)
        self.asked: list[tuple[str, str]] = []

    @rule(seconds=st.sampled_from([0.5, 1, 5, 29, 40, 60, 300, 600, -1, -45, -600]))
    def time_passes_or_the_clock_steps_back(self, seconds: float) -> None:
        self.cached.now = self.fresh.now = max(NOW - 100, self.cached.now + seconds)

    @rule(name=st.sampled_from(sorted(KEY_SETS)))
    def the_keys_change(self, name: str) -> None:
        for bench in (self.cached, self.fresh):
            bench.authorizer.replace_keys(KEY_SETS[name])

    @rule(lists=st.sampled_from(_LISTS))
    def the_status_lists_change(self, lists: dict[str, Any]) -> None:
        for bench in (self.cached, self.fresh):
            bench.follow(lists)

    @rule(audience=st.sampled_from(["gatepass", "billing"]))
    def the_policies_are_read_again(self, audience: str) -> None:
        from_now_on: dict[str, Any] = {
            name: POLICIES["other-audience"] if audience == "billing" and name == "default" else policy
            for name, policy in POLICIES.items()
        }
        for bench in (self.cached, self.fresh):
            bench.authorizer.replace_configuration(Configuration(from_now_on, {}))

    @rule(
        token=st.sampled_from(sorted(_TOKENS)),
        policy=st.sampled_from(_POLICIES),
        scheme=st.sampled_from(["Bearer", "bearer"]),
    )
    def a_request_arrives(self, token: str, policy: str, scheme: str) -> None:
        self._ask(f"{scheme} ".encode() + _TOKENS[token], policy)
        self.asked.append((token, policy))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def a_request_is_repeated(self, data: st.DataObject) -> None:
        token, policy = data.draw(st.sampled_from(self.asked))
        self._ask(b"Bearer " + _TOKENS[token], policy)

    def _ask(self, credentials: bytes, policy: str) -> None:
        target = f"/verify/{policy}".encode()
        expected = self.fresh.authorizer.authorize(target, credentials)
        assert self.cached.authorizer.authorize(target, credentials) == expected


_LONG_RUNS: Final = settings(max_examples=60, stateful_step_count=40)
TestCacheAgainstDictionary = CacheAgainstDictionary.TestCase
TestCacheAgainstDictionary.settings = _LONG_RUNS
TestCachedAgainstFresh = CachedAgainstFresh.TestCase
TestCachedAgainstFresh.settings = _LONG_RUNS
