"""Profiles the columns of a sample: their types, and what their values stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.preprocess.expressions import SQL_TYPES
from quatrain.components.table.sql import connect
from quatrain.components.table.values.bounds import TYPES
from quatrain.components.table.values.conversion import from_text
from quatrain.components.table.values.typed import from_typed
from quatrain.draft.profile.amounts import (
    Amounts,
    dots_between_thousands,
    find_amounts,
    spelling_of,
)
from quatrain.draft.profile.time_formats import (
    find_formats,
    is_epoch_in_nanoseconds,
    what_comes_first,
)
from quatrain.draft.sample.sample import TOLERATED, Sample
from quatrain.trainer.features import Type
from quatrain.trainer.features.text_format import Case, Spelling, tidy_numpy

Kind = Literal[
    "number",  # a size or a count
    "code",  # digits whose order means nothing
    "category",  # text with values that repeat
    "identifier",  # a different value in nearly every row
    "text",  # free text
    "time",
    "quantity",  # amounts of which some are no numbers as they stand
    "constant",
    "empty",
]
FIRST = 20
"""How many distinct values are tried first: if over a tenth of them fail, the type is ruled out."""
ORDER: tuple[Type, ...] = ("int", "float", "bool", "date", "timestamp")
"""The order in which types are tried; the first one that fits every cell is taken."""
_FRACTION = r"^\s*-?\d+(?:\.\d*(?:[eE][+-]?\d+)?|[eE][+-]?\d+)\s*$"
_WIDER = {"int": _FRACTION, "bool": _FRACTION, "date": r"\d:\d"}
"""Spellings such as 3.0 and midnight, which these types take: a wider type is the safe choice."""
UNIQUE = 0.9
"""Above this share of distinct values, a text identifies its row."""
FEW_ROWS = 20
"""In fewer rows, values that do not repeat prove nothing."""

# The sets of words below are matched with the words of a column's name; see `words`.
_ID = {
    "hid",
    "pid",
    "uid",
    "cid",
    "sid",
    "hhid",
    "id",
    "ids",
    "uuid",
    "guid",
    "identifier",
    "key",
    "rowid",
    "idx",
    "index",
    "rownum",
}
_CODE = {"code", "codes", "zip", "zipcode", "postcode", "postal", "plz", "fips", "class", "type"}
_YEAR = {"year", "yr", "years", "jahr", "annee", "ano", "season", "week", "month", "decade"}
_YEARS = {"year", "yr", "years", "jahr", "annee", "ano", "time", "date"}
LEAST_YEARS = 5
"""The fewest distinct numbers of a column that is taken for years."""
_PERSON = {"subject", "patient", "individual", "participant", "respondent", "household"}
_TIME = {"time", "date", "timestamp", "ts", "epoch", "datetime", "at", "created", "unixtime"}
_GLUED_ID = re.compile(
    r"(?:user|customer|client|patient|order|session|product|item|device|account|case|person|subject|household|member|student|employee|company)id"
)
_TIDY: tuple[tuple[bool, Case | None], ...] = (
    *((False, None), (True, None), (False, "lower"), (True, "lower")),
)
EPOCH_S = (631_152_000, 2_208_988_800)
"""Numbers since 1970 are taken for times of the years 1990 to 2039."""
EPOCH = {"s": 1_000_000, "ms": 1000, "us": 1}
"""The microseconds in each unit of an epoch."""


@dataclass(frozen=True)
class ColumnProfile:
    """The profile of one column.

    Attributes:
        name: Its name in the header.
        type: The type that the spec declares.
        kind: What its values stand for.
        values: Typed, null where missing or bad, `[N]`.
        n_bad: The number of cells that do not convert; their rows will be rejected.
        spelling: What the spec declares besides the type, such as `format`, `trim` or `unit`.
        amounts: How its numbers are written, if not in the usual way.
        note: What is odd about the column, for a comment.
    """

    name: str
    type: Type
    kind: Kind
    values: pa.Array = field(repr=False)
    n_bad: int = 0
    spelling: Mapping[str, Any] = field(default_factory=dict)
    amounts: Amounts | None = None
    note: str = ""

    @cached_property
    def encoded(self) -> pa.DictionaryArray:
        """The values, dictionary-encoded."""
        return self.values.dictionary_encode()

    @property
    def n_distinct(self) -> int:
        """The number of distinct values; missing does not count as one."""
        return len(self.encoded.dictionary)

    @property
    def n_present(self) -> int:
        """The number of rows that have a value."""
        return len(self.values) - self.values.null_count

    @cached_property
    def codes(self) -> np.ndarray:
        """The index of each row's distinct value, `[N] int64`; -1 is missing."""
        return np.asarray(pc.fill_null(self.encoded.indices, -1).to_numpy(), np.int64)

    @property
    def is_spoilt(self) -> bool:
        """Whether too many cells do not convert for their rows to be rejected."""
        return self.n_bad > TOLERATED * len(self.values)

    @property
    def declared(self) -> Any:
        """The column's entry in the spec: its type, or a mapping of its type and spelling."""
        return {"type": self.type, **self.spelling} if self.spelling else self.type

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers, as sizes and codes are."""
        return self.type in ("int", "float")

    @cached_property
    def numbers(self) -> np.ndarray:
        """The numbers, or the microseconds of the times, `[N] float64`; NaN is missing."""
        values = self.values
        if pa.types.is_temporal(values.type):
            values = values.cast(TYPES["timestamp"]).cast(pa.int64())
        values = values.cast(pa.float64(), safe=False)
        return np.asarray(pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False))

    @property
    def words(self) -> set[str]:
        """The words of its name, in lower case."""
        return words(self.name)


def words(name: str) -> set[str]:
    """Returns the words of a name: the same two for PassengerId, passenger_id and passenger id."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return set(re.findall(r"[^\W_]+", parted.lower()))


