"""Finds the texts that stand for a missing value in a CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.draft.profile.amounts import find_amounts
from quatrain.draft.profile.cell_types import all_match, best_type
from quatrain.draft.sample.sample import Sample

CONVENTIONAL = (
    *("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "Null", "\\N"),
    *("<NA>", "NaT", "?", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!"),
)
"""Spellings that mean a missing value in any column."""
POSSIBLE = ("None", "none", "NONE", "nil", "na", "-", "--", ".", "*", "missing", "unknown", " ")
"""Spellings that mean a missing value among numbers or times; among words they may be a value."""
MOST_WORDS = 5
LEAST_NUMBERS = 20
"""Up to five words beside twenty or more distinct numbers are taken for missing values."""
LONGEST = 20
"""The longest text that is taken for a missing value, in characters."""


@dataclass(frozen=True)
class Nulls:
    """The spellings of a missing value.

    Attributes:
        spellings: The source's `nulls`.
        remarks: What a reader of the spec should know about them.
    """

    spellings: tuple[str, ...]
    remarks: tuple[str, ...]


def find_nulls(sample: Sample, target: str) -> Nulls:
    """Decides which spellings mean a missing value.

    In a column of numbers or times, a word is a missing value. In a column of words only the
    conventional spellings are. A class of the target is a value unless it is conventional.
    """
    if sample.source.format != "csv":
        return Nulls((), ())
    columns_of: dict[str, list[str]] = {}  # by spelling, the columns that have it
    odd_columns_of: dict[str, list[str]] = {}  # the same for words that are no known spelling
    among_numbers: set[str] = set()
    among_words: set[str] = set()
    classes: set[str] = set()  # spellings that may be a class of the target
    values: set[str] = set()
    for name in sample.table.column_names:
        spellings, rest = _part_spellings(_counted(sample.table.column(name)))
        for spelling in spellings:
            columns_of.setdefault(spelling, []).append(name)
        if spellings and _holds_numbers(*rest):
            among_numbers.update(spellings)
            continue
        words = _words_among_numbers(*rest)
        for spelling in words:
            odd_columns_of.setdefault(spelling, []).append(name)
        if words:
            among_numbers.update(spellings)
            continue
        values.update(v for v in rest[0].to_pylist() if len(v) <= LONGEST)
        among_words.update(s for s in spellings if _bare(s) in CONVENTIONAL)
        classes.update(s for s in spellings if _bare(s) in POSSIBLE and name == target)
    # `source.nulls` holds for the whole table, so a word that is a value elsewhere is not one.
    odd = {word: names for word, names in odd_columns_of.items() if word not in values}
    columns_of |= odd
    among_numbers |= set(odd)
    chosen = (among_numbers | among_words) - classes
    if not sample.whole:
        chosen.add("NA")  # the default of a spec: a rare NA may not be in the sample
    known = (*CONVENTIONAL, *POSSIBLE, *odd)
    # With a blank behind each delimiter, " NA" is the text of a cell that says NA.
    nulls = ("", *sorted(chosen, key=lambda s: (known.index(s if s in odd else _bare(s)), s)))
    return Nulls(nulls, tuple(_remarks(sample, columns_of, chosen, among_numbers, target)))


def _remarks(
    sample: Sample,
    columns_of: Mapping[str, list[str]],
    chosen: set[str],
    among_numbers: set[str],
    target: str,
) -> Iterator[str]:
    """Yields the remarks on spellings that a reader may see otherwise."""
    for spelling, names in columns_of.items():
        where = f"{spelling!r} in {_listed(names)}"
        if spelling not in chosen:
            yield (
                f"{where} is read as a value, not as missing; if it means missing, add it to "
                f"source.nulls"
            )
        elif target in names:
            yield f"{where} is read as missing, and a row without {target!r} is rejected"
        elif _bare(spelling) not in (*CONVENTIONAL, *POSSIBLE):
            yield f"{where} stands among numbers or times, and is read as missing"
        elif codes := [n for n in names if _looks_like_codes(sample.table.column(n), spelling)]:
            yield (
                f"{spelling!r} in {_listed(codes)} may be a value: the other values there are "
                f"codes of letters too; it is read as missing unless you remove it from "
                f"source.nulls"
            )
        elif spelling in among_numbers and _bare(spelling) in POSSIBLE and len(names) > 1:
            yield f"{where} is read as missing in each, because source.nulls is for the whole table"


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" * (len(names) > 3))


def _counted(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Returns the distinct values of a text column and their counts; empty for other types."""
    if not pa.types.is_string(column.type):
        return pa.array([], pa.string()), np.zeros(0, np.int64)
    counted = column.drop_null().combine_chunks().value_counts()
    return counted.field("values"), counted.field("counts").to_numpy()


def _bare(spelling: str) -> str:
    """Returns a text without blanks around it, or one blank if there is nothing else."""
    return spelling.strip(" \t") or " "


def _part_spellings(
    counted: tuple[pa.Array, np.ndarray],
) -> tuple[list[str], tuple[pa.Array, np.ndarray]]:
    """Separates spellings of a missing value from the other distinct values and their counts."""
    values, counts = counted
    trimmed = pc.ascii_trim(values, characters=" \t")
    bare = pc.if_else(pc.equal(trimmed, ""), " ", trimmed)
    is_spelling = pc.is_in(bare, pa.array([*CONVENTIONAL, *POSSIBLE]))
    is_rest = pc.invert(is_spelling)
    return values.filter(is_spelling).to_pylist(), (
        values.filter(is_rest),
        counts[is_rest.to_numpy(zero_copy_only=False)],
    )


def _words_among_numbers(values: pa.Array, counts: np.ndarray) -> list[str]:
    """Returns the words without digits in a column of numbers or times, if they are few."""
    is_word = pc.match_substring_regex(values, pattern=rf"^\D{{1,{LONGEST}}}$")
    words, is_other = values.filter(is_word), pc.invert(is_word)
    share = counts[is_word.to_numpy(zero_copy_only=False)].sum() / max(counts.sum(), 1)
    # A column in which nine cells of ten are words is a column of words.
    if not 0 < len(words) <= MOST_WORDS or len(values) - len(words) < LEAST_NUMBERS or share > 0.9:
        return []
    rest = values.filter(is_other), counts[is_other.to_numpy(zero_copy_only=False)]
    return words.to_pylist() if _holds_numbers(*rest) else []


def _looks_like_codes(column: pa.ChunkedArray, spelling: str) -> bool:
    """Whether a spelling may be a value, as NA is for Namibia: most values are short codes."""
    values = _counted(column)[0]
    most = len(spelling) + 2
    short = pc.sum(pc.match_substring_regex(values, pattern=rf"^[A-Z]{{1,{most}}}$")).as_py()
    alike = pc.sum(pc.match_substring_regex(values, pattern=rf"^[A-Z]{{{len(spelling)}}}$")).as_py()
    return len(values) > 2 and short >= 0.7 * len(values) and alike > 1


def _holds_numbers(values: pa.Array, counts: np.ndarray) -> bool:
    """Whether distinct texts are numbers, times or amounts."""
    if not len(values):
        return False
    if best_type(values, counts)[0] != "string":
        return True
    return not all_match(values, r"^\s*\d+\s*$") and bool(find_amounts(values, counts, None, False))
