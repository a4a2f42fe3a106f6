"""Finds the goal of a target column: its task and classes, or why it cannot be a label."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import SpecError
from quatrain.components.wording import counted, near
from quatrain.draft.leaks import Goal
from quatrain.draft.profile.column_names import names_something, quoted
from quatrain.draft.profile.column_profile import LARGEST, ColumnProfile
from quatrain.draft.sample.sample import Sample
from quatrain.trainer.features import Task

MAX_CLASSES = 100
"""The most classes of a label."""
CLASS_NUMBERS = 10
"""Up to ten whole numbers from 0 or 1 without a gap are classes, if each has 1 % of the rows."""
RARE = 20
"""A class with fewer rows in the sample is too rare to be learned."""
STRAY_ROWS, STRAY_SHARE = 5, 0.01
"""Beside two classes, others of up to so many rows each and so small a share are no labels."""
NO_ANSWERS, NO_ANSWER_SHARE = {-1, -9, -99, -999, 8, 9, 88, 99, 999}, 0.1
"""Beside two classes, up to so large a share of these numbers are no labels either."""
MOST_STRAYS = 1000
STRAY_RULE = "stray_label"
MOST_TOO_LARGE = 0.05
"""Up to so large a share of labels beyond float32 is left to the run, which rejects their rows."""
LEAST_ROWS = 10
"""With fewer labels, there is nothing to learn from or to measure."""
_LATIN = str.maketrans(
    {"æ": "ae", "ð": "d", "ø": "o", "þ": "th", "đ": "d", "ħ": "h", "ł": "l", "œ": "oe"}
)
"""Latin letters that Unicode does not take apart into a letter of ASCII and a mark."""


def find_goal(sample: Sample, columns: dict[str, ColumnProfile], target: str) -> Goal:
    """Returns what the model is to predict.

    Raises:
        SpecError: The target is not a column, or not something that a model can learn.
    """
    where = f"{', '.join(sample.source.uri)}: target {target!r}"
    if target in sample.unreadable:
        raise SpecError(f"{where}: {sample.unreadable[target]}; name a column with one value a row")
    if target not in columns:
        raise SpecError(f"{where}: there is no such column{near(target, columns)}")
    column = columns[target]
    if strays := _strays(column):
        return _without(column, strays, target, where)
    if problem := _problem(column):
        raise SpecError(f"{where}: {problem}")
    if column.type == "float" or _is_amount(column):
        return _of_numbers(column)
    return _of_classes(column, target, where)


def _problem(column: ColumnProfile) -> str | None:
    """Returns why a column cannot be a label, or None."""
    n, distinct = column.n_present, column.n_distinct
    if column.kind == "empty":
        return f"it has no value in {counted(len(column.values), 'row')}; there is nothing to learn"
    if column.kind == "constant":
        value = column.encoded.dictionary[0].as_py()
        return f"it is {value!r} in all {counted(n, 'row')} with a value; there is nothing to learn"
    if n < LEAST_ROWS:
        return f"only {counted(n, 'row', 'have')} a value; a model needs at least {LEAST_ROWS}"
    if column.kind == "quantity":
        return f"it {column.note}; write its values as plain numbers, or as missing, into the table"
    if column.kind == "identifier":
        return (
            f"it has {counted(distinct, 'different value')} in {counted(n, 'row')}, so it "
            f"identifies the row; predict a column whose values repeat, or an amount"
        )
    if column.kind == "text":
        return "it is free text; predict a category or a number, or derive one from it"
    if column.kind == "time":
        return (
            "it is a time; write a duration or a part of the date into the table, or derive one, "
            "and predict that"
        )
    if column.kind == "code" and distinct > MAX_CLASSES and names_something(column.name):
        return (
            f"its name says that its numbers are codes, not amounts, and its "
            f"{counted(distinct, 'different value', 'are')} more than {MAX_CLASSES} classes; "
            f"predict another column, or merge its values into fewer in the table"
        )
    if column.type == "string" and distinct > MAX_CLASSES:
        return (
            f"it has {counted(distinct, 'class')}, more than {MAX_CLASSES}; merge the rare ones in "
            f"the table or with clean.derive"
        )
    return None


def _strays(column: ColumnProfile) -> dict[Any, int]:
    """Returns the values of a few rows beside two classes, with their rows; none if it is unlike.

    Amounts have such values too, as counts do, so numbers must be two classes of a fifth each.
    """
    has_words = column.type == "string" and column.kind in ("category", "code")
    if not (has_words or column.is_number) or not 3 <= column.n_distinct <= MOST_STRAYS:
        return {}
    tally = column.values.drop_null().value_counts().to_pylist()
    rows = sorted((c["counts"] for c in tally), reverse=True)
    total, others = sum(rows), sum(rows[2:])
    is_few = rows[2] <= STRAY_ROWS and others <= max(2, STRAY_SHARE * total)
    is_few |= _are_no_answers(column, tally, rows[1]) and others <= NO_ANSWER_SHARE * total
    least = 0.2 * total if column.is_number else 2 * STRAY_ROWS
    if not is_few or rows[1] < max(least, 2 * others):
        return {}
    return {c["values"]: c["counts"] for c in tally if c["counts"] < rows[1]}


def _are_no_answers(column: ColumnProfile, tally: list[dict[str, Any]], least: int) -> bool:
    """Whether numbers beside 0 and 1, or 1 and 2, are those by which surveys say: no answer."""
    classes = {c["values"] for c in tally if c["counts"] >= least}
    others = {c["values"] for c in tally} - classes
    return column.is_number and classes in ({0, 1}, {1, 2}) and others <= NO_ANSWERS


def _without(column: ColumnProfile, strays: dict[Any, int], target: str, where: str) -> Goal:
    """Returns the goal of a column of two classes, with a rule against all other values."""
    is_stray = pc.is_in(column.values, pa.array(list(strays), column.values.type))
    rest = replace(column, values=pc.if_else(is_stray, None, column.values))
    goal = _of_numbers(rest) if column.type == "float" else _of_classes(rest, target, where)
    classes = [literal(v) for v in rest.values.drop_null().unique().to_pylist()]
    rule = f"{quoted(column.name)} NOT IN ({', '.join(sorted(classes))})"
    named = {str(value): count for value, count in strays.items()}
    return replace(goal, reject={STRAY_RULE: rule}, strays=named)


def literal(value: Any) -> str:
    """Returns a text or a number as SQL."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def _is_amount(column: ColumnProfile) -> bool:
    """Whether whole numbers are amounts, not classes."""
    if column.type != "int" or column.n_distinct == 2:
        return False
    if column.kind == "code" and column.n_distinct <= MAX_CLASSES:
        return False
    tally = column.values.drop_null().value_counts()
    low, high = pc.min_max(tally.field("values")).as_py().values()
    dense = low in (0, 1) and high - low + 1 == column.n_distinct <= CLASS_NUMBERS
    return not dense or pc.min(tally.field("counts")).as_py() < 0.01 * column.n_present


