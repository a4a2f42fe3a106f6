"""The rows of the opponent: raw columns of the examples as a matrix for boosted trees."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quatrain.components import storage
from quatrain.components.artifacts import run_again
from quatrain.components.errors import ArtifactError
from quatrain.components.preprocess.raw_sample import PlainColumns, sampled_places
from quatrain.trainer.features import LABEL, RAW_PREFIX, WEIGHT, raw_inputs

MOST_LEVELS = 1_000
"""Categories of a column that have a code and a bin of their own: the most frequent ones."""
MOST_VALIDATION_ROWS = 50_000
"""Validation rows that decide when to stop; with more, the loss is hardly surer."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to learn from or to stop by.

    Attributes:
        columns: `[N, F] float64`, NaN where missing: numbers, engineered numbers, then categories.
        labels: `[N]`, the index of the class, or a number.
        weights: `[N] float64`, above 0; None without weights.
    """

    columns: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None

    def with_class_weights(self, class_weights: Sequence[float]) -> Rows:
        """Returns the rows with weights that are multiplied by those of their classes, `[C]`."""
        if not class_weights:
            return self
        of_class = np.asarray(class_weights)[self.labels]
        return replace(self, weights=of_class if self.weights is None else self.weights * of_class)


@dataclass(frozen=True)
class Encoder:
    """Turns columns of the examples into numbers.

    Attributes:
        plain: The columns.
        levels: The categories of each raw input that is one, the most frequent first.
    """

    plain: PlainColumns
    levels: Mapping[str, pa.Array]

    @classmethod
    def fit(cls, plain: PlainColumns, table: pa.Table) -> Encoder:
        """Returns the encoder whose levels are those of a sample of the train rows."""
        names = [i.name for i in plain.categories]
        return cls(plain, {name: _levels(table[RAW_PREFIX + name]) for name in names})

    @property
    def n_numbers(self) -> int:
        """The number of columns before the first category."""
        plain = self.plain
        return len(plain.numbers) + sum(e.cardinality is None for e in plain.engineered)

    def matrix(self, table: pa.Table) -> np.ndarray:
        """Returns the columns of examples, `[N, F] float64`; an unseen category is missing."""
        engineered = sorted(self.plain.engineered, key=lambda e: e.cardinality is not None)
        raw = raw_inputs(table, self.plain.numbers, RAW_PREFIX)
        numbers = [np.where(np.isfinite(v), v, np.nan) for v in raw.values()]
        numbers += [table[e.name].to_numpy() for e in engineered]
        for name, levels in self.levels.items():
            codes = pc.index_in(table[RAW_PREFIX + name], value_set=levels)
            numbers.append(codes.cast(pa.float64()).to_numpy())
        matrix = np.empty((table.num_rows, len(numbers)), np.float64)
        for place, column in enumerate(numbers):
            matrix[:, place] = column
        return matrix

    def rows(self, table: pa.Table) -> Rows:
        """Returns the rows of examples that have a weight: one of 0 would still count in a leaf."""
        if WEIGHT not in table.column_names:
            return Rows(self.matrix(table), table[LABEL].to_numpy(), None)
        table = table.filter(pc.greater(table[WEIGHT], 0))
        weights = table[WEIGHT].to_numpy().astype(np.float64)
        return Rows(self.matrix(table), table[LABEL].to_numpy(), weights)


def columns_of(plain: PlainColumns, weighted: bool) -> list[str]:
    """Returns the columns of the examples that the opponent learns from."""
    targets = [LABEL, WEIGHT] if weighted else [LABEL]
    engineered = (e.name for e in plain.engineered)
    return [*targets, *engineered, *(RAW_PREFIX + name for name in plain.raw)]


def read_shards(
    shards: Sequence[tuple[str, str]], columns: Sequence[str], share: float = 1.0
) -> pa.Table:
    """Reads some columns of shards, of all rows or of those that a hash draws.

    In memory are the bytes of one shard, some thousand rows of it, and the rows that were drawn.

    Args:
        shards: The path or gs:// uri and the sha256 of each.
        columns: The columns to read.
        share: The share of the rows to draw.

    Raises:
        ArtifactError: A shard is not the file that was written, or cannot be read.
    """
    return pa.concat_tables(
        _drawn(path, sha256, columns, index, share) for index, (path, sha256) in enumerate(shards)
    ).combine_chunks()


def _drawn(path: str, sha256: str, columns: Sequence[str], index: int, share: float) -> pa.Table:
    """Reads a shard once, checks the same bytes, and returns the rows that a hash draws."""
    try:
        data = storage.read_file(path)
        digest = hashlib.sha256(data).hexdigest()
        if digest != sha256:
            raise ArtifactError(
                f"{path} is not the file that was written: its sha256 is {digest[:12]}..., "
                f"manifest.json says {sha256[:12]}...; {run_again('preprocess')}"
            )
        file = pq.ParquetFile(pa.BufferReader(data))
        schema = pa.schema([file.schema_arrow.field(name) for name in columns])
        drawn, first = [], 0
        for batch in file.iter_batches(columns=list(columns), use_threads=False):
            rows = batch.select(list(columns))
            if share < 1:  # since `pa.array` imports pandas, which takes 0.4 CPU-s
                places = sampled_places(index, first, batch.num_rows, share)
                rows = rows.take(pa.array(places))
            drawn.append(rows)
            first += batch.num_rows
        return pa.Table.from_batches(drawn, schema)
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"{path} cannot be read ({error}); {run_again('preprocess')}") from (
            error
        )


def _levels(column: pa.ChunkedArray) -> pa.Array:
    """Returns the most frequent values of a column; of equally frequent ones, the least first."""
    counts = pc.value_counts(column.drop_null().combine_chunks())
    table = pa.table({"value": counts.field("values"), "rows": counts.field("counts")})
    ordered = table.sort_by([("rows", "descending"), ("value", "ascending")])
    return ordered["value"].slice(0, MOST_LEVELS).combine_chunks()
