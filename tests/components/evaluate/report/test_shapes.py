from __future__ import annotations

import re
from typing import Any

import pytest

from quatrain.components.evaluate.report.shapes import Shape, draw

HOSTILE = "<script>alert('x')</script>"
DAY_S = 86_400.0


def entry(kind: str, *points: tuple[Any, list[float]], **changes: Any) -> dict[str, Any]:
    """A shape as metrics.json lists it."""
    return {
        "input": "x",
        "kind": kind,
        "classes": ["yes"],
        "rows": 500,
        "points": [{"value": value, "means": means} for value, means in points],
        "shares": [1 / len(points)] * len(points),
        "histogram": [],
        "missing": None,
        **changes,
    }


def drawn(shape: dict[str, Any]) -> Shape:
    """The plot of an entry."""
    (plot,) = draw([shape], "price")
    return plot


def titles(shape: Shape) -> list[str]:
    """The numbers that the pointer shows."""
    return re.findall(r"<title>([^<]*)</title>", shape.svg)


def test_a_number_is_a_line_over_the_bars_of_its_rows() -> None:
    shape = drawn(
        entry("number", (1.0, [0.25]), (2.0, [0.5]), (4.0, [0.75]), shares=[0.5, 0.3, 0.2])
    )
    assert titles(shape) == [
        "50.0% of the rows",
        "30.0% of the rows",
        "20.0% of the rows",
        "1: 0.25",
        "2: 0.5",
        "4: 0.75",
    ]
    (line,) = re.findall(r'class="line model k0" points="([^"]*)"', shape.svg)
    (x1, y1), (x2, y2), (x3, y3) = (map(float, p.split(",")) for p in line.split())
    assert x3 - x2 == pytest.approx(2 * (x2 - x1), abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    bars = [float(h) for h in re.findall(r'<rect class="past"[^>]* height="([\d.]+)"', shape.svg)]
    assert bars == pytest.approx([bars[0], bars[0] * 0.6, bars[0] * 0.4], abs=0.2)
    assert "mean probability of yes" in shape.svg


def test_the_missing_value_is_a_dot_beside_the_line() -> None:
    missing = {"share": 0.25, "means": [0.9]}
    shape = drawn(entry("number", (1.0, [0.25]), (2.0, [0.5]), missing=missing))
    assert titles(shape)[-1] == "missing in 25.0% of the rows: 0.9"
    assert ">missing</text>" in shape.svg


def test_a_time_has_dates_below_it() -> None:
    points = [(k * 365 * DAY_S, [float(k)]) for k in range(10)]
    shape = drawn(entry("time", *points, classes=[], shares=None, histogram=[0.5, 0.0, 0.5]))
    assert [t for t in ("1970-01", "1972-12", "1975-12", "1978-12") if f">{t}</text>" in shape.svg]
    assert titles(shape)[:3] == ["50.0% of the rows", "50.0% of the rows", "1970-01-01: 0"]
    assert "mean prediction of price" in shape.svg


def test_categories_are_named_with_their_share_of_the_rows() -> None:
    points = [(HOSTILE, [0.2, 0.8]), ("", [0.4, 0.6])]
    shape = drawn(entry("category", *points, classes=[HOSTILE, "b"], shares=[0.7, 0.1]))
    assert "<script" not in shape.svg
    assert "(missing)" in shape.svg
    assert "70.0%" in shape.svg
    assert len(re.findall(r'class="dot model k1"', shape.svg)) == 2
    assert shape.classes == [HOSTILE, "b"]


def test_a_shape_without_numbers_is_not_drawn() -> None:
    assert list(draw([entry("number", (1.0, [None]), (2.0, [0.5]))], "y")) == []
