"""Prediction of the rows of a table in memory: as `predict` answers those of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from quatrain.components.errors import DataError, FrameError, SourceError
from quatrain.components.serve.input_rows import missing_input_hint
from quatrain.components.serve.served_model import (
    BATCH_ROWS,
    ServedModel,
    prediction_schema,
    prediction_table,
)
from quatrain.components.table.block import Block
from quatrain.components.table.frame import to_arrow
from quatrain.components.table.header import check_columns
from quatrain.components.table.sql import one_batch
from quatrain.components.table.typed_blocks import BLOCK_ROWS, typed_block
from quatrain.components.table.values.conversion import USUAL
from quatrain.components.table.values.typed import can_convert
from quatrain.components.wording import counted
from quatrain.trainer.features import raw_inputs
from quatrain.trainer.features.transform import Transform

Rejected = Literal["error", "null"]
"""What becomes of a row that cannot be read: an error for all rows, or empty answers for it."""


def predict_frame(model: ServedModel, rows: Any, rejected: Rejected = "error") -> pa.Table:
    """Predicts rows in memory.

    Args:
        model: The loaded model.
        rows: What `to_arrow` takes. It must have the model's inputs, but for those that are
            optional; any other column is ignored.
        rejected: What becomes of a row with a value that the model cannot read.

    Returns:
        A table with the columns of `prediction_schema`, and a row for each row, in their order.

    Raises:
        FrameError: The rows are no table, lack an input, or have one of a type that does not fit.
        DataError: A row has a value that cannot be read, and `rejected` is "error".
    """
    if rejected not in ("error", "null"):
        raise FrameError(f"rejected is {rejected!r}; choose 'error' or 'null'")
    transform = model.transform
    blocks = list(_blocks(_inputs(rows, transform), transform))
    if rejected == "error":
        _refuse_rejected(blocks)
    answers = [_answers(model, block) for block in blocks]
    return pa.concat_tables(answers) if answers else prediction_schema(transform).empty_table()


def _inputs(rows: Any, transform: Transform) -> pa.Table:
    """Returns the columns that the model takes; optional ones that are absent are missing."""
    required = {i.name: i.type for i in transform.inputs if not i.optional}
    dicts = [rows] if isinstance(rows, Mapping) else rows
    for number, row in enumerate(dicts if isinstance(dicts, list) else ()):
        if isinstance(row, Mapping) and (absent := [n for n in required if n not in row]):
            raise FrameError(
                f"row {number:,} has no {absent[0]!r}, which the model needs; give None if it is "
                f"not known"
            )
    table = to_arrow(rows)
    names = table.column_names
    try:
        check_columns("rows", names, required, "", missing_input_hint)
    except SourceError as error:
        raise FrameError(str(error)) from error
    for i in transform.inputs:
        if i.name not in names:
            table = table.append_column(i.name, pa.nulls(table.num_rows))
    table = table.select([i.name for i in transform.inputs])
    for field, i in zip(table.schema, transform.inputs, strict=True):
        if not can_convert(i.type, field.type, transform.text.columns.get(i.name, USUAL)):
            raise FrameError(
                f"rows: column {i.name!r} is {field.type}, and the model reads it as {i.type}; "
                f"convert it first"
            )
    return table


def _blocks(table: pa.Table, transform: Transform) -> Iterator[Block]:
    columns = {i.name: i.type for i in transform.inputs}
    spellings = {n: s for n, s in transform.text.columns.items() if n in columns}
    for start in range(0, table.num_rows, BLOCK_ROWS):
        batch = one_batch(table.slice(start, BLOCK_ROWS))
        yield typed_block(batch, "rows", start, columns, spellings).without_faults()


def _refuse_rejected(blocks: Sequence[Block]) -> None:
    """Raises an error that names the first row that cannot be read, if there is one."""
    n = sum(block.rejected.num_rows for block in blocks)
    if not n:
        return
    first = next(b.rejected for b in blocks if b.rejected.num_rows).slice(0, 1).to_pylist()[0]
    n_rows = sum(len(block.rows) for block in blocks)
    raise DataError(
        f"row {first['position']:,} cannot be read ({first['reason']}: {first['detail']}); mend or "
        f"remove it, or give rejected='null', which leaves its answer empty. "
        f"{n:,} of the {counted(n_rows, 'row')} cannot be read"
    )


def _answers(model: ServedModel, block: Block) -> pa.Table:
    """Returns the answers to the rows of a block, null for those that were rejected."""
    inputs = model.transform.inputs
    batches = (block.batch.slice(s, BATCH_ROWS) for s in range(0, block.batch.num_rows, BATCH_ROWS))
    answers = [model.answer(raw_inputs(batch, inputs)) for batch in batches]
    schema = prediction_schema(model.transform)
    if not answers:
        return pa.table([pa.nulls(len(block.rows), f.type) for f in schema], schema=schema)
    table = prediction_table(model.transform, np.concatenate(answers))
    if block.indices is None:
        return table
    at = np.full(len(block.rows), -1)
    at[block.indices] = np.arange(len(block.indices))
    return table.take(pa.array(at, mask=at < 0))
