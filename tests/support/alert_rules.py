"""The alert rules as an object for the Prometheus operator: `python -m tests.support.alert_rules` writes it.

The operator requires the rules inside an object, and kustomize cannot include one file in another.
"""

from textwrap import indent
from typing import Final

from tests.support.monitoring import RULES
from tests.support.processes import ROOT

OBJECT: Final = ROOT / "deploy/kubernetes/base/alerts.yaml"
_HEAD: Final = """\
# The rules of deploy/prometheus/gatepass.rules.yml, for the Prometheus operator. Do not edit them here:
# `python -m tests.support.alert_rules` writes this file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: gatepass
spec:
"""


def as_object(rules: str) -> str:
    """Return the manifest with the groups of a rule file, including comments."""
    return _HEAD + indent(rules[rules.index("\ngroups:") + 1 :], "  ")


if __name__ == "__main__":
    OBJECT.write_text(as_object(RULES.read_text(encoding="utf-8")), encoding="utf-8")
