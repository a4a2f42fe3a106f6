"""What the audit of the splits needs of the rows; counted in the first pass, mergeable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from components.preprocess.encoding import Encoded
from components.preprocess.sketch import MISSING, U64, Sketch, fingerprints, words
from components.spec.schema import SPLITS, ModelSpec
from trainer.fingerprint import distinct_rows

MICROS = {"timestamp": 1, "date": 86_400_000_000}
"""Microseconds in the unit of each type of time."""
Extent = tuple[int, int]
"""The first and the last time, in microseconds since 1970 UTC."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Samples and extents of some of the kept rows; `Evidence()` is the zero of `+`.

    Attributes:
        rows: A sample of the distinct rows, by all declared columns but those that decide the
            split: with them no row could stand in two.
        sample: A sample of the distinct rows by all declared columns; its words are those of the
            features' inputs, and the label's last.
        keys: A sample of the distinct keys of a split by hash; empty for any other split.
        times: By declared time column and split, its first and last value.
    """

    rows: Sketch = field(default_factory=Sketch)
    sample: Sketch = field(default_factory=Sketch)
    keys: Sketch = field(default_factory=Sketch)
    times: Mapping[tuple[str, str], Extent] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        batch: pa.RecordBatch,
        split: pa.Array,
        encoded: Encoded = MappingProxyType({}),
    ) -> Evidence:
        """Takes what a block shows.

        Args:
            spec: Which columns there are, and which decide the split.
            batch: Typed columns.
            split: 0 train, 1 validation, 2 test, `[N] int8`.
            encoded: Columns that are encoded already; a text is hashed once then.
        """
        if not batch.num_rows:
            return cls()
        sides = split.to_numpy()

        def of_column(name: str) -> U64:
            column = batch.column(name)
            return words(encoded.get(name, column) if pa.types.is_string(column.type) else column)

        coded = {name: of_column(name) for name in spec.columns}
        label = coded[spec.label] if spec.label in coded else of_column(spec.label)
        kept = [*(coded[i.name] for i in spec.inputs), label]
        deciding = deciding_columns(spec)
        content = fingerprints([w for n, w in coded.items() if n not in deciding] or [label])
        whole = fingerprints([coded[n] for n in deciding], content)
        keys = Sketch()
        if spec.split.by == "hash":
            row, drawn = distinct_rows([encoded.get(k, batch.column(k)) for k in spec.split.drawn])
            n_keys, n = len(drawn[0]), len(SPLITS)
            counts = np.bincount(row * n + sides, minlength=n_keys * n).reshape(n_keys, n)
            keys = Sketch.of_distinct(fingerprints([words(k) for k in drawn]), counts)
        rows, sample = Sketch.of(content, sides), Sketch.of(whole, sides, kept)
        return cls(rows, sample, keys, dict(_extents(spec, coded, sides)))

    @classmethod
    def total(cls, parts: Sequence[Evidence]) -> Evidence:
        """Returns the sum of any number."""
        times: dict[tuple[str, str], Extent] = {}
        for part in parts:
            for place, (first, last) in part.times.items():
                low, high = times.get(place, (first, last))
                times[place] = min(first, low), max(last, high)
        names = ("rows", "sample", "keys")
        rows, sample, keys = (Sketch.total([getattr(p, n) for p in parts]) for n in names)
        return cls(rows, sample, keys, times)

    def __add__(self, other: Evidence) -> Evidence:
        return self.total([self, other])


def deciding_columns(spec: ModelSpec) -> tuple[str, ...]:
    """Returns the declared columns that decide the split of a row."""
    columns = spec.split.drawn if spec.split.by == "hash" else (spec.split.column,)
    return tuple(name for name in columns if name in spec.columns)


def _extents(
    spec: ModelSpec, coded: Mapping[str, U64], sides: np.ndarray
) -> Iterator[tuple[tuple[str, str], Extent]]:
    for name in (n for n, type_ in spec.columns.items() if type_ in MICROS):
        known = coded[name] != MISSING
        times = coded[name][known].view(np.int64) * MICROS[spec.columns[name]]
        for i, split in enumerate(SPLITS):
            if len(part := times[sides[known] == i]):
                yield (name, split), (int(part.min()), int(part.max()))
