"""The report: one self-contained HTML page, from metrics.json and the other steps' manifests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quatrain.components.candidates import (
    chosen_loss,
    left_out_in_words,
    refit_in_words,
    standing,
)
from quatrain.components.evaluate.gate import FEW_ROWS, show_small
from quatrain.components.evaluate.measures.metrics import METRICS, Metric
from quatrain.components.evaluate.measures.slice_values import OTHER, TOP_VALUES
from quatrain.components.evaluate.report import (
    data_checks,
    heading,
    inputs,
    plots,
    shapes,
    wrong_rows,
)
from quatrain.components.preprocess.raw_sample import MOST_ROWS
from quatrain.components.specification.split import SPLITS
from quatrain.components.wording import counted, plain

NONE = "\N{EN DASH}"
"""Shown in place of a number that could not be computed."""
MAX_CLASSES_SHOWN = 30
"""A larger confusion matrix is left out."""
MAX_URIS = 3
MAX_TEXT = 400
"""Characters of a sample row or of a category that are shown."""
STOPPED = {
    "epochs": "after all its epochs",
    "early_stopping": "early, when the validation loss no longer fell",
    "max_steps": "at its step limit",
    "max_seconds": "at its time limit",
}
LEARNERS = {"tabm": "the network", "linear": "the linear network", "trees": "the trees"}
"""What a learning curve is of, by the part of the model that trained."""
TABLE_METRICS = {
    "binary": ("auc", "log_loss", "accuracy"),
    "multiclass": ("accuracy", "log_loss", "macro_f1"),
    "regression": ("rmse", "mae", "mean_error"),
}
"""The metrics in the tables of slices and single inputs; the first one sorts the slices."""


def render(
    metrics: Mapping[str, Any],
    manifest: Mapping[str, Any],
    model: Mapping[str, Any],
    spec: Mapping[str, Any],
    *,
    audit: Sequence[Mapping[str, Any]] = (),
    drift: Mapping[str, Any] | None = None,
) -> str:
    """Returns the report as an HTML page.

    Args:
        metrics: metrics.json.
        manifest: manifest.json of the examples.
        model: metadata.json of the model.
        spec: The spec, as a document.
        audit: The checks of the splits in statistics.json.
        drift: drift.json; None without one.
    """
    environment = Environment(
        loader=PackageLoader("quatrain.components.evaluate.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    strongest = inputs.strongest(metrics["importance"])
    input_lines, zero = inputs.lines(metrics["importance"])
    environment.filters.update(
        number=show_number,
        share=_share,
        count=_count,
        small=show_small,
        short=_short,
        seconds="{:,.1f}".format,
        standing=standing,
        left_out=left_out_in_words,
        refit=refit_in_words,
    )
    page = environment.get_template("report.html.j2").render(
        metrics=metrics,
        verdict=heading.verdict(metrics),
        quick=heading.quick(metrics),
        release=heading.release(metrics, spec),
        changed=list(heading.sections(metrics["changes"])),
        changed_metrics=list(heading.metric_changes(metrics["changes"], metrics["task"])),
        manifest=manifest,
        model=model,
        table=list(_metric_rows(metrics)),
        champion=metrics["champion"] if is_compared(metrics) else None,
        opponent_rows=MOST_ROWS,
        audit=data_checks.audit_rows(audit),
        drift=drift,
        drifts=list(data_checks.run_drifts(drift)) if drift else [],
        measures=data_checks.MEASURES,
        split_bar=list(_split_bar(manifest["rows"])),
        reasons=sorted(manifest["reasons"].items(), key=lambda r: (-r[1]["rows"], r[0])),
        stopped=STOPPED.get(model["stopped"], model["stopped"]),
        training=_training(model),
        seconds=max((h["seconds"] for h in model["history"]), default=0),
        figures=list(_figures(metrics, model)),
        confusion=_confusion(metrics),
        slices=list(_slices(metrics)),
        top_values=TOP_VALUES,
        other=OTHER,
        source=_source(metrics["run"]["data"]["uri"]),
        table_metrics=_table_metrics(metrics["task"]),
        spec_yaml=yaml.safe_dump(dict(spec), sort_keys=False, allow_unicode=True),
        versions=heading.versions(metrics),
        few_rows=FEW_ROWS,
        quotes_rows=bool(spec["evaluate"]["report_rows"]),
        wrong_lines=[wrong_rows.line(row, strongest) for row in metrics["worst_rows"]],
        strongest=strongest,
        input_lines=input_lines,
        zero=zero,
        n_inputs=inputs.N_INPUTS,
        shapes=list(shapes.draw(metrics["dependence"], metrics["label"])),
    )
    return plain(page)  # a mark in a class would turn the text around it


def _training(model: Mapping[str, Any]) -> dict[str, str]:
    """Returns how long a model was trained, and its best epoch or round, as the page shows them."""
    if model.get("model", {}).get("kind") == "trees":  # an epoch of their history is ten rounds
        best = model["history"][model["best_epoch"] - 1]["step"]
        rounds = counted(model["steps"], "round")
        return {"length": rounds, "steps": "of boosting", "best": f"{best:,} of {rounds}"}
    return {
        "length": counted(model["epochs"], "epoch"),
        "steps": counted(model["steps"], "step"),
        "best": f"epoch {model['best_epoch']} of {model['epochs']}"
        + (" of the network" if model.get("model", {}).get("kind") == "blend" else ""),
    }


@dataclass(frozen=True)
class MetricRow:
    """A line of the table of metrics: the model, and what it is compared with, left to right."""

    metric: Metric
    model: Mapping[str, Any]
    others: Sequence[float | None]
    gate: Sequence[Mapping[str, Any]]

    @property
    def values(self) -> list[float | None]:
        """The numbers that stand side by side in the line."""
        return [*(self.model[key] for key in ("value", "low", "high")), *self.others]

    def is_ahead(self, baseline: float | None) -> bool:
        """Returns whether a baseline is better than the model."""
        model = self.model["value"]
        if model is None or baseline is None:
            return False
        if self.metric.better == "higher":
            return bool(baseline > model)
        if self.metric.better == "lower":
            return bool(baseline < model)
        return abs(baseline) < abs(model)

    def is_near(self, baseline: float) -> bool:
        """Returns whether a baseline lies in the model's interval, so other rows may reverse it."""
        low, high = self.model["low"], self.model["high"]
        return low is not None and high is not None and bool(low <= baseline <= high)


