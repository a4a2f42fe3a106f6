"""Finds how the numbers of a text column are written: decimals, thousands, units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.table.values.conversion import from_text
from quatrain.draft.profile.units import (
    BLANKS,
    LISTED,
    SYMBOLS,
    Units,
    listed,
    number_parts,
    why_not_one,
)
from quatrain.draft.sample.sample import TOLERATED
from quatrain.trainer.features.text_format import Spelling

FIRST = 100
"""How many distinct values are looked at first: if half of them are no numbers, none is."""
FEW_UNITS = 10
"""With fewer distinct values, amounts with a unit other than money serve as categories as well."""
LEAST_GROUPED = 20
"""Fewer numbers with three digits after the dot do not show that the dot separates thousands."""
LEAST_PLAIN = 0.05
"""The share of whole numbers below 1000 beside them that shows it."""

_NUMBER = r"[-+\x{2212}]?[0-9][0-9.,' \x{a0}\x{202f}\x{2019}]*"
_ODD = (
    rf"\A\s*(?:[<>≤≥~≈±]=?|ca\.?|under|over|up to)?[ ]*[{SYMBOLS}]?{_NUMBER}"
    r"[^0-9 <>~-]{0,4}[ ]*"
    rf"(?:(?:[-\x{{2013}}\x{{2014}}/±]|to|\+/-)[ ]*{_NUMBER}[^0-9 ]{{0,4}})?[ ]*"
    r"(?:[*+†‡#^?]+|\[[^\]]{1,3}\]|\([^)]{1,4}\))?\s*\z"
)
"""Bounds, ranges and marked numbers: what stands among amounts, and is no number as it stands."""

_BOUND = (
    r"\A\s*[<>≤≥~≈]=?\s*[$€£]?[0-9]"
    r"|\A[-+]?[\p{Nd}.,\x{66b}\x{66c} ]*(?:[\x{66b}\x{66c}¼½¾]|[\x{660}-\x{669}\x{6f0}-\x{6f9}]"
    r"|[\x{966}-\x{96f}\x{ff10}-\x{ff19}])[\p{Nd}.,\x{66b}\x{66c}¼½¾ ]*\z"
)
"""Bounds, and numbers with fractions such as ½, or with Arabic, Persian, Hindi or wide digits."""

_PLAIN = r"[-+\x{2212}]?[0-9][0-9., ]*"
_PART = (
    rf"{_PLAIN}(?:d|days?|h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|ft|in|lbs?|oz|st"
    r"|['\x{2032}\x{2019}]|[\"\x{2033}])\.?[, ]*"
)
_IN_PARTS = r"\A\s*(?:" + "|".join(
    (
        rf"\[{_PLAIN}\]",
        rf"{_PLAIN}[+*]{{1,2}}",
        rf"{_PLAIN}(?:±|\+/?-)[ ]*{_PLAIN}",
        rf"{_PLAIN}(?:CR|DR|Cr|Dr|cr|dr)\.?",
        r"[0-9]+[ -][0-9]{1,2}/[0-9]{1,2}",
        r"[0-9]+h[0-9]{2}",
        rf"(?:{_PART}){{2,4}}",
        rf"{_PLAIN}°[ ]*(?:{_PART}){{0,2}}[NSEWO]?",
        r"[0-9]+\.[0-9]+[ ]?[NSEW]",
        rf"{_PLAIN}[.,](?:-{{1,2}}|[\x{{2013}}\x{{2014}}])[ ]*[^0-9]{{0,3}}",
        rf"{_PLAIN}[x\x{{d7}}*\x{{b7}}][ ]?10\^?[-\x{{207b}}]?[0-9²³¹\x{{2070}}-\x{{2079}}]+",
        rf"(?:c\.|ca\.?|circa|about|approx\.?)[ ]?{_PLAIN}",
    )
)
_IN_PARTS += r")\s*\z"
"""Numbers in marks or several parts: [5], 5+, 5±1, 5 CR, 5 1/2, 1h 34m, 6'2", 64°34'N, 5x10^3."""


@dataclass(frozen=True)
class Amounts:
    """How the numbers of a column are written.

    Attributes:
        declared: The entry of the column in a spec.
        n_bad: The number of cells that are no numbers by it.
        other: The entry by the other reading, where the values do not show which one is right.
        why: Why the values are not read as numbers, though they look like it; empty: they are.
        unless: In which case they can be read as `declared` all the same; empty: in none.
        odd: The texts that are no numbers, then.
    """

    declared: dict[str, Any]
    n_bad: int
    other: dict[str, Any] | None = None
    why: str = ""
    unless: str = ""
    odd: tuple[str, ...] = ()

    @property
    def has_decimal_comma(self) -> bool | None:
        """Whether a comma stands before fractions; None: the values do not show it."""
        if self.why or self.other:
            return None
        if self.declared.get("decimal") == ",":
            return True
        return False if self.declared.get("thousands") == "," else None


def spelling_of(declared: Mapping[str, Any]) -> Spelling:
    """Returns the spelling of a column's entry in a spec."""
    units = declared.get("unit", ())
    return Spelling(
        decimal=declared.get("decimal"),
        thousands=declared.get("thousands"),
        unit=(units,) if isinstance(units, str) else tuple(units),
    )