def names_an_entity(name: str) -> bool:
    """Whether a name suggests that the column identifies whom or what a row is about."""
    parts = words(name)
    if parts & _ID or (len(parts) == 1 and parts & _PERSON):
        return True
    return _GLUED_ID.search(re.sub(r"[\W_]", "", name.lower())) is not None


def counts_years(column: ColumnProfile) -> bool:
    """Whether a column of numbers holds years, by its name and its range."""
    if column.kind != "number" or not column.words & _YEARS or column.n_distinct < LEAST_YEARS:
        return False
    low, high = np.nanmin(column.numbers), np.nanmax(column.numbers)
    return bool(low >= 1500 and high < 2101)


def names_something(name: str) -> bool:
    """Whether a name suggests codes or identifiers: numbers whose sum means nothing."""
    return bool(words(name) & _CODE) or names_an_entity(name)


def names_a_time(name: str) -> bool:
    """Whether a name suggests that a number is a time."""
    return bool(words(name) & _TIME)


def quoted(name: str) -> str:
    """Returns a column's name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def derive(columns: Mapping[str, pa.Array], sql: str, type_: Type) -> pa.Array:
    """Returns the values of an SQL expression over columns, as a spec derives a column."""
    with connect() as connection:
        connection.register("source_rows", pa.table(dict(columns)))
        query = f"SELECT CAST(({sql}) AS {SQL_TYPES[type_]}) FROM source_rows"  # noqa: S608 - ours
        return connection.sql(query).to_arrow_table().column(0).combine_chunks()


def best_type(values: pa.Array, counts: np.ndarray) -> tuple[Type, int]:
    """Returns the type that suits a column of text best, and how many cells do not convert to it.

    Args:
        values: The distinct texts.
        counts: The number of cells with each of them.
    """
    total = int(counts.sum())
    best: tuple[int, Type] = (total, "string")
    wider = {type_ for type_, pattern in _WIDER.items() if _any_match(values, pattern)}
    for type_ in ORDER:
        if type_ in wider:
            continue
        first = values.slice(0, FIRST)
        if len(values) > FIRST and _n_bad(first, np.ones(len(first)), type_) > 0.1 * len(first):
            continue
        bad = _n_bad(values, counts, type_)
        if bad <= TOLERATED * total and bad < best[0]:
            best = (int(bad), type_)
        if not best[0]:
            break
    if best[1] == "float" and _all_match(values, r"^\s*[-+]?\d+\s*$"):
        return "string", 0  # whole numbers beyond 2**53, which float64 cannot hold exactly
    if best[1] == "int" and _all_match(values, r"^\s*\+\d{7,}\s*$"):
        return "string", 0  # phone numbers
    if best[1] == "int" and pc.any(pc.match_substring_regex(values, pattern=r"^\s*0\d")).as_py():
        return "string", 0  # leading zeros are part of a code, and a number would lose them
    return best[1], best[0] if best[1] != "string" else 0


def _n_bad(values: pa.Array, counts: np.ndarray, type_: Type) -> float:
    _, faults = from_text("", values.cast(pa.binary()), type_)
    rows = np.unique(np.concatenate([f.rows for f in faults])) if faults else np.zeros(0, int)
    return float(counts[rows].sum())


def _any_match(values: pa.Array, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(values, pattern=pattern)).as_py())


def _all_match(values: pa.Array, pattern: str) -> bool:
    return bool(len(values)) and bool(
        pc.all(pc.match_substring_regex(values, pattern=pattern)).as_py()
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
        if len(values) and _any_match(values.slice(0, FIRST), r"[0-9],[0-9]"):
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
    column = _with_kind(ColumnProfile(name, type_, "category", typed, bad))
    if names := bad and column.is_number and column.kind in ("code", "identifier"):
        # What names something is no number: 98101-4820 is a postal code as 98101 is.
        column = _with_kind(ColumnProfile(name, "string", "category", text))
    is_text = column.type == "string" and column.kind in ("category", "identifier", "text")
    if is_text and not _all_match(values, r"^\s*\d+\s*$"):
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
    if _all_match(values, r"^\s*[-+]?\d+\s*$"):
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
    return _with_kind(replace(column, values=values, spelling=spelling, note=note))


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
    return _with_kind(bare)


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
    return _read_as_time(_with_kind(ColumnProfile(name, type_, "category", typed, bad)), values)


def _with_kind(column: ColumnProfile) -> ColumnProfile:
    """Returns a profile with its kind filled in."""
    if not column.n_present:
        return replace(column, kind="empty")
    if column.n_distinct == 1:
        return replace(column, kind="constant")
    if column.kind != "category":
        return column
    if column.type in ("date", "timestamp"):
        return replace(column, kind="time")
    if column.type == "string" and names_a_time(column.name) and column.n_distinct >= FEW_ROWS:
        texts = column.encoded.dictionary.cast(pa.string())
        if is_epoch_in_nanoseconds(texts, *EPOCH_S):
            return replace(column, kind="time", spelling={"epoch": "ns"})
    if column.type == "string":
        return replace(column, kind=_kind_of_text(column))
    if column.type == "bool":
        return column
    return _kind_of_number(column)


def _kind_of_text(column: ColumnProfile) -> Kind:
    """Returns what texts stand for: a code, free text, an identifier or a category."""
    values, share = column.encoded.dictionary, column.n_distinct / column.n_present
    if _all_match(values, r"^\d+$"):
        return "identifier" if _is_unique(column) else "code"
    spaces = float(pc.mean(pc.count_substring(values, " ")).as_py())
    length = float(pc.mean(pc.utf8_length(values)).as_py())
    if (share > 0.2 and spaces >= 2 and column.n_distinct > FEW_ROWS) or length > 100:
        return "text"
    return "identifier" if _is_unique(column) else "category"


def _is_unique(column: ColumnProfile) -> bool:
    return column.n_present >= FEW_ROWS and column.n_distinct > UNIQUE * column.n_present


def _kind_of_number(column: ColumnProfile) -> ColumnProfile:
    """Returns the profile of a column of numbers, as a time, an identifier, a code or a number."""
    if time := _time_in_a_number(column):
        return time
    if column.type == "float":
        return replace(column, kind="number")
    if column.n_distinct == column.n_present >= FEW_ROWS and (
        names_an_entity(column.name)
        or (counts_rows(column.numbers) and not column.words & (_TIME | _YEAR))
    ):
        return replace(column, kind="identifier")
    if _is_code(column):
        return replace(column, kind="code")
    return replace(column, kind="number")


def counts_rows(numbers: np.ndarray) -> bool:
    """Whether distinct numbers fill their range almost completely, or grow as if given out.

    They grow from row to row, mostly by one, or by unequal steps without the pairs of equal numbers
    that n amounts out of a range r would hold by chance: n**2 / 2r, as of birthdays.
    """
    present = numbers[~np.isnan(numbers)]
    steps = np.diff(present)
    if (span := np.ptp(present)) <= 1.1 * len(present):
        return True
    is_given = bool(len(present) ** 2 / (2 * span) >= 2 and np.ptp(steps) > 0)
    return bool((steps > 0).all()) and (is_given or bool(np.median(steps) == 1))


def _is_code(column: ColumnProfile) -> bool:
    """Whether whole numbers are codes: by their name, or as they repeat and are equally long."""
    if names_something(column.name):
        return True
    values = column.encoded.dictionary
    low, high = pc.min_max(values).as_py().values()
    repeats = column.n_distinct <= column.n_present / 20
    return repeats and low >= 10_000 and len(str(low)) == len(str(high))


def _time_in_a_number(column: ColumnProfile) -> ColumnProfile | None:
    """Returns the profile of a time if numbers are epochs or days such as 20130131; else None.

    Its values are still numbers: `_read_as_time` reads them.
    """
    present = column.numbers[~np.isnan(column.numbers)]
    low, high = float(present.min()), float(present.max())
    may_be_days = column.type == "int" and low >= 19_000_101 and high <= 21_001_231
    if may_be_days and _are_days(column, "%Y%m%d"):
        return replace(column, kind="time", spelling={"format": "%Y%m%d"})
    for form, scale in (("%Y%m%d%H%M", 10**4), ("%Y%m%d%H%M%S", 10**6)):
        fits = column.type == "int" and 19_000_101 * scale <= low and high < 21_010_101 * scale
        if fits and _are_days(column, form):
            return replace(column, kind="time", spelling={"format": form})
    if column.type != "int" or not names_a_time(column.name) or column.n_distinct < FEW_ROWS:
        return None
    if low >= 100_101 and high <= 991_231 and _are_days(column, "%y%m%d"):
        return replace(column, kind="time", spelling={"format": "%y%m%d"})
    for unit, factor in EPOCH.items():
        start, end = (second * 1e6 / factor for second in EPOCH_S)
        if start <= low and high < end:
            return replace(column, kind="time", spelling={"epoch": unit})
    return None


def _are_days(column: ColumnProfile, form: str) -> bool:
    """Whether every whole number is a day in a format."""
    text = column.values.drop_null().unique().cast(pa.string()).cast(pa.binary())
    return not sum(f.rows.size for f in from_text("", text, "date", Spelling(form))[1])


def holds_numbers(values: pa.Array, counts: np.ndarray) -> bool:
    """Whether distinct texts are numbers, times or amounts."""
    if not len(values):
        return False
    if best_type(values, counts)[0] != "string":
        return True
    return not _all_match(values, r"^\s*\d+\s*$") and bool(
        find_amounts(values, counts, None, False)
    )


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