@dataclass(frozen=True)
class Figure:
    """A plot with its title and a caption on how to read it."""

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class SliceRow:
    """A line of the table of slices."""

    value: str
    rows: int
    metrics: Mapping[str, Any]
    is_small: bool
    is_worse: bool
    interval: Markup


def show_number(
    value: float | None, metric: Metric | None = None, row: Sequence[float | None] = ()
) -> str:
    """Returns a number with four decimals, or with one from 100 on; a dash for None.

    All numbers of a row have as many decimals: one if the largest is from 100 on and none, apart
    from 0, is below 10.

    A metric whose higher values are better is at most 1, so a value that vanishes in four decimals
    is shown as zero. A small loss is shown with its exponent.
    """
    if value is None:
        return NONE
    if metric is not None and metric.better == "higher" and abs(value) < 5e-5:
        return f"{0:.4f}"
    if value and not 5e-5 <= abs(value) < 1e7:
        return f"{value:.3g}"
    sizes = [abs(v) for v in (value, *row) if v]
    return f"{value:,.1f}" if sizes and max(sizes) >= 100 and min(sizes) >= 10 else f"{value:,.4f}"


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.1%}"


def _source(uris: str | Sequence[str]) -> str:
    uris = [uris] if isinstance(uris, str) else list(uris)
    rest = f" and {len(uris) - MAX_URIS:,} more" if len(uris) > MAX_URIS else ""
    return ", ".join(uris[:MAX_URIS]) + rest


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _table_metrics(task: str) -> list[Metric]:
    return [next(m for m in METRICS[task] if m.name == name) for name in TABLE_METRICS[task]]