def find_amounts(
    values: pa.Array, counts: np.ndarray, comma: bool | None, prefers_comma: bool
) -> Amounts | None:
    """Returns how the numbers in texts are written, or None if the texts are no numbers.

    Args:
        values: The distinct texts.
        counts: The number of cells with each of them.
        comma: Whether other columns show that a comma stands before fractions; None: neither.
        prefers_comma: Whether that is likelier where nothing shows it.
    """
    amounts = _in_one_part(values, counts, comma, prefers_comma)
    return amounts or _in_parts(values, counts)


def _in_one_part(
    values: pa.Array, counts: np.ndarray, comma: bool | None, prefers_comma: bool
) -> Amounts | None:
    """Returns how numbers with units around them are written, or None if the texts are none."""
    first = values.slice(0, FIRST)
    if pc.sum(pc.match_substring_regex(first, pattern=r"\A[^0-9]{0,12}[0-9]")).as_py() * 2 < len(
        first
    ):
        return _bounds(values, counts, np.ones(len(values), bool))
    parts = number_parts(values)
    if parts is None:
        return None
    units, digits, odd = parts
    total, is_number = int(counts.sum()), ~odd
    if counts[odd].sum() > 0.5 * total or not is_number.any():
        return _bounds(values, counts, odd)
    numbers, n_odd = values.filter(pa.array(is_number)), int(counts[odd].sum())
    digits = digits.filter(pa.array(is_number))
    reading = _read(numbers, counts[is_number], digits, units, comma, prefers_comma)
    bare = units.bare_share(counts[is_number], digits)
    if _are_names(reading, digits):
        return None
    why, unless = why_not_one(units, bare)
    if not (units.are_money or units.are_shares) and len(numbers) < FEW_UNITS:
        return None
    n_bad = n_odd + reading.n_bad
    if not why and n_bad <= TOLERATED * total:
        return Amounts(reading.declared, n_bad, reading.other)
    if len(values) <= FEW_UNITS or (units.distinct and not units.are_known):
        return None
    return _not_understood(values, odd, reading, digits, why, unless)


def _bounds(values: pa.Array, counts: np.ndarray, odd: np.ndarray) -> Amounts | None:
    """Returns amounts of which most are as <5 or 5½, or None if they are something else."""
    is_bound = pc.match_substring_regex(values, pattern=_BOUND)
    like = is_bound.to_numpy(zero_copy_only=False) | ~odd
    if counts[like].sum() < 0.9 * counts.sum() or len(values) <= FEW_UNITS:
        return None
    texts = tuple(values.filter(pa.array(odd)).to_pylist())
    return Amounts({"type": "float"}, 0, why=f"{listed(texts)} are no numbers", odd=texts)


