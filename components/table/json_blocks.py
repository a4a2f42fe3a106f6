"""JSON Lines blocks: DuckDB cuts each object into values, which are then read like cells of a CSV.

A fragment is a value as the JSON text writes it. The fragment `null` is a missing value; a missing
key has no fragment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.specification.source import Source
from quatrain.components.table.block import Block, Fault
from quatrain.components.table.conversion import SHOWN, USUAL, TypedColumn, from_text
from quatrain.components.table.range import Range
from quatrain.components.table.sql import run_query
from quatrain.components.table.text_pieces import BLOCK_BYTES, Piece, pieces, raw_block
from quatrain.trainer.features.text_format import Spelling

_KINDS = {
    "string": ("text", "whole"),
    "bool": ("bool", "text", "whole"),
    "int": ("whole", "text"),
    "float": ("whole", "fraction", "text"),
    "timestamp": ("text",),
    "date": ("text",),
}
"""The kinds of JSON values that each type accepts.

A string accepts whole numbers but no fractions: 0.1 and 1e-1 are one number and two texts.
"""
_EPOCH_KINDS = ("whole", "text")
_PATTERNS = {
    "text": r'\A"',
    "whole": r"\A-?[0-9]+(?:\.0+)?\z",
    "fraction": r"\A-?(?:[0-9]|NaN|Inf)",
    "bool": r"\A[tf]",
}


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

    def typed(piece: Piece) -> Block:
        block = raw_block(piece, span, empty_is_row=False)
        return _typed(_objects(block), source, columns, spellings)

    return map(typed, pieces(span, block_bytes, quoted_newlines=False))


def _objects(block: Block) -> Block:
    """Returns the block without the lines that are not UTF-8 or not an object."""
    rows, faults = block.rows, []
    try:
        text = rows.cast(pa.string())
    except pa.ArrowInvalid:
        wrong = np.array([not _is_utf8(row) for row in rows.to_pylist()], bool)
        faults = [Fault.where(wrong, "bad_encoding", "the line is not valid UTF-8")]
        text = pc.if_else(pa.array(wrong), None, rows).cast(pa.string())
    sql = "SELECT CASE WHEN json_valid(text) THEN json_type(text) = 'OBJECT' END AS is FROM batch"
    is_object = run_query(sql, pa.table({"text": text})).column("is").combine_chunks()
    wrong = pc.invert(pc.fill_null(is_object, False))
    faults.append(Fault.where(wrong, "bad_json", "the line is not one JSON object"))
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
    fragments = _fragments(block.batch.column("text"), list(columns))
    faults = [] if source.optional_keys else _missing_keys(fragments)
    converted = {
        name: _convert(name, fragments[name], type_, spellings.get(name, USUAL))
        for name, type_ in columns.items()
    }
    faults += [fault for _, of_column in converted.values() for fault in of_column]
    batch = pa.record_batch([c for c, _ in converted.values()], names=list(converted))
    return replace(block, batch=batch).with_faults(faults)


def _fragments(text: pa.Array, names: list[str]) -> dict[str, pa.Array]:
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


def _convert(name: str, fragments: pa.Array, type_: str, spelling: Spelling) -> TypedColumn:
    """Converts the fragments of a key to the type of its column."""
    fragments = pc.if_else(pc.equal(fragments, "null"), None, fragments)
    kinds = _EPOCH_KINDS if spelling.epoch else _KINDS[type_]
    pattern = "|".join(_PATTERNS[kind] for kind in kinds)
    wrong = pc.invert(pc.match_substring_regex(fragments, pattern=pattern))
    good = pc.if_else(wrong, None, fragments)
    if type_ == "int" or spelling.epoch:  # pandas writes the integer 3 beside nulls as 3.0
        good = pc.replace_substring_regex(good, pattern=r"\A(-?[0-9]+)\.0+\z", replacement=r"\1")
    column, faults = from_text(name, _unquoted(good).cast(pa.binary()), type_, spelling)
    return column, [_wrong_kind(name, fragments, wrong, type_), *faults]


def _unquoted(fragments: pa.Array) -> pa.Array:
    """Returns the texts of string fragments, null where empty; numbers stay as they are."""
    text = pc.replace_substring_regex(fragments, pattern=r'(?s)\A"(.*)"\z', replacement=r"\1")
    escaped = pc.fill_null(pc.match_substring(fragments, "\\"), False)
    if pc.any(escaped).as_py():
        unescaped = pa.array([json.loads(f) for f in fragments.filter(escaped).to_pylist()])
        text = pc.replace_with_mask(text, escaped, unescaped)
    return pc.if_else(pc.equal(text, ""), None, text)


def _wrong_kind(name: str, fragments: pa.Array, wrong: pa.Array, type_: str) -> Fault:
    rows = Fault.where(wrong, "bad_value").rows
    cut = pc.utf8_slice_codeunits(fragments.take(pa.array(rows)), 0, SHOWN)
    why = f" is no JSON value of a column of type {type_}"
    return Fault(rows, "bad_value", pc.binary_join_element_wise(f"{name}: ", cut, why, ""))
