"""How many rows a model may predict to be explained: a bound on CPU time that no clock decides.

The same model and rows must give the same bytes on a fast and on a slow machine, so time is not
measured but estimated, from what the model is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from quatrain.components.specification.schema import Importance
from quatrain.trainer.features.transform import Transform

MAX_PERMUTATIONS = 5
"""Permutations of each input; scikit-learn's `permutation_importance` has as many by default."""
LEAST_ROWS = 50
"""Rows below which rather fewer inputs are measured."""
IMPORTANCE_SHARE = 0.75
"""The share of the budget that goes to the importance of the inputs; their shapes get the rest."""

CPU_S, CPU_S_SMALL, LARGE_TABLE = 5.0, 1.0, 10_000
"""CPU-seconds for a table, and for one with fewer than `LARGE_TABLE` rows."""
COLUMN_US, BYTE_US, WEIGHT_US, TREE_US = 0.1, 0.06, 3.3e-5, 5e-4
"""Microseconds of CPU time that a row takes for an engineered column, a byte of a text feature, a
weight that a network multiplies by, and a column of a tree.

Measured with 8 192 rows a call on two cores of a cloud's machine, in microseconds a row, and what
these constants give:

    flights, 18 columns, linear                             0.9    1.8
    flights, 18 columns, trees of 200 rounds                2.6    3.6
    flights, 18 columns, tabm with 2 members                3.2    4.1
    flights, 18 columns, blend with 16 members             12.4   29
    900 rows, 10 columns, tabm with 8 members               4.6    7.3
    two texts of 620 bytes, 129 columns, tabm with 8       65     89
    200 columns, 8 classes, tabm with 8 members            62     79

They are meant to be too high, for machines that are slower.
"""
UNKNOWN_US = 200.0
"""Microseconds of a row for a model that is none of ours."""
MOST_TREES = 2_000
"""The trainer fits no more."""


@dataclass(frozen=True)
class Budget:
    """What an explanation may cost.

    Attributes:
        cpu_s: CPU-seconds, in all.
        model_us: Microseconds of CPU time that the model is estimated to take for an engineered
            row.
        max_rows: Most rows of the sample.
        max_inputs: Most inputs whose importance is measured.
    """

    cpu_s: float = CPU_S_SMALL
    model_us: float = UNKNOWN_US
    max_rows: int = Importance().rows
    max_inputs: int = Importance().inputs

    @classmethod
    def of(
        cls, bounds: Importance, model: Mapping[str, Any], transform: Transform, n_rows: int
    ) -> Budget:
        """Returns the budget of a model.

        Args:
            bounds: The bounds of the spec.
            model: metadata.json of the model.
            transform: Its transform.
            n_rows: Rows of the table.
        """
        default = CPU_S if n_rows >= LARGE_TABLE else CPU_S_SMALL
        model_us = _model_us(model, transform)
        return cls(bounds.cpu_s or default, model_us, bounds.rows, bounds.inputs)

    def affordable(self, transform: Transform, text_bytes: float) -> int:
        """Returns how many rows may be predicted.

        Args:
            transform: The transform, which each prediction applies.
            text_bytes: Bytes of the text features in a row, on average.
        """
        row_us = self.model_us + COLUMN_US * len(transform.engineered) + BYTE_US * text_bytes
        return int(self.cpu_s * 1e6 / row_us)


def importance_size(affordable: int, n_inputs: int, n_rows: int) -> tuple[int, int, int]:
    """Returns the inputs, the rows, and the permutations of each input.

    Args:
        affordable: Rows that may be predicted.
        n_inputs: Inputs to shuffle, if they can be afforded.
        n_rows: Rows of the sample.
    """
    inputs = min(n_inputs, max(1, affordable // LEAST_ROWS))
    rows = min(n_rows, affordable // inputs)
    # A permutation shifts the rows by its number, so each row gets other rows' values.
    permutations = min(MAX_PERMUTATIONS, affordable // (inputs * max(rows, 1)), rows - 1)
    return inputs, rows, max(permutations, 0)


def _model_us(model: Mapping[str, Any], transform: Transform) -> float:
    """Returns the estimated microseconds of an engineered row, from metadata.json."""
    settings, shares = model.get("hyperparameters", {}), model.get("model", {}).get("shares", ("",))
    n_columns, n_classes = len(transform.engineered), len(transform.label.classes)
    units = n_classes if n_classes > 2 else 1
    total = 0.0
    for part in shares:
        if part == "tabm" and {"members", "hidden_units", "embedding_size"} <= settings.keys():
            widths = [n_columns * settings["embedding_size"], *settings["hidden_units"], units]
            weights = sum(a * b for a, b in pairwise(widths))
            total += WEIGHT_US * weights * settings["members"]
        elif part == "trees" and {"rounds"} <= settings.keys():
            # A step of trees is a round; a blend's steps are the network's as well.
            rounds = model["steps"] if len(shares) == 1 else settings["rounds"]
            total += TREE_US * n_columns * min(rounds * units, MOST_TREES)
        elif part != "linear":
            return UNKNOWN_US
    return total
