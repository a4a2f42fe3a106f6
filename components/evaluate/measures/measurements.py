"""What is measured on test rows: `no_rows` is the zero, `measure` takes a batch, `+` merges.

Counts are whole numbers and sums are exact, so any cut of the rows, in any order and on any number
of workers, gives the same metrics to the last bit. `summarize` turns them into metrics.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from quatrain.components.evaluate.measures.classification import Classification, log_losses
from quatrain.components.evaluate.measures.exact_sums import MeanSums
from quatrain.components.evaluate.measures.metrics import MetricEstimate, loss_of
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.evaluate.measures.regression import Regression
from quatrain.components.evaluate.measures.row_sample import RowSample
from quatrain.components.evaluate.measures.worst_rows import WorstRows

N_BINS = 10_000
"""Bins of the histograms of all rows."""
N_BINS_COARSE = 1_000
"""Bins of the histograms of slices and single inputs, which are many in memory at once."""
TOP_INPUTS = 5
"""Single inputs in metrics.json, the best first."""

Statistics = Classification | Regression


def measure(
    reference: Reference,
    labels: np.ndarray,
    outputs: np.ndarray,
    weights: np.ndarray | None = None,
    n_bins: int = N_BINS,
) -> Statistics:
    """Returns the statistics of a batch, from outputs: `[N, C]` probabilities, or `[N]` numbers."""
    if reference.task == "regression":
        return Regression.of(reference, labels, outputs, weights)
    return Classification.of(reference, labels, outputs, weights, n_bins)


def no_rows(reference: Reference, n_bins: int = N_BINS) -> Statistics:
    """Returns the statistics of no rows."""
    if reference.task == "regression":
        return Regression.zero(reference)
    return Classification.zero(reference, n_bins)


def merge(a: Statistics, b: Statistics) -> Statistics:
    """Returns the statistics of both sets of rows, which have the same reference."""
    return a + b  # type: ignore[operator]


@dataclass(frozen=True)
class Skew:
    """The largest difference between raw rows through the serving signature and engineered rows.

    Clients send raw rows, and the model was trained on engineered ones: a difference means that
    training and serving engineer a column in two ways. For a regression the difference is in
    standard deviations of the train labels.

    Attributes:
        rows: Rows compared.
        difference: The largest absolute difference of any output.
        row: Number of the row with that difference in the test split, from 0; the first of several.
        inputs: The raw inputs of that row.
        column: The engineered column of that row that differs most from the transform's output.
    """

    rows: int = 0
    difference: float = 0.0
    row: int = -1
    inputs: Mapping[str, Any] = field(default_factory=dict)
    column: str = ""

    def __add__(self, other: Skew) -> Skew:
        # Of equal differences the first row wins, so the order of merging does not matter.
        mine, theirs = ((s.rows > 0, s.difference, -s.row) for s in (self, other))
        worst = self if mine >= theirs else other
        rows = self.rows + other.rows
        return Skew(rows, worst.difference, worst.row, worst.inputs, worst.column)


@dataclass(frozen=True)
class PairedComparison:
    """A rival of the model on the same rows: champion, boosted trees or train prior; `+` merges.

    Attributes:
        statistics: The rival's own.
        difference: Sums over rows of the model's loss minus the rival's: the log-loss, or the
            squared error. A hard row is hard for both, so the difference varies far less than
            either loss, and its interval is that much narrower.
        loss: With class weights, the sums over rows of the rival's loss. They count in both sums
            and in no metric.
    """

    statistics: Statistics
    difference: MeanSums = field(default_factory=MeanSums)
    loss: MeanSums = field(default_factory=MeanSums)

    @classmethod
    def of(
        cls,
        reference: Reference,
        labels: np.ndarray,
        outputs: np.ndarray,
        rival_outputs: np.ndarray,
        weights: np.ndarray | None = None,
        n_bins: int = N_BINS,
    ) -> PairedComparison:
        """Returns the comparison on a batch, from the outputs of both."""
        ours, theirs = (row_losses(reference, labels, o) for o in (outputs, rival_outputs))
        w = reference.loss_weights(weights, labels)
        measured = measure(reference, labels, rival_outputs, weights, n_bins)
        loss = MeanSums.of(theirs, w) if reference.class_weights else MeanSums()
        return cls(measured, MeanSums.of(ours - theirs, w), loss)

    def __add__(self, other: PairedComparison) -> PairedComparison:
        return PairedComparison(
            merge(self.statistics, other.statistics),
            self.difference + other.difference,
            self.loss + other.loss,
        )

    @property
    def worse(self) -> MetricEstimate:
        """How far the model's loss exceeds the rival's, as a share; below 0 the model is better.

        The loss is the log-loss or RMSE; the interval is that of the paired difference.
        """
        is_squared = isinstance(self.statistics, Regression)
        losses = self.losses
        loss = losses["rival"] if losses else mean_loss(self.statistics)
        return relative_loss(self.difference, loss, is_squared)

    @property
    def losses(self) -> dict[str, float] | None:
        """The mean losses of the model and the rival, with class weights; None without these."""
        if not self.statistics.reference.class_weights:
            return None
        theirs = self.loss.mean
        return {"model": theirs + self.difference.mean, "rival": theirs}


def relative_loss(difference: MeanSums, loss: float, is_squared: bool) -> MetricEstimate:
    """Returns by which share a loss exceeds another one of the same rows, with its interval.

    Args:
        difference: Sums over rows of the loss minus the other one.
        loss: The mean of the other one.
        is_squared: Whether the losses are squared errors, which are compared by their roots.
    """
    if not loss > 0:
        return MetricEstimate(math.nan)
    power = 0.5 if is_squared else 1.0
    ratio = MetricEstimate.normal(1 + difference.mean / loss, difference.error / loss, low=0.0)
    # The root of a ratio of mean squared errors is the ratio of the RMSEs.
    return MetricEstimate(*(v**power - 1 for v in (ratio.value, ratio.low, ratio.high)))


def mean_loss(statistics: Statistics) -> float:
    """Returns the mean of `row_losses`; NaN without rows."""
    if isinstance(statistics, Regression):
        return statistics.squared.mean
    return statistics.loss.mean


def row_losses(reference: Reference, labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Returns the squared error or the log-loss of each row, `[N] float64`."""
    if reference.task == "regression":
        return np.asarray((outputs.astype(np.float64) - labels) ** 2)
    return log_losses(labels, outputs)


