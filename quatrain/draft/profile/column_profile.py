"""What is known of one column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.table.values.bounds import TYPES
from quatrain.draft.profile.amounts import Amounts
from quatrain.draft.profile.column_names import words
from quatrain.draft.sample.sample import TOLERATED
from quatrain.trainer.features import Type

LARGEST = float(np.finfo(np.float32).max)
"""The largest number that a label may be; the squares of such numbers fit into a float64."""

Kind = Literal[
    "number",  # a size or a count
    "code",  # digits whose order means nothing
    "category",  # text with values that repeat
    "identifier",  # a different value in nearly every row
    "text",  # free text
    "time",
    "quantity",  # amounts of which some are no numbers as they stand
    "constant",
    "empty",
]


@dataclass(frozen=True)
class ColumnProfile:
    """The profile of one column.

    Attributes:
        name: Its name in the header.
        type: The type that the spec declares.
        kind: What its values stand for.
        values: Typed, null where missing or bad, `[N]`.
        n_bad: The number of cells that do not convert; their rows will be rejected.
        spelling: What the spec declares besides the type, such as `format`, `trim` or `unit`.
        amounts: How its numbers are written, if not in the usual way.
        note: What is odd about the column, for a comment.
    """

    name: str
    type: Type
    kind: Kind
    values: pa.Array = field(repr=False)
    n_bad: int = 0
    spelling: Mapping[str, Any] = field(default_factory=dict)
    amounts: Amounts | None = None
    note: str = ""

    @cached_property
    def encoded(self) -> pa.DictionaryArray:
        """The values, dictionary-encoded."""
        return self.values.dictionary_encode()

    @property
    def n_distinct(self) -> int:
        """The number of distinct values; missing does not count as one."""
        return len(self.encoded.dictionary)

    @property
    def n_present(self) -> int:
        """The number of rows that have a value."""
        return len(self.values) - self.values.null_count

    @cached_property
    def codes(self) -> np.ndarray:
        """The index of each row's distinct value, `[N] int64`; -1 is missing."""
        return np.asarray(pc.fill_null(self.encoded.indices, -1).to_numpy(), np.int64)

    @property
    def is_spoilt(self) -> bool:
        """Whether too many cells do not convert for their rows to be rejected."""
        return self.n_bad > TOLERATED * len(self.values)

    @property
    def declared(self) -> Any:
        """The column's entry in the spec: its type, or a mapping of its type and spelling."""
        return {"type": self.type, **self.spelling} if self.spelling else self.type

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers, as sizes and codes are."""
        return self.type in ("int", "float")

    @cached_property
    def numbers(self) -> np.ndarray:
        """The numbers, or the microseconds of the times, `[N] float64`; NaN is missing.

        A larger one than `LARGEST` counts as that, so that no sum of products overflows.
        """
        values = self.values
        if pa.types.is_temporal(values.type):
            values = values.cast(TYPES["timestamp"]).cast(pa.int64())
        values = values.cast(pa.float64(), safe=False)
        numbers = pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False)
        return np.clip(numbers, -LARGEST, LARGEST)

    @property
    def words(self) -> set[str]:
        """The words of its name, in lower case."""
        return words(self.name)
