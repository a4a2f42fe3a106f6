"""The work on one range of a table: its rows are read, answered and written, without Beam."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError, ErrorRecord, QuatrainError
from quatrain.components.faults import sentence_of
from quatrain.components.folder import Folder, HashingStream
from quatrain.components.serve.batch.shard_folder import PREDICTIONS, REJECTED_ROWS, shard_name
from quatrain.components.serve.input_rows import InputRows
from quatrain.components.serve.rejected_rows import BytesWriter
from quatrain.components.serve.served_model import (
    METADATA,
    ServedModel,
    on_this_machine,
    prediction_schema,
    prediction_table,
    read_metadata,
)
from quatrain.components.table.block import REJECTED, Block
from quatrain.components.table.range import Range
from quatrain.components.wording import counted
from quatrain.trainer.features import raw_inputs
from quatrain.trainer.features.transform import Transform

SHOWN_BYTES = 200
"""How much of the first rejected row is shown."""

Batch = tuple[pa.RecordBatch, list[pa.Array]]
"""What `InputRows.batches` yields: the inputs, and the texts of the columns to keep."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class PredictionPlan:
    """What every worker needs: the model, how rows are read, and where answers go.

    Attributes:
        model: The folder of the exported model, by its path or gs:// uri.
        model_sha256: The digest of its metadata.json when the prediction was admitted.
        rows: How the rows are read, without their ranges.
        out: The folder of the predictions, a path or gs:// uri.
        rejected: The folder of the rejected rows; None: such a row ends the prediction.
        form: The format of the shards: parquet or csv.
        n_shards: The number of ranges, and so of shards.
    """

    model: str
    model_sha256: str
    rows: InputRows
    out: str
    rejected: str | None
    form: str
    n_shards: int


@dataclass(frozen=True)
class WrittenRange:
    """The shards of one range, and how many rows they hold.

    Attributes:
        index: The number of the range.
        read: The number of rows read.
        rejected: The number of those that cannot be read.
        files: The sha256 of the shard of predictions, by its name.
        rejected_files: That of the shard of rejected rows.
        first: The first rejected row: its `source`, `position`, `reason`, `detail` and `row`.
        error: Why the range has no shards.
    """

    index: int
    read: int = 0
    rejected: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    rejected_files: Mapping[str, str] = field(default_factory=dict)
    first: Mapping[str, Any] | None = None
    error: ErrorRecord | None = None


def load_model(plan: PredictionPlan) -> ServedModel:
    """Loads the model, which must be the one that was admitted.

    Raises:
        ArtifactError: It is incomplete, altered, or was replaced since.
    """
    with on_this_machine(plan.model) as folder:
        read_metadata(folder)
        if sha256_of(folder / METADATA) != plan.model_sha256:
            raise ArtifactError(
                f"{plan.model} was replaced while its predictions were made; run again"
            )
        return ServedModel.load(folder)


class MapBatches(Protocol):
    """Applies a function to batches and yields the results in order: `map`, or one with threads."""

    def __call__(self, function: Callable[[T], R], elements: Iterable[T], /) -> Iterator[R]:
        """Yields the results; the elements are taken in the thread that takes the results."""


def predict_range(
    span: Range, plan: PredictionPlan, model: ServedModel, map_batches: MapBatches = map
) -> WrittenRange:
    """Writes the shards of one range; an error of its own is returned, not raised.

    Args:
        span: The range.
        plan: How its rows are read, and where the answers go.
        model: The loaded model.
        map_batches: How the batches of the range are answered: by default one after another.
    """
    try:
        return _predict_range(span, plan, model, map_batches)
    except QuatrainError as error:
        return WrittenRange(span.index, error=ErrorRecord.of(error))
    except OSError as error:
        if not (sentence := sentence_of(error)):
            raise
        return WrittenRange(span.index, error=ErrorRecord.of(ArtifactError(sentence)))


