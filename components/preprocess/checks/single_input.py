"""How well each input alone tells the label: one that tells nearly all of it is a leak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quatrain.components.preprocess.summary.distinct_sample import MISSING, U64, DistinctSample
from quatrain.trainer.features.base import Input, Task

N_BINS = 64
"""Quantile bins of a number: a copy of the label still explains 1 - 1/64^2 of its ranks."""
LEAST_ERRORS = 20
"""Errors of guessing without an input that it takes to say how many of them an input spares."""


def explained(
    task: Task, label_type: str, inputs: Sequence[Input], rows: DistinctSample
) -> dict[str, float] | None:
    """Returns the share of the label that each input explains on rows it was not learned from.

    Of a class it is the share of errors that the likeliest class of the input's value spares
    (Goodman & Kruskal 1954, lambda); of a number the explained variance of its ranks. One half of
    the sampled rows teaches, the other one is measured.

    Args:
        task: What the model predicts: a class or a number.
        label_type: The type of the label.
        inputs: The inputs of the features.
        rows: `Evidence.sample`.

    Returns:
        By input, best first; below 0 an input is worse than none. None when there are too few rows.
    """
    label = rows.words[-1]
    if task == "regression":
        target = np.argsort(np.argsort(_numbers(label, label_type))).astype(float)
    else:
        target = np.unique(label, return_inverse=True)[1].astype(float)
    learns = np.arange(len(label)) % 2 == 0
    if len(label) < 2:
        return None
    prior = _errors(task, np.zeros(len(label), np.int64), target, learns)
    if prior < LEAST_ERRORS:
        return None
    found = {}
    for column, input_ in zip(rows.words[:-1], inputs, strict=True):
        ways = _groups(column, input_.type, learns)
        found[input_.name] = 1 - min(_errors(task, g, target, learns) for g in ways) / prior
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _groups(column: U64, type_: str, learns: np.ndarray) -> Iterator[np.ndarray]:
    """Yields ways to group the rows by a column, `[K] int64`; missing values are a group.

    Categories are groups. Numbers are grouped by quantiles, which tell a trend, and by the nearest
    value that was learned, which tells a threshold exactly, however rare a class is.
    """
    if type_ == "string":
        yield np.unique(column, return_inverse=True)[1]
        return
    values, missing = _numbers(column, type_), column == MISSING
    known = np.unique(values[learns & ~missing])
    if not len(known):
        yield missing.astype(np.int64)
        return
    shares = np.linspace(0, 1, N_BINS + 1)[1:-1]
    quantiles = np.unique(np.quantile(values[learns & ~missing], shares, method="lower"))
    halfway = known[:-1] + np.diff(known) / 2
    for edges in (quantiles, halfway):
        yield np.where(missing, 0, 1 + np.searchsorted(edges, values, side="left"))


def _numbers(column: U64, type_: str) -> np.ndarray:
    bits = np.ascontiguousarray(column)
    return bits.view(np.float64) if type_ == "float" else bits.view(np.int64).astype(np.float64)


def _errors(task: Task, groups: np.ndarray, target: np.ndarray, learns: np.ndarray) -> float:
    """Returns the errors on the rows that are measured, each guessed from its group."""
    taught, asked = groups[learns], groups[~learns]
    n = int(groups.max()) + 1
    rows = np.bincount(taught, minlength=n)
    if task == "regression":
        sums = np.bincount(taught, target[learns], minlength=n)
        guess = np.where(rows > 0, sums / np.maximum(rows, 1), target[learns].mean())
        return float(np.sum((target[~learns] - guess[asked]) ** 2))
    n_classes = int(target.max()) + 1
    classes = target.astype(np.int64)
    table = np.bincount(taught * n_classes + classes[learns], minlength=n * n_classes)
    table = table.reshape(n, n_classes)
    guess = np.where(rows > 0, table.argmax(axis=1), table.sum(axis=0).argmax())
    return float(np.sum(classes[~learns] != guess[asked]))
