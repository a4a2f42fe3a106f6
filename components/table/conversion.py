"""The one table of conversions: a cell of any source becomes a value, is missing, or is a fault.

Text has one table of rules (`from_text`), whether it comes from a CSV, from JSON (`from_json`: JSON
Lines and the server's requests), from a path or from `init`. Columns that have types (Parquet and
BigQuery) have rows of their own (`from_typed`), which give the same values and the same sentences.

Whatever pyarrow's CSV reader converts has the same value here, so that a block that it reads as a
whole and one that is converted value by value give the same rows. The table accepts more.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import SourceError
from quatrain.components.specification.columns import DIRECTIVE, DIRECTIVES, ZONES
from quatrain.components.table.block import Fault
from quatrain.components.table.number_text import plain_numbers, spelling_in_words
from quatrain.components.table.sql import run_query
from quatrain.components.wording import a_or_an
from quatrain.trainer.features.text_format import Spelling

TYPES: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
}
"""The Arrow type of each declared type; timestamps are in UTC, but their type names no zone."""

ZONED = pa.timestamp("us", "UTC")
ZONE = r"[T ].*(?:Z|[+-]\d\d(?::?\d\d)?)\z"
"""Matches a timestamp that ends with its offset from UTC."""
TRUE, FALSE = ["1", "true", "True", "TRUE"], ["0", "false", "False", "FALSE"]
EXACT = 1 << 53
"""float64, which serving uses, holds every integer up to this one exactly."""

SHOWN = 60
"""How many characters of a bad value an error message quotes."""
_TYPE_PHRASES = {
    "int": "an int",
    "float": "a finite number",
    "bool": "a bool (true, false, 1 or 0)",
    "timestamp": "an ISO 8601 timestamp",
    "date": "an ISO date (2013-01-31)",
}
_BEYOND = "is beyond 2**53, where float64 no longer holds every integer; declare it as string"
_OUTSIDE = "is not in the years 1 to 9999"
# Texts that are certain to convert. Any other distinct value is tried on its own, which is slow.
_PLAIN = {
    "int": r"\A-?\d{1,18}\z",
    "float": r"\A-?\d+(?:\.\d+)?\z",
    "date": r"\A\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])\z",
    "timestamp": r"\A\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])"
    r"[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ?\z",
}
_REWRITTEN: dict[str, tuple[tuple[str, str], ...]] = {
    # pandas writes whole numbers and bools as 3.0 where a column has missing values, days as
    # midnight and times in nanoseconds; a spreadsheet may write the minus sign U+2212.
    "int": (
        (r"\A\x{2212}", "-"),
        (r"\A\+(\d)", r"\1"),
        (r"\A(-?\d+)\.0*\z", r"\1"),
    ),
    "float": ((r"\A\x{2212}", "-"),),
    "bool": ((r"\A([01])\.0*\z", r"\1"),),
    "date": ((r"\A(\d{4}-\d\d-\d\d)[T ]00:00(?::00(?:[.,]0+)?)?(?:Z|[+-]00(?::?00)?)?\z", r"\1"),),
    "timestamp": (
        (r"(:\d\d),(\d)", r"\1.\2"),  # ISO 8601 allows a comma before the fraction
        (r"(\.\d{6})\d{1,3}(\D|\z)", r"\1\2"),
    ),
}
"""How texts that pyarrow does not convert are rewritten before they are tried once more."""
_DECIMAL = r"\A-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?\z"
_WHOLE = r"\A-?\d+(?:\.0+)?\z"

USUAL = Spelling()
"""How values are written unless the spec says otherwise."""
EPOCH_UNITS = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
"""How many of each unit make a second."""
FIRST_S, LAST_S = -62_135_596_800, 253_402_300_799
"""The first second of year 1 and the last of year 9999, since 1970.

