"""JSON Lines blocks: DuckDB cuts each object into values, which are read like cells of a CSV.

A fragment is a value as the JSON text writes it. The fragment `null` is a missing value; a missing
key has no fragment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.specification.encodings import UTF_8
from quatrain.components.specification.source import Source
from quatrain.components.table.block import Block, Fault
from quatrain.components.table.encoded_text import undecodable
from quatrain.components.table.range import Range
from quatrain.components.table.sql import run_query
from quatrain.components.table.text_pieces import BLOCK_BYTES, pieces, raw_block
from quatrain.components.table.values.conversion import USUAL, from_json
from quatrain.trainer.features.text_format import Spelling


def read_blocks(
    span: Range,
    source: Source,
    columns: Mapping[str, str],
    block_bytes: int = BLOCK_BYTES,
    spellings: Mapping[str, Spelling] = {},
) -> Iterator[Block]:
    """Yields the rows of a range of a file of JSON Lines.

    A row is a line that is not empty. A line that does not hold an object has the fault `bad_json`;
    one that lacks a declared column has `missing_key`, unless `source.optional_keys` allows that.

    Raises:
        SourceError: The file cannot be read, or a row is too long.
    """
    objects = read_objects(span, source.encoding, block_bytes)
    return (_typed(block, source, columns, spellings) for block in objects)


def read_objects(
    span: Range, encoding: str = UTF_8, block_bytes: int = BLOCK_BYTES
) -> Iterator[Block]:
    """Yields the objects of a range as a column `text`; a line that holds none is a fault.

    Raises:
        SourceError: The file cannot be read, or a row is too long.
    """
    for piece in pieces(span, block_bytes, quoted_newlines=False, encoding=encoding):
        yield _objects(raw_block(piece, span, empty_is_row=False), encoding)


def keys_of(text: pa.Array) -> list[str]:
    """Returns the keys of objects, each once, in the order in which they are met."""
    sql = "SELECT json_keys(text) AS keys FROM batch"
    keys = run_query(sql, pa.table({"text": text})).column("keys").combine_chunks()
    return list(keys.flatten().unique().to_pylist())


def _objects(block: Block, encoding: str) -> Block:
    """Returns the block without lines that do not decode, are no object, or have a key twice."""
    rows, faults = block.rows, []
    try:
        text = rows.cast(pa.string())
    except pa.ArrowInvalid:
        wrong = np.array([not _is_utf8(row) for row in rows.to_pylist()], bool)
        faults = [Fault.where(wrong, "bad_encoding", undecodable("the line", encoding))]
        text = pc.if_else(pa.array(wrong), None, rows).cast(pa.string())
    sql = "SELECT CASE WHEN json_valid(text) THEN json_type(text) = 'OBJECT' END AS is FROM batch"
    is_object = run_query(sql, pa.table({"text": text})).column("is").combine_chunks()
    wrong = pc.invert(pc.fill_null(is_object, False))
    faults.append(Fault.where(wrong, "bad_json", "the line is not one JSON object"))
    # Of a key that stands twice DuckDB takes the first value, and Python the last. Most rows have
    # the same keys, so the distinct lists are compared first: 0.1 CPU-s for 200 000 rows, not 0.25.
    twice = "len(list_distinct(keys)) < len(keys)"
    keys = "SELECT json_keys(text) AS keys FROM batch"
    objects = pa.table({"text": pc.if_else(wrong, None, text)})
    first = f"SELECT bool_or({twice}) AS is FROM (SELECT DISTINCT keys FROM ({keys}))"  # noqa: S608
    if run_query(first, objects).column("is")[0].as_py():
        each = run_query(f"SELECT {twice} AS is FROM ({keys})", objects)  # noqa: S608 - ours
        is_twice = each.column("is").combine_chunks()
        faults.append(Fault.where(is_twice, "bad_json", "a key stands twice in the object"))
    return replace(block, batch=pa.record_batch({"text": text})).without_faults(faults)


def _is_utf8(row: bytes) -> bool:
    try:
        row.decode()
    except UnicodeDecodeError:
        return False
    return True


def _typed(
    block: Block, source: Source, columns: Mapping[str, str], spellings: Mapping[str, Spelling]
) -> Block:
    """Returns the block with typed columns in place of its JSON text."""
    fragments = fragments_of(block.batch.column("text"), list(columns))
    faults = [] if source.optional_keys else _missing_keys(fragments)
    converted = {
        name: from_json(name, fragments[name], type_, spellings.get(name, USUAL))
        for name, type_ in columns.items()
    }
    faults += [fault for _, of_column in converted.values() for fault in of_column]
    batch = pa.record_batch([c for c, _ in converted.values()], names=list(converted))
    return replace(block, batch=batch).with_faults(faults)


def fragments_of(text: pa.Array, names: list[str]) -> dict[str, pa.Array]:
    """Returns the fragment of each key, `[N] string`, null where a row lacks it."""
    pointers = ["/" + name.replace("~", "~0").replace("/", "~1") for name in names]
    sql = "SELECT json_extract(text, $1::VARCHAR[]) AS fragments FROM batch"
    lists = run_query(sql, pa.table({"text": text}), [pointers]).column("fragments")
    # Row by row, and within a row in the order of `names`.
    values = lists.combine_chunks().flatten()
    at = np.arange(len(text)) * len(names)
    return {name: values.take(pa.array(at + i)).cast(pa.string()) for i, name in enumerate(names)}


def _missing_keys(fragments: Mapping[str, pa.Array]) -> list[Fault]:
    """Returns the faults of rows that lack a key; a key with the value null is there."""
    hint = "; if rows may lack keys, set `source.optional_keys: true`"
    return [
        Fault.where(pc.is_null(column), "missing_key", f"there is no key {name!r}{hint}")
        for name, column in fragments.items()
    ]
