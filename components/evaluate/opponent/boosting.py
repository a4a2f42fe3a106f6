"""Fits the opponent: LightGBM's defaults, stopped by the validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from quatrain.components.evaluate.opponent.rows import Rows
from quatrain.trainer.boosted.start import probabilities, start_rows, start_scores
from quatrain.trainer.importing import unnamed, without

if TYPE_CHECKING:
    import lightgbm

ROUNDS_A_LOOK = 5
"""Rounds between two looks at the validation loss."""
PATIENCE, PATIENCE_OF_CLASSES = 20, 10
"""Rounds without a better validation loss after which boosting stops; the latter with a tree for
each of several classes. With 50, seven tables ended with the same loss or within 0.6 % of it, for
1.3 to 2.5 times the CPU."""
TRIAL_ROUNDS = 10
"""Rounds after which the best of the forms goes on."""
MOST_ROUNDS, LEAST_ROUNDS = 1_000, 30
MOST_TREES = 2_000
"""Trees of all classes: with many classes there are fewer rounds, but `LEAST_ROUNDS`."""
LARGE_TABLE, LARGE_RATE = 100_000, 0.15
"""From this many train rows on, the learning rate is higher: 195,000 flights then cost 4.6 CPU-s,
not 11, for a log-loss of 0.2799, not 0.2789."""
MOST_WORK = 3e9
"""Values of the train rows times trees; the widest sample takes 150 rounds."""
WIDE, WIDE_BINS = 500, 63
"""With more columns, a tree looks at about this many of them, drawn at random, in fewer bins."""
PARAMETERS: dict[str, Any] = {
    "learning_rate": 0.1,  # LightGBM's default, as is all that is not named here
    "seed": 0,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
_TASKS = {
    "binary": {"objective": "binary", "metric": "binary_logloss"},
    "multiclass": {"objective": "multiclass", "metric": "multi_logloss"},
    "regression": {"objective": "regression", "metric": "l2"},
}
_LIMITS: tuple[Mapping[str, Any], ...] = (
    {},
    {"min_data_per_group": 20, "cat_smooth": 5.0, "cat_l2": 5.0},
    {"min_data_per_group": 5, "cat_smooth": 1.0, "cat_l2": 1.0},
)
"""The forms for categories: LightGBM's limits (100, 10, 10), and two where rare levels count.

On 10,000 loans with 32 grades they end at an RMSE of 0.193, 0.121 and 0.071, on pets of 328 breeds
at a log-loss of 0.075, 0.024 and 0.029, and on customers in 51 states at 0.145, 0.146 and 0.161.
"""
MOST_BINS = 255
"""Bins of a number, LightGBM's default; a column has a bin for each of its categories.

With 255, LightGBM would merge the rarest of the 328 breeds, and choose a form with 0.066.
"""
FEW_ROWS, FEW_BINS = 10_000, 63
"""With fewer train rows, a number has fewer bins: a tree of 2,400 rows then takes less than half
the time. The log-loss of 10 classes is 1.56, not 1.53 (by 300 rows), of 5 classes .344, not .345.
"""


@dataclass(frozen=True)
class Trees:
    """Fitted trees.

    Attributes:
        text: LightGBM's text of them.
        task: binary, multiclass or regression.
        mean: Weighted mean of a regression's train labels.
        scale: Their standard deviation.
        start: The scores from which boosting started, which are in no tree; None: in the first.
    """

    text: str
    task: str
    mean: float = 0.0
    scale: float = 1.0
    start: np.ndarray | None = None

    def answer(self, booster: lightgbm.Booster, columns: np.ndarray) -> np.ndarray:
        """Returns `[N, C] float32` probabilities or `[N] float32` predictions.

        Args:
            booster: What `load` returned.
            columns: `[N, F] float64`.
        """
        raw = self.start is not None
        values = np.asarray(booster.predict(columns, num_threads=1, raw_score=raw))
        if self.start is not None:
            values = probabilities(values, self.start)
        if self.task == "regression":
            values = values * self.scale + self.mean
        elif self.task == "binary":
            values = np.stack([1.0 - values, values], axis=1)
        return np.asarray(values, np.float32)

    def load(self) -> lightgbm.Booster:
        """Returns LightGBM's model."""
        return _lightgbm().Booster(model_str=self.text)