def _of_numbers(column: ColumnProfile) -> Goal:
    """Returns the goal of a column of amounts: a regression, or classes if it has two values."""
    x = column.numbers
    present = np.unique(x[~np.isnan(x)])
    if len(present) == column.n_distinct == 2:
        return _two_numbers(column, present)
    remarks = []
    too_large = np.abs(x) >= LARGEST
    if 0 < too_large.sum() <= MOST_TOO_LARGE * column.n_present:
        x = np.where(too_large, np.nan, x)
        remarks.append(
            f"a row whose label is above {LARGEST:.2g} in size, as in "
            f"{counted(int(too_large.sum()), 'row')} of the sample, is rejected"
        )
    if len(present) <= 30:
        remarks.append(
            f"the {counted(len(present), 'different number', 'are')} taken as amounts, not as "
            "classes"
        )
    if is_skewed(x):
        name = quoted(column.name)
        remarks.append(
            "a few labels are far larger than the rest and dominate the loss; "
            f"clean.derive {{log_label: ln(1 + {name})}} would give them less weight"
        )
    return Goal(column.name, "regression", x, remarks=tuple(remarks))


def is_skewed(numbers: np.ndarray) -> bool:
    """Whether the largest 1 % of the amounts is over 20 times the median; NaN is missing."""
    x = numbers[~np.isnan(numbers)]
    if not len(x):
        return False
    median, high = np.quantile(x, [0.5, 0.99])
    return bool(x.min() >= 0 and high > 20 * max(median, 1e-9) and len(np.unique(x)) > 30)