A time outside them most likely has another unit than the spec says.
"""

TypedColumn = tuple[pa.Array, list[Fault]]
"""The values of a column, null where missing or bad, and its faults."""


def from_text(name: str, text: pa.Array, type_: str, spelling: Spelling = USUAL) -> TypedColumn:
    """Converts a column of text.

    Args:
        name: The column's name, for the faults.
        text: `[N]` binary, null where missing; it may be dictionary-encoded.
        type_: The declared type.
        spelling: The format of the values.
    """
    if pa.types.is_dictionary(text.type):
        return _expand(text, from_text(name, text.dictionary, type_, spelling))
    try:
        decoded, faults = text.cast(pa.string()), []
    except pa.ArrowInvalid:
        wrong = _undecodable(text)
        faults = [Fault.where(wrong, "bad_encoding", f"{name}: the value is not valid UTF-8")]
        decoded = pc.if_else(wrong, None, text).cast(pa.string())
    if type_ == "string":
        return decoded, faults
    phrase = _described(type_, spelling)
    if spelling.is_of_numbers:
        plain = plain_numbers(decoded, type_, spelling)
        wrong = pc.and_(pc.is_valid(decoded), pc.is_null(plain))
        faults.append(_bad_value(name, decoded, wrong, f"is not {phrase}"))
    else:
        plain = decoded
    if type_ == "int":
        column, int_faults = _parse_int(name, plain, decoded, phrase)
        return column, [*faults, *int_faults]
    if type_ == "bool":
        values, wrong = _parse_bool(decoded, spelling)
    elif spelling.format:
        values, wrong = _parse_format(decoded, type_, spelling.format)
    else:
        values, wrong = _parse(plain, "int" if spelling.epoch else type_)
    if wrong is not None:
        faults.append(_bad_value(name, decoded, wrong, f"is not {phrase}"))
    if spelling.epoch:
        column, late_faults = _since_1970(name, values, spelling.epoch)
    else:
        column, late_faults = finish_column(name, values)
    return column, [*faults, *late_faults]


def from_json(
    name: str, fragments: pa.Array, type_: str, spelling: Spelling = USUAL
) -> TypedColumn:
    """Converts a column of JSON values: a text, number or bool is read as the same text in a CSV.

    A string takes whole numbers but no fractions (0.1 and 1e-1 are one number and two texts), and
    neither bools, objects nor arrays.

    Args:
        name: The column's name, for the faults.
        fragments: `[N] string`, values as JSON writes them; `null` and null are missing.
        type_: The declared type.
        spelling: The format of the values.
    """
    fragments = pc.if_else(pc.equal(fragments, "null"), None, fragments)
    if spelling.is_of_numbers:  # so do JSON's own numbers
        is_text = pc.fill_null(pc.starts_with(fragments, '"'), False)
        text = _unquoted(pc.if_else(is_text, fragments, None))
        texts, faults = from_text(name, text, type_, spelling)
        others, other_faults = from_json(name, pc.if_else(is_text, None, fragments), type_)
        return pc.coalesce(texts, others), [*faults, *other_faults]
    if type_ == "bool" and spelling.true_values:  # JSON's own bools need no other spelling
        for own, words in (("true", spelling.true_values), ("false", spelling.false_values)):
            fragments = pc.if_else(pc.equal(fragments, own), json.dumps(words[0]), fragments)
    suits = rf'\A"|{_WHOLE}' if type_ == "string" else r"\A[^\[{]"
    wrong = pc.invert(pc.match_substring_regex(fragments, pattern=suits))
    text = _unquoted(pc.if_else(wrong, None, fragments))
    column, faults = from_text(name, text, type_, spelling)
    cut = pc.utf8_slice_codeunits(fragments.filter(wrong), 0, SHOWN)
    why = f" is no JSON value of a column of type {type_}"
    detail = pc.binary_join_element_wise(f"{name}: ", cut, why, "")
    return column, [Fault(Fault.where(wrong, "bad_value").rows, "bad_value", detail), *faults]


def text_of_json(fragments: pa.Array) -> pa.Array:
    """Returns JSON values as the texts that `from_json` reads, `[N] string`, null where missing."""
    known = pc.if_else(pc.equal(fragments, "null"), None, fragments)
    return _unquoted(known).cast(pa.string())


def _unquoted(fragments: pa.Array) -> pa.Array:
    """Returns the text of fragments as `[N] binary`, null where empty."""
    text = pc.replace_substring_regex(fragments, pattern=r'(?s)\A"(.*)"\z', replacement=r"\1")
    text = text.cast(pa.binary())
    escaped = pc.fill_null(pc.match_substring(fragments, "\\"), False)
    if pc.any(escaped).as_py():
        # Half of a surrogate pair becomes bytes that are not UTF-8, and then a fault.
        texts = (json.loads(fragment) for fragment in fragments.filter(escaped).to_pylist())
        unescaped = pa.array([t.encode("utf-8", "surrogatepass") for t in texts], pa.binary())
        text = pc.replace_with_mask(text, escaped, unescaped)
    return pc.if_else(pc.equal(text, b""), None, text)


def _expand(text: pa.DictionaryArray, distinct: TypedColumn) -> TypedColumn:
    """Returns a column of N rows from the converted column of its distinct values."""
    values, faults = distinct
    faulty = [f for f in faults if len(f.rows)]
    codes = text.indices.fill_null(-1).to_numpy() if faulty else np.zeros(0, np.int32)
    expanded = []
    for fault in faulty:
        # The extra element at the end stays -1, and code -1 (missing) finds it.
        place = np.full(len(text.dictionary) + 1, -1)
        place[fault.rows] = np.arange(len(fault.rows))
        at = place.take(codes)
        rows = np.flatnonzero(at >= 0)
        detail = fault.detail
        if not isinstance(detail, str):
            detail = detail.take(pa.array(at[rows]))
        expanded.append(Fault(rows, fault.reason, detail))
    return values.take(text.indices), expanded


def _described(type_: str, spelling: Spelling) -> str:
    """Returns what a value should have been, for the message about one that is not."""
    if spelling.format:
        return f"{a_or_an(type_)} as {spelling.format}"
    if spelling.epoch:
        return f"a whole number of {spelling.epoch} since 1970"
    if spelling.true_values:
        return f"a bool ({', '.join([*spelling.true_values, *spelling.false_values])})"
    if spelling.is_of_numbers:
        return f"{_TYPE_PHRASES[type_]} with {spelling_in_words(spelling)}"
    return _TYPE_PHRASES[type_]


def _parse_bool(text: pa.Array, spelling: Spelling) -> tuple[pa.Array, pa.Array]:
    """Returns the values of texts, null where missing or wrong, and which texts are wrong."""
    true, false = spelling.true_values or TRUE, spelling.false_values or FALSE
    text = pc.ascii_trim(text, characters=" \t") if spelling.true_values else _tidy(text, "bool")
    wrong = pc.invert(pc.is_in(text, pa.array([*true, *false])))
    values, missing = pc.is_in(text, pa.array(list(true))), pc.is_null(text)
    return pc.if_else(missing, None, values), pc.and_not(wrong, missing)


def _parse_format(text: pa.Array, type_: str, form: str) -> tuple[pa.Array, pa.Array]:
    """Returns times as strptime reads them, and which texts are wrong.

    A text that leaves strptime to guess is wrong: `%Y` takes four digits here, for example, since
    strptime reads the 13 of 1/7/13 as the year 13.
    """
    text = pc.replace_substring_regex(text, pattern=" {2,}", replacement=" ")  # May  5, by ctime
    encoded = pc.ascii_trim(text, characters=" \t").dictionary_encode()
    form = re.sub(" {2,}", " ", form)
    distinct = encoded.dictionary
    fits = pc.match_substring_regex(distinct, pattern=_pattern(form))
    times = _strptime(pc.if_else(fits, distinct, None), form).cast(TYPES[type_], safe=False)
    values = times.take(encoded.indices)
    return values, pc.and_(pc.is_valid(text), pc.is_null(values))


def _pattern(form: str, directive: str = "", spelling: str = "") -> str:
    """Returns the pattern of a format of times.

    Args:
        form: The format.
        directive: One of its directives, to be matched as `spelling`: the text before it is group
            1 and the text after it the last group.
        spelling: The pattern of the directive.
    """
    pattern, at = r"\A(", 0
    for found in DIRECTIVE.finditer(form):
        pattern += _literal(form[at : found.start()])
        pattern += f"){spelling}(" if found[1] == directive else DIRECTIVES[found[1]]
        at = found.end()
    return pattern + _literal(form[at:]) + r")\z"


_DIALECT = (
    ("f", r"(\d{6})\d+", r"\1\2\3"),  # strptime reads microseconds, not nanoseconds
    ("z", "Z", r"\1+0000\2"),
    *(("Z", name, rf"\1{offset}\2") for name, offset in ZONES.items()),
)
"""What a directive takes and DuckDB's strptime does not, and how it is rewritten."""


