from itertools import pairwise
from xml.etree import ElementTree as ET

from loadtests.benchmark.chart import WIDTH, Bar, Group, draw
from loadtests.benchmark.contenders import CONTENDERS

SVG = "{http://www.w3.org/2000/svg}"
WIDEST_CHARACTER = 0.68
"""Of the font's size, on average over a bold label in the widest of the fonts named in the chart."""
GROUPS = [
    Group("direct", [Bar("A & B <x>", 200.0, 180.0, 220.0, "200 k"), Bar("C", 50.0, 50.0, 50.0, "50 k", "ours")]),
    Group("behind", [Bar("D", 100.0, 90.0, 110.0, "100 k", "ceiling")]),
]


def _chart() -> ET.Element:
    return ET.fromstring(draw("Title & more", "what was measured", GROUPS, "where"))


def _bars(chart: ET.Element) -> list[ET.Element]:
    return [one for one in chart.iter(f"{SVG}rect") if one.attrib["class"].startswith("bar")]


def test_the_chart_is_well_formed_and_says_everything() -> None:
    chart = _chart()
    texts = [one.text for one in chart.iter(f"{SVG}text")]
    assert {"Title & more", "what was measured", "direct", "A & B <x>", "200 k", "D", "where"} <= set(texts)
    assert chart.findtext(f"{SVG}title") == "Title & more"


def test_bars_are_as_long_as_their_values_on_one_scale() -> None:
    widths = [float(one.attrib["width"]) for one in _bars(_chart())]
    assert len(widths) == 3
    assert [round(width / widths[0], 2) for width in widths] == [1.0, 0.25, 0.5]


def test_nothing_is_drawn_outside_the_card() -> None:
    chart = _chart()
    height = float(chart.attrib["height"])
    for one in chart.iter():
        places = {name: float(one.attrib[name]) for name in ("x", "x1", "x2", "y", "y1", "y2") if name in one.attrib}
        assert all(0 <= place <= WIDTH for name, place in places.items() if name.startswith("x"))
        assert all(0 <= place <= height for name, place in places.items() if name.startswith("y"))


def test_rows_do_not_overlap() -> None:
    tops = [float(one.attrib["y"]) for one in _bars(_chart())]
    assert all(later - earlier >= 24 for earlier, later in pairwise(tops))


def test_labels_fit_beside_the_bars_even_in_a_wide_font() -> None:
    left = float(_bars(_chart())[0].attrib["x"])
    for contender in CONTENDERS:
        assert len(contender.label) * 14 * WIDEST_CHARACTER < left, contender.label


def test_dark_pages_get_colours_of_their_own() -> None:
    style = _chart().findtext(f"{SVG}style") or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for part in ("text", ".card", ".faint", ".axis", ".whisker", ".bar", ".bar.ours", ".bar.ceiling"):
        assert f"{part} {{" in light or f"{part}, " in light
        assert f"{part} {{" in dark or f"{part}, " in dark


def test_a_chart_of_nothing_is_still_a_chart() -> None:
    assert ET.fromstring(draw("t", "s", [], "f")).tag == f"{SVG}svg"
