"""Pictures on record: well-formed, to scale, and whatever names and numbers come."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from aegis_yield.pipelines.svg_pictures import COLOURS, bars_svg, lines_svg

SVG = "{http://www.w3.org/2000/svg}"


def parts(document: str, kind: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(document).findall(f"{SVG}{kind}")


def points(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())]


def test_a_curve_that_falls_is_drawn_falling_and_at_even_distances() -> None:
    [line] = parts(lines_svg("loss", {"scout 1": [2.0, 1.0, 0.5]}), "polyline")
    (x1, y1), (x2, y2), (x3, y3) = points(line)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.11)
    assert y1 < y2 < y3  # down is larger
    assert (y2 - y1) / (y3 - y2) == pytest.approx(2.0, abs=0.02)


def test_what_is_no_number_is_left_out() -> None:
    [line] = parts(
        lines_svg(
            "loss",
            {
                "one": [1.0, math.nan, 0.5],
            },
        ),
        "polyline",
    )
    assert len(points(line)) == 2
    assert "nan" not in bars_svg("x", {"a": {"l": math.nan, "m": 1.5}}, 1.0)


def test_bars_reach_from_the_reference_up_and_down() -> None:
    bars = parts(bars_svg("relMAE", {"7 days": {"lending": 0.8, "staking": 1.4}}, 1.0), "rect")[1:]
    low, high = (float(bar.attrib["height"]) for bar in bars)
    assert high / low == pytest.approx(2.0, abs=0.02)
    below, above = (float(bar.attrib["y"]) for bar in bars)
    assert above + high == pytest.approx(below, abs=0.11)  # both touch the line


def test_more_curves_than_colours_are_told_apart() -> None:
    names = [f"network {number}" for number in range(2 * len(COLOURS))]
    lines = parts(lines_svg("x", {name: [1.0, 2.0] for name in names}), "polyline")
    assert len({(line.attrib["stroke"], line.attrib.get("stroke-dasharray")) for line in lines}) == len(names)


@pytest.mark.parametrize("curves", [{}, {"none": []}, {"one": [1.0]}, {"same": [1.0, 1.0]}, {"<b>&'\"": [1.0, 2.0]}])
def test_odd_input_gives_a_well_formed_picture(curves: dict[str, list[float]]) -> None:
    texts = [part.text for part in parts(lines_svg("<title> & more", curves), "text")]
    assert "<title> & more" in texts
    assert set(curves) <= set(texts)
    parts(bars_svg("x", {name: {"<l>": max(values, default=math.nan)} for name, values in curves.items()}, 1.0), "rect")