def _literal(text: str) -> str:
    """Returns the pattern of a literal text; RE2 rejects some escapes that re.escape writes."""
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def _strptime(text: pa.Array, form: str) -> pa.Array:
    """Returns `[N] timestamp[us]` in UTC, null where a text does not have the format."""
    for directive, spelling, replacement in _DIALECT:
        if directive in DIRECTIVE.findall(form):
            text = pc.replace_substring_regex(
                text, pattern=_pattern(form, directive, spelling), replacement=replacement
            )
    form = DIRECTIVE.sub(lambda found: "%z" if found[1] == "Z" else found[0], form)
    sql = "SELECT try_strptime(text, $1) AS time FROM batch"
    times = run_query(sql, pa.table({"text": text}), [form])
    return times.column("time").combine_chunks().cast(ZONED).cast(TYPES["timestamp"])


def _since_1970(name: str, whole: pa.Array, epoch: str, why: str = "") -> TypedColumn:
    """Reads whole numbers of a unit since 1970; outside the years 1 to 9999 they are bad values."""
    units, faults = EPOCH_UNITS[epoch], []
    if epoch != "ns":  # 64 bits of nanoseconds end in 2262
        before = pc.less(whole, FIRST_S * units)
        outside = pc.or_(before, pc.greater_equal(whole, (LAST_S + 1) * units))
        why = why or f"{epoch} since 1970 {_OUTSIDE}; is the unit another one?"
        faults = [_bad_value(name, whole, outside, why)]
        whole = pc.if_else(outside, None, whole)
    return whole.cast(pa.timestamp(epoch)).cast(TYPES["timestamp"], safe=False), faults


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
        fault = _bad_value(name, values, infinite, f"is not {_TYPE_PHRASES['float']}")
        return pc.if_else(finite, values, None), [fault]
    if pa.types.is_integer(values.type):
        bounds = pc.min_max(values).as_py()
        if bounds["min"] is not None and (bounds["min"] < -EXACT or bounds["max"] > EXACT):
            beyond = pc.or_(pc.less(values, -EXACT), pc.greater(values, EXACT))
            return pc.if_else(beyond, None, values), [_bad_value(name, values, beyond, _BEYOND)]
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
    return pc.if_else(outside, None, times), [_bad_value(name, times, outside, _OUTSIDE)]


