import pytest

from loadtests.bench.contenders import CONTENDERS
from loadtests.bench.rounds import HALF_LOAD_CONNECTIONS, LoadLevel, count_samples, order, think_ms
from loadtests.bench.statistics import TARGETS, CostTarget, LatencyTarget, MedianRange, Statistics, median_range
from tests.unit.loadtests.samples import sample

OURS, THEIRS = ("verifier", LoadLevel.FEW), ("envoy", LoadLevel.FEW)


def _figures(ours: list[float], theirs: list[float]) -> Statistics:
    return Statistics(
        [
            *(sample("verifier", 100, number=number, cpu_us=cost) for number, cost in enumerate(ours)),
            *(sample("envoy", 100, number=number, cpu_us=cost) for number, cost in enumerate(theirs)),
        ]
    )


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert median_range([5.0, 1.0, 3.0]) == MedianRange(median=3.0, low=1.0, high=5.0)
    assert median_range([]) is None


def test_ratios_are_taken_round_by_round_before_the_median() -> None:
    # The machine is four times slower in the second round: the ratio of the medians would say 1.6.
    figures = _figures(ours=[200, 50, 200], theirs=[100, 25, 125])
    assert figures.cost_ratio(OURS, THEIRS) == MedianRange(median=2.0, low=1.6, high=2.0)


def test_rounds_that_only_one_side_has_do_not_count() -> None:
    assert _figures(ours=[200, 900], theirs=[100]).cost_ratio(OURS, THEIRS) == MedianRange(2.0, 2.0, 2.0)


def test_loads_are_not_mixed() -> None:
    figures = Statistics([sample("verifier", 100), sample("verifier", 70, under=LoadLevel.MANY)])
    assert figures.throughput(OURS) == MedianRange(100, 100, 100)


@pytest.mark.parametrize(("ours", "met"), [(121, False), (120, True)])
def test_a_cost_target_is_met_up_to_its_bound(ours: float, *, met: bool) -> None:
    target = CostTarget("verifier / envoy", OURS, THEIRS, at_most=1.2)
    assert target.evaluate(_figures([ours], [100]))[1] is met


@pytest.mark.parametrize(("p99_ms", "met"), [(0.99, True), (1.0, False)])
def test_a_latency_target_is_met_below_its_bound(p99_ms: float, *, met: bool) -> None:
    target = LatencyTarget("p99", OURS, below_ms=1.0)
    assert target.evaluate(Statistics([sample("verifier", 1, p99_ms=p99_ms)]))[1] is met


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {target.evaluate(Statistics([])) for target in TARGETS} == {("not measured", None)}


def test_targets_speak_of_contenders_that_exist() -> None:
    named = {target.of[0] for target in TARGETS} | {
        target.to[0] for target in TARGETS if isinstance(target, CostTarget)
    }
    assert named <= {contender.name for contender in CONTENDERS}


def test_every_round_has_all_contenders_in_another_order() -> None:
    rounds = [order(CONTENDERS, number, 5) for number in range(5)]
    assert {frozenset(one.name for one in line) for line in rounds} == {frozenset(one.name for one in CONTENDERS)}
    assert len({line[0].name for line in rounds}) == 5


def test_the_number_of_samples_is_known_beforehand() -> None:
    only = [contender for contender in CONTENDERS if contender.name in {"verifier", "envoy"}]
    assert count_samples(only, rounds=2) == 2 * (3 + 2)


def test_the_pause_is_shortened_by_the_response_time() -> None:
    wanted = 50_000.0
    naive = think_ms(wanted)
    response_ms = 0.3
    tried = HALF_LOAD_CONNECTIONS / (naive + response_ms) * 1000
    assert think_ms(wanted, tried) == pytest.approx(naive - response_ms)
