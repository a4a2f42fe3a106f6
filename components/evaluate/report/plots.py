"""Small plots as inline SVG: a few shapes, coloured by the style sheet of the report.

They are written by hand and not by a plotting library: the shapes follow the colour scheme and the
width of the reader's screen, take 2 to 6 kB each, and need neither a font cache nor a writable home
in the image. Every text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from markupsafe import Markup

from quatrain.components.wording import counted

Point = tuple[float, float]


@dataclass(frozen=True)
class Axes:
    """A plot area of 480 x 320 units: it maps data to units, and draws shapes.

    Attributes:
        x_range: Lowest and highest x.
        y_range: Lowest and highest y.
        x_label: The title of the x axis.
        y_label: The title of the y axis.
        whole_x: Whether x is always a whole number.
        x_ticks: The places and texts of the ticks of x; None: round numbers.
        lowest_tick: The lowest y that gets a tick; None: the lower end of `y_range`.
        left_margin: The left margin without a title of y.
    """

    x_range: Point
    y_range: Point
    x_label: str
    y_label: str
    whole_x: bool = False
    width: float = 480.0
    height: float = 320.0
    right: float = 14.0
    top: float = 12.0
    bottom: float = 44.0
    x_ticks: Sequence[tuple[float, str]] | None = None
    lowest_tick: float | None = None
    left_margin: float = 4.0

    @property
    def left(self) -> float:
        """The left margin: room for `y_label` and the widest number, at 8 units a character."""
        if not self.y_label:
            return self.left_margin
        return max(60.0, 28.0 + 8.0 * max((len(t) for _, t in self._y_ticks()), default=0))

    def x(self, value: float) -> float:
        """Returns the horizontal place of a value."""
        low, high = self.x_range
        span = self.width - self.left - self.right
        return self.left + (value - low) / ((high - low) or 1.0) * span

    def y(self, value: float) -> float:
        """Returns the vertical place of a value."""
        low, high = self.y_range
        span = self.height - self.top - self.bottom
        return self.height - self.bottom - (value - low) / ((high - low) or 1.0) * span

    def line(self, points: Sequence[Point], css: str) -> str:
        """Returns a line through points."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        return f'<polyline class="{css}" points="{path}"/>'

    def area(self, points: Sequence[Point], css: str) -> str:
        """Returns the area between points and the lower end of y."""
        low = self.y_range[0]
        path = [(points[0][0], low), *points, (points[-1][0], low)]
        corners = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in path)
        return f'<polygon class="{css}" points="{corners}"/>'

    def dot(self, x: float, y: float, css: str, title: str, radius: float = 3.5) -> str:
        """Returns a dot that shows its numbers when the pointer is over it."""
        return (
            f'<circle class="{css}" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius:.1f}">'
            f"<title>{escape(title)}</title></circle>"
        )

    def box(self, low: Point, high: Point, css: str, title: str, opacity: float = 1.0) -> str:
        """Returns a rectangle between two corners."""
        x, y = self.x(low[0]), self.y(high[1])
        width, height = self.x(high[0]) - x, self.y(low[1]) - y
        return (
            f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{max(width - 0.5, 0.5):.1f}" '
            f'height="{max(height, 0.0):.1f}" fill-opacity="{opacity:.2f}">'
            f"<title>{escape(title)}</title></rect>"
        )

    def note(self, x: float, y: float, text: str) -> str:
        """Returns a text that starts at a point."""
        return text_at(self.x(x), self.y(y), text, "note", "start")

    def draw(self, shapes: Sequence[str], description: str) -> Markup:
        """Returns the whole SVG: grid, shapes and axes; screen readers read out the description."""
        body = "".join([*self._grid(), *shapes])
        return Markup(  # noqa: S704  every text in it is escaped above
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(description)}">{body}</svg>'
        )

    def _y_ticks(self) -> list[tuple[float, str]]:
        """Returns the ticks of y, from `lowest_tick` on; none without a title."""
        low, high = self.y_range
        if not self.y_label:
            return []
        return ticks(low if self.lowest_tick is None else self.lowest_tick, high)

    def _grid(self) -> list[str]:
        """Returns the grid lines, the numbers beside them, and the titles of the axes."""
        bottom, left = self.height - self.bottom, self.left
        shapes = []
        for tick, label in self._y_ticks():
            y = self.y(tick)
            shapes.append(f'<path class="grid" d="M{left:g} {y:.1f}H{self.width - self.right:g}"/>')
            shapes.append(text_at(left - 7, y + 4, label, "tick", "end"))
        x_ticks = self.x_ticks
        if x_ticks is None:
            x_ticks = ticks(*self.x_range, whole=self.whole_x)
        for tick, label in x_ticks:
            shapes.append(text_at(self.x(tick), bottom + 17, label, "tick", "middle"))
        middle = (left + self.width - self.right) / 2
        shapes.append(text_at(middle, self.height - 6, self.x_label, "axis", "middle"))
        y = (self.top + bottom) / 2
        shapes.append(
            f'<text class="axis" text-anchor="middle" transform="translate(12 {y:.0f}) '
            f'rotate(-90)">{escape(self.y_label)}</text>'
        )
        return shapes


