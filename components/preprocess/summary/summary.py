"""The result of the first pass over rows: counts, reasons, statistics and evidence."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import ErrorRecord
from quatrain.components.preprocess.dictionary import (
    EncodedBatch,
    count_values,
    decode,
)
from quatrain.components.preprocess.summary.evidence import Evidence
from quatrain.components.specification.split import SPLITS
from quatrain.trainer.features.base import QUANTITY, Feature, Input, Raw, raw_inputs
from quatrain.trainer.features.statistics import (
    Categories,
    ColumnStatistics,
    TableStatistics,
)

SAMPLE_CHARACTERS = 200
AT_ONCE = 4
"""How many summaries are added at once: one sort serves them all, and each takes nearly 1 MB."""


@dataclass(frozen=True)
class Reason:
    """The rows that were rejected for one reason.

    Attributes:
        rows: The number of rows.
        first: The range and position of the first row; when two reasons merge, the earlier wins.
        sample: The first row as it was read, cut to 200 characters.
        detail: The fault of the first row in words.
    """

    rows: int
    first: tuple[int, int]
    sample: str
    detail: str

    def __add__(self, other: Reason) -> Reason:
        earliest = min(self, other, key=lambda r: r.first)
        rows = self.rows + other.rows
        return Reason(rows, earliest.first, earliest.sample, earliest.detail)


@dataclass(frozen=True)
class Summary:
    """Counts and statistics of some of the rows; `Summary()` is the zero of `+`.

    Attributes:
        read: The number of rows read.
        reasons: The rejected rows by reason.
        splits: Statistics of the good rows by split.
        error: The index of a range that failed, and its error; the first range wins.
        evidence: The evidence for the audit of the splits.
    """

    read: int = 0
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    splits: Mapping[str, TableStatistics] = field(
        default_factory=lambda: {s: TableStatistics() for s in SPLITS}
    )
    error: tuple[int, ErrorRecord] | None = None
    evidence: Evidence = field(default_factory=Evidence)

    @classmethod
    def of_rejected_rows(cls, index: int, rejected: pa.RecordBatch) -> Summary:
        """Counts the rejected rows of a block of range `index`."""
        counts = pc.value_counts(rejected.column("reason"))
        return cls(
            rejected.num_rows, {r: _reason(index, rejected, r, n) for r, n in _pairs(counts)}
        )

    @classmethod
    def of_kept_rows(
        cls,
        encoded: EncodedBatch,
        sizes: np.ndarray,
        columns: tuple[Input, ...],
        sampled: frozenset[str] = frozenset(),
        features: Sequence[Feature] = (),
    ) -> Summary:
        """Counts the good rows of a block.

        Args:
            encoded: The rows' columns, encoded, split after split.
            sizes: The number of rows of train, validation and test, `[3] int64`.
            columns: The columns that have statistics.
            sampled: The text columns whose statistics need only a sample of the values.
            features: The features that are fitted to the train split.
        """
        rows = sizes.tolist()
        counts = {c.name: count_values(encoded.column(c.name), sizes) for c in columns}
        values = _distinct_inputs(encoded, columns)
        splits = dict(
            zip(SPLITS, TableStatistics.parts(values, counts, rows, sampled), strict=True)
        )
        if derived := _quantities(features, columns, encoded.slice(0, rows[0])):
            train, fitted = splits["train"], TableStatistics.of(derived, rows[0])
            splits["train"] = TableStatistics(rows[0], {**train.columns, **fitted.columns})
        return cls(encoded.num_rows, {}, splits)

    @classmethod
    def total(cls, parts: Sequence[Summary]) -> Summary:
        """Returns the sum of any number of parts, sorting each column only once."""
        reasons: dict[str, Reason] = {}
        for part in parts:
            for name, reason in part.reasons.items():
                reasons[name] = reasons[name] + reason if name in reasons else reason
        return cls(
            sum(p.read for p in parts),
            reasons,
            {s: TableStatistics.total([p.splits[s] for p in parts]) for s in SPLITS},
            min((p.error for p in parts if p.error), key=itemgetter(0), default=None),
            Evidence.total([p.evidence for p in parts]),
        )

    def __add__(self, other: Summary) -> Summary:
        return self.total([self, other])

    @property
    def rejected(self) -> int:
        """The number of rejected rows."""
        return sum(r.rows for r in self.reasons.values())

    @property
    def frequent(self) -> list[tuple[str, Reason]]:
        """The reasons, most frequent first; equally frequent ones by name."""
        return sorted(self.reasons.items(), key=lambda item: (-item[1].rows, item[0]))

    @property
    def rows(self) -> dict[str, int]:
        """The counts of the manifest: read, each split, rejected."""
        by_split = {s: self.splits[s].rows for s in SPLITS}
        return {"read": self.read, **by_split, "rejected": self.rejected}


class RunningSummary:
    """Adds up summaries as they come, a few at a time, so that few are in memory.

    Between workers it travels as its compressed sum, 0.4 MB instead of nearly 1 MB. A worker that
    only passes it on does not unpack it.
    """

    def __init__(self) -> None:
        self._parts: list[Summary] = []
        self._packed: tuple[int, bytes] | None = None

    def __getstate__(self) -> tuple[int, bytes]:
        if self._packed is not None:
            return self._packed
        written = pickle.dumps(self.total, pickle.HIGHEST_PROTOCOL)
        return len(written), pa.compress(written, "lz4", asbytes=True)

    def __setstate__(self, packed: tuple[int, bytes]) -> None:
        self._parts, self._packed = [], packed

    def add(self, *parts: Summary) -> RunningSummary:
        """Adds more summaries."""
        if self._packed is not None:
            self._parts, self._packed = [self.total], None
        self._parts += parts
        if len(self._parts) >= AT_ONCE:
            self._parts = [Summary.total(self._parts)]
        return self

    @property
    def total(self) -> Summary:
        """The sum of all summaries."""
        if self._packed is None:
            return Summary.total(self._parts)
        size, packed = self._packed
        # These bytes came inside an object that Beam itself had unpickled.
        total: Summary = pickle.loads(pa.decompress(packed, size, "lz4", asbytes=True))  # noqa: S301
        return total


def classes_of(statistics: ColumnStatistics, type_: str) -> tuple[str, ...]:
    """Returns the distinct labels in order: false, true; integers by value; strings by bytes."""
    if isinstance(statistics, Categories):
        return tuple(statistics.values.to_pylist())
    if type_ == "bool":
        return tuple("true" if v else "false" for v in statistics.values)
    return tuple(str(int(v)) for v in statistics.values)


def _quantities(
    features: Sequence[Feature], columns: Sequence[Input], train: EncodedBatch
) -> dict[str, Any]:
    """Returns the quantities that features count besides columns, such as a difference of two."""
    features = [f for f in features if f.statistics_name.startswith(QUANTITY)]
    if not features:
        return {}
    inputs = [i for i in columns if any(i.name in f.columns for f in features)]
    values = {i.name: decode(train.column(i.name)) for i in inputs}
    raw = raw_inputs(pa.record_batch(values), inputs)
    return {name: values for f in features for name, values in f.quantities(raw).items()}


def _distinct_inputs(encoded: EncodedBatch, inputs: Sequence[Input]) -> Raw:
    """Returns the distinct values of each column, `[K]`, as `raw_inputs` returns them."""
    raw: dict[str, np.ndarray | pa.Array] = {}
    for column in inputs:
        distinct = pa.record_batch([encoded.column(column.name).dictionary], names=[column.name])
        raw |= raw_inputs(distinct, [column])
    return raw


def _pairs(counts: pa.StructArray) -> list[tuple[str, int]]:
    values, rows = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
    return list(zip(values, rows, strict=True))


def _reason(index: int, rejected: pa.RecordBatch, name: str, rows: int) -> Reason:
    """Returns a reason with the number of its rows and the first of them."""
    at = pc.index(rejected.column("reason"), name).as_py()
    row = {c: rejected.column(c)[at].as_py() for c in ("position", "detail", "row")}
    text = row["row"][: 4 * SAMPLE_CHARACTERS].decode(errors="replace")
    cut = text if len(text) <= SAMPLE_CHARACTERS else text[:SAMPLE_CHARACTERS] + "..."
    return Reason(rows, (index, row["position"]), cut, row["detail"])