@dataclass(frozen=True)
class OpponentComparison:
    """The comparison with the opponent or an earlier model, or why there is none; `+` merges.

    Attributes:
        paired: The comparison on the same rows; None without one.
        why: Why there is none.
        runs: The runs that have recorded its answers which were taken.
    """

    paired: PairedComparison | None = None
    why: str = ""
    runs: frozenset[str] = frozenset()

    def __add__(self, other: OpponentComparison) -> OpponentComparison:
        paired = self.paired + other.paired if self.paired and other.paired else None
        return OpponentComparison(paired, self.why or other.why, self.runs | other.runs)

    def as_json(self) -> dict[str, Any]:
        """Returns the rival as metrics.json has it."""
        if self.why or self.paired is None:
            return {"why": self.why}
        paired = self.paired
        return {"why": "", "metrics": paired.statistics.metrics(), **_compared(paired)}


@dataclass(frozen=True)
class Measurements:
    """Everything that is measured on test rows; `+` merges.

    Attributes:
        overall: The model on all rows.
        trivial: The comparison with the train prior on all rows.
        inputs: The single-input models, by engineered column.
        slices: The model, by slice column and value.
        skew: Raw rows through the serving signature against engineered rows.
        champion: The comparison with the champion on all rows, if there is one.
        champion_error: Why the champion could not be loaded.
        worst: The rows with the largest loss.
        sample: Rows to explain the model with.
        champion_runs: The runs that have recorded answers of the champion which were taken.
        opponent: The comparison with the opponent on all rows.
        best: That with the best earlier model, if the champion is another one.
    """

    overall: Statistics
    trivial: PairedComparison
    inputs: Mapping[str, Statistics]
    slices: Mapping[tuple[str, str], Statistics]
    skew: Skew = Skew()
    champion: PairedComparison | None = None
    champion_error: str = ""
    worst: WorstRows = field(default_factory=WorstRows)
    sample: RowSample = field(default_factory=RowSample)
    champion_runs: frozenset[str] = frozenset()
    opponent: OpponentComparison = OpponentComparison()
    best: OpponentComparison = OpponentComparison()

    def __add__(self, other: Measurements) -> Measurements:
        return Measurements(
            merge(self.overall, other.overall),
            self.trivial + other.trivial,
            _merge_by_key(self.inputs, other.inputs),
            _merge_by_key(self.slices, other.slices),
            self.skew + other.skew,
            self.champion + other.champion if self.champion and other.champion else None,
            self.champion_error or other.champion_error,
            self.worst + other.worst,
            self.sample + other.sample,
            self.champion_runs | other.champion_runs,
            self.opponent + other.opponent,
            self.best + other.best,
        )


