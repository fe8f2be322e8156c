"""Loads named SQL statements from `.sql` files, in which `-- name: …` precedes each statement."""

import re
from pathlib import Path
from typing import Final

_HEAD: Final = re.compile(r"^-- name: ([a-z][a-z-]*)\n", re.MULTILINE)


def load_queries(path: Path) -> dict[str, str]:
    """Return the statements of a file by name, in the file's order.

    Raises:
        ValueError: text before the first name, or two statements of one name.
    """
    preamble, *parts = _HEAD.split(path.read_text(encoding="utf-8"))
    names, statements = parts[::2], parts[1::2]
    if any(line and not line.startswith("--") for line in preamble.splitlines()):
        raise ValueError(f"{path.name}: a statement without a name")
    if len(set(names)) != len(names):
        raise ValueError(f"{path.name}: two statements of one name")
    return {name: statement.strip() for name, statement in zip(names, statements, strict=True)}
