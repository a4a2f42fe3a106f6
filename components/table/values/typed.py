"""The rules for columns that have types, in Parquet and BigQuery, as their texts would be read."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import SourceError
from quatrain.components.table.values.bounds import (
    BEYOND,
    EXACT,
    OUTSIDE,
    TYPE_PHRASES,
    TYPES,
    TypedColumn,
    bad_value,
    finish_column,
    since_1970,
    whole_numbers,
)
from quatrain.components.table.values.conversion import USUAL, from_text
from quatrain.trainer.features.text_format import Spelling


def from_typed(name: str, column: pa.Array, type_: str, spelling: Spelling = USUAL) -> TypedColumn:
    """Converts a column of a Parquet file or of BigQuery to its declared type.

    Raises:
        SourceError: No value of the column's Arrow type can be converted to the declared type.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_text(column.type):
        text = column.cast(pa.string()).cast(pa.binary())
        return from_text(name, _empty_is_missing(text), type_, spelling)
    if spelling.format and pa.types.is_integer(column.type):  # 20130131
        return from_text(name, column.cast(pa.string()).cast(pa.binary()), type_, spelling)
    if spelling.epoch and _is_number(column.type):
        # Not as "int", which rejects all beyond 2**53: nanoseconds since 1970 are, after 104 days.
        is_signed = pa.types.is_signed_integer(column.type)
        whole, faults = (
            (column.cast(pa.int64()), []) if is_signed else from_typed(name, column, "int")
        )
        times, late_faults = since_1970(name, whole, spelling.epoch)
        return times, [*faults, *late_faults]
    for accepts, convert in _FROM[type_]:
        if accepts(column.type):
            return convert(name, column)
    raise SourceError(
        f"column {name!r} is {column.type} in the source and cannot be read as {type_}; "
        f"correct its type under `columns`"
    )


def can_convert(type_: str, actual: pa.DataType, spelling: Spelling = USUAL) -> bool:
    """Whether `from_typed` converts a column of the Arrow type `actual`."""
    if pa.types.is_dictionary(actual):
        actual = actual.value_type
    if spelling.epoch and _is_number(actual):
        return True
    if spelling.format and pa.types.is_integer(actual):
        return True
    return _is_text(actual) or any(accepts(actual) for accepts, _ in _FROM[type_])


def _is_number(type_: pa.DataType) -> bool:
    return any(accepts(type_) for accepts, _ in _FROM["int"])


def _is_text(type_: pa.DataType) -> bool:
    return (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _plain_cast(type_: pa.DataType, *, safe: bool = True) -> Callable[[str, pa.Array], TypedColumn]:
    """Returns a converter that casts a column to an Arrow type."""
    return lambda name, column: finish_column(name, column.cast(type_, safe=safe))


def _to_bool(name: str, column: pa.Array) -> TypedColumn:
    if not pa.types.is_integer(column.type):
        column = column.cast(pa.float64(), safe=False)
        column = pc.if_else(pc.is_nan(column), None, column)
    wrong = pc.fill_null(pc.and_(pc.not_equal(column, 0), pc.not_equal(column, 1)), False)
    fault = bad_value(name, column, wrong, f"is not {TYPE_PHRASES['bool']}")
    return pc.if_else(wrong, None, column).cast(pa.bool_()), [fault]


def _unsigned(name: str, column: pa.Array) -> TypedColumn:
    wrong = pc.fill_null(pc.greater(column, pa.scalar(EXACT, column.type)), False)
    fault = bad_value(name, column, wrong, BEYOND)
    return pc.if_else(wrong, None, column).cast(pa.int64()), [fault]


def _to_timestamp(name: str, column: pa.Array) -> TypedColumn:
    """Reads times and days of any unit; they have years that four digits can write."""
    if pa.types.is_date32(column.type):
        column = column.cast(pa.timestamp("s"))
    elif pa.types.is_date64(column.type):
        column = column.view(pa.timestamp("ms"))
    return since_1970(name, column.cast(pa.int64()), column.type.unit, OUTSIDE)


def _to_date(name: str, column: pa.Array) -> TypedColumn:
    """Reads days; pandas writes dates as timestamps, and their date is their day in UTC."""
    times, faults = _to_timestamp(name, column)
    return times.cast(pa.date32(), safe=False), faults


def _binary_to_string(name: str, column: pa.Array) -> TypedColumn:
    return from_text(name, _empty_is_missing(column.cast(pa.binary())), "string")


def _empty_is_missing(text: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(text, b""), None, text)


_FRACTIONAL = (pa.types.is_floating, pa.types.is_decimal)
_FROM: dict[
    str, list[tuple[Callable[[pa.DataType], bool], Callable[[str, pa.Array], TypedColumn]]]
] = {
    "int": [
        (lambda t: t == pa.uint64(), _unsigned),
        (pa.types.is_integer, _plain_cast(pa.int64())),
        *((f, whole_numbers) for f in _FRACTIONAL),
        (pa.types.is_null, _plain_cast(pa.int64())),
    ],
    "float": [
        (
            lambda t: pa.types.is_integer(t) or pa.types.is_null(t),
            _plain_cast(pa.float64(), safe=False),
        ),
        *((f, _plain_cast(pa.float64(), safe=False)) for f in _FRACTIONAL),
    ],
    "bool": [
        (pa.types.is_boolean, _plain_cast(pa.bool_())),
        *((f, _to_bool) for f in (pa.types.is_integer, *_FRACTIONAL)),
        (pa.types.is_null, _plain_cast(pa.bool_())),
    ],
    "string": [
        (lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t), _binary_to_string),
        (pa.types.is_integer, lambda name, column: (column.cast(pa.string()), [])),
        (pa.types.is_null, _plain_cast(pa.string())),
    ],
    "timestamp": [
        *((f, _to_timestamp) for f in (pa.types.is_timestamp, pa.types.is_date)),
        (pa.types.is_null, _plain_cast(TYPES["timestamp"])),
    ],
    "date": [
        *((f, _to_date) for f in (pa.types.is_timestamp, pa.types.is_date)),
        (pa.types.is_null, _plain_cast(pa.date32())),
    ],
}
"""The rows of the table for columns that have types: what each type accepts, and how it is read."""