def _two_numbers(column: ColumnProfile, present: np.ndarray) -> Goal:
    """Returns the goal of a column with two distinct floats, such as 0.0 and 1.0, as classes."""
    whole = bool((present == np.floor(present)).all()) and np.abs(present).max() < 2**63
    name, top = quoted(column.name), float(present[1])
    sql = f"CAST({name} AS BIGINT)" if whole else f"{name} >= {top!r}"
    values = np.where(np.isnan(column.numbers), np.nan, (column.numbers == top).astype(float))
    classes = tuple(str(int(v)) for v in present) if whole else ("false", "true")
    remark = f"the two floats are taken as classes; the positive one is {present[1]:g}"
    return Goal(label_name(column.name, "class"), "binary", values, classes, sql, (remark,))


def _of_classes(column: ColumnProfile, target: str, where: str) -> Goal:
    """Returns the goal of a column of classes, in the order of their values."""
    tally = column.values.drop_null().value_counts()
    order = pc.sort_indices(tally.field("values").cast(_sortable(column)))
    values = tally.field("values").take(order)
    counts = tally.field("counts").take(order).to_pylist()
    names = tuple(str(v).lower() if column.type == "bool" else str(v) for v in values.to_pylist())
    indices = pc.index_in(column.values, values)
    codes = np.asarray(pc.fill_null(indices.cast(pa.float64()), float("nan")).to_numpy())
    task: Task = "binary" if len(names) == 2 else "multiclass"
    remarks = []
    if task == "binary":
        remarks.append(f"the positive class is {names[1]!r}, the second in order")
    elif column.type == "int":
        remarks.append(
            f"the {counted(len(names), 'whole number', 'are')} taken as classes; if they are "
            f"amounts, write `task: regression`"
        )
    rare = [f"{n!r} ({count})" for n, count in zip(names, counts, strict=True) if count < RARE]
    if rare:
        listed = ", ".join(rare[:5]) + ("" if len(rare) <= 5 else f" and {len(rare) - 5} more")
        remarks.append(f"classes too rare to be learned, with their rows in the sample: {listed}")
    if sum(c > 1 for c in counts) < 2:
        raise SpecError(f"{where}: only one class has more than one row; add rows of another")
    return Goal(target, task, codes, names, None, tuple(remarks))


def _sortable(column: ColumnProfile) -> pa.DataType:
    return pa.int8() if column.type == "bool" else column.values.type


def label_name(target: str, suffix: str) -> str:
    """Returns a name for a derived label that is valid in SQL and in a spec."""
    return f"{plain(target) or 'label'}_{suffix}"


def plain(name: str) -> str:
    """Returns a name in lower-case ASCII letters, digits and underscores; empty if it has none."""
    latin = name.casefold().translate(_LATIN)
    ascii_ = unicodedata.normalize("NFKD", latin).encode("ascii", "ignore").decode()
    name = re.sub(r"[^0-9A-Za-z]+", "_", ascii_).strip("_").lower()
    return f"c_{name}" if name[:1].isdigit() else name
