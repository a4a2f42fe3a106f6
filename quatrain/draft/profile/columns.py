"""The profiles of the columns of a sample: their types, and what their values stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.preprocess.expressions import SQL_TYPES
from quatrain.components.table.sql import connect
from quatrain.components.table.values.conversion import from_text
from quatrain.components.table.values.typed import from_typed
from quatrain.draft.profile.amounts import (
    Amounts,
    dots_between_thousands,
    find_amounts,
    spelling_of,
)
from quatrain.draft.profile.cell_types import FIRST, all_match, any_match, best_type
from quatrain.draft.profile.column_names import names_something
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.profile.kinds import with_kind
from quatrain.draft.profile.time_formats import find_formats, what_comes_first
from quatrain.draft.sample.sample import TOLERATED, Sample
from quatrain.trainer.features import Type
from quatrain.trainer.features.text_format import Case, Spelling, tidy_numpy

_TIDY: tuple[tuple[bool, Case | None], ...] = (
    *((False, None), (True, None), (False, "lower"), (True, "lower")),
)


def profile_columns(sample: Sample, spellings: Sequence[str]) -> dict[str, ColumnProfile]:
    """Returns the profile of each column of a sample, by name.

    Args:
        sample: The rows.
        spellings: The texts that are a missing value in a CSV.
    """
    columns = {n: sample.table.column(n).combine_chunks() for n in sample.table.column_names}
    texts = {n: _known(c, spellings) for n, c in columns.items() if pa.types.is_string(c.type)}
    comma = _decimal_comma(sample, texts)
    return {
        name: _profile_text(name, texts[name], comma)
        if name in texts
        else _profile_typed(name, column)
        for name, column in columns.items()
    }


def _known(text: pa.Array, spellings: Sequence[str]) -> pa.Array:
    """Returns a column of text, null where it is empty or means a missing value."""
    text = pc.if_else(pc.is_in(text, pa.array(spellings, pa.string())), None, text)
    return pc.if_else(pc.equal(text, ""), None, text)


@dataclass(frozen=True)
class _Comma:
    """Whether the numbers of a table have decimal commas.

    Attributes:
        is_shown: Whether a column shows that they have them, or that they have none; None: neither.
        is_likely: Whether it is likelier.
    """

    is_shown: bool | None
    is_likely: bool


def _decimal_comma(sample: Sample, texts: Mapping[str, pa.Array]) -> _Comma:
    """Looks for columns that show whether a comma stands before fractions or between thousands."""
    # A semicolon between values leaves the comma free for decimals, as in most of Europe.
    is_likely = sample.source.delimiter == ";"
    shown = set()
    for text in texts.values():
        values, counts = _counted(text)
        if len(values) and any_match(values.slice(0, FIRST), r"[0-9],[0-9]"):
            amounts = find_amounts(values, counts, None, is_likely)
            shown.add(amounts.has_decimal_comma if amounts else None)
    shown.discard(None)
    if sample.source.format == "jsonl":  # its numbers have a dot, whatever its texts have
        return _Comma(None, is_likely)
    return _Comma(shown.pop() if len(shown) == 1 else None, is_likely)


def _counted(text: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Returns the distinct texts of a column, and the number of cells with each."""
    counted = text.drop_null().value_counts()
    return counted.field("values"), counted.field("counts").to_numpy()


def codes_as_text(
    sample: Sample, columns: dict[str, ColumnProfile], spellings: Sequence[str], target: str
) -> dict[str, ColumnProfile]:
    """Returns the profiles with the codes of a CSV as text, which any later code will be, too.

    As numbers, a postal code such as 98101-4820 would be rejected, and so would its requests. An
    identifier is one only if some cells are no number: else nothing is lost.

    Args:
        sample: The rows.
        columns: The profile of each column, by name.
        spellings: The texts that are a missing value in a CSV.
        target: The column to predict, which stays as it is.
    """
    profiles = dict(columns)
    for name, column in columns.items() if sample.source.format == "csv" else ():
        text = sample.table.column(name)
        names = column.kind == "code" or (column.kind == "identifier" and column.n_bad)
        if not names or column.type != "int" or name == target or not pa.types.is_string(text.type):
            continue
        values = _known(text.combine_chunks(), spellings)
        profiles[name] = _tidy(ColumnProfile(name, "string", column.kind, values))
    return profiles


def _profile_text(name: str, text: pa.Array, comma: _Comma) -> ColumnProfile:
    """Returns the profile of a column of text, with its type, kind and spelling inferred."""
    values, counts = _counted(text)
    if not len(values):
        return ColumnProfile(name, "string", "empty", text)
    type_, bad = best_type(values, counts)
    typed, _ = from_text(name, text.cast(pa.binary()), type_)
    column = with_kind(ColumnProfile(name, type_, "category", typed, bad))
    if names := bad and column.is_number and column.kind in ("code", "identifier"):
        # What names something is no number: 98101-4820 is a postal code as 98101 is.
        column = with_kind(ColumnProfile(name, "string", "category", text))
    is_text = column.type == "string" and column.kind in ("category", "identifier", "text")
    if is_text and not all_match(values, r"^\s*\d+\s*$"):
        column = _recognize_dates(column, values)
    if not names and (amounts := _amounts_in(column, values, counts, comma)):
        return _as_amounts(column, amounts, text)
    if column.type == "string" and column.kind == "category":
        return _tidy(column)
    if column.type == "string" and column.kind in ("code", "identifier", "text"):
        return _without_blanks(column)
    return _read_as_time(column, text)


