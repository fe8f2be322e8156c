"""Alert rules and the dashboard are valid and complete, and use metrics that a running issuer and verifier have."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.observability.conftest import Site
from tests.support.monitoring import (
    RULE_TESTS,
    RULES,
    Prometheus,
    filled,
    panels,
    promtool,
    rules,
    running_prometheus,
    selectors,
)
from tests.support.processes import ROOT, wait_until

pytestmark = pytest.mark.timeout(600)  # promtool takes some seconds of a core, and minutes on a busy machine

ALERTS: Final = [rule for rule in rules() if "alert" in rule]
QUERIES: Final = [target["expr"] for panel in panels() for target in panel["targets"]]
LABELS: Final = ["instance", "job", "le", "alertname", "alertstate", "severity"]
"""Labels that Prometheus, histograms or rules add."""

BEFORE_THE_FIRST: Final = {"gatepass_verifier_jwks_failures_total", "gatepass_issuer_http_requests_total"}
"""Metrics that have series only after an event that does not happen in these tests."""

EVENTS: Final = (
    'gatepass_issuer_refreshes_total{outcome="rotated"}',
    'gatepass_verifier_decisions_total{reason="cached"}',
    'gatepass_verifier_decisions_total{reason="bad_signature"}',
)
"""The last effect of `Site.use`."""


@pytest.fixture(scope="module")
def exposed(site: Site) -> dict[str, dict[str, set[str]]]:
    """Return the names of all series of both processes, with their labels and values."""
    texts = [site.verifier.admin("/metrics").text, site.issuer.admin("/metrics").text]
    found: dict[str, dict[str, set[str]]] = {}
    for family in (family for text in texts for family in text_string_to_metric_families(text)):
        for name in (family.name, f"{family.name}_total") if family.type == "counter" else (family.name,):
            found.setdefault(name, {})
        for sample in family.samples:
            for label, value in sample.labels.items():
                found.setdefault(sample.name, {}).setdefault(label, set()).add(value)
    return found


@pytest.fixture(scope="module")
def prometheus(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    jobs = {
        "gatepass-issuer": site.issuer.admin_url.removeprefix("http://"),
        "gatepass-verifier": f"127.0.0.1:{site.verifier.admin_port}",
    }
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), jobs) as server:
        wait_until(lambda: len(server.query("rate(gatepass_verifier_cpu_seconds_total[5m])")) == 1, "two scrapes")
        # Rates are of what happens between scrapes.
        site.use()
        wait_until(lambda: all(_rate(server, event) > 0 for event in EVENTS), "the use is scraped")
        yield server


def test_the_rules_pass_their_own_tests() -> None:
    for arguments in (("check", "rules", str(RULES)), ("test", "rules", str(RULE_TESTS))):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"]
    outcomes: dict[str, set[bool]] = {}
    for case in (case for test in tests for case in test["promql_expr_test"]):
        for name in re.findall(r'alertname="(\w+)"', case["expr"]):
            outcomes.setdefault(name, set()).add(bool(case["exp_samples"]))
    assert outcomes == {rule["alert"]: {True, False} for rule in ALERTS}


def test_the_test_of_a_healthy_deployment_has_every_alerted_metric() -> None:
    healthy = yaml.safe_load(RULE_TESTS.read_text(encoding="utf-8"))["tests"][0]
    there = {selector.metric for series in healthy["input_series"] for selector in selectors(series["series"])}
    wanted = {selector.metric for rule in rules() for selector in selectors(rule["expr"])}
    assert {metric for metric in wanted if ":" not in metric} == there


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_has_severity_summary_and_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert all(rule["annotations"].values())
    assert "\n" not in rule["annotations"]["runbook"]


@pytest.mark.parametrize("expression", sorted({*QUERIES, *(rule["expr"] for rule in rules())}))
def test_an_expression_reads_existing_series(expression: str, exposed: dict[str, dict[str, set[str]]]) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    read = selectors(expression)
    assert read
    for selector in read:
        if selector.metric not in recorded | {"up", "ALERTS"}:
            assert selector.metric in exposed
            if selector.metric not in BEFORE_THE_FIRST:
                assert selector.values.keys() <= {*exposed[selector.metric], *LABELS}, selector.metric
    for values in (values for selector in read for label, values in selector.values.items() if label not in LABELS):
        for value in values:
            assert value.isdigit() or value in _words(exposed), value


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: str(panel["title"]))
def test_a_panel_has_numbers_a_unit_and_words(panel: dict[str, Any], prometheus: Prometheus) -> None:
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    found = [prometheus.query(filled(target["expr"])) for target in panel["targets"]]
    assert any(found)


def test_the_labels_of_legends_are_those_of_the_series(prometheus: Prometheus) -> None:
    for target in (target for panel in panels() for target in panel["targets"]):
        named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        for series in prometheus.query(filled(target["expr"])):
            assert named <= series["metric"].keys(), target["expr"]


def _rate(server: Prometheus, event: str) -> float:
    found = server.query(f"sum(rate({event}[5m]))")
    return float(found[0]["value"][1]) if found else 0.0


def _words(exposed: dict[str, dict[str, set[str]]]) -> set[str]:
    """Return every observed value of a label, and every string in our code, which contains the closed lists."""
    seen = {value for labels in exposed.values() for values in labels.values() for value in values}
    return seen | _strings()


def _strings() -> set[str]:
    sources = [path for folder in ("issuer", "verifier") for path in (ROOT / folder).rglob("*.py")]
    return {word for path in sources for word in re.findall(r'"([^"\n]+)"', path.read_text(encoding="utf-8"))}
