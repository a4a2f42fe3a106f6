"""What a model must beat: the train prior, and the best model of one engineered column.

A model of one column is a table: the train rows are counted by the column's value (numbers by at
most 256 bins of equal mass), and a test row gets the rate, or the mean, of its bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from quatrain.components.evaluate.measures.exact_sums import count
from quatrain.components.evaluate.measures.reference import Reference

N_BINS = 256
PRIOR_ROWS = 10.0
"""Rows of prior mixed into each bin (the m-estimate, Cestnik 1990): a rare value stays near it."""
LABEL_STEP = 2.0**-20
"""Labels of a regression are summed in whole steps of this share of their deviation."""


def codes(values: np.ndarray) -> np.ndarray:
    """Returns what an engineered column is counted by, `[N] int64`.

    An index is itself. A number is the upper 16 bits of its float32, in ascending order of value:
    1/128 of its magnitude apart, so no pass over the rows is needed to place the bins.
    """
    if values.dtype.kind == "i":
        return values.astype(np.int64)
    bits = (values.astype(np.float32) + np.float32(0.0)).view(np.int32)
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    return (ordered >> 16).astype(np.int64)


@dataclass(frozen=True)
class Cells:
    """Label sums of the train rows by code of one column; `+` merges.

    Attributes:
        codes: Distinct codes, ascending, `[M] int64`.
        sums: `[M, C] int64` units by class, or `[M, 2]` units and label steps for a regression.
    """

    codes: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, marks: np.ndarray) -> Cells:
        """Counts `[N]` values of a column with the `[N, K]` marks of their rows."""
        found, row = np.unique(codes(values), return_inverse=True)
        sums = [count(row, marks[:, k], len(found)) for k in range(marks.shape[1])]
        return cls(found, np.stack(sums, axis=1))

    def __add__(self, other: Cells) -> Cells:
        found, row = np.unique(np.concatenate([self.codes, other.codes]), return_inverse=True)
        sums = np.zeros((len(found), self.sums.shape[1]), np.int64)
        np.add.at(sums, row, np.concatenate([self.sums, other.sums]))
        return Cells(found, sums)


def marks_of(reference: Reference, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Returns what a row adds to its cell, `[N, K] int64`; K as in `Cells.sums`."""
    units = reference.units(weights, len(labels))
    if reference.task == "regression":
        steps = (labels.astype(np.float64) - reference.prior[0]) / reference.deviation / LABEL_STEP
        return np.stack([units, np.rint(steps * (units / reference.unit)).astype(np.int64)], axis=1)
    return np.asarray(units[:, None] * (labels[:, None] == np.arange(reference.n_classes)))


@dataclass(frozen=True)
class Inputs:
    """Cells of every engineered column of the train split; `+` merges."""

    cells: Mapping[str, Cells] = field(default_factory=dict)

    def __add__(self, other: Inputs) -> Inputs:
        if not self.cells or not other.cells:
            return self if self.cells else other
        return Inputs({name: c + other.cells[name] for name, c in self.cells.items()})


@dataclass(frozen=True)
class OneInput:
    """A fitted model of one column.

    Attributes:
        codes: Codes seen in the train split, ascending, `[M] int64`.
        outputs: `[M, C] float32` probabilities or `[M] float32` predictions.
        unseen: The output for an index that the train split never had: the prior.
        is_number: Whether an unseen code takes the output of the nearest one below.
    """

    codes: np.ndarray
    outputs: np.ndarray
    unseen: np.ndarray
    is_number: bool

    @classmethod
    def fit(cls, cells: Cells, reference: Reference, is_number: bool) -> OneInput:
        """Fits the table; bins of a number hold about 1/256 of the weight, or one code."""
        sums = cells.sums.astype(np.float64)
        sums[:, 0 : None if reference.n_classes else 1] /= reference.unit
        mass = sums.sum(axis=1) if reference.n_classes else sums[:, 0]
        if is_number:
            middle = (np.cumsum(mass) - mass / 2) / max(mass.sum(), 1e-300)
            group = np.minimum((middle * N_BINS).astype(np.int64), N_BINS - 1)
            by_group = np.zeros((N_BINS, sums.shape[1]))
            np.add.at(by_group, group, sums)
            sums = by_group[group]
        return cls(cells.codes, *_rates(sums, reference), is_number)

    def answer(self, values: np.ndarray) -> np.ndarray:
        """Returns `[N, C]` probabilities or `[N]` predictions for `[N]` values of the column."""
        wanted = codes(values)
        place = np.searchsorted(self.codes, wanted, side="right") - 1
        place = np.maximum(place, 0)
        answers = self.outputs[place]
        if not self.is_number:
            answers[self.codes[place] != wanted] = self.unseen
        return answers


def trivial_answer(reference: Reference, rows: int) -> np.ndarray:
    """Returns the prior for every row: `[N, C]` class shares, or `[N]` times the mean label."""
    prior = np.asarray(reference.prior, np.float32)
    return np.tile(prior, (rows, 1)) if reference.n_classes else np.full(rows, prior[0])


def _rates(sums: np.ndarray, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    prior = np.asarray(reference.prior)
    if reference.n_classes:
        rates = (sums + PRIOR_ROWS * prior) / (sums.sum(axis=1, keepdims=True) + PRIOR_ROWS)
        return rates.astype(np.float32), prior.astype(np.float32)
    steps = sums[:, 1] / (sums[:, 0] + PRIOR_ROWS)
    means = prior[0] + reference.deviation * LABEL_STEP * steps
    return means.astype(np.float32), prior[:1].astype(np.float32)[0]