def _amounts_in(
    column: ColumnProfile, values: pa.Array, counts: np.ndarray, comma: _Comma
) -> Amounts | None:
    """Returns how the numbers of a column of text are written, if that is not the usual way."""
    evidence = (comma.is_shown, comma.is_likely)
    if column.type == "float" and not column.n_bad:
        return dots_between_thousands(values, *evidence)
    is_text = column.type == "string" and column.kind in ("category", "identifier", "text")
    if not is_text and not (column.type in ("int", "float") and column.n_bad):
        return None
    if all_match(values, r"^\s*[-+]?\d+\s*$"):
        return None
    amounts = find_amounts(values, counts, *evidence)
    if not amounts or (names_something(column.name) and not amounts.declared.get("unit")):
        return None
    if not is_text and (amounts.why or amounts.n_bad >= column.n_bad):
        return None
    return amounts


def _as_amounts(column: ColumnProfile, amounts: Amounts, text: pa.Array) -> ColumnProfile:
    """Returns a column of numbers that are written in a way of their own."""
    if amounts.why:
        note = f"looks like amounts, but {amounts.why}"
        return replace(column, kind="quantity", amounts=amounts, note=note)
    type_: Type = amounts.declared["type"]
    spelling = spelling_of(amounts.declared)
    typed, _ = from_text(column.name, text.cast(pa.binary()), type_, spelling)
    keys = {key: value for key, value in amounts.declared.items() if key != "type"}
    numbers = ColumnProfile(column.name, type_, "number", typed, amounts.n_bad, keys, amounts)
    return replace(numbers, kind="constant") if numbers.n_distinct == 1 else numbers


def _read_as_time(column: ColumnProfile, text: pa.Array) -> ColumnProfile:
    """Returns a column with its values read as times, if its spelling says that they are."""
    if column.kind != "time" or not column.spelling:
        return column
    spelling = Spelling(**column.spelling)
    has_no_hour = spelling.format and not re.search(r"%[HI]", spelling.format)
    type_: Type = "date" if has_no_hour else "timestamp"
    if pa.types.is_string(text.type):
        values, faults = from_text(column.name, text.cast(pa.binary()), type_, spelling)
    else:
        values, faults = from_typed(column.name, text, type_, spelling)
    bad = sum(len(f.rows) for f in faults)
    return replace(column, type=type_, values=values, n_bad=bad)


def _tidy(column: ColumnProfile) -> ColumnProfile:
    """Returns categories trimmed or in lower case, as leaves the fewest distinct values."""
    column = _without_blanks(column)
    candidates = [tidy_numpy(column.values, trim, case) for trim, case in _TIDY]
    counts = [len(values.unique()) for values in candidates]
    best = counts.index(min(counts))
    if not best:
        return column
    trim, case = _TIDY[best]
    trim = trim or bool(column.spelling.get("trim"))
    spelling = {**({"trim": True} if trim else {}), **({"case": case} if case else {})}
    values = pc.if_else(pc.equal(candidates[best], ""), None, candidates[best])
    how, settings = {
        (True, None): ("in blanks around them", "`trim: true` merges"),
        (False, "lower"): ("in case", "`case: lower` merges"),
        (True, "lower"): ("in case or in blanks around them", "`trim` and `case` merge"),
    }[trim, case]
    note = f"some values differ only {how}; {settings} them"
    return with_kind(replace(column, values=values, spelling=spelling, note=note))


def _without_blanks(column: ColumnProfile) -> ColumnProfile:
    """Returns a column of text, trimmed if most values have blanks around them.

    So they have where a file has a blank behind each delimiter, or pads its columns.
    """
    trimmed = tidy_numpy(column.values, True, None)
    if pc.mean(pc.not_equal(trimmed, column.values)).as_py() <= 0.5:
        return column
    values = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    note = "most values have blanks around them, which `trim: true` removes"
    bare = replace(column, kind="category", values=values, spelling={"trim": True}, note=note)
    return with_kind(bare)


def _profile_typed(name: str, values: pa.Array) -> ColumnProfile:
    """Returns the profile of a column that is typed in its file."""
    tests: tuple[tuple[bool, Type], ...] = (
        (pa.types.is_integer(values.type), "int"),
        (pa.types.is_boolean(values.type), "bool"),
        (pa.types.is_date(values.type), "date"),
        (pa.types.is_timestamp(values.type), "timestamp"),
        (pa.types.is_floating(values.type), "float"),
    )
    type_: Type = next((t for holds, t in tests if holds), "string")
    typed, faults = from_typed(name, values, type_)
    bad = sum(len(f.rows) for f in faults)
    if type_ == "int" and bad > TOLERATED * len(values):
        # Whole numbers beyond 2**53 do not convert, since float64 cannot hold them exactly.
        type_, bad = "string", 0
        typed, _ = from_typed(name, values, type_)
    return _read_as_time(with_kind(ColumnProfile(name, type_, "category", typed, bad)), values)


def _recognize_dates(column: ColumnProfile, values: pa.Array) -> ColumnProfile:
    """Returns the profile of a text column, as a time if its values share a format of dates."""
    formats = find_formats(values, TOLERATED)
    if not formats:
        return column
    if len(formats) > 1:
        example, first = values[0].as_py(), what_comes_first(formats)
        note = f"{example!r} may have {first} first; the sample does not show which"
        return replace(column, kind="time", note=note)
    return replace(column, kind="time", spelling={"format": formats[0]})


def derive(columns: Mapping[str, pa.Array], sql: str, type_: Type) -> pa.Array:
    """Returns the values of an SQL expression over columns, as a spec derives a column."""
    with connect() as connection:
        connection.register("source_rows", pa.table(dict(columns)))
        query = f"SELECT CAST(({sql}) AS {SQL_TYPES[type_]}) FROM source_rows"  # noqa: S608 - ours
        return connection.sql(query).to_arrow_table().column(0).combine_chunks()