def _metric_rows(metrics: Mapping[str, Any]) -> Iterator[MetricRow]:
    """Yields a line of the table of metrics for each metric of the task."""
    baseline = metrics["baseline"]
    others = [baseline["single_input"]["metrics"], baseline["trivial"]]
    if not metrics["opponent"]["why"]:
        others.insert(0, metrics["opponent"]["metrics"])
    if is_compared(metrics):
        others.insert(0, metrics["champion"]["metrics"])
    for metric in METRICS[metrics["task"]]:
        yield MetricRow(
            metric,
            metrics["metrics"][metric.name],
            [other[metric.name]["value"] for other in others],
            [c for c in metrics["gate"]["checks"] if c["metric"] == metric.name],
        )


def is_compared(metrics: Mapping[str, Any]) -> bool:
    """Returns whether the champion has answered the same rows."""
    return bool(metrics["champion"]) and not metrics["champion"]["why"]


def _split_bar(counts: Mapping[str, int]) -> Iterator[tuple[str, int, float]]:
    for name in (*SPLITS, "rejected"):
        yield name, counts[name], counts[name] / max(counts["read"], 1)


def _figures(metrics: Mapping[str, Any], model: Mapping[str, Any]) -> Iterator[Figure]:
    """Yields the plots of the report: the learning curve, then those of the task."""
    curves = metrics["curves"]
    figures = [
        _learning_curve(model),
        *(_regression(curves) if metrics["task"] == "regression" else _classifier(metrics)),
    ]
    for title, svg, caption in figures:
        if svg is not None:
            yield Figure(title, svg, caption)


def _learning_curve(model: Mapping[str, Any]) -> tuple[str, Markup | None, str]:
    """Returns title, plot and caption of the learning curve: of a blend, the network's."""
    loss = "squared error" if model["task"] == "regression" else "log-loss"
    described = model.get("model")  # a user's own trainer may not write it
    part = LEARNERS.get(next(iter(described["shares"])), "") if described else ""
    of_part = f" of {part}" if part else ""
    epoch = " (ten rounds)" if part == LEARNERS["trees"] else ""
    caption = (
        f"Mean {loss}{of_part} by epoch{epoch}; lower is better. The ring marks the epoch that "
        f"was kept."
    )
    if described:
        kind, shares = described["kind"], list(described["shares"].values())
        subject = "The model itself"
        if len(shares) > 1:
            subject = f"{part[0].upper()}{part[1:]} has {shares[0]:.1%} of the {kind}, which itself"
        reached = show_number(chosen_loss(described))
        caption += f" {subject} reached {reached} on the validation rows."
    plot = plots.learning_curve(model["history"], model["best_epoch"], f"mean {loss}")
    return f"Learning curve{of_part}", plot, caption


def _classifier(metrics: Mapping[str, Any]) -> list[tuple[str, Markup | None, str]]:
    """Returns title, plot and caption of a classifier's figures; a plot without rows is None."""
    curves, classes = metrics["curves"], metrics["classes"]
    caption = "A model on the dashed line is perfectly calibrated. "
    bars = "Bars are 95 % intervals; each dot holds about 5 % of the rows."
    if metrics["task"] == "multiclass":
        labels = ("probability of the likeliest class", "share that is right")
        svg = plots.calibration(curves["calibration"], *labels)
        return [("Calibration", svg, caption + bars)]
    labels = (f"predicted probability of {classes[1]}", "observed share")
    area = show_number(metrics["metrics"]["auc"]["value"])
    return [
        (
            "ROC",
            plots.roc(curves["roc"]),
            f"The area under the curve is {area}. Guessing follows the dashed line.",
        ),
        (
            "Calibration",
            plots.calibration(curves["calibration"], *labels),
            caption + bars,
        ),
    ]