def _in_parts(values: pa.Array, counts: np.ndarray) -> Amounts | None:
    """Returns amounts of which most are as 1h 34m or [5], or None if they are something else."""
    in_parts = pc.match_substring_regex(values, pattern=_IN_PARTS)
    odd = in_parts.to_numpy(zero_copy_only=False)
    is_plain = pc.match_substring_regex(values, pattern=rf"\A\s*{_PLAIN}\z")
    like = odd | is_plain.to_numpy(zero_copy_only=False)
    total = counts.sum()
    if len(values) <= FEW_UNITS or counts[odd].sum() < 0.5 * total:
        return None
    if counts[like].sum() < 0.9 * total:
        return None
    texts = tuple(values.filter(in_parts).to_pylist())
    return Amounts({"type": "float"}, 0, why=f"{listed(texts)} are no numbers", odd=texts)


@dataclass(frozen=True)
class _Reading:
    """A spelling under which most numbers can be read.

    Attributes:
        declared: The entry of the column in a spec.
        n_bad: The number of cells that are no numbers by it.
        other: The entry by another reading of the same numbers.
    """

    declared: dict[str, Any]
    n_bad: int
    other: dict[str, Any] | None = None


def _read(
    values: pa.Array,
    counts: np.ndarray,
    digits: pa.Array,
    units: Units,
    comma: bool | None,
    prefers_comma: bool,
) -> _Reading:
    """Returns the reading under which the fewest cells are no numbers."""
    present = [c for c in ",.' " if _has(digits, {"'": "['\u2019]", " ": f"[{BLANKS}]"}.get(c, c))]
    readings = [
        (decimal, gap)
        for decimal in ([".", ","] if "," in present else ["."])
        for gap in (None, *present)
        if gap != decimal
    ]
    if "." in present and "," not in present:
        readings.append((",", "."))
    bad = {
        (d, g): _n_bad(values, counts, Spelling(decimal=d, thousands=g, unit=units.distinct))
        for d, g in readings
    }
    least = min(bad.values())
    best = next(reading for reading in readings if bad[reading] == least)
    other = None
    for decimal, gap in (((",", None), (".", ",")), ((".", None), (",", "."))):
        if (gap[1] or "") not in present or {decimal, gap} - bad.keys():
            continue
        if bad[decimal] == bad[gap] == least:
            best, other = _between(decimal, gap, digits, comma, prefers_comma)
    entry = _entry(best, values, counts, digits, units)
    return _Reading(entry, least, _entry(other, values, counts, digits, units) if other else None)


_Notation = tuple[str, str | None]
"""The decimal sign and the separator of thousands."""


def _between(
    decimal: _Notation, gap: _Notation, digits: pa.Array, comma: bool | None, prefers_comma: bool
) -> tuple[_Notation, _Notation | None]:
    """Chooses between 1.234 and 1234 for 1,234; the other one is None where the choice is sure."""
    if _has(digits, r"\A[0-9]{4,}\z"):  # who separates thousands separates all of them
        return decimal, None
    is_comma = decimal[0] == ","
    if comma is not None:
        return (decimal if comma == is_comma else gap), None
    chosen = decimal if prefers_comma == is_comma else gap
    return chosen, gap if chosen == decimal else decimal