def from_typed(name: str, column: pa.Array, type_: str, spelling: Spelling = USUAL) -> TypedColumn:
    """Converts a column of a Parquet file or of BigQuery to its declared type.

    Raises:
        SourceError: No value of the column's Arrow type can be converted to the declared type.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_text(column.type):
        text = _empty_is_missing(column.cast(pa.string())).cast(pa.binary())
        return from_text(name, text, type_, spelling)
    if spelling.format and pa.types.is_integer(column.type):  # 20130131
        return from_text(name, column.cast(pa.string()).cast(pa.binary()), type_, spelling)
    if spelling.epoch and _is_number(column.type):
        # Not as "int", which rejects all beyond 2**53: nanoseconds since 1970 are, after 104 days.
        is_signed = pa.types.is_signed_integer(column.type)
        whole, faults = (
            (column.cast(pa.int64()), []) if is_signed else from_typed(name, column, "int")
        )
        times, late_faults = _since_1970(name, whole, spelling.epoch)
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


def _empty_is_missing(text: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(text, ""), None, text)


def _parse(text: pa.Array, type_: str) -> tuple[pa.Array, pa.Array | None]:
    """Returns the values of texts, and which texts are wrong; None when all of them convert."""
    cast = _cast_timestamp if type_ == "timestamp" else lambda t: t.cast(TYPES[type_])
    with contextlib.suppress(pa.ArrowInvalid):
        return cast(text), None
    text = _tidy(text, type_)
    try:
        return cast(text), None
    except pa.ArrowInvalid:
        wrong = pc.is_in(text, _unreadable(text.unique(), type_, cast))
        return cast(pc.if_else(wrong, None, text)), wrong


def _parse_int(name: str, text: pa.Array, shown: pa.Array, phrase: str) -> TypedColumn:
    """Returns whole numbers, of which some may be written as 3.0 or 1e3.

    Args:
        name: The column's name, for the faults.
        text: Texts of numbers.
        shown: What the faults quote in their place.
        phrase: What a text should have been, for the faults.
    """
    values, wrong = _parse(text, "int")
    if wrong is None:
        return finish_column(name, values)
    tidy = _tidy(text, "int")
    is_decimal = pc.and_(wrong, pc.match_substring_regex(tidy, pattern=_DECIMAL))
    numbers, decimal_faults = _whole_numbers(name, pc.if_else(is_decimal, tidy, None), shown)
    values, faults = finish_column(name, pc.coalesce(values, numbers))
    other = _bad_value(name, shown, pc.and_not(wrong, is_decimal), f"is not {phrase}")
    return values, [other, *decimal_faults, *faults]


def _tidy(text: pa.Array, type_: str) -> pa.Array:
    """Returns texts without blanks around them, in the spelling that pyarrow reads."""
    text = pc.ascii_trim(text, characters=" \t")
    for pattern, replacement in _REWRITTEN[type_]:
        text = pc.replace_substring_regex(text, pattern=pattern, replacement=replacement)
    return text


def _unreadable(distinct: pa.Array, type_: str, cast: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Returns the distinct values that do not convert; only unusual texts are tried one by one."""
    unusual = distinct.filter(pc.invert(pc.match_substring_regex(distinct, pattern=_PLAIN[type_])))
    return pa.array([v for v in unusual.to_pylist() if not _converts(v, cast)], pa.string())


