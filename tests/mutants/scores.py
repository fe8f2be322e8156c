"""The table of the recorded scores in the contributors' guide."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.processes import ROOT

RESULTS: Final = Path(__file__).with_name("survivors.json")
PAGE: Final = ROOT / ".github/CONTRIBUTING.md"
REJECTED: Final = "rejected by mypy"
_HEAD: Final = "| package | judged | changes | noticed | of these by mypy |\n|---|---|---:|---:|---:|\n"
_TABLE: Final = re.compile(re.escape(_HEAD) + r"(?:\|.*\n)*")


def with_scores(page: str, recorded: Mapping[str, Any]) -> str:
    """Return the guide with these scores in its table."""
    rows = [
        f"| `{package}` | {one['date']} | {one['mutants']} | {one['score']} % | {one.get(REJECTED, 0)} |\n"
        for package, one in sorted(recorded.items())
    ]
    assert _TABLE.search(page)
    return _TABLE.sub(_HEAD + "".join(rows), page)
