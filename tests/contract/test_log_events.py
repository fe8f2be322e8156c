"""The log events that operators act on are documented."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT

SECTION: Final = (
    (ROOT / "docs/operations/monitoring.md")
    .read_text("utf-8")
    .partition("**Events.**")[2]
    .partition("**Request ids.**")[0]
)
DOCUMENTED: Final = set(re.findall("`([a-z]+(?:_[a-z]+)+)`", SECTION))
LOGGING: Final = {
    f"{logger}.{level}"
    for logger in ("_log", "structlog.get_logger()")
    for level in ("warning", "error", "exception")
}
PLACEHOLDERS: Final = {
    "self._kind": "(jwks|metadata|status_list)",
    "change": "expired",
    "action": "(read|write)",
    "outcome": "(rejected|abandoned)",
}


def calls(package: str) -> Iterator[tuple[str, ast.expr]]:
    """Yield the name and the first argument of each method call."""
    for path in sorted(Path(ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                yield f"{ast.unparse(node.func.value)}.{node.func.attr}", node.args[0]


def pattern(event: ast.expr) -> str:
    """Return a regular expression of the event."""
    parts = event.values if isinstance(event, ast.JoinedStr) else [event]
    return "".join(
        PLACEHOLDERS[ast.unparse(part.value)] if isinstance(part, ast.FormattedValue) else ast.literal_eval(part)
        for part in parts
    )


def test_warnings_and_errors_are_documented_and_no_others() -> None:
    patterns = {pattern(event) for side in ("issuer", "verifier") for name, event in calls(side) if name in LOGGING}
    assert {event for event in patterns if not any(re.fullmatch(event, name) for name in DOCUMENTED)} == set()
    assert {name for name in DOCUMENTED if not any(re.fullmatch(event, name) for event in patterns)} == set()
