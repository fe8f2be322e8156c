"""Draws horizontal bars with whiskers as SVG, legible on light and dark pages alike. Knows no servers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 860
_LEFT: Final = 296
_RIGHT: Final = 150
_ROW: Final = 30
_BAR: Final = 18
_HEAD: Final = 84
_GROUP: Final = 42
_FOOT: Final = 38
_STYLE: Final = """
    text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1f2328 }
    .card { fill: #ffffff; stroke: #d1d9e0 }
    .title { font-size: 19px; font-weight: 600 }
    .faint, .group { fill: #59636e }
    .faint { font-size: 12px }
    .group { font-size: 13px; font-weight: 600 }
    .ours { font-weight: 600 }
    .value { font-variant-numeric: tabular-nums }
    .axis { stroke: #d1d9e0 }
    .whisker { stroke: #1f2328; stroke-width: 1.5 }
    .bar { fill: #afb8c1 } .bar.ours { fill: #1a7f64 } .bar.ceiling { fill: #dfe4e9 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .card { fill: #0d1117; stroke: #30363d }
      .faint, .group { fill: #9198a1 }
      .axis { stroke: #30363d }
      .whisker { stroke: #e6edf3 }
      .bar { fill: #59636e } .bar.ours { fill: #2ea98a } .bar.ceiling { fill: #30363d }
    }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, its whiskers from `low` to `high`.

    Attributes:
        kind: `ours`, `ceiling` or nothing: how it is coloured.
    """

    label: str
    value: float
    low: float
    high: float
    note: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Bars under a heading of their own, on the scale of the whole chart."""

    heading: str
    bars: Sequence[Bar]


def draw(title: str, subtitle: str, groups: Sequence[Group], footer: str) -> str:
    """The chart as an SVG document."""
    longest = max((bar.high for group in groups for bar in group.bars), default=0.0) or 1.0
    scale = (WIDTH - _LEFT - _RIGHT) / longest
    body: list[str] = []
    y = _HEAD
    for group in groups:
        body.append(text(24, y + 22, group.heading, "group"))
        y += _GROUP
        body.append(line(_LEFT, y - 6, _LEFT, y + len(group.bars) * _ROW - 6, "axis"))
        for bar in group.bars:
            body += _draw_bar(bar, y, scale)
            y += _ROW
    height = y + _FOOT
    head = [
        rectangle(0.5, 0.5, WIDTH - 1, height - 1, "card", radius=8),
        text(24, 38, title, "title"),
        text(24, 62, subtitle, "faint"),
    ]
    return document(title, height, [*head, *body, text(24, height - 16, footer, "faint")])


def _draw_bar(bar: Bar, y: float, scale: float) -> list[str]:
    low, end, high = (_LEFT + scale * value for value in (bar.low, bar.value, bar.high))
    middle = y + _BAR / 2
    return [
        text(_LEFT - 12, middle + 5, bar.label, f"label {bar.kind}".strip(), anchor="end"),
        rectangle(_LEFT, y, end - _LEFT, _BAR, f"bar {bar.kind}".strip(), radius=2),
        line(low, middle, high, middle, "whisker"),
        *(line(x, middle - 4, x, middle + 4, "whisker") for x in (low, high)),
        text(high + 10, middle + 5, bar.note, f"value {bar.kind}".strip()),
    ]


def document(title: str, height: float, parts: Sequence[str], style: str = "") -> str:
    """The SVG document of a card and what is on it, with `style` beside the common one."""
    lines = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img">\n  <title>{escape(title)}</title>\n  <style>{_STYLE}{style}  </style>\n'
        f"  {lines}\n</svg>\n"
    )


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    """`words` in a class of the style."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def rectangle(x: float, y: float, width: float, height: float, style: str, *, radius: int) -> str:
    """A rectangle in a class of the style."""
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}"/>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """A line in a class of the style."""
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
