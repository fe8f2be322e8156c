"""A real Prometheus, and the expressions of rules and dashboard."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.plain_http import HTTP, get_status
from tests.support.processes import ROOT, finished, free_port, running
from tests.support.programs import program

RULES: Final = ROOT / "deploy/prometheus/gatepass.rules.yml"
RULE_TESTS: Final = ROOT / "deploy/prometheus/gatepass.rules.test.yml"
DASHBOARD: Final = ROOT / "deploy/grafana/gatepass.json"

_SELECTOR: Final = re.compile(r"\b(gatepass_\w+|\w+:gatepass_\w+:\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_VARIABLE: Final = re.compile(r"\$\w+")


@dataclass(frozen=True)
class Selector:
    """A metric and its label matchers. `values` are the alternatives of each label, none for a pattern."""

    metric: str
    values: dict[str, frozenset[str]]


def selectors(expression: str) -> list[Selector]:
    """Return the selectors of a PromQL expression."""
    return [
        Selector(name, {label: _alternatives(value) for label, _, value in _MATCHER.findall(matchers)})
        for name, matchers in _SELECTOR.findall(expression)
    ]


def _alternatives(pattern: str) -> frozenset[str]:
    """Return the values that a matcher lists: `a|b` are two, a variable or a real pattern has none."""
    values = pattern.split("|")
    return frozenset(value for value in values if value and not re.search(r"[.*+?\[\]$()]", value))


def rules() -> list[dict[str, Any]]:
    """Return every rule, alerts and recorded ones."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """Return the document."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return board


def panels() -> list[dict[str, Any]]:
    """Return the panels with queries."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def filled(expression: str) -> str:
    """Return an expression with Grafana's variables replaced: all instances, a short range."""
    return _VARIABLE.sub(lambda name: {"$__rate_interval": "5m", "$instance": ".*"}[name[0]], expression)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool to its end."""
    command = [program("promtool", "prometheus"), *arguments]
    return finished(command, seconds=300)


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the current series of an expression; AssertionError if it is invalid."""
        response = HTTP.get(f"{self.url}/api/v1/query", params={"query": expression}).json()
        assert response["status"] == "success", f"{expression}: {response.get('error')}"
        found: list[dict[str, Any]] = response["data"]["result"]
        return found


@contextmanager
def running_prometheus(folder: Path, jobs: dict[str, str]) -> Iterator[Prometheus]:
    """Run Prometheus with our rules. It scrapes `jobs` (name and listen address) every second."""
    port = free_port()
    document = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in jobs.items()
        ],
    }
    configuration = folder / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(document), encoding="utf-8")
    command = [
        program("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    with running(command, folder / "prometheus.log", ready=lambda: get_status(f"{prometheus.url}/-/ready") == 200):
        yield prometheus
