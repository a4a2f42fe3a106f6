"""What is measured on test rows: `nothing` is the zero, `measure` takes a batch, `+` merges.

Counts are whole numbers and sums are exact, so any cut, order or number of workers gives the same
metrics to the last bit. `summarize` turns them into metrics.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from quatrain.components.evaluate.measures.classification import Classification, log_losses
from quatrain.components.evaluate.measures.exact_sums import MeanSums
from quatrain.components.evaluate.measures.metrics import Estimate, loss_of
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.evaluate.measures.regression import Regression

N_BINS = 10_000
"""Bins of the scores of all rows."""
N_BINS_COARSE = 1_000
"""Bins for slices and single inputs, of which there are many."""
TOP_INPUTS = 5
"""Single inputs that metrics.json tells of, the best first."""

Statistics = Classification | Regression


def measure(
    reference: Reference,
    labels: np.ndarray,
    outputs: np.ndarray,
    weights: np.ndarray | None = None,
    n_bins: int = N_BINS,
) -> Statistics:
    """Returns the statistics of a batch: outputs are `[N, C]` probabilities, or `[N]` numbers."""
    if reference.task == "regression":
        return Regression.of(reference, labels, outputs, weights)
    return Classification.of(reference, labels, outputs, weights, n_bins)


def nothing(reference: Reference, n_bins: int = N_BINS) -> Statistics:
    """Returns the statistics of no rows."""
    if reference.task == "regression":
        return Regression.zero(reference)
    return Classification.zero(reference, n_bins)


def merge(a: Statistics, b: Statistics) -> Statistics:
    """Returns the statistics of both; they are of one reference, so of one kind."""
    return a + b  # type: ignore[operator]


@dataclass(frozen=True)
class Skew:
    """The largest difference between raw rows through the serving signature and engineered rows.

    For a regression the difference is in deviations of the train labels.

    Attributes:
        rows: Rows compared.
        difference: The largest absolute difference of any output.
        row: Number of its row in the test split, from 0; the first of equal ones.
        inputs: The raw inputs of that row.
        column: The engineered column that differs most there from what the transform gives.
    """

    rows: int = 0
    difference: float = 0.0
    row: int = -1
    inputs: Mapping[str, Any] = field(default_factory=dict)
    column: str = ""

    def __add__(self, other: Skew) -> Skew:
        mine, theirs = ((s.rows > 0, s.difference, -s.row) for s in (self, other))
        worst = self if mine >= theirs else other
        rows = self.rows + other.rows
        return Skew(rows, worst.difference, worst.row, worst.inputs, worst.column)


@dataclass(frozen=True)
class Against:
    """The champion on the same rows; `+` merges.

    Attributes:
        statistics: Its own.
        difference: Sums of the model's loss of a row minus the champion's: the log-loss, or the
            squared error. Most of what chance does to the rows falls on both.
    """

    statistics: Statistics
    difference: MeanSums

    @classmethod
    def of(
        cls,
        reference: Reference,
        labels: np.ndarray,
        outputs: np.ndarray,
        champions: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> Against:
        """Measures a batch by what both models answer."""
        ours, theirs = (_losses(reference, labels, o) for o in (outputs, champions))
        w = reference.units(weights, len(labels)) / reference.unit
        measured = measure(reference, labels, champions, weights)
        return cls(measured, MeanSums.of(ours - theirs, w))

    def __add__(self, other: Against) -> Against:
        return Against(merge(self.statistics, other.statistics), self.difference + other.difference)

    @property
    def worse(self) -> Estimate:
        """By what share of the champion's loss the model's is larger; below 0 it is better.

        The loss is the log-loss or RMSE, and the interval that of the paired difference.
        """
        if isinstance(self.statistics, Regression):
            loss, power = self.statistics.squared.mean, 0.5
        else:
            loss, power = self.statistics.loss.mean, 1.0
        if not loss > 0:
            return Estimate(math.nan)
        mean, error = self.difference.mean / loss, self.difference.error / loss
        found = Estimate.normal(1 + mean, error, low=0.0)
        return Estimate(*(v**power - 1 for v in (found.value, found.low, found.high)))


def _losses(reference: Reference, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    if reference.task == "regression":
        return np.asarray((outputs.astype(np.float64) - labels) ** 2)
    return log_losses(labels, outputs)


@dataclass(frozen=True)
class Measured:
    """Everything that is measured on test rows; `+` merges.

    Attributes:
        overall: The model on all rows.
        trivial: The train prior on all rows.
        inputs: The model of one column, by engineered column.
        slices: The model, by slice column and value.
        skew: The serving signature against the engineered rows.
        champion: The champion on all rows, if there is one to compare with.
    """

    overall: Statistics
    trivial: Statistics
    inputs: Mapping[str, Statistics]
    slices: Mapping[tuple[str, str], Statistics]
    skew: Skew = Skew()
    champion: Against | None = None

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            merge(self.overall, other.overall),
            merge(self.trivial, other.trivial),
            _merge_by_key(self.inputs, other.inputs),
            _merge_by_key(self.slices, other.slices),
            self.skew + other.skew,
            self.champion + other.champion if self.champion and other.champion else None,
        )


def _merge_by_key(a: Mapping[Any, Statistics], b: Mapping[Any, Statistics]) -> dict[Any, Any]:
    return {**a, **b, **{k: merge(a[k], b[k]) for k in a.keys() & b.keys()}}


def summarize(measured: Measured) -> dict[str, Any]:
    """Returns everything in metrics.json that is measured: all but the gate and what made it.

    A number that the rows cannot tell is None. Slices are sorted, most rows first.
    """
    slices = sorted(measured.slices.items(), key=lambda s: (s[0][0], -s[1].rows, s[0][1]))
    summary = {
        "task": measured.overall.reference.task,
        "rows": measured.overall.rows,
        "metrics": measured.overall.metrics(),
        "baseline": _baselines(measured.trivial, measured.inputs),
        "champion": measured.champion
        and {
            "metrics": measured.champion.statistics.metrics(),
            "worse": measured.champion.worse,
        },
        "slices": [
            {"column": column, "value": value, "rows": s.rows, "metrics": s.metrics()}
            for (column, value), s in slices
        ],
        "skew": {
            "rows": measured.skew.rows,
            "max_difference": measured.skew.difference,
            "row": measured.skew.row,
            "inputs": measured.skew.inputs,
            "column": measured.skew.column,
        },
        "curves": measured.overall.curves(),
    }
    plain: dict[str, Any] = _plain(summary)
    return plain


def _baselines(trivial: Statistics, by_input: Mapping[str, Statistics]) -> dict[str, Any]:
    """The trivial baseline, the best single input and the top five."""

    def loss(name: str) -> tuple[float, str]:
        value = by_input[name].metrics()[loss_of(trivial.reference.task)].value
        return (math.inf if math.isnan(value) else value, name)

    best = sorted(by_input, key=loss)[:TOP_INPUTS]
    entries = [{"input": name, "metrics": by_input[name].metrics()} for name in best]
    return {"trivial": trivial.metrics(), "single_input": entries[0], "inputs": entries}


def _plain(value: Any) -> Any:
    """JSON of a value: estimates as mappings, numbers that are not finite as None."""
    if isinstance(value, Estimate):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