def _converts(value: str, cast: Callable[[pa.Array], pa.Array]) -> bool:
    try:
        cast(pa.array([value]))
    except pa.ArrowInvalid:
        return False
    return True


def _cast_timestamp(text: pa.Array) -> pa.Array:
    """Reads timestamps with and without an offset; those without one are in UTC."""
    with contextlib.suppress(pa.ArrowInvalid):
        return text.cast(ZONED).cast(TYPES["timestamp"])
    zoned = pc.match_substring_regex(text, pattern=ZONE)
    if not pc.any(zoned).as_py():
        return text.cast(TYPES["timestamp"])
    plain = pc.if_else(zoned, None, text).cast(TYPES["timestamp"])
    offset = pc.if_else(zoned, text, None).cast(ZONED).cast(TYPES["timestamp"])
    return pc.coalesce(plain, offset)


def _undecodable(text: pa.Array) -> pa.Array:
    """Marks values that are not UTF-8; only distinct values that are not ASCII are decoded."""
    distinct = text.unique().drop_null()
    not_ascii = distinct.filter(pc.invert(pc.string_is_ascii(distinct.view(pa.string()))))
    wrong = [v for v in not_ascii.to_pylist() if not _is_utf8(v)]
    return pc.is_in(text, pa.array(wrong, pa.binary()))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bad_value(name: str, values: pa.Array, wrong: pa.Array, why: str) -> Fault:
    rows = Fault.where(wrong, "bad_value").rows
    bad = values.take(pa.array(rows)).cast(pa.string())
    cut = pc.utf8_slice_codeunits(bad, 0, SHOWN)
    return Fault(rows, "bad_value", pc.binary_join_element_wise(f"{name}: '", cut, f"' {why}", ""))


def _plain_cast(type_: pa.DataType, *, safe: bool = True) -> Callable[[str, pa.Array], TypedColumn]:
    """Returns a converter that casts a column to an Arrow type."""
    return lambda name, column: finish_column(name, column.cast(type_, safe=safe))


def _whole_numbers(name: str, column: pa.Array, shown: pa.Array | None = None) -> TypedColumn:
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
        _bad_value(name, shown, fraction, f"is not {_TYPE_PHRASES['int']}"),
        _bad_value(name, shown, beyond, _BEYOND),
    ]
    return pc.if_else(pc.or_(fraction, beyond), None, known).cast(pa.int64()), faults


def _to_bool(name: str, column: pa.Array) -> TypedColumn:
    if not pa.types.is_integer(column.type):
        column = column.cast(pa.float64(), safe=False)
        column = pc.if_else(pc.is_nan(column), None, column)
    wrong = pc.fill_null(pc.and_(pc.not_equal(column, 0), pc.not_equal(column, 1)), False)
    fault = _bad_value(name, column, wrong, f"is not {_TYPE_PHRASES['bool']}")
    return pc.if_else(wrong, None, column).cast(pa.bool_()), [fault]


def _unsigned(name: str, column: pa.Array) -> TypedColumn:
    wrong = pc.fill_null(pc.greater(column, pa.scalar(EXACT, column.type)), False)
    fault = _bad_value(name, column, wrong, _BEYOND)
    return pc.if_else(wrong, None, column).cast(pa.int64()), [fault]


def _to_timestamp(name: str, column: pa.Array) -> TypedColumn:
    """Reads times and days of any unit; they have years that four digits can write."""
    if pa.types.is_date32(column.type):
        column = column.cast(pa.timestamp("s"))
    elif pa.types.is_date64(column.type):
        column = column.view(pa.timestamp("ms"))
    return _since_1970(name, column.cast(pa.int64()), column.type.unit, _OUTSIDE)


def _to_date(name: str, column: pa.Array) -> TypedColumn:
    """Reads days; pandas writes dates as timestamps, and their date is their day in UTC."""
    times, faults = _to_timestamp(name, column)
    return times.cast(pa.date32(), safe=False), faults


def _binary_to_string(name: str, column: pa.Array) -> TypedColumn:
    column = column.cast(pa.binary())
    return from_text(name, pc.if_else(pc.equal(column, b""), None, column), "string")


_FRACTIONAL = (pa.types.is_floating, pa.types.is_decimal)
_FROM: dict[
    str, list[tuple[Callable[[pa.DataType], bool], Callable[[str, pa.Array], TypedColumn]]]
] = {
    "int": [
        (lambda t: t == pa.uint64(), _unsigned),
        (pa.types.is_integer, _plain_cast(pa.int64())),
        *((f, _whole_numbers) for f in _FRACTIONAL),
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
