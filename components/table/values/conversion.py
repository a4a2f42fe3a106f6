"""The one table of conversions from text: a cell becomes a value, is missing, or is a fault.

It holds for a CSV, for JSON (`from_json`: JSON Lines and the server's requests), for paths and for
`init`. Columns that have types, whose rules are in `typed.py`, give the same values and the same
sentences.

Whatever pyarrow's CSV reader converts has the same value here, so that a block that it reads as a
whole and one that is converted value by value give the same rows. The table accepts more.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.table.block import Fault
from quatrain.components.table.values.bounds import (
    SHOWN,
    TYPE_PHRASES,
    TYPES,
    TypedColumn,
    bad_value,
    finish_column,
    since_1970,
    whole_numbers,
)
from quatrain.components.table.values.number_text import plain_numbers, spelling_in_words
from quatrain.components.table.values.time_text import read_iso_times, read_times
from quatrain.components.wording import a_or_an
from quatrain.trainer.features.text_format import Spelling

TRUE, FALSE = ["1", "true", "True", "TRUE"], ["0", "false", "False", "FALSE"]

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
        faults.append(bad_value(name, decoded, wrong, f"is not {phrase}"))
    else:
        plain = decoded
    if type_ == "int":
        column, int_faults = _parse_int(name, plain, decoded, phrase)
        return column, [*faults, *int_faults]
    if type_ == "bool":
        values, wrong = _parse_bool(decoded, spelling)
    elif spelling.format:
        times, wrong = read_times(decoded, spelling.format)
        values = times.cast(TYPES[type_], safe=False)
    else:
        values, wrong = _parse(plain, "int" if spelling.epoch else type_)
    if wrong is not None:
        faults.append(bad_value(name, decoded, wrong, f"is not {phrase}"))
    if spelling.epoch:
        column, late_faults = since_1970(name, values, spelling.epoch)
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
        return f"{TYPE_PHRASES[type_]} with {spelling_in_words(spelling)}"
    return TYPE_PHRASES[type_]


def _parse_bool(text: pa.Array, spelling: Spelling) -> tuple[pa.Array, pa.Array]:
    """Returns the values of texts, null where missing or wrong, and which texts are wrong."""
    true, false = spelling.true_values or TRUE, spelling.false_values or FALSE
    text = pc.ascii_trim(text, characters=" \t") if spelling.true_values else _tidy(text, "bool")
    wrong = pc.invert(pc.is_in(text, pa.array([*true, *false])))
    values, missing = pc.is_in(text, pa.array(list(true))), pc.is_null(text)
    return pc.if_else(missing, None, values), pc.and_not(wrong, missing)


def _parse(text: pa.Array, type_: str) -> tuple[pa.Array, pa.Array | None]:
    """Returns the values of texts, and which texts are wrong; None when all of them convert."""
    cast = read_iso_times if type_ == "timestamp" else lambda t: t.cast(TYPES[type_])
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
    numbers, decimal_faults = whole_numbers(name, pc.if_else(is_decimal, tidy, None), shown)
    values, faults = finish_column(name, pc.coalesce(values, numbers))
    other = bad_value(name, shown, pc.and_not(wrong, is_decimal), f"is not {phrase}")
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
