"""The values that a table may hold: their Arrow types, their bounds, and the faults beyond them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.table.block import Fault

TYPES: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
}
"""The Arrow type of each declared type; timestamps are in UTC, but their type names no zone."""
TYPE_PHRASES = {
    "int": "an int",
    "float": "a finite number",
    "bool": "a bool (true, false, 1 or 0)",
    "timestamp": "an ISO 8601 timestamp",
    "date": "an ISO date (2013-01-31)",
}
EXACT = 1 << 53
"""float64, which serving uses, holds every integer up to this one exactly."""
SHOWN = 60
"""How many characters of a bad value an error message quotes."""
EPOCH_UNITS = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
"""How many of each unit make a second."""
FIRST_S, LAST_S = -62_135_596_800, 253_402_300_799
"""The first second of year 1 and the last of year 9999, since 1970.

A time outside them most likely has another unit than the spec says.
"""
BEYOND = "is beyond 2**53, where float64 no longer holds every integer; declare it as string"
OUTSIDE = "is not in the years 1 to 9999"
TypedColumn = tuple[pa.Array, list[Fault]]
"""The values of a column, null where missing or bad, and its faults."""


def finish_column(name: str, values: pa.Array) -> TypedColumn:
    """Applies the rules for typed values, wherever the values come from.

    NaN is missing; an infinite number, an integer beyond 2**53 and a time outside the years 1 to
    9999 are bad values.
    """
    if pa.types.is_timestamp(values.type):
        return _within_years(name, values.cast(TYPES["timestamp"]), 1_000_000)
    if pa.types.is_date32(values.type):
        return _within_years(name, values, 1 / 86_400)
    if pa.types.is_floating(values.type):
        finite = pc.is_finite(values)
        if pc.all(finite).as_py() is not False:
            return values, []
        infinite = pc.is_inf(values)
        fault = bad_value(name, values, infinite, f"is not {TYPE_PHRASES['float']}")
        return pc.if_else(finite, values, None), [fault]
    if pa.types.is_integer(values.type):
        bounds = pc.min_max(values).as_py()
        if bounds["min"] is not None and (bounds["min"] < -EXACT or bounds["max"] > EXACT):
            beyond = pc.or_(pc.less(values, -EXACT), pc.greater(values, EXACT))
            return pc.if_else(beyond, None, values), [bad_value(name, values, beyond, BEYOND)]
    return values, []


def _within_years(name: str, times: pa.Array, per_second: float) -> TypedColumn:
    """Replaces times outside the years 1 to 9999, which four digits cannot write.

    Args:
        name: The column's name, for the faults.
        times: The times.
        per_second: How many of their units make a second.
    """
    since = times.view(pa.int32() if times.type == pa.date32() else pa.int64())
    first, end = round(FIRST_S * per_second), round((LAST_S + 1) * per_second)
    bounds = pc.min_max(since).as_py()
    if bounds["min"] is None or (bounds["min"] >= first and bounds["max"] < end):
        return times, []
    outside = pc.or_(pc.less(since, first), pc.greater_equal(since, end))
    return pc.if_else(outside, None, times), [bad_value(name, times, outside, OUTSIDE)]


def since_1970(name: str, whole: pa.Array, epoch: str, why: str = "") -> TypedColumn:
    """Reads whole numbers of a unit since 1970; outside the years 1 to 9999 they are bad values."""
    units, faults = EPOCH_UNITS[epoch], []
    if epoch != "ns":  # 64 bits of nanoseconds end in 2262
        before = pc.less(whole, FIRST_S * units)
        outside = pc.or_(before, pc.greater_equal(whole, (LAST_S + 1) * units))
        why = why or f"{epoch} since 1970 {OUTSIDE}; is the unit another one?"
        faults = [bad_value(name, whole, outside, why)]
        whole = pc.if_else(outside, None, whole)
    return whole.cast(pa.timestamp(epoch)).cast(TYPES["timestamp"], safe=False), faults


def whole_numbers(name: str, column: pa.Array, shown: pa.Array | None = None) -> TypedColumn:
    """Reads whole floats as integers: pandas writes integers as floats when some are missing.

    Args:
        name: The column's name, for the faults.
        column: Numbers, or texts of them.
        shown: What the faults quote in their place.
    """
    shown = column if shown is None else shown
    column = column.cast(pa.float64(), safe=False)
    known = pc.if_else(pc.is_nan(column), None, column)
    beyond = pc.fill_null(pc.greater(pc.abs(known), float(EXACT)), False)
    fraction = pc.and_not(pc.fill_null(pc.not_equal(pc.floor(known), known), False), beyond)
    faults = [
        bad_value(name, shown, fraction, f"is not {TYPE_PHRASES['int']}"),
        bad_value(name, shown, beyond, BEYOND),
    ]
    return pc.if_else(pc.or_(fraction, beyond), None, known).cast(pa.int64()), faults


def bad_value(name: str, values: pa.Array, wrong: pa.Array, why: str) -> Fault:
    """Returns the fault of the rows that are marked as wrong, which quotes their values."""
    rows = Fault.where(wrong, "bad_value").rows
    bad = values.take(pa.array(rows)).cast(pa.string())
    cut = pc.utf8_slice_codeunits(bad, 0, SHOWN)
    return Fault(rows, "bad_value", pc.binary_join_element_wise(f"{name}: '", cut, f"' {why}", ""))