def fit_trees(train: Rows, validation: Rows, task: str, n_classes: int, n_numbers: int) -> Trees:
    """Fits trees until the validation loss stops falling.

    Args:
        train: The rows to learn from.
        validation: The rows that decide when to stop, and which limits for categories to take.
        task: binary, multiclass or regression.
        n_classes: Number of classes; 0 for a regression.
        n_numbers: Columns that are numbers; those after them are categories.

    Raises:
        ImportError, OSError: LightGBM is not installed, or lacks a library of the system.
        LightGBMError: LightGBM refuses the rows; `lightgbm_error` returns the class.
    """
    mean, scale = 0.0, 1.0
    if task == "regression":
        labels = train.labels.astype(np.float64)
        mean = float(np.average(labels, weights=train.weights))
        scale = float(np.average((labels - mean) ** 2, weights=train.weights)) ** 0.5 or 1.0
    n_columns = train.columns.shape[1]
    forms = _LIMITS if n_numbers < n_columns else _LIMITS[:1]
    units = n_classes if task == "multiclass" else 1
    bins = WIDE_BINS if n_columns > WIDE else MOST_BINS
    bins = min(bins, FEW_BINS) if len(train.labels) < FEW_ROWS else bins
    parameters = {
        **PARAMETERS,
        **_TASKS[task],
        **({"learning_rate": LARGE_RATE} if len(train.labels) >= LARGE_TABLE else {}),
        "num_class": units,
        "feature_fraction": min(1.0, WIDE / n_columns),
        "max_bin_by_feature": [bins] * n_numbers + _level_bins(train.columns[:, n_numbers:], bins),
    }
    rounds = _most_rounds(train.columns.size, units)
    start = start_scores(train.labels, train.weights, n_classes)
    binning = _Binning(parameters, list(range(n_numbers, n_columns)), (mean, scale), start)
    rows = binning.dataset(train)
    validation_rows = binning.dataset(validation, reference=rows)
    patience = PATIENCE_OF_CLASSES if task == "multiclass" else PATIENCE
    runs = [_Run({**parameters, **form}, rows, validation_rows, patience) for form in forms]
    for run in runs:
        run.grow(TRIAL_ROUNDS if len(runs) > 1 else rounds)
    best = min(runs, key=lambda run: run.best_loss)
    best.grow(rounds)
    text = best.booster.model_to_string(num_iteration=max(1, best.best_round))
    return Trees(text, task, mean, scale, start)


def lightgbm_error() -> type[Exception]:
    """Returns the class of LightGBM's errors."""
    error: type[Exception] = _lightgbm().basic.LightGBMError
    return error


def _level_bins(categories: np.ndarray, least: int) -> list[int]:
    """Returns the bins of columns of codes, `[N, K] float64`: one for each code, or more."""
    levels = np.nanmax(categories, axis=0, initial=0.0) + 3  # from 0 on, and for missing ones
    return [max(least, int(n)) for n in levels]


def _most_rounds(n_values: int, units: int) -> int:
    """Returns the bound on rounds, so that the opponent stays cheap beside the model.

    Args:
        n_values: Values of the train rows.
        units: Trees of a round.
    """
    most = min(MOST_ROUNDS, MOST_TREES // units, int(MOST_WORK / (n_values * units)))
    return max(LEAST_ROUNDS, most)


@dataclass(frozen=True, eq=False)
class _Binning:
    """How rows become LightGBM's datasets, once for all forms, which bin alike.

    Attributes:
        parameters: LightGBM's parameters.
        categories: The places of the columns that are categories.
        unit: Mean and scale of the labels.
        start: The scores from which boosting starts; None: LightGBM's own.
    """

    parameters: Mapping[str, Any]
    categories: list[int]
    unit: tuple[float, float]
    start: np.ndarray | None

    def dataset(self, rows: Rows, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        """Returns rows in bins: their own, or those of other rows."""
        # As float32, LightGBM would round a label with a large mean.
        labels = (rows.labels.astype(np.float64) - self.unit[0]) / self.unit[1]
        return _lightgbm().Dataset(
            rows.columns,
            labels,
            weight=_scaled(rows.weights),
            init_score=start_rows(self.start, len(labels)),
            reference=reference,
            categorical_feature=self.categories,
            params=dict(self.parameters),
        )


class _Run:
    """A booster that grows until the validation loss stops falling.

    Attributes:
        booster: LightGBM's booster.
        best_loss: The lowest validation loss so far.
        best_round: The number of rounds with that loss.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        train: lightgbm.Dataset,
        validation: lightgbm.Dataset,
        patience: int,
    ) -> None:
        self.booster: lightgbm.Booster = _lightgbm().Booster(dict(parameters), train)
        self.booster.add_valid(validation, "validation")
        self.best_loss, self.best_round = np.inf, 0
        self._patience, self._is_finished = patience, False

    def grow(self, rounds: int) -> None:
        """Grows to a number of rounds, unless the loss stops falling before."""
        while not self._is_finished and self.booster.current_iteration() < rounds:
            self._is_finished = self.booster.update()
            done = self.booster.current_iteration()
            if self._is_finished or done % ROUNDS_A_LOOK == 0 or done == rounds:
                self._look(done)

    def _look(self, done: int) -> None:
        loss = self.booster.eval_valid()[0][2]
        if loss < self.best_loss:
            self.best_loss, self.best_round = loss, done
        if done - self.best_round >= self._patience:
            self._is_finished = True


def _scaled(weights: np.ndarray | None) -> np.ndarray | None:
    """Returns weights with mean 1, so that a leaf's least weight does not depend on their unit."""
    return None if weights is None else weights / weights.mean()


@cache
def _lightgbm() -> Any:
    """Imports LightGBM, which imports scipy, when it is first needed."""
    with without(unnamed()):
        import lightgbm
    return lightgbm
