"""Duplicate rows: of the rows with equal keys one is kept, the same one on every runner.

    ranges -> Keys -> GroupByKey -> Losers -> join with ranges -> ranges with the rows to drop

The source is read twice. The first time only keys are shuffled, in batches by their fingerprint.
The second time the ranges are cleaned as usual, and rows that lost to another one are rejected. So
whole rows are never shuffled, and a duplicate is in `rejected/` as it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import reduce
from operator import and_
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import ErrorRecord, QuatrainError
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.dictionary import decode
from quatrain.components.preprocess.job import PreprocessJob
from quatrain.components.preprocess.kept_rows import KeptRows, read_kept_rows
from quatrain.components.preprocess.splitting import joined, parts
from quatrain.components.specification.schema import Deduplicate
from quatrain.components.table.range import Range

_ERROR = "error"
_NEWEST, _RANGE, _POSITION = "\0newest", "\0range", "\0position"  # no column's name starts with NUL


def keys_of(job: PreprocessJob, span: Range, cleaner: Cleaner) -> Iterator[tuple[int, bytes]]:
    """Yields the keys of the rows that a range would keep, by the part of their fingerprint.

    There are as many parts as ranges, so the keys of a part take about the memory of those of a
    range. A row whose keys are all missing has no duplicates and is left out.
    """
    rule = _rule(job)
    # The rows are cleaned in full, since a rejected row must not win over a good one.
    for kept_rows in read_kept_rows(job.spec, span, cleaner):
        entries = _entries(kept_rows, rule, span.index)
        part = parts(joined([entries.column(k) for k in rule.keys]), job.n_shards)
        order = np.argsort(part, kind="stable")
        entries = entries.take(pa.array(order))
        numbers, starts = np.unique(part[order], return_index=True)
        for number, start, stop in zip(numbers, starts, [*starts[1:], len(part)], strict=True):
            yield int(number), _packed(entries.slice(start, stop - start))


def losers_of(rule: Deduplicate, packed: Iterable[bytes]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yields the positions of the rows of one part that lose to another row, by range.

    The newest row wins, and a missing time counts as the oldest. Among equally new rows the first
    one of the earliest range wins. Missing keys are equal, as in SQL's GROUP BY.
    """
    entries = pa.concat_tables([_unpacked(p) for p in packed])
    by_key = [(key, "ascending") for key in rule.keys]
    newest = [(_NEWEST, "descending")] if rule.keep_newest_by else []
    order = [*by_key, *newest, (_RANGE, "ascending"), (_POSITION, "ascending")]
    entries = entries.take(pc.sort_indices(entries, sort_keys=order)).combine_chunks()
    is_loser = reduce(and_, (_equals_previous(entries.column(key)) for key in rule.keys))
    ranges = entries.column(_RANGE).to_numpy()[is_loser]
    positions = entries.column(_POSITION).to_numpy()[is_loser]
    for index in np.unique(ranges).tolist():
        yield index, tuple(np.sort(positions[ranges == index]).tolist())


class MarkDuplicates(beam.PTransform):
    """Adds to each range the positions of its rows that lose to a duplicate."""

    def __init__(self, job: PreprocessJob) -> None:
        super().__init__()
        self._job = job

    def expand(self, spans: beam.PCollection) -> beam.PCollection:
        """Returns the ranges, in any order."""
        keys = spans | "Keys" >> beam.ParDo(ReadKeys(self._job)).with_outputs(_ERROR, main="keys")
        keys.keys.element_type = beam.typehints.KV[int, bytes]
        rule = _rule(self._job)
        losers = (
            keys.keys
            | beam.GroupByKey()
            | "Losers" >> beam.FlatMap(lambda e: losers_of(rule, e[1]))
        )
        by_index = spans | "Index" >> beam.Map(lambda span: (span.index, span))
        by_range = {"spans": by_index, "losers": losers, "errors": keys[_ERROR]}
        return by_range | beam.CoGroupByKey() | "Leave out" >> beam.Map(_with_losers)


class ReadKeys(beam.DoFn):
    """Reads the keys of a range; an error goes to a side output, to be joined to its range."""

    def __init__(self, job: PreprocessJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Opens DuckDB."""
        self._cleaner = Cleaner(self._job.rules)

    def process(self, span: Range) -> Iterator[Any]:
        """Reads one range."""
        try:
            yield from keys_of(self._job, span, self._cleaner)
        except QuatrainError as error:
            yield beam.pvalue.TaggedOutput(_ERROR, (span.index, ErrorRecord.of(error)))


def _with_losers(joined: tuple[int, dict[str, Any]]) -> Range:
    [span] = joined[1]["spans"]
    dropped = tuple(sorted(p for positions in joined[1]["losers"] for p in positions))
    return replace(span, dropped=dropped, error=next(iter(joined[1]["errors"]), None))


def _rule(job: PreprocessJob) -> Deduplicate:
    rule = job.spec.clean.deduplicate
    assert rule is not None  # noqa: S101 - without a rule there is no such step
    return rule


def _entries(kept_rows: KeptRows, rule: Deduplicate, index: int) -> pa.RecordBatch:
    """Returns what decides between duplicates: each row's keys, time, range and position."""
    batch = kept_rows.columns
    columns: dict[str, Any] = {key: decode(batch.column(key)) for key in rule.keys}
    has_key = np.logical_or.reduce([~_is_null(column) for column in columns.values()])
    if rule.keep_newest_by:
        columns[_NEWEST] = decode(batch.column(rule.keep_newest_by))
    columns[_RANGE] = pa.repeat(pa.scalar(index, pa.int32()), batch.num_rows)
    columns[_POSITION] = kept_rows.positions
    return pa.record_batch(columns).filter(pa.array(has_key))


def _equals_previous(column: pa.ChunkedArray) -> np.ndarray:
    """Whether each value equals the one before it, `[N] bool`; missing values are equal."""
    column = column.combine_chunks()
    equal = pc.fill_null(pc.equal(column[1:], column[:-1]), False).to_numpy(zero_copy_only=False)
    missing = _is_null(column)
    return np.concatenate([[False], equal | (missing[1:] & missing[:-1])])


def _is_null(column: pa.Array) -> np.ndarray:
    return pc.is_null(column).to_numpy(zero_copy_only=False)


def _packed(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _unpacked(packed: bytes) -> pa.Table:
    return pa.ipc.open_stream(packed).read_all()