def ticks(low: float, high: float, whole: bool = False) -> list[tuple[float, str]]:
    """Returns about five round numbers in [low, high] with their texts; integers if `whole`."""
    step = _round_step((high - low) / 5)
    step = max(1.0, math.ceil(step)) if whole else step
    first = math.ceil(low / step - 1e-9)
    values = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    digits = next(d for d in range(12) if d == 11 or abs(step * 10**d % 1) < 1e-6)
    if max(abs(low), abs(high)) >= 1e6:
        return [(v, f"{v:.3g}") for v in values]
    return [(v, f"{v + 0.0:,.{digits}f}") for v in values]


def learning_curve(
    history: Sequence[Mapping[str, Any]], best_epoch: int | None, loss: str
) -> Markup | None:
    """Returns train and validation loss by epoch, the best epoch marked; None without an epoch."""
    train, validation = (
        [(float(h["epoch"]), float(h[key])) for h in history if _is_number(h.get(key))]
        for key in ("loss", "validation_loss")
    )
    points = [*train, *validation]
    if not points:
        return None
    epochs = [x for x, _ in points]
    x_range = (min(epochs), max(max(epochs), min(epochs) + 1))
    axes = Axes(x_range, padded([y for _, y in points]), "epoch", loss, whole_x=True, right=80.0)
    shapes = [axes.line(train, "line other"), axes.line(validation, "line model")]
    shapes += [axes.dot(x, y, "dot other", f"train, epoch {x:g}: {y:.4f}", 2.5) for x, y in train]
    for x, y in validation:
        shapes.append(axes.dot(x, y, "dot model", f"validation, epoch {x:g}: {y:.4f}", 2.5))
        if x == best_epoch:
            shapes.append(axes.dot(x, y, "ring", f"kept: epoch {x:g}, {y:.4f}", 7))
    shapes += _end_labels(axes, {"train": train, "validation": validation})
    return axes.draw(shapes, "Loss of the train and validation splits by epoch")


def roc(points: Sequence[Mapping[str, float]]) -> Markup | None:
    """Returns the ROC curve over the diagonal; None unless both classes occur."""
    if not points:
        return None
    axes = Axes((0, 1), (0, 1), "false positive rate", "true positive rate")
    curve = [(p["false_positive_rate"], p["true_positive_rate"]) for p in points]
    middle = min(points, key=lambda p: abs(p["threshold"] - 0.5))
    x, y = middle["false_positive_rate"], middle["true_positive_rate"]
    title = f"threshold {middle['threshold']:.2f}: {y:.1%} of positives, {x:.1%} of negatives"
    shapes = [
        axes.area(curve, "fill"),
        axes.line([(0, 0), (1, 1)], "line chance"),
        axes.line(curve, "line model"),
        axes.dot(x, y, "ring", title, 5),
        axes.note(*_beside(x, y), "threshold 0.5"),
    ]
    return axes.draw(shapes, "ROC curve of the test rows")


def _beside(x: float, y: float) -> Point:
    """Returns where a note, 0.24 wide, starts: right of a point, inside the unit square."""
    return (x + 0.03, max(y - 0.06, 0.03)) if x <= 0.73 else (0.76, max(y - 0.12, 0.03))


