"""Rules of a spec: any text is an expression over one row, or is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from quatrain.components.errors import QuatrainError
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.job import rules_of
from quatrain.components.preprocess.kept_rows import read_kept_rows
from quatrain.components.table.ranges import plan_ranges
from tests.components.conftest import delays, model_of
from tests.fuzz.door import Door, refusal

_COLUMNS = ["day", "delay", "carrier", "arrival", "weight", '"day"', "Delay", "nothing"]
_LITERALS = [
    "0",
    "1",
    "-1",
    "1.5",
    "1e308",
    "9" * 40,
    "'A'",
    "''",
    "NULL",
    "TRUE",
    "DATE '2013-01-01'",
]
_CALLS = [
    *("abs", "sqrt", "ln", "log", "length", "upper", "substr", "round", "date_part", "strftime"),
    *("repeat", "lpad", "regexp_matches", "list_value", "range", "now", "random", "getenv", "sum"),
    *("read_csv", "error", "coalesce", "nullif", "greatest", "to_timestamp", "generate_series"),
    *("current_date", "pg_sleep", "hash", "json_extract", "struct_pack", "chr", "format", "printf"),
    *("string_split", "array_agg", "row_number", "try_strptime", "make_date", "factorial", "pow"),
]
_OPERATORS = [
    " + ",
    " - ",
    " * ",
    " / ",
    " // ",
    " % ",
    " = ",
    " >= ",
    " AND ",
    " OR ",
    " || ",
    " LIKE ",
]
_OPERATORS += [
    " IS NULL ",
    " IN ",
    " BETWEEN ",
    "::",
    "::INT ",
    "::DATE ",
    " ; ",
    " , ",
    " -- ",
    " /* ",
    "^",
    "<<",
]
_WORDS = [
    "SELECT",
    "FROM",
    "(",
    ")",
    "CASE WHEN",
    "THEN",
    "END",
    "OVER ()",
    "[",
    "]",
    "{",
    "}",
    "?",
    "$1",
    "*",
    "x ->",
    ":=",
]

_TERMS = st.deferred(lambda: _ATOMS | _FUNCTIONS | _BINARY)
_ATOMS = st.sampled_from(_COLUMNS + _LITERALS)
_FUNCTIONS = st.builds(
    lambda name, arguments: f"{name}({', '.join(arguments)})",
    st.sampled_from(_CALLS),
    st.lists(_TERMS, max_size=3),
)
_BINARY = st.builds(lambda a, o, b: f"({a}{o}{b})", _TERMS, st.sampled_from(_OPERATORS), _TERMS)
_SOUP = st.lists(st.sampled_from(_COLUMNS + _LITERALS + _OPERATORS + _WORDS), max_size=7).map(
    " ".join
)
_CASES = st.tuples(_TERMS | _TERMS | _SOUP | st.text(max_size=8), st.booleans())


def _make_check(folder: Path) -> Callable[[Any], str]:
    path = folder / "delays.csv"
    path.write_text(delays(60))

    def check(case: tuple[str, bool]) -> str:
        text, rejects = case
        derive = {"late": "arrival >= 15", **({} if rejects else {"new": text})}
        clean = {"reject": {"new": text} if rejects else {}, "derive": derive}
        try:
            spec = model_of(str(path), clean=clean)
        except QuatrainError as error:
            return refusal(error)
        rules = rules_of(spec)
        if rules.problems:
            assert all(rules.problems)
            return "refused"
        cleaner = Cleaner(rules)
        [span] = plan_ranges(spec.source, spec.columns)
        try:
            blocks = list(read_kept_rows(spec, span, cleaner))
        except QuatrainError as error:
            return refusal(error)
        read = sum(len(b.indices) + b.rejected.num_rows for b in blocks)
        assert read == 60, read
        return "read"

    return check


DOORS = (Door("rules", _CASES, _make_check, 600),)
