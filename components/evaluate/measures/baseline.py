"""What a model must beat: the train prior, and the best model of a single engineered column.

A model of one column is a table: the train rows are counted by the column's value (numbers by 16 to
256 bins of equal mass), and a test row gets the rate, or the mean label, of its bin. When such
a table does as well as the trained model, the other columns add nothing, or its column gives the
label away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from quatrain.components.evaluate.measures.exact_sums import count
from quatrain.components.evaluate.measures.reference import Reference

LEAST_BINS, MOST_BINS = 16, 256
BIN_ROWS = 80.0
"""Rows for each bin of a number, or `PRIOR_ROWS` would draw each to the prior.

On made-up tables of 150 to 5,000 rows, 256 bins had an R2 of 0.11 to 0.52, these 0.41 to 0.58.
"""
PRIOR_ROWS = 10.0
"""Rows of prior mixed into each bin (the m-estimate, Cestnik 1990): a rare value stays near it."""
LABEL_STEP = 2.0**-20
"""Labels of a regression are summed in whole steps of this share of their deviation."""


def codes(values: np.ndarray) -> np.ndarray:
    """Returns the code by which a value of an engineered column is counted, `[N] int64`.

    An index is its own code. The code of a number is the upper 16 bits of its float32 (sign,
    exponent and 7 bits of mantissa), mapped so that codes ascend with the values. Neighbouring
    codes are 1/128 of the magnitude apart, so the rows need not be read twice to find bin edges.
    """
    if values.dtype.kind == "i":
        return values.astype(np.int64)
    bits = (values.astype(np.float32) + np.float32(0.0)).view(np.int32)  # -0.0 + 0.0 is 0.0
    # The bits of negative floats, read as integers, ascend with the magnitude; flipped, they
    # ascend with the value.
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    return (ordered >> 16).astype(np.int64)


@dataclass(frozen=True)
class LabelSums:
    """Label sums of the train rows by code of one column; `+` merges.

    Attributes:
        codes: Distinct codes, ascending, `[M] int64`.
        sums: `[M, C] int64` units by class, or `[M, 2]` units and label steps for a regression.
    """

    codes: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, terms: np.ndarray) -> LabelSums:
        """Sums the terms of rows, `[N, K]`, by the rows' values of one column, `[N]`."""
        distinct, place = np.unique(codes(values), return_inverse=True)
        sums = [count(place, terms[:, k], len(distinct)) for k in range(terms.shape[1])]
        return cls(distinct, np.stack(sums, axis=1))

    def __add__(self, other: LabelSums) -> LabelSums:
        distinct, place = np.unique(np.concatenate([self.codes, other.codes]), return_inverse=True)
        sums = np.zeros((len(distinct), self.sums.shape[1]), np.int64)
        np.add.at(sums, place, np.concatenate([self.sums, other.sums]))
        return LabelSums(distinct, sums)


def label_terms(reference: Reference, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Returns what each row adds to the sums of its code, `[N, K] int64`; K as in `LabelSums`."""
    units = reference.units(weights, len(labels))
    if reference.task == "regression":
        steps = (labels.astype(np.float64) - reference.prior[0]) / reference.deviation / LABEL_STEP
        # Whole steps add up exactly in any order; rounding costs at most 2**-21 deviations a row.
        return np.stack([units, np.rint(steps * (units / reference.unit)).astype(np.int64)], axis=1)
    return np.asarray(units[:, None] * (labels[:, None] == np.arange(reference.n_classes)))


@dataclass(frozen=True)
class ColumnSums:
    """Label sums of every engineered column of the train split; `+` merges."""

    by_column: Mapping[str, LabelSums] = field(default_factory=dict)

    def __add__(self, other: ColumnSums) -> ColumnSums:
        if not self.by_column or not other.by_column:
            return self if self.by_column else other
        return ColumnSums({c: sums + other.by_column[c] for c, sums in self.by_column.items()})


@dataclass(frozen=True)
class SingleInputModel:
    """A fitted model of one column.

    Attributes:
        codes: Codes of the train split, ascending, `[M] int64`.
        outputs: `[M, C] float32` probabilities or `[M] float32` predictions.
        unseen: The output for an index that the train split lacks, which is the prior.
        is_number: Whether a code that the train split lacks takes the output of the next lower one,
            or of the lowest one if there is none.
    """

    codes: np.ndarray
    outputs: np.ndarray
    unseen: np.ndarray
    is_number: bool

    @classmethod
    def fit(cls, column: LabelSums, reference: Reference, is_number: bool) -> SingleInputModel:
        """Fits the table; the bins of a number have about the same weight, or a single code."""
        sums = column.sums.astype(np.float64)
        # The label steps of a regression, in column 1, are weighted already (`label_terms`).
        sums[:, 0 : None if reference.n_classes else 1] /= reference.unit
        if reference.class_weights:
            sums *= reference.class_weights
        mass = sums.sum(axis=1) if reference.n_classes else sums[:, 0]
        if is_number:
            # A code is in the bin that holds the middle of its mass.
            middle = (np.cumsum(mass) - mass / 2) / max(mass.sum(), 1e-300)
            n_bins = int(np.clip(mass.sum() / BIN_ROWS, LEAST_BINS, MOST_BINS))
            group = np.minimum((middle * n_bins).astype(np.int64), n_bins - 1)
            by_group = np.zeros((n_bins, sums.shape[1]))
            np.add.at(by_group, group, sums)
            sums = by_group[group]
        return cls(column.codes, *_rates(sums, reference), is_number)

    def answer(self, values: np.ndarray) -> np.ndarray:
        """Returns `[N, C]` probabilities or `[N]` predictions for `[N]` values of the column."""
        row_codes = codes(values)
        place = np.searchsorted(self.codes, row_codes, side="right") - 1
        place = np.maximum(place, 0)
        answers = self.outputs[place]
        if not self.is_number:
            answers[self.codes[place] != row_codes] = self.unseen
        return answers


def trivial_answer(reference: Reference, rows: int) -> np.ndarray:
    """Returns the prior for every row: `[N, C]` class shares, or `[N]` times the mean label."""
    prior = np.asarray(reference.prior, np.float32)
    return np.tile(prior, (rows, 1)) if reference.n_classes else np.full(rows, prior[0])


def _rates(sums: np.ndarray, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Returns the output of each code, and the output of a code that the train split lacks."""
    prior = np.asarray(reference.prior)
    if reference.n_classes:
        rates = (sums + PRIOR_ROWS * prior) / (sums.sum(axis=1, keepdims=True) + PRIOR_ROWS)
        return rates.astype(np.float32), prior.astype(np.float32)
    # Steps count from the prior mean, so the rows of prior add nothing to their sum.
    steps = sums[:, 1] / (sums[:, 0] + PRIOR_ROWS)
    means = prior[0] + reference.deviation * LABEL_STEP * steps
    return means.astype(np.float32), prior[:1].astype(np.float32)[0]
