from xml.etree import ElementTree as ET

from loadtests.benchmark.chart import WIDTH
from loadtests.journeys.curve import Curve, Panel, draw
from loadtests.journeys.pictures import to_svg
from tests.unit.loadtests.journey_runs import figures, finished, phase, times

SVG = "{http://www.w3.org/2000/svg}"
PANELS = [
    Panel("answers", [Curve("answered", [10.0, 20.0, 20.0])]),
    Panel(
        "p95",
        [Curve("a & b", [1.0, 10.0, 100.0]), Curve("c", [0.0, 10.0, 100.0])],
        logarithmic=True,
        bounds=[(50.0, "a bound")],
    ),
]


def _chart() -> ET.Element:
    return ET.fromstring(draw("Title", "what", [100, 200, 400], PANELS, (200, "knee: 200 users"), "where"))


def _points(chart: ET.Element) -> list[list[tuple[float, float]]]:
    lines = [one.attrib["points"].split() for one in chart.iter(f"{SVG}polyline")]
    return [[(float(point.split(",")[0]), float(point.split(",")[1])) for point in line] for line in lines]


def test_curves_say_what_they_are_and_where_the_knee_is() -> None:
    texts = [one.text for one in _chart().iter(f"{SVG}text")]
    assert {"Title", "what", "answers", "p95", "answered", "a & b", "a bound", "knee: 200 users", "where"} <= set(
        texts
    )


def test_points_lie_where_their_values_are() -> None:
    straight, logarithmic, _ = _points(_chart())
    (x1, y1), (x2, y2), (x3, y3) = straight
    assert round((x3 - x2) / (x2 - x1), 2) == 2.0
    assert y1 > y2 == y3
    (_, one), (_, ten), (_, hundred) = logarithmic
    assert abs((one - ten) - (ten - hundred)) < 0.2


def test_nothing_is_drawn_outside_the_card() -> None:
    chart = _chart()
    height = float(chart.attrib["height"])
    for points in _points(chart):
        assert all(0 < x < WIDTH and 0 < y < height for x, y in points)
    for one in chart.iter():
        places = {name: float(one.attrib[name]) for name in ("x", "x1", "x2", "y", "y1", "y2") if name in one.attrib}
        assert all(0 <= place <= (WIDTH if name[0] == "x" else height) for name, place in places.items())


def test_names_of_curves_that_end_together_do_not_overlap() -> None:
    named = {one.text: float(one.attrib["y"]) for one in _chart().iter(f"{SVG}text")}
    assert abs(named["a & b"] - named["c"]) >= 16


def test_a_run_is_bars_and_a_sweep_is_curves() -> None:
    run = ET.fromstring(to_svg(finished(figures())))
    assert {"login", "call"} <= {one.text for one in run.iter(f"{SVG}text")}
    phases = {"100": phase(), "200": phase(login=times(p95=900.0))}
    sweep = ET.fromstring(to_svg(finished(figures(**phases), 100, 200)))
    assert len(_points(sweep)) == 3
    assert "knee: 100 users" in {one.text for one in sweep.iter(f"{SVG}text")}
