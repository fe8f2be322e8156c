import pytest

from loadtests.bench.contenders import CONTENDERS
from loadtests.bench.report import TARGETS, Run, rate
from loadtests.bench.rounds import CONNECTIONS, LoadLevel, Sample, order, think_ms
from loadtests.bench.statistics import MedianRange, Target, median_range
from tests.unit.loadtests.samples import sample

OURS, THEIRS = ("verifier", LoadLevel.FEW), ("envoy", LoadLevel.FEW)


def _run(*samples: Sample) -> Run:
    return Run(CONTENDERS, {}, {}, 1, 0.0, samples)


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    costs = [("verifier", ours), ("envoy", theirs)]
    samples = [
        sample(name, 100, number=number, cpu_us=cost) for name, each in costs for number, cost in enumerate(each)
    ]
    return _run(*samples).cost_ratios(OURS, THEIRS)


def test_a_spread_is_the_median_between_the_extremes() -> None:
    assert median_range([5.0, 1.0, 3.0]) == MedianRange(median=3.0, low=1.0, high=5.0)
    assert median_range([]) is None


def test_ratios_are_taken_round_by_round_before_the_median() -> None:
    # The machine is four times slower in the second round: the ratio of the medians would say 1.6.
    ratios = _ratios(ours=[200, 50, 200], theirs=[100, 25, 125])
    assert median_range(ratios) == MedianRange(median=2.0, low=1.6, high=2.0)


def test_rounds_that_only_one_side_has_do_not_count() -> None:
    assert _ratios(ours=[200, 900], theirs=[100]) == [2.0]


def test_samples_of_another_load_level_do_not_count() -> None:
    run = _run(sample("verifier", 100), sample("verifier", 70, under=LoadLevel.MANY))
    assert run.of(OURS, rate) == MedianRange(100, 100, 100)


@pytest.mark.parametrize(
    ("comparison", "met_at", "missed_at"), [("<=", 1.2, 1.21), ("<", 1.19, 1.2), (">=", 1.2, 1.19)]
)
def test_the_median_of_the_rounds_is_compared_with_the_bound(
    comparison: str, met_at: float, missed_at: float
) -> None:
    target: Target[list[float]] = Target("x", lambda rounds: rounds, comparison, 1.2, " ms")
    assert target.evaluate([0.1, met_at, 9.0]) == (f"{met_at:.2f} ms (0.10-9.00)", True)
    assert target.evaluate([0.1, missed_at, 9.0])[1] is False
    assert target.demand == f"{comparison} 1.2 ms"


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {target.evaluate(_run()) for target in TARGETS} == {("not measured", None)}


def test_targets_name_existing_contenders() -> None:
    everything = _run(*(sample(one.name, 100, under=under) for one in CONTENDERS for under in LoadLevel))
    assert None not in {target.evaluate(everything)[1] for target in TARGETS}


def test_every_round_has_all_contenders_in_another_order() -> None:
    rounds = [order(CONTENDERS, number, 5) for number in range(5)]
    assert {frozenset(one.name for one in line) for line in rounds} == {frozenset(one.name for one in CONTENDERS)}
    assert len({line[0].name for line in rounds}) == 5


def test_the_pause_is_shortened_by_the_response_time() -> None:
    wanted = 50_000.0
    naive = think_ms(wanted)
    response_ms = 0.3
    tried = CONNECTIONS[LoadLevel.HALF] / (naive + response_ms) * 1000
    assert think_ms(wanted, tried) == pytest.approx(naive - response_ms)