def _merge_by_key(a: Mapping[Any, Statistics], b: Mapping[Any, Statistics]) -> dict[Any, Any]:
    return {**a, **b, **{k: merge(a[k], b[k]) for k in a.keys() & b.keys()}}


def summarize(measured: Measurements, columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Returns the measured part of metrics.json: all but the gate and the model's provenance.

    A number that cannot be computed from the rows is None. Slices are sorted, most rows first.

    Args:
        measured: The measurements of all test rows.
        columns: The raw inputs of which each engineered column is made.
    """
    slices = sorted(measured.slices.items(), key=lambda s: (s[0][0], -s[1].rows, s[0][1]))
    summary = {
        "task": measured.overall.reference.task,
        "rows": measured.overall.rows,
        "metrics": measured.overall.metrics(),
        "baseline": _baselines(measured.trivial, measured.inputs, columns),
        "champion": _champion(measured),
        "best": measured.best.as_json() if measured.best.paired or measured.best.why else None,
        "opponent": measured.opponent.as_json(),
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
        "worst_rows": measured.worst.listed(),
        "champion_runs": sorted(measured.champion_runs),
        "best_runs": sorted(measured.best.runs),
        "opponent_runs": sorted(measured.opponent.runs),
    }
    return dict(plain(summary))


def _champion(measured: Measurements) -> dict[str, Any] | None:
    """Returns the champion's metrics, or why it has none, for metrics.json; None without one."""
    if measured.champion_error:
        return {"why": measured.champion_error}
    if measured.champion is None:
        return None
    return {"metrics": measured.champion.statistics.metrics(), **_compared(measured.champion)}


def _compared(paired: PairedComparison) -> dict[str, Any]:
    """Returns how a rival compares with the model, as metrics.json has it."""
    losses = paired.losses
    return {"worse": paired.worse, **({"class_weighted": losses} if losses else {})}


def _baselines(
    trivial: PairedComparison,
    by_input: Mapping[str, Statistics],
    columns: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Returns the trivial baseline, the best single input and the best five.

    `worse` is how far the model's loss exceeds that of the trivial baseline: below 0, if the model
    has learned anything.
    """
    task = trivial.statistics.reference.task

    def loss(name: str) -> tuple[float, str]:
        value = by_input[name].metrics()[loss_of(task)].value
        return (math.inf if math.isnan(value) else value, name)

    best = sorted(by_input, key=loss)[:TOP_INPUTS]
    entries = [
        {"input": name, "from": list(columns[name]), "metrics": by_input[name].metrics()}
        for name in best
    ]
    return {
        "trivial": trivial.statistics.metrics(),
        **_compared(trivial),
        "single_input": entries[0],
        "inputs": entries,
    }


def plain(value: Any) -> Any:
    """Returns a value as JSON: estimates as mappings, numbers that are not finite as None."""
    if isinstance(value, MetricEstimate):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
