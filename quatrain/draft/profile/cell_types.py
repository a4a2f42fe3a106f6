"""The type that suits the texts of a column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.table.values.conversion import from_text
from quatrain.draft.sample.sample import TOLERATED
from quatrain.trainer.features import Type

FIRST = 20
"""How many distinct values are tried first: if over a tenth of them fail, the type is ruled out."""
ORDER: tuple[Type, ...] = ("int", "float", "bool", "date", "timestamp")
"""The order in which types are tried; the first one that fits every cell is taken."""
_FRACTION = r"^\s*-?\d+(?:\.\d*(?:[eE][+-]?\d+)?|[eE][+-]?\d+)\s*$"
_WIDER = {"int": _FRACTION, "bool": _FRACTION, "date": r"\d:\d"}
"""Spellings such as 3.0 and midnight, which these types take: a wider type is the safe choice."""


def best_type(values: pa.Array, counts: np.ndarray) -> tuple[Type, int]:
    """Returns the type that suits a column of text best, and how many cells do not convert to it.

    Args:
        values: The distinct texts.
        counts: The number of cells with each of them.
    """
    total = int(counts.sum())
    best: tuple[int, Type] = (total, "string")
    wider = {type_ for type_, pattern in _WIDER.items() if any_match(values, pattern)}
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
    if best[1] == "float" and all_match(values, r"^\s*[-+]?\d+\s*$"):
        return "string", 0  # whole numbers beyond 2**53, which float64 cannot hold exactly
    if best[1] == "int" and all_match(values, r"^\s*\+\d{7,}\s*$"):
        return "string", 0  # phone numbers
    if best[1] == "int" and pc.any(pc.match_substring_regex(values, pattern=r"^\s*0\d")).as_py():
        return "string", 0  # leading zeros are part of a code, and a number would lose them
    return best[1], best[0] if best[1] != "string" else 0


def _n_bad(values: pa.Array, counts: np.ndarray, type_: Type) -> float:
    _, faults = from_text("", values.cast(pa.binary()), type_)
    rows = np.unique(np.concatenate([f.rows for f in faults])) if faults else np.zeros(0, int)
    return float(counts[rows].sum())


def any_match(values: pa.Array, pattern: str) -> bool:
    """Whether a text matches a pattern."""
    return bool(pc.any(pc.match_substring_regex(values, pattern=pattern)).as_py())


def all_match(values: pa.Array, pattern: str) -> bool:
    """Whether there are texts, and every one matches a pattern."""
    return bool(len(values)) and bool(
        pc.all(pc.match_substring_regex(values, pattern=pattern)).as_py()
    )