def calibration(bins: Sequence[Mapping[str, float]], x_label: str, y_label: str) -> Markup | None:
    """Returns observed rates against predicted probabilities, with intervals; None without rows."""
    if not bins:
        return None
    axes = Axes((0, 1), (0, 1), x_label, y_label)
    shapes = [axes.line([(0, 0), (1, 1)], "line chance")]
    for b in bins:
        shapes.append(axes.line([(b["score"], b["low"]), (b["score"], b["high"])], "whisker"))
    shapes.append(axes.line([(b["score"], b["rate"]) for b in bins], "line model thin"))
    for b in bins:
        title = f"predicted {b['score']:.1%}, observed {b['rate']:.1%}, {b['share']:.1%} of rows"
        shapes.append(axes.dot(b["score"], b["rate"], "dot model", title))
    return axes.draw(shapes, "Calibration: predicted probability against observed rate")


def residuals(width: float, counts: Sequence[float], label: str) -> Markup:
    """Returns a histogram of prediction - label; the outer bars include the rows beyond."""
    inner = list(counts[1:-1])
    inner[0] += counts[0]
    inner[-1] += counts[-1]
    total = sum(inner) or 1.0
    # Outer bins with less than 0.05 % of the rows would be invisible, so the plot leaves them out.
    visible = [k for k, c in enumerate(inner) if c > 0.0005 * total] or [0, len(inner) - 1]
    reach = max(abs(k + 0.5 - len(inner) / 2) + 1.5 for k in visible)
    half = min(math.ceil(reach), len(inner) // 2)
    shares = inner[len(inner) // 2 - half : len(inner) // 2 + half]
    axes = Axes(
        (-half * width, half * width), (0, max(shares) / total * 1.05), label, "share of rows"
    )
    shapes = []
    for k, c in enumerate(shares):
        low = (k - half) * width
        title = f"{low:,.4g} to {low + width:,.4g}: {c / total:.2%} of rows"
        shapes.append(axes.box((low, 0), (low + width, c / total), "bar", title))
    shapes.append(axes.line([(0, 0), (0, max(shares) / total * 1.05)], "line chance"))
    return axes.draw(shapes, "Histogram of the errors of the predictions")


def predicted_against_actual(low: float, high: float, counts: Sequence[Sequence[float]]) -> Markup:
    """Returns the rows by label and prediction; darker cells hold more rows."""
    axes = Axes((low, high), (low, high), "label", "prediction")
    step = (high - low) / len(counts)
    most = max((c for row in counts for c in row), default=0.0) or 1.0
    shapes = []
    for i, row in enumerate(counts):
        for j, c in enumerate(row):
            if c > 0:
                corner = (low + i * step, low + j * step)
                far = (corner[0] + step, corner[1] + step)
                title = f"label about {corner[0]:,.4g}, prediction about {corner[1]:,.4g}: {c:,.0f}"
                opacity = 0.12 + 0.88 * math.sqrt(c / most)
                shapes.append(axes.box(corner, far, "bar", title, opacity))
    shapes.append(axes.line([(low, low), (high, high)], "line chance"))
    return axes.draw(shapes, "Predictions against labels")


def mean_by_prediction(low: float, high: float, counts: Sequence[Sequence[float]]) -> Markup:
    """Returns the mean label by prediction, from the grid of labels by predictions."""
    axes = Axes((low, high), (low, high), "prediction", "mean label")
    step = (high - low) / len(counts)
    middles = [low + (k + 0.5) * step for k in range(len(counts))]
    columns = list(zip(*counts, strict=True))
    most = max(sum(column) for column in columns) or 1.0
    shapes = [axes.line([(low, low), (high, high)], "line chance")]
    for middle, column in zip(middles, columns, strict=True):
        if n := sum(column):
            mean = sum(m * c for m, c in zip(middles, column, strict=True)) / n
            rows = counted(round(n), "row")
            title = f"prediction about {middle:,.4g}: mean label {mean:,.4g}, {rows}"
            radius = 1.5 + 4 * math.sqrt(n / most)
            shapes.append(axes.dot(middle, mean, "dot model", title, radius))
    return axes.draw(shapes, "Mean label by prediction")


def interval(
    value: float | None, low: float | None, high: float | None, ends: Point, overall: float
) -> Markup:
    """Returns a dot with its interval; a tick marks the value of all rows.

    The lines of a table share one scale. An interval is cut at its ends, and a dot beyond them is
    drawn paler, at the end.
    """
    axes = Axes(ends, (0, 1), "", "", width=160, height=18, right=4, top=0, bottom=0)
    shapes = [axes.line([(overall, 0), (overall, 1)], "line chance")]
    if value is not None:
        if low is not None and high is not None:
            whisker = (_within(low, ends), 0.5), (_within(high, ends), 0.5)
            shapes.append(axes.line(whisker, "whisker"))
        place = _within(value, ends)
        css = "dot model" if place == value else "dot model beyond"
        shapes.append(axes.dot(place, 0.5, css, f"{value:.4f}", 3.5))
    body = "".join(shapes)
    return Markup(f'<svg class="mini" viewBox="0 0 160 18" aria-hidden="true">{body}</svg>')  # noqa: S704


Bins = Sequence[Mapping[str, Any]]
"""The name of each bin, `bin`, and its shares of the rows, `before` and `now`."""


def before_and_now(bins: Bins) -> Markup:
    """Returns the shares of bins in two runs, as pairs of horizontal bars."""
    most = max(max(b["before"], b["now"]) for b in bins) or 1.0
    row, left, right = 26.0, 176.0, 58.0
    height = row * len(bins) + 8
    shapes = []
    for i, b in enumerate(bins):
        top = 4 + i * row
        name = b["bin"] if len(b["bin"]) <= 24 else f"{b['bin'][:23]}…"
        shapes.append(text_at(left - 8, top + row / 2 + 4, name, "tick", "end"))
        title = f"<title>{escape(_tooltip(b))}</title>"
        for key, y, css in (("before", top + 3, "past"), ("now", top + row / 2, "bar")):
            width = (480 - left - right) * b[key] / most
            shapes.append(
                f'<rect class="{css}" x="{left:g}" y="{y:.1f}" width="{max(width, 0.5):.1f}" '
                f'height="{row / 2 - 3:g}">{title}</rect>'
            )
        end = left + (480 - left - right) * max(b["before"], b["now"]) / most
        shapes.append(text_at(end + 6, top + row / 2 + 4, f"{b['now']:.1%}", "tick", "start"))
    body = "".join(shapes)
    return Markup(  # noqa: S704  every text in it is escaped above
        f'<svg viewBox="0 0 480 {height:g}" role="img" aria-label="Shares before and now">'
        f"{body}</svg>"
    )


def before_and_now_small(bins: Bins) -> Markup:
    """Returns the shares of bins in two runs at the height of a line of text.

    The bars are vertical, with this run's in front.
    """
    if not bins:
        return Markup("")
    axes = Axes((0, len(bins)), (0, max(max(b["before"], b["now"]) for b in bins) or 1.0), "", "")
    axes = replace(axes, width=160, height=30, right=4, top=1, bottom=1)
    shapes = []
    for i, b in enumerate(bins):
        shapes.append(axes.box((i + 0.05, 0), (i + 0.95, b["before"]), "past", _tooltip(b)))
        shapes.append(axes.box((i + 0.3, 0), (i + 0.7, b["now"]), "bar", _tooltip(b)))
    body = "".join(shapes)
    return Markup(f'<svg class="mini tall" viewBox="0 0 160 30" aria-hidden="true">{body}</svg>')  # noqa: S704


def _tooltip(b: Mapping[str, Any]) -> str:
    return f"{b['bin']}: {b['before']:.2%} before, {b['now']:.2%} now"


def _end_labels(axes: Axes, lines: Mapping[str, Sequence[Point]]) -> list[str]:
    """Returns the names of lines at their right ends, at least 14 units apart."""
    ends = sorted((axes.y(points[-1][1]), name) for name, points in lines.items() if points)
    shapes, last = [], -math.inf
    for y, name in ends:
        last = max(y, last + 14)
        shapes.append(text_at(axes.width - axes.right + 12, last + 4, name, f"end {name}", "start"))
    return shapes


def text_at(x: float, y: float, text: str, css: str, anchor: str = "middle") -> str:
    """Returns a text at a place in units."""
    return (
        f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _round_step(raw: float) -> float:
    if not raw > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))


def padded(values: Sequence[float]) -> Point:
    """Returns a range around the values, with a margin of 8 % and never empty."""
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _within(value: float, ends: Point) -> float:
    return min(max(value, ends[0]), ends[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
