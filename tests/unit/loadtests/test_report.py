import json

from loadtests.bench.contenders import CONTENDERS
from loadtests.bench.report import Run, to_json, to_text
from loadtests.bench.rounds import LoadLevel, Sample
from loadtests.processes import ROOT
from tests.unit.loadtests.samples import sample

MACHINE: dict[str, str | int] = {"cpu": "Test CPU", "cores": 2, "kernel": "6.1"}
COSTS = {"nginx-204": 8.0, "verifier": 12.0, "envoy-cached": 40.0, "nginx+204": 18.0}


def _samples() -> list[Sample]:
    return [
        sample(name, 120_000 * speed, number=number, under=under, cpu_us=cost / speed)
        for number, speed in enumerate((1.0, 0.5, 1.0))
        for name, cost in COSTS.items()
        for under in LoadLevel
    ]


def _run(*samples: Sample, others: float = 0.0) -> Run:
    return Run(CONTENDERS, MACHINE, {"nginx": "1.22.1"}, 3, others, samples)


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_the_table_has_medians_ranges_and_ratios_of_cost() -> None:
    row = _line(to_text(_run(*_samples())), "| Gatepass, cache hit")
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["12.0", "1.50", "120,000 (60,000-120,000)"]


def test_a_missed_or_unmeasured_target_is_named() -> None:
    text = to_text(_run(*_samples()))
    row = _line(text, "| cache hit / nginx return 204")
    assert [cell.strip() for cell in row.split("|")[3:5]] == ["1.50 (1.50-1.50)", "NOT MET"]
    assert "not measured" in _line(text, "| new token / HAProxy")


def test_a_contender_that_was_not_measured_is_named() -> None:
    assert "not measured" in _line(to_text(_run(*_samples())), "| HAProxy, new token, hardened")


def test_a_server_that_was_not_kept_busy_is_reported_as_a_lower_bound() -> None:
    text = to_text(_run(sample("nginx-204", 100, server_busy=0.7), sample("envoy", 100, server_busy=0.99)))
    assert "nginx-204, 32 connections: core 70% busy, so this is a lower bound" in text
    assert "envoy, 32 connections" not in text


def test_a_noisy_machine_and_a_wide_spread_are_reported() -> None:
    text = to_text(_run(sample("envoy", 100), sample("envoy", 150, number=1), others=0.4))
    assert "the machine was not idle" in text
    assert "over 15 % between lowest and highest round: envoy" in text


def test_json_holds_every_sample_the_machine_and_the_versions() -> None:
    document = json.loads(to_json(_run(*_samples())))
    assert document["machine"] == MACHINE
    assert document["versions"] == {"nginx": "1.22.1"}
    assert len(document["samples"]) == len(_samples())
    first = document["samples"][0]
    assert (first["contender"], first["under"], first["cpu_us"]) == ("nginx-204", "32 connections", 8.0)
    assert {target["met"] for target in document["targets"]} >= {False, None}


def test_the_readme_explains_every_contender() -> None:
    readme = (ROOT / "loadtests/README.md").read_text(encoding="utf-8")
    assert [one.name for one in CONTENDERS if f"`{one.name}`" not in readme] == []