def _entry(
    notation: _Notation, values: pa.Array, counts: np.ndarray, digits: pa.Array, units: Units
) -> dict[str, Any]:
    """Returns the entry in a spec of a column that is written in a notation."""
    decimal, gap = notation
    has_fraction = _has(digits, rf"[{decimal}]")
    is_int = gap and not units.distinct and not has_fraction and not _has(digits, "[eE]")
    keys: dict[str, Any] = {"type": "int" if is_int else "float"}
    if not is_int and (decimal == "," or any(u[0] == "," for u in units.distinct)):
        keys["decimal"] = ","
    if gap:
        keys["thousands"] = gap
    if units.distinct:
        keys["unit"] = units.distinct[0] if len(units.distinct) == 1 else list(units.distinct)
    is_plain = len(keys) == 1 and not _n_bad(values, counts, Spelling())
    return {**keys, "decimal": "."} if len(keys) == 1 and not is_plain else keys


def _are_names(reading: _Reading, digits: pa.Array) -> bool:
    """Whether digits in groups name something, as those of 732 829 320 do: all are equally long.

    Commas stand between thousands only.
    """
    if reading.declared.get("thousands") not in (" ", ".") or reading.declared["type"] != "int":
        return False
    mode = pc.mode(pc.utf8_length(digits))[0].as_py()
    return bool(mode["mode"] >= len("732 829 320") and mode["count"] > 0.99 * len(digits))


def _n_bad(values: pa.Array, counts: np.ndarray, spelling: Spelling) -> int:
    """Returns how many cells are no numbers by a spelling."""
    sampled = values.slice(0, FIRST)
    for texts in (sampled, values):
        _, faults = from_text("", texts.cast(pa.binary()), "float", spelling)
        rows = np.concatenate([[], *(f.rows for f in faults)]).astype(int)
        if len(rows) > len(texts) / 2:
            return int(counts.sum())
    return int(counts[rows].sum())


def _has(texts: pa.Array, pattern: str) -> bool:
    literal = {".": r"\."}.get(pattern, pattern)
    return bool(pc.any(pc.match_substring_regex(texts, pattern=literal)).as_py())


def _not_understood(
    values: pa.Array, odd: np.ndarray, reading: _Reading, digits: pa.Array, why: str, unless: str
) -> Amounts | None:
    """Returns amounts of which some are no numbers, or None if the texts are something else."""
    others = values.filter(pa.array(odd))
    like = pc.match_substring_regex(others, pattern=_ODD)
    if not (why or len(others)) or (pc.sum(like).as_py() or 0) < 0.9 * len(others):
        return None
    lengths = pc.utf8_length(digits).unique()
    if not why and len(lengths) == 1 and lengths[0].as_py() >= 4 and not _has(digits, "[.,]"):
        return None  # digits that name something, as 98101 does beside 98101-4820
    texts = tuple(others.to_pylist())
    if not why:
        why = f"{listed(texts)} {'is no number' if len(texts) == 1 else 'are no numbers'}"
        unless = f"To read {'it' if len(texts) == 1 else 'them'} as missing"
    return Amounts(reading.declared, reading.n_bad, why=why, unless=unless, odd=texts)


def dots_between_thousands(
    values: pa.Array, comma: bool | None, prefers_comma: bool
) -> Amounts | None:
    """Returns how numbers such as 1.234 and 987 are written if they look like whole numbers.

    Args:
        values: The distinct texts.
        comma: Whether other columns show that a comma stands before fractions; None: neither.
        prefers_comma: Whether that is likelier where nothing shows it.
    """
    grouped = pc.match_substring_regex(values, pattern=r"\A[ ]*-?[1-9][0-9]{0,2}(?:\.[0-9]{3})+\z")
    plain = pc.match_substring_regex(values, pattern=r"\A[ ]*-?[0-9]{1,3}\z")
    n_grouped, n_plain = pc.sum(grouped).as_py(), pc.sum(plain).as_py()
    if comma is False or not n_grouped or n_grouped + n_plain < len(values):
        return None
    declared = {"type": "int", "thousands": "."}
    if comma:
        return Amounts(declared, 0)
    enough = LEAST_GROUPED if not prefers_comma else LISTED
    if n_grouped < enough or n_plain < LEAST_PLAIN * len(values):
        return None
    return Amounts(declared, 0, {"type": "float"})
