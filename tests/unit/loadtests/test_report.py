import json
from xml.etree import ElementTree as ET

from loadtests.benchmark.contenders import CONTENDERS
from loadtests.benchmark.picture import to_svg
from loadtests.benchmark.processes import ROOT
from loadtests.benchmark.report import Run, to_json, to_text
from loadtests.benchmark.rounds import Sample, Under
from tests.unit.loadtests.samples import sample

MACHINE: dict[str, str | int] = {"cpu": "Test CPU", "cores": 2, "kernel": "6.1"}
RATES = {"nginx-204": 180_000.0, "verifier": 120_000.0, "envoy-cached": 50_000.0, "nginx+static": 90_000.0}


def _samples() -> list[Sample]:
    return [
        sample(name, rate * speed, number=number, under=under)
        for number, speed in enumerate((1.0, 0.5, 1.0))
        for name, rate in RATES.items()
        for under in Under
    ]


def _run(*samples: Sample, others: float = 0.0) -> Run:
    return Run(CONTENDERS, MACHINE, {"nginx": "1.22.1"}, 3, others, samples)


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_the_table_has_medians_spread_and_ratio() -> None:
    row = _line(to_text(_run(*_samples())), "Gatepass  ")
    assert "120,000" in row
    assert "(60,000-120,000)" in row
    assert "0.67x" in row


def test_targets_are_judged_as_they_are() -> None:
    text = to_text(_run(*_samples()))
    assert "NOT MET" in _line(text, "verifier / nginx return 204")
    assert _line(text, "verifier / nginx return 204").split()[-3:] == ["(0.67-0.67)", "NOT", "MET"]
    assert "not measured" in _line(text, "cache off / HAProxy")


def test_a_contender_that_was_not_measured_says_so_and_is_not_drawn() -> None:
    run = _run(*_samples())
    assert "not measured" in _line(to_text(run), "HAProxy jwt_verify")
    assert "HAProxy" not in to_svg(run)


def test_a_server_that_was_not_kept_busy_is_reported_as_a_lower_bound() -> None:
    text = to_text(_run(sample("nginx-204", 100, server_busy=0.7), sample("envoy", 100, server_busy=0.99)))
    assert "nginx-204, 32 connections: core 70% busy, so this is a lower bound" in text
    assert "envoy, 32 connections" not in text


def test_a_noisy_machine_and_a_wide_spread_are_said() -> None:
    text = to_text(_run(sample("envoy", 100), sample("envoy", 150, number=1), others=0.4))
    assert "not a quiet machine" in text
    assert "over 15 % between lowest and highest round: envoy" in text


def test_json_holds_every_sample_the_machine_and_the_versions() -> None:
    document = json.loads(to_json(_run(*_samples())))
    assert document["machine"] == MACHINE
    assert document["versions"] == {"nginx": "1.22.1"}
    assert len(document["samples"]) == len(_samples())
    first = document["samples"][0]
    assert (first["contender"], first["under"], first["measured"]["requests_per_second"]) == (
        "nginx-204", "32 connections", 180_000.0,
    )  # fmt: skip
    assert {target["met"] for target in document["targets"]} == {True, False, None}


def test_the_picture_shows_each_measured_contender_once() -> None:
    chart = ET.fromstring(to_svg(_run(*_samples())))
    bars = [one for one in chart.iter() if one.attrib.get("class", "").startswith("bar")]
    assert len(bars) == len(RATES)


def test_the_readme_explains_every_contender() -> None:
    readme = (ROOT / "loadtests/README.md").read_text(encoding="utf-8")
    assert [one.name for one in CONTENDERS if f"`{one.name}`" not in readme] == []
