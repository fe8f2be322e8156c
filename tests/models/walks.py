"""The length of model runs: the same few examples every time, or `MODEL_EXAMPLES` random ones (`make models`)."""

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

_EXAMPLES: Final = int(os.environ.get("MODEL_EXAMPLES", "0"))
TIMEOUT_SECONDS: Final = 0 if _EXAMPLES else 600
"""Half a minute on a quiet machine; no limit for longer runs."""


def walk(machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    """Run a model: `examples` sequences of at most `steps` rules, unless `MODEL_EXAMPLES` is set."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=_EXAMPLES or examples,
            stateful_step_count=steps,
            derandomize=not _EXAMPLES,
            database=None,
            deadline=None,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink] if _EXAMPLES else [Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
