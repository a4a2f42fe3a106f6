"""How well each input alone predicts the label: one that predicts it nearly always is a leak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quatrain.components.preprocess.summary.distinct_sample import MISSING, U64, DistinctSample
from quatrain.trainer.features.base import Input, Task

N_BINS = 64
"""Quantile bins of a number. In so many, a copy of the label explains 1 - 1/64^2 of its ranks."""
LEAST_ERRORS = 20
"""If guessing without inputs makes fewer errors, the share that an input spares is mostly noise."""


def explained_shares(
    task: Task, label_type: str, inputs: Sequence[Input], rows: DistinctSample
) -> dict[str, float] | None:
    """Returns how much of the label each input explains, on rows held out from the fit.

    For a class, that is the share of errors spared by guessing the likeliest class of the input's
    value (Goodman & Kruskal 1954, lambda); for a number, the explained variance of its ranks, which
    no outlier dominates. Half of the sampled rows are fitted to, the other half are measured.

    Args:
        task: What the model predicts: a class or a number.
        label_type: The type of the label.
        inputs: The inputs of the features.
        rows: The sample of rows, `Evidence.sample`.

    Returns:
        The shares by input, best first; a negative one is worse than no input. None if there are
        too few errors to compare.
    """
    label = rows.words[-1]
    if task == "regression":
        # Sorting twice turns numbers into their ranks.
        target = np.argsort(np.argsort(_numbers(label, label_type))).astype(float)
    else:
        target = np.unique(label, return_inverse=True)[1].astype(float)
    is_fitted = np.arange(len(label)) % 2 == 0
    if len(label) < 2:
        return None
    prior = _errors(task, np.zeros(len(label), np.int64), target, is_fitted)
    if prior < LEAST_ERRORS:
        return None
    shares = {}
    for column, input_ in zip(rows.words[:-1], inputs, strict=True):
        ways = _groups(column, input_.type, is_fitted)
        shares[input_.name] = 1 - min(_errors(task, g, target, is_fitted) for g in ways) / prior
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _groups(column: U64, type_: str, is_fitted: np.ndarray) -> Iterator[np.ndarray]:
    """Yields groupings of the rows by a column, `[K] int64` each; missing values form a group.

    Each category is a group. Numbers are grouped twice: by quantiles, which catch a trend, and by
    the nearest fitted value, which catches a threshold exactly, however rare a class is.
    """
    if type_ == "string":
        yield np.unique(column, return_inverse=True)[1]
        return
    values, missing = _numbers(column, type_), column == MISSING
    known = np.unique(values[is_fitted & ~missing])
    if not len(known):
        yield missing.astype(np.int64)
        return
    shares = np.linspace(0, 1, N_BINS + 1)[1:-1]
    quantiles = np.unique(np.quantile(values[is_fitted & ~missing], shares, method="lower"))
    halfway = known[:-1] + np.diff(known) / 2
    for edges in (quantiles, halfway):
        yield np.where(missing, 0, 1 + np.searchsorted(edges, values, side="left"))


def _numbers(column: U64, type_: str) -> np.ndarray:
    bits = np.ascontiguousarray(column)
    return bits.view(np.float64) if type_ == "float" else bits.view(np.int64).astype(np.float64)


def _errors(task: Task, groups: np.ndarray, target: np.ndarray, is_fitted: np.ndarray) -> float:
    """Returns the squared or wrong guesses on the held-out rows, each guessed from its group.

    A group without fitted rows gets the guess of all fitted rows.
    """
    fitted, held_out = groups[is_fitted], groups[~is_fitted]
    n = int(groups.max()) + 1
    rows = np.bincount(fitted, minlength=n)
    if task == "regression":
        sums = np.bincount(fitted, target[is_fitted], minlength=n)
        guess = np.where(rows > 0, sums / np.maximum(rows, 1), target[is_fitted].mean())
        return float(np.sum((target[~is_fitted] - guess[held_out]) ** 2))
    n_classes = int(target.max()) + 1
    classes = target.astype(np.int64)
    table = np.bincount(fitted * n_classes + classes[is_fitted], minlength=n * n_classes)
    table = table.reshape(n, n_classes)
    guess = np.where(rows > 0, table.argmax(axis=1), table.sum(axis=0).argmax())
    return float(np.sum(classes[~is_fitted] != guess[held_out]))
