"""How missing values are spelled in a table of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.draft.columns import holds_numbers
from quatrain.draft.sample import Sample

CONVENTIONAL = (
    *("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "Null", "\\N"),
    *("<NA>", "NaT", "?", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!"),
)
"""Spellings that mean a missing value wherever they stand."""
POSSIBLE = ("None", "none", "NONE", "nil", "na", "-", "--", ".", "*", "missing", "unknown", " ")
"""Spellings that mean it in a column of numbers or times; among words they may be a value."""


MOST_WORDS = 5
LEAST_NUMBERS = 20
"""Up to so many words beside so many different numbers are taken for missing values."""
LONGEST = 20


@dataclass(frozen=True)
class Nulls:
    """How missing values are spelled.

    Attributes:
        spellings: What the source's `nulls` should be.
        remarks: What a reader should know of them.
    """

    spellings: tuple[str, ...]
    remarks: tuple[str, ...]


def find_nulls(sample: Sample, target: str) -> Nulls:
    """Decides which spellings mean a missing value.

    Numbers and times settle it: what stands among them and is none of them is missing. Among words
    only the conventional spellings are; a class of the target is a value unless conventional.
    """
    if sample.source.format != "csv":
        return Nulls((), ())
    seen: dict[str, list[str]] = {}
    needed: set[str] = set()
    among_words: set[str] = set()
    protected: set[str] = set()
    odd: dict[str, list[str]] = {}
    values: set[str] = set()
    for name in sample.table.column_names:
        found, rest = _spelled(_counted(sample.table.column(name)))
        for spelling in found:
            seen.setdefault(spelling, []).append(name)
        if found and holds_numbers(*rest):
            needed.update(found)
            continue
        words = _among_numbers(*rest)
        for spelling in words:
            odd.setdefault(spelling, []).append(name)
        if words:
            needed.update(found)
            continue
        values.update(v for v in rest[0].to_pylist() if len(v) <= LONGEST)
        among_words.update(s for s in found if s in CONVENTIONAL)
        protected.update(s for s in found if s in POSSIBLE and name == target)
    odd = {spelling: names for spelling, names in odd.items() if spelling not in values}
    seen |= odd
    needed |= set(odd)
    chosen = (needed | among_words) - protected
    if not sample.whole:
        chosen.add("NA")  # as a spec without `nulls` has it: a rare one may not be in the sample
    spellings = ("", *(s for s in (*CONVENTIONAL, *POSSIBLE, *odd) if s in chosen))
    return Nulls(spellings, tuple(_null_remarks(sample, seen, chosen, needed, target)))


def _null_remarks(
    sample: Sample, seen: Mapping[str, list[str]], chosen: set[str], needed: set[str], target: str
) -> Iterator[str]:
    for spelling, names in seen.items():
        told = f"{spelling!r} in {_listed(names)}"
        if spelling not in chosen:
            yield (
                f"{told} is read as a value, not as missing; if it is missing, add it to "
                f"source.nulls"
            )
        elif target in names:
            yield f"{told} is read as missing, and a row without {target!r} is rejected"
        elif spelling not in CONVENTIONAL and spelling not in POSSIBLE:
            yield f"{told} stands among numbers or times, and is read as missing"
        elif coded := [n for n in names if _looks_like_codes(sample.table.column(n), spelling)]:
            yield (
                f"{spelling!r} in {_listed(coded)} may be a value: the others there are codes of"
                f" letters, too; it is read as missing, unless source.nulls leaves it out"
            )
        elif spelling in needed and spelling in POSSIBLE and len(names) > 1:
            yield f"{told} is read as missing in all of them, as source.nulls holds for the table"


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" * (len(names) > 3))


def _counted(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Returns the distinct values of a column of text and their counts; none for another type."""
    if not pa.types.is_string(column.type):
        return pa.array([], pa.string()), np.zeros(0, np.int64)
    counted = column.drop_null().combine_chunks().value_counts()
    return counted.field("values"), counted.field("counts").to_numpy()


def _spelled(
    counted: tuple[pa.Array, np.ndarray],
) -> tuple[list[str], tuple[pa.Array, np.ndarray]]:
    """Parts distinct values into spellings of missing values and the rest with its counts."""
    values, counts = counted
    isnull = pc.is_in(values, pa.array([*CONVENTIONAL, *POSSIBLE]))
    rest = pc.invert(isnull)
    return values.filter(isnull).to_pylist(), (
        values.filter(rest),
        counts[rest.to_numpy(zero_copy_only=False)],
    )


def _among_numbers(values: pa.Array, counts: np.ndarray) -> list[str]:
    """Returns the few words without digits that stand among numbers or times, else none."""
    isword = pc.match_substring_regex(values, pattern=rf"^\D{{1,{LONGEST}}}$")
    words, isother = values.filter(isword), pc.invert(isword)
    share = counts[isword.to_numpy(zero_copy_only=False)].sum() / max(counts.sum(), 1)
    if not 0 < len(words) <= MOST_WORDS or len(values) - len(words) < LEAST_NUMBERS or share > 0.9:
        return []
    rest = values.filter(isother), counts[isother.to_numpy(zero_copy_only=False)]
    return words.to_pylist() if holds_numbers(*rest) else []


def _looks_like_codes(column: pa.ChunkedArray, spelling: str) -> bool:
    """Whether most values are a few capital letters, and some as many as the spelling has."""
    values = _counted(column)[0]
    most = len(spelling) + 2
    short = pc.sum(pc.match_substring_regex(values, pattern=rf"^[A-Z]{{1,{most}}}$")).as_py()
    alike = pc.sum(pc.match_substring_regex(values, pattern=rf"^[A-Z]{{{len(spelling)}}}$")).as_py()
    return len(values) > 2 and short >= 0.7 * len(values) and alike > 1