def _regression(curves: Mapping[str, Any]) -> list[tuple[str, Markup | None, str]]:
    """Returns title, plot and caption of a regression's figures."""
    grid, errors = curves["grid"], curves["residuals"]
    return [
        (
            "Predictions against labels",
            plots.predicted_against_actual(grid["low"], grid["high"], grid["counts"]),
            "Predictions on the dashed line are right. Darker cells hold more rows; rows beyond "
            "three deviations are counted at the border.",
        ),
        (
            "Calibration",
            plots.mean_by_prediction(grid["low"], grid["high"], grid["counts"]),
            "Mean label of the rows by prediction. On the dashed line predictions are right on "
            "average. Larger dots hold more rows.",
        ),
        (
            "Errors",
            plots.residuals(errors["width"], errors["counts"], "prediction - label"),
            "The errors of a good model lie close to zero on both sides.",
        ),
    ]


def _confusion(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of the confusion matrix, each cell with its share of the row.

    Empty for a regression, and beyond `MAX_CLASSES_SHOWN` classes.
    """
    classes = metrics["classes"]
    if not 2 <= len(classes) <= MAX_CLASSES_SHOWN:
        return []
    matrix = []
    for label, counts in zip(classes, metrics["curves"]["confusion"], strict=True):
        total = sum(counts)
        cells = [
            {"count": c, "share": c / total if total else 0.0, "right": name == label}
            for name, c in zip(classes, counts, strict=True)
        ]
        matrix.append({"label": label, "total": total, "cells": cells})
    return matrix


def _slices(metrics: Mapping[str, Any]) -> Iterator[tuple[str, list[SliceRow]]]:
    """Yields the slices of each column, worst first; small slices come last."""
    metric = _table_metrics(metrics["task"])[0]
    overall = metrics["metrics"][metric.name]["value"]
    for column in dict.fromkeys(s["column"] for s in metrics["slices"]):
        slices = [s for s in metrics["slices"] if s["column"] == column]
        ends = _ends([(s["metrics"][metric.name], s["rows"]) for s in slices], overall)
        sign = 1 if metric.better == "higher" else -1
        lines = [_slice_row(s, metric, overall, ends) for s in slices]
        yield column, sorted(lines, key=lambda r: _badness(r, metric, sign))


def _ends(estimates: Sequence[tuple[Mapping[str, Any], int]], overall: float | None) -> plots.Point:
    """Returns the ends of a scale for the intervals.

    The scale covers the large slices only, since a small slice with a wide interval would squeeze
    all others into a few pixels. If the large ones span nothing, it covers all slices.
    """
    for min_rows in (FEW_ROWS, 0):
        large = [e for e, n in estimates if n >= min_rows]
        known = {v for e in large for v in e.values() if v is not None}
        if len(known) > 1:
            break
    return plots.padded([*known, *([] if overall is None else [overall])] or [0.0])


def _slice_row(
    measured: Mapping[str, Any], metric: Metric, overall: float | None, ends: plots.Point
) -> SliceRow:
    """Returns the line of a slice; it is worse only when its whole interval is."""
    estimate = measured["metrics"][metric.name]
    best = estimate["high"] if metric.better == "higher" else estimate["low"]
    is_worse = best is not None and overall is not None
    is_worse = is_worse and (best < overall if metric.better == "higher" else best > overall)
    is_small = measured["rows"] < FEW_ROWS
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    return SliceRow(
        measured["value"],
        measured["rows"],
        measured["metrics"],
        is_small,
        is_worse and not is_small,
        plots.interval(value, low, high, ends, ends[0] if overall is None else overall),
    )


def _badness(row: SliceRow, metric: Metric, sign: int) -> tuple[bool, float]:
    value = row.metrics[metric.name]["value"]
    return (row.is_small or value is None, sign * (value if value is not None else math.inf))
