"""Draws curves over a common horizontal axis as SVG, with the pen of the benchmark's chart. Knows no load."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.benchmark.chart import WIDTH, document, line, rectangle, text

_LEFT: Final = 84
_RIGHT: Final = 190
_HEAD: Final = 84
_PANEL: Final = 180
_GAP: Final = 58
_FOOT: Final = 64
_STYLE: Final = """
    .curve { fill: none; stroke-width: 2.5 } .dot { stroke: none }
    .first { stroke: #1a7f64 } .second { stroke: #8250df } .third { stroke: #bf5700 }
    .bound { stroke: #cf222e; stroke-dasharray: 2 4 } .mark { stroke: #59636e; stroke-dasharray: 6 4 }
    .number { font-size: 12px; font-variant-numeric: tabular-nums }
    @media (prefers-color-scheme: dark) {
      .first { stroke: #2ea98a } .second { stroke: #a371f7 } .third { stroke: #e0823d }
      .bound { stroke: #f85149 } .mark { stroke: #9198a1 }
    }
"""
_CLASSES: Final = ("first", "second", "third")


@dataclass(frozen=True, slots=True)
class Curve:
    """Points with a name; x is common to all of a chart."""

    name: str
    ys: Sequence[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves of one unit.

    Attributes:
        logarithmic: the vertical axis goes by powers of ten; otherwise from 0.
        bounds: horizontal lines that a curve should stay below, with what they are called.
    """

    heading: str
    curves: Sequence[Curve]
    logarithmic: bool = False
    bounds: Sequence[tuple[float, str]] = ()


def draw(
    title: str, subtitle: str, xs: Sequence[int], panels: Sequence[Panel], mark: tuple[int, str] | None, footer: str
) -> str:
    """The chart as an SVG document: panels one below the other, over the growing `xs` of every curve.

    `mark` is an x that a vertical line shows, and what it is.
    """
    height = _HEAD + len(panels) * (_PANEL + _GAP) + _FOOT
    body = [
        rectangle(0.5, 0.5, WIDTH - 1, height - 1, "card", radius=8),
        text(24, 38, title, "title"),
        text(24, 62, subtitle, "faint"),
    ]
    for number, panel in enumerate(panels):
        top = _HEAD + 30 + number * (_PANEL + _GAP)
        body += _draw_panel(panel, xs, top, mark)
    return document(title, height, [*body, text(24, height - 16, footer, "faint")], _STYLE)


def _draw_panel(panel: Panel, xs: Sequence[int], top: float, mark: tuple[int, str] | None) -> list[str]:
    bottom = top + _PANEL
    low, high = _range(panel)
    parts = [text(24, top - 12, panel.heading, "group"), line(_LEFT, bottom, WIDTH - _RIGHT, bottom, "axis")]
    for value in _ticks(low, high, logarithmic=panel.logarithmic):
        y = bottom - _PANEL * _share(value, low, high, logarithmic=panel.logarithmic)
        parts += [line(_LEFT, y, WIDTH - _RIGHT, y, "axis"), text(_LEFT - 8, y + 4, f"{value:,g}", "number", "end")]
    parts += [text(_x(x, xs), bottom + 18, f"{x:,}", "number", "middle") for x in xs]
    for bound, name in panel.bounds:
        y = bottom - _PANEL * _share(bound, low, high, logarithmic=panel.logarithmic)
        parts += [line(_LEFT, y, WIDTH - _RIGHT, y, "bound"), text(WIDTH - _RIGHT + 10, y + 4, name, "faint")]
    if mark is not None:
        x = _x(mark[0], xs)
        parts += [line(x, top, x, bottom, "mark"), text(x + 6, top + 12, mark[1], "faint")]
    taken: list[float] = []
    for style, curve in zip(_CLASSES, panel.curves, strict=False):
        ys = [bottom - _PANEL * _share(y, low, high, logarithmic=panel.logarithmic) for y in curve.ys]
        points = list(zip((_x(x, xs) for x in xs), ys, strict=True))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="curve {style}" points="{path}"/>')
        parts += [f'<circle class="dot curve {style}" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in points]
        taken.append(_clear_of(taken, ys[-1] + 4))
        parts.append(text(WIDTH - _RIGHT + 10, taken[-1], curve.name, "label"))
    return parts


def _range(panel: Panel) -> tuple[float, float]:
    values = [y for curve in panel.curves for y in curve.ys] + [bound for bound, _ in panel.bounds]
    if not panel.logarithmic:
        return 0.0, max(values) * 1.08 or 1.0
    positive = [value for value in values if value > 0] or [1.0]
    return 10 ** math.floor(math.log10(min(positive))), 10 ** math.ceil(math.log10(max(positive) * 1.01))


def _ticks(low: float, high: float, *, logarithmic: bool) -> list[float]:
    if logarithmic:
        return [10**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]
    rough = high / 4
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    return [step * number for number in range(int(high / step) + 1)]


def _share(value: float, low: float, high: float, *, logarithmic: bool) -> float:
    if logarithmic:
        return math.log(max(value, low) / low) / math.log(high / low)
    return (value - low) / (high - low)


def _x(x: float, xs: Sequence[int]) -> float:
    """From 0 users at the axis to the most at the right."""
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * x / xs[-1]


def _clear_of(taken: Sequence[float], y: float) -> float:
    """A place for a name where none stands already, a line higher each time."""
    while any(abs(y - other) < 16 for other in taken):  # noqa: PLR2004 - the height of a line of text
        y -= 16
    return y
