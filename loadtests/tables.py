"""Tables of results as Markdown, aligned so that they read well in a terminal too. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

VERDICTS: Final = {True: "met", False: "NOT MET", None: ""}
"""Words for a bound that is met or not, or that does not exist or was not measured."""

_NUMBER: Final = re.compile(r"[-+(]?\d.*|-?")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. A column is aligned to the right if all its cells are empty or begin with a digit."""
    columns = [list(cells) for cells in zip(head, *rows, strict=True)]
    lines = ["|"] * len(columns[0])
    rule = "|"
    for number, cells in enumerate(columns):
        width = max(3, *map(len, cells))
        to_right = number > 0 and all(_NUMBER.fullmatch(cell) for cell in cells[1:])
        rule += " " + ("-" * (width - 1) + ":" if to_right else "-" * width) + " |"
        lines = [
            f"{line} {cell.rjust(width) if to_right else cell.ljust(width)} |"
            for line, cell in zip(lines, cells, strict=True)
        ]
    return "\n".join([lines[0], rule, *lines[1:]])
