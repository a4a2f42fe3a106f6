"""The sample of the train rows from which the opponent of the evaluation learns: raw values.

The train shards hold engineered columns alone. An opponent that learned from these would share
their faults, as levels that were merged or numbers that were clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quatrain.trainer.features import (
    Bag,
    Calendar,
    Cross,
    Cyclic,
    Difference,
    Distance,
    Engineered,
    Frequency,
    Grid,
    Hash,
    Input,
    Ratio,
    Text,
    Vocabulary,
)
from quatrain.trainer.features.fingerprint import splitmix64
from quatrain.trainer.features.transform import Transform

STEM = "raw"
"""The shards of the sample are named by it, as those of a split are by the split."""
MOST_ROWS = 200_000
MOST_VALUES = 20_000_000
"""Values of the sample: with more than 100 columns, it has fewer rows."""
_EXPECTED = 0.975
"""The mean size of a drawn sample, as a share of its bound, which is then 11 deviations away."""
_RANGE_ROWS = np.uint64(1 << 40)
"""More rows than a range has, so that no two rows of a table have the same number."""

_CATEGORIES = (Vocabulary, Frequency, Hash, Cross)
"""Features whose columns are categories; trees take these as they were read."""
_WORDS = (Text, Bag)
_COMPUTED = (*_WORDS, Cyclic, Calendar, Difference, Ratio, Distance, Grid)
"""Features that say what trees do not see in the raw columns: words, hours, distances."""


@dataclass(frozen=True)
class PlainColumns:
    """The columns of the examples that trees take as they are.

    Attributes:
        numbers: Raw inputs, as numbers.
        categories: Raw inputs, as categories.
        engineered: Engineered columns: what trees could not compute from a raw input.
    """

    numbers: tuple[Input, ...]
    categories: tuple[Input, ...]
    engineered: tuple[Engineered, ...]

    @classmethod
    def of(cls, transform: Transform) -> PlainColumns:
        """Returns the columns of a fitted transform."""
        features = transform.features
        as_category = {c for f in features if isinstance(f, _CATEGORIES) for c in f.columns}
        of_other = {c for f in features if not isinstance(f, _CATEGORIES) for c in f.columns}
        in_words = {c for f in features if isinstance(f, _WORDS) for c in f.columns}
        texts = {i.name for i in transform.inputs if not i.is_number}
        categories = as_category | (texts - in_words)
        return cls(
            tuple(i for i in transform.inputs if i.name in of_other - texts),
            tuple(i for i in transform.inputs if i.name in categories),
            tuple(o for f in features if isinstance(f, _COMPUTED) for o in f.outputs),
        )

    @property
    def raw(self) -> tuple[str, ...]:
        """The names of the raw inputs."""
        return tuple(dict.fromkeys(i.name for i in (*self.numbers, *self.categories)))

    def __len__(self) -> int:
        return len(self.numbers) + len(self.categories) + len(self.engineered)

    def most_rows(self, bound: int = MOST_ROWS) -> int:
        """Returns how many rows a sample of these columns may have."""
        return min(bound, MOST_VALUES // max(1, len(self)))


def sampled_places(index: int, first_row: int, n_rows: int, share: float) -> np.ndarray:
    """Returns the places of the sampled rows among consecutive rows, `[M] int64`, ascending.

    A row is drawn by a hash of its number, so neither workers nor their order matter. A hash of its
    values would draw all rows with the same values, or none of them.

    Args:
        index: The number of the range.
        first_row: The number of the first of these rows among the range's rows of the split.
        n_rows: The number of these rows.
        share: The share of the rows to draw; from 1 on, all are.
    """
    if share >= 1:
        return np.arange(n_rows)
    first = np.uint64(index + 1) * _RANGE_ROWS + np.uint64(first_row)
    keys = splitmix64(first + np.arange(n_rows, dtype=np.uint64))
    return np.flatnonzero(keys < np.uint64(share * 2.0**64))


def share_of(n_rows: int, most_rows: int) -> float:
    """Returns the share of `n_rows` rows that a sample of at most `most_rows` has."""
    return 1.0 if n_rows <= most_rows else _EXPECTED * most_rows / n_rows
