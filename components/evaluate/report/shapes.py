"""The part of the report that shows how the answers follow the strongest inputs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from quatrain.components.evaluate.report.plots import Axes, padded, text_at

HISTOGRAM_HEIGHT = 0.2
"""The share of a plot's height that the highest bar of its histogram takes."""
MAX_NAME = 24
N_TIMES = 4
DAY_S = 86_400.0


@dataclass(frozen=True)
class Shape:
    """A plot of the answers by the value of one input.

    Attributes:
        name: The input.
        svg: The plot.
        classes: The classes that it shows, if there are several, in the order of their colours.
    """

    name: str
    svg: Markup
    classes: Sequence[str]


def draw(dependence: Sequence[Mapping[str, Any]], label: str) -> Iterator[Shape]:
    """Yields the plot of each entry of `dependence` in metrics.json that has its numbers.

    Args:
        dependence: The entries.
        label: The name of the label.
    """
    for entry in dependence:
        classes, points = entry["classes"], entry["points"]
        if any(mean is None for p in points for mean in p["means"]):
            continue
        title = (
            f"mean probability of {_cut(classes[0])}" if len(classes) == 1 else "mean probability"
        )
        title = title if classes else f"mean prediction of {_cut(label)}"
        plot = _categories if entry["kind"] == "category" else _curve
        yield Shape(entry["input"], plot(entry, title), classes if len(classes) > 1 else ())


def _curve(entry: Mapping[str, Any], title: str) -> Markup:
    """Returns a line, the histogram of the rows, and a dot for the missing value."""
    points, missing = entry["points"], entry["missing"]
    values = [p["value"] for p in points]
    means = [p["means"] for p in points]
    if missing and None in missing["means"]:
        missing = None
    low, high = values[0], values[-1]
    is_time = entry["kind"] == "time"
    y_range = padded([m for ms in [*means, *([missing["means"]] if missing else [])] for m in ms])
    # The histogram stands below the curve, so it takes its room from the lower end.
    bottom = y_range[0] - (y_range[1] - y_range[0]) * HISTOGRAM_HEIGHT / (1 - HISTOGRAM_HEIGHT)
    axes = Axes(
        (low, high),
        (bottom, y_range[1]),
        _cut(entry["input"]),
        title,
        whole_x=all(value == int(value) for value in values),
        right=84.0 if missing else 14.0,
        x_ticks=_time_ticks(low, high) if is_time else None,
        lowest_tick=y_range[0],
    )
    shapes = list(_bars(axes, entry, y_range[0]))
    for k in range(len(means[0])):
        line = [(value, ms[k]) for value, ms in zip(values, means, strict=True)]
        shapes.append(axes.line(line, f"line model k{k}"))
        for value, mean in line:
            shown = _time(value, DAY_S) if is_time else f"{value:,.6g}"
            shapes.append(axes.dot(value, mean, f"dot model k{k}", f"{shown}: {mean:.4g}", 2.5))
    if missing:
        place = high + (high - low) * 58 / (axes.width - axes.left - axes.right)
        shapes.append(text_at(axes.x(place), axes.height - axes.bottom + 17, "missing", "tick"))
        for k, mean in enumerate(missing["means"]):
            text = f"missing in {missing['share']:.1%} of the rows: {mean:.4g}"
            shapes.append(axes.dot(place, mean, f"dot model k{k}", text, 4))
    return axes.draw(shapes, f"{title} by {entry['input']}")


def _bars(axes: Axes, entry: Mapping[str, Any], ceiling: float) -> Iterator[str]:
    """Yields the bars that show where the rows are, below the curve: one a value, or one a bin."""
    (low, high), bottom = axes.x_range, axes.y_range[0]
    shares = entry["shares"] or entry["histogram"]
    width = (high - low) / len(shares)
    starts = [low + k * width for k in range(len(shares))]
    if entry["shares"]:  # centred on their values
        width /= 2
        starts = [p["value"] - width / 2 for p in entry["points"]]
    for start, share in zip(starts, shares, strict=True):
        if share:
            top = bottom + (ceiling - bottom) * 0.9 * share / max(shares)
            text = f"{share:.1%} of the rows"
            yield axes.box((start, bottom), (start + width, top), "past", text)


def _categories(entry: Mapping[str, Any], title: str) -> Markup:
    """Returns a dot for each category on one scale, with its share of the rows."""
    points = entry["points"]
    row, top = 26.0, 8.0
    x_range = padded([mean for p in points for mean in p["means"]])
    widest = 24.0 + 7.5 * max(len(_cut(p["value"] or "(missing)")) for p in points)
    height = top + row * len(points) + 44
    axes = Axes(
        x_range, (0, len(points)), title, "", height=height, top=top, right=76.0, left_margin=widest
    )
    shapes = []
    for k, (point, share) in enumerate(zip(points, entry["shares"], strict=True)):
        y = len(points) - k - 0.5
        name = point["value"] or "(missing)"
        place = axes.y(y) + 4
        shapes.append(text_at(axes.left - 10, place, _cut(name), "tick", "end"))
        shapes.append(
            f'<path class="grid" d="M{axes.left:g} {axes.y(y):.1f}H{axes.width - 76:g}"/>'
        )
        for i, mean in enumerate(point["means"]):
            text = f"{_cut(name)}, {share:.1%} of the rows: {mean:.4g}"
            shapes.append(axes.dot(mean, y, f"dot model k{i}", text, 5))
        shapes.append(text_at(axes.width - 66, place, f"{share:.1%}", "tick", "start"))
    return axes.draw(shapes, f"{title} by {entry['input']}")


def _time_ticks(low: float, high: float) -> list[tuple[float, str]]:
    step = (high - low) / (N_TIMES - 1)
    places = [low + k * step for k in range(N_TIMES)]
    return [(place, _time(place, step)) for place in places]


def _time(seconds: float, step_s: float) -> str:
    """Returns a time to the month, the day or the minute, as the step between two times asks."""
    time = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    if step_s >= 90 * DAY_S:
        return f"{time:%Y-%m}"
    return f"{time:%Y-%m-%d}" if step_s >= DAY_S else f"{time:%m-%d %H:%M}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"
