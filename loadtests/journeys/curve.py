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
_FOOT: Final = 36
_TEXT: Final = 16
_STYLE: Final = """
    .curve { fill: none; stroke-width: 2.5 } .dot { fill: #ffffff; stroke-width: 2 }
    .first { stroke: #1a7f64 } .second { stroke: #8250df } .third { stroke: #bf5700 }
    .bound { stroke: #cf222e; stroke-dasharray: 2 4 } .mark { stroke: #59636e; stroke-dasharray: 6 4 }
    .number { font-size: 12px; font-variant-numeric: tabular-nums }
    @media (prefers-color-scheme: dark) {
      .first { stroke: #2ea98a } .second { stroke: #a371f7 } .third { stroke: #e0823d }
      .dot { fill: #0d1117 } .bound { stroke: #f85149 } .mark { stroke: #9198a1 }
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


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie in a panel whose upper edge is at `top`: y from `low` to `high`, x from 0 to `last`."""

    top: float
    low: float
    high: float
    last: int
    logarithmic: bool

    @property
    def bottom(self) -> float:
        return self.top + _PANEL

    def x(self, value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * value / self.last

    def y(self, value: float) -> float:
        if self.logarithmic:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.bottom - _PANEL * share

    def ticks(self) -> list[float]:
        if self.logarithmic:
            return [10.0**power for power in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)]
        rough = self.high / 4
        magnitude = 10 ** math.floor(math.log10(rough))
        step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
        return [step * number for number in range(int(self.high / step) + 1)]


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
        frame = _Frame(_HEAD + 30 + number * (_PANEL + _GAP), *_range(panel), xs[-1], panel.logarithmic)
        body += [text(24, frame.top - 12, panel.heading, "group"), *_axes(frame, xs, panel.bounds, mark)]
        body += _curves(frame, xs, panel.curves)
    return document(title, height, [*body, text(24, height - 16, footer, "faint")], _STYLE)


def _axes(
    frame: _Frame, xs: Sequence[int], bounds: Sequence[tuple[float, str]], mark: tuple[int, str] | None
) -> list[str]:
    right = WIDTH - _RIGHT
    parts = [line(_LEFT, frame.bottom, right, frame.bottom, "axis")]
    for value in frame.ticks():
        y = frame.y(value)
        parts += [line(_LEFT, y, right, y, "axis"), text(_LEFT - 8, y + 4, f"{value:,g}", "number", "end")]
    parts += [text(frame.x(x), frame.bottom + 18, f"{x:,}", "number", "middle") for x in xs]
    for bound, name in bounds:
        y = frame.y(bound)
        parts += [line(_LEFT, y, right, y, "bound"), text(_LEFT + 6, y - 4, name, "faint")]
    if mark is not None:
        x = frame.x(mark[0])
        parts += [line(x, frame.top, x, frame.bottom, "mark"), text(x + 6, frame.top + 12, mark[1], "faint")]
    return parts


def _curves(frame: _Frame, xs: Sequence[int], curves: Sequence[Curve]) -> list[str]:
    parts: list[str] = []
    names: list[float] = []
    for style, curve in zip(_CLASSES, curves, strict=False):
        points = [(frame.x(x), frame.y(y)) for x, y in zip(xs, curve.ys, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="curve {style}" points="{path}"/>')
        parts += [f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
        names.append(_clear_of(names, points[-1][1] + 5))
        parts.append(text(WIDTH - _RIGHT + 10, names[-1], curve.name, "label"))
    return parts


def _range(panel: Panel) -> tuple[float, float]:
    values = [y for curve in panel.curves for y in curve.ys] + [bound for bound, _ in panel.bounds]
    if not panel.logarithmic:
        return 0.0, max(values) * 1.08 or 1.0
    positive = [value for value in values if value > 0] or [1.0]
    return 10.0 ** math.floor(math.log10(min(positive))), 10.0 ** math.ceil(math.log10(max(positive) * 1.01))


def _clear_of(taken: Sequence[float], y: float) -> float:
    """A place for a name where none stands already: higher by a line until there is one."""
    while any(abs(y - other) < _TEXT for other in taken):
        y -= _TEXT
    return y
