"""What the audit of the splits needs of the rows; counted in the first pass, mergeable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.preprocess.sketch import Sketch, fingerprints, words
from components.spec.schema import SPLITS, ModelSpec

TIMES = ("timestamp", "date")
Extent = tuple[int, int]
"""The first and the last time, in microseconds since 1970 UTC."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Samples and extents of some of the kept rows; `Evidence()` is the zero of `+`.

    Attributes:
        rows: A sample of the distinct rows, by all declared columns; its words are those of the
            features' inputs, and the label's last.
        keys: A sample of the distinct keys of a split by hash; empty for any other split.
        times: By declared time column and split, its first and last value.
    """

    rows: Sketch = field(default_factory=Sketch)
    keys: Sketch = field(default_factory=Sketch)
    times: Mapping[tuple[str, str], Extent] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: ModelSpec, batch: pa.RecordBatch, split: pa.Array) -> Evidence:
        """Takes what a block shows; `split` is 0 train, 1 validation, 2 test, `[N] int8`."""
        if not batch.num_rows:
            return cls()
        sides = split.to_numpy()
        coded = {name: words(batch.column(name)) for name in spec.columns}
        label = coded[spec.label] if spec.label in coded else words(batch.column(spec.label))
        kept = [*(coded[i.name] for i in spec.inputs), label]
        rows = Sketch.of(fingerprints(list(coded.values())), sides, kept)
        keys = Sketch()
        if spec.split.by == "hash":
            drawn = [coded[k] if k in coded else words(batch.column(k)) for k in spec.split.drawn]
            keys = Sketch.of(fingerprints(drawn), sides)
        return cls(rows, keys, dict(_extents(spec, batch, sides)))

    def __add__(self, other: Evidence) -> Evidence:
        times = dict(self.times)
        for place, (first, last) in other.times.items():
            low, high = times.get(place, (first, last))
            times[place] = min(first, low), max(last, high)
        return Evidence(self.rows + other.rows, self.keys + other.keys, times)


def _extents(
    spec: ModelSpec, batch: pa.RecordBatch, sides: np.ndarray
) -> list[tuple[tuple[str, str], Extent]]:
    found = []
    for name in (n for n, type_ in spec.columns.items() if type_ in TIMES):
        times = batch.column(name).cast(pa.timestamp("us")).cast(pa.int64())
        for i, split in enumerate(SPLITS):
            ends = pc.min_max(times.filter(pa.array(sides == i)))
            if ends["min"].is_valid:
                found.append(((name, split), (ends["min"].as_py(), ends["max"].as_py())))
    return found