def _predict_range(
    span: Range, plan: PredictionPlan, model: ServedModel, map_batches: MapBatches
) -> WrittenRange:
    n_read = n_rejected = 0
    first: Mapping[str, Any] | None = None
    schema = output_columns(plan.rows, model.transform)
    with (
        _shard(plan.out, PREDICTIONS, span, plan, schema) as (shard, files),
        _shard(plan.rejected, REJECTED_ROWS, span, plan, REJECTED) as (bad_rows, rejected_files),
    ):

        def batches() -> Iterator[tuple[int, Batch]]:
            """Yields the batches to answer with the number of their block; counts all rows."""
            nonlocal n_read, n_rejected, first
            for number, block in enumerate(plan.rows.blocks_of(span)):
                bad = block.rejected
                n_read += block.batch.num_rows + bad.num_rows
                n_rejected += bad.num_rows
                if bad.num_rows:
                    first = first or _shown(bad)
                    bad_rows.write_table(pa.Table.from_batches([bad]))
                # Without a place for it, a rejected row has failed the job: the others are only
                # counted, for the message.
                if block.batch.num_rows and (plan.rejected or not n_rejected):
                    for batch in plan.rows.batches(span, block):
                        yield number, batch

        def answer(element: tuple[int, Batch]) -> tuple[int, pa.Table]:
            number, batch = element
            return number, _answered(batch, model, schema)

        # Each block is one write, so the bytes do not depend on how the batches are answered.
        for _, answered in groupby(map_batches(answer, batches()), itemgetter(0)):
            shard.write_table(pa.concat_tables(table for _, table in answered).combine_chunks())
    return WrittenRange(span.index, n_read, n_rejected, files, rejected_files, first)


def output_columns(rows: InputRows, transform: Transform) -> pa.Schema:
    """Returns the columns of the predictions: those to keep, and the answers."""
    return pa.schema([*((name, pa.string()) for name in rows.keep), *prediction_schema(transform)])


def answered_batches(
    span: Range, block: Block, rows: InputRows, model: ServedModel, schema: pa.Schema
) -> Iterator[pa.Table]:
    """Yields the predictions of the good rows of a block, beside the columns to keep."""
    for batch in rows.batches(span, block):
        yield _answered(batch, model, schema)


def _answered(batch: Batch, model: ServedModel, schema: pa.Schema) -> pa.Table:
    inputs, texts = batch
    answers = model.answer(raw_inputs(inputs, model.transform.inputs))
    return pa.table([*texts, *prediction_table(model.transform, answers).columns], schema=schema)


def _shown(bad: pa.RecordBatch) -> dict[str, Any]:
    row = bad.slice(0, 1).to_pylist()[0]
    return {**row, "row": row["row"][:SHOWN_BYTES].decode("utf-8", "replace")}


class _Discarded:
    """Takes tables and drops them: the rejected rows of a prediction without a place for them."""

    def write_table(self, table: pa.Table) -> None:
        """Does nothing."""


@contextmanager
def _shard(
    folder: str | None, stem: str, span: Range, plan: PredictionPlan, schema: pa.Schema
) -> Iterator[tuple[Any, dict[str, str]]]:
    """Yields a writer of a shard, and where its digest will stand by its name."""
    digests: dict[str, str] = {}
    if folder is None:
        yield _Discarded(), digests
        return
    name = shard_name(stem, span.index, plan.n_shards, plan.form)
    with Folder(folder).create(name) as stream:
        hashing = HashingStream(stream)
        with _writer(hashing, schema, plan.form) as writer:
            yield writer, digests
    digests[name] = hashing.sha256


def _writer(stream: HashingStream, schema: pa.Schema, form: str) -> Any:
    if form == "parquet":
        return pq.ParquetWriter(stream, schema)
    if schema == REJECTED:
        return BytesWriter(stream, schema)
    return pacsv.CSVWriter(pa.PythonFile(stream, "w"), schema)


def total_of(written: Sequence[WrittenRange], n_ranges: int) -> WrittenRange:
    """Returns the sum of all ranges, with the first of their errors and of their rejected rows.

    Raises:
        ArtifactError: A range is absent or stands twice: the engine lost or repeated work.
    """
    ordered = sorted(written, key=lambda w: w.index)
    if [w.index for w in ordered] != list(range(n_ranges)):
        raise ArtifactError(
            f"the engine says that all is done, but of {counted(n_ranges, 'range')} it returned "
            f"the predictions of {len(ordered):,}; run again with --runner local"
        )
    return WrittenRange(
        -1,
        sum(w.read for w in ordered),
        sum(w.rejected for w in ordered),
        {name: sha for w in ordered for name, sha in w.files.items()},
        {name: sha for w in ordered for name, sha in w.rejected_files.items()},
        next((w.first for w in ordered if w.first), None),
        next((w.error for w in ordered if w.error), None),
    )
