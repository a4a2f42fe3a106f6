"""What `init` asks the reader of a draft: at most three questions, the most important first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import digits
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.specification.encodings import is_single_byte
from quatrain.components.wording import counted
from quatrain.draft.draft import Entry, Question, TableProfile
from quatrain.draft.entities import WEIGHTS
from quatrain.draft.profile.column_names import quoted, words
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.profile.kinds import counts_years
from quatrain.draft.split import MOMENT, day_of_number, split_by_moment
from quatrain.draft.target import STRAY_RULE
from quatrain.draft.times import clean_line, time_questions
from quatrain.draft.write import scalar

MOST = 3
"""The most questions of a draft; what else would be asked is a remark without lines."""
LONGEST = 60
"""The most characters of a text that a question shows."""
MOST_ODD = 5
"""The most texts among numbers that are proposed to mean missing values."""
LISTED = 5
"""The most columns that a question lists with their evidence."""
_COUNTED = {
    "sample",
    "sampling",
    "survey",
    "person",
    "household",
    "hh",
    "case",
    "row",
    "observation",
    "final",
    "base",
    "design",
    "population",
    "frequency",
    "analysis",
    "respondent",
    "inverse",
    "instance",
    "example",
}
"""Words beside which a weight is how much a row counts; a curb weight is one that a scale shows."""


def questions_on(
    table: TableProfile, features: list[Entry], nulls: Sequence[str]
) -> tuple[list[Question], list[str]]:
    """Returns the questions of a draft, and the texts of those that are too many."""
    asked = [
        *_encoding(table),
        *_stray_labels(table),
        *_notation(table),
        *_leaks(table, features),
        *_known_before(table, features),
        *_entity(table, features),
        *time_questions(table, features),
        *_amounts(table, features, nulls),
        *_moment(table, features),
        *_weight(table, features),
    ]
    return asked[:MOST], [question.text for question in asked[MOST:]]


def _encoding(table: TableProfile) -> Iterator[Question]:
    """Asks whether text reads right, since single bytes mean other letters in other encodings."""
    encoding = table.sample.source.encoding
    if not is_single_byte(encoding):
        return
    texts = [name for name in table.sample.names if not name.isascii()]
    for column in table.sample.table.columns:
        if not texts and pa.types.is_string(column.type):
            is_other = pc.invert(pc.string_is_ascii(column))
            texts = column.filter(pc.fill_null(is_other, False)).slice(0, 1).to_pylist()
    shown = f", which makes one of its texts {texts[0][:LONGEST]!r}" if texts else ""
    yield Question(
        f"the file is not UTF-8 and is read as {encoding}{shown}. If that looks wrong, set "
        f"another encoding, such as cp1250, cp1251, cp850 or mac_roman",
        ("encoding: cp1250  # below source",),
    )


def _stray_labels(table: TableProfile) -> Iterator[Question]:
    """Asks about labels of a few rows beside two large classes."""
    if strays := table.goal.strays:
        listed = [f"{value!r} ({counted(n, 'row')})" for value, n in strays.items()]
        yield Question(
            f"{table.target!r} has two classes, and a few other values: {_joined(listed)}; "
            f"clean.reject.{STRAY_RULE} rejects their rows. If they are classes as well, remove "
            f"that rule and replace the task",
            ("task: multiclass",),
        )


def _notation(table: TableProfile) -> Iterator[Question]:
    """Asks about numbers such as 1,234, of which a part may be thousands or a fraction."""
    others = {n: c.amounts.other for n, c in table.columns.items() if c.amounts and c.amounts.other}
    if not others:
        return
    declared = table.columns[next(iter(others))].spelling
    mark = declared.get("thousands") or declared.get("decimal") or "."
    readings = ("1234", "1.234") if "thousands" in declared else ("1.234", "1234")
    lines = "its line" if len(others) == 1 else "their lines"
    yield Question(
        f"{_joined([repr(name) for name in others])}: no value shows whether 1{mark}234 is "
        f"{readings[0]}, as it is read, or {readings[1]}: if that is right, replace {lines}",
        tuple(_entry_line(name, other) for name, other in list(others.items())[:LISTED]),
    )


def _entry_line(name: str, declared: Mapping[str, Any]) -> str:
    """Returns the line that declares a column of numbers."""
    entry = scalar({name: declared if len(declared) > 1 else declared["type"]})[1:-1]
    return f"{entry}  # below columns"


def _amounts(
    table: TableProfile, features: list[Entry], nulls: Sequence[str]
) -> Iterator[Question]:
    """Asks about text columns that look like amounts, of which some are no numbers."""
    for name, column in table.columns.items():
        if column.kind != "quantity" or column.amounts is None:
            continue
        text = f"{name!r} {column.note}, so it stays text"
        odd, unless = column.amounts.odd, column.amounts.unless
        if not unless or (odd and len(odd) > MOST_ODD):
            yield Question(f"{text}: write its values as plain numbers, or none, into the table")
            continue
        lines = [_entry_line(name, column.amounts.declared)]
        for feature in (f for f in features if f.value["from"] == name):
            lines += [f"# - {scalar(feature.value)}"] * feature.is_active
            lines.append(f"- {scalar({**feature.value, 'transform': 'standardize'})}")
        if odd and table.sample.source.format == "csv":
            lines.append(f"nulls: {scalar([*nulls, *odd])}  # below source")
        elif odd:
            unless = "To reject these rows"
        yield Question(f"{text}. {unless}, replace its lines with these", tuple(lines))


def _leaks(table: TableProfile, features: list[Entry]) -> Iterator[Question]:
    """Asks about the columns that are left out since they may give the label away."""
    if table.leaks:
        how = [f"{name!r} {evidence}" for name, evidence in table.leaks.items()]
        it = "it" if len(how) == 1 else "they"
        yield Question(
            f"{_joined(how)}: {it} may give the label away, so {it} "
            f"{'is' if len(how) == 1 else 'are'} left out. If known when the prediction is made, "
            f"remove the # from {'its' if len(how) == 1 else 'their'} lines",
            (
                *_declared(table, list(table.leaks)[:LISTED], features),
                *_lines(list(table.leaks), features),
            ),
        )


def _known_before(table: TableProfile, features: list[Entry]) -> Iterator[Question]:
    """Asks which features are known only after the label."""
    used = {f.value["from"] for f in features if f.is_active}
    inputs = {n: c for n, c in table.columns.items() if n != table.target and n in used}
    how = {name: evidence for name, evidence in table.suspects.items() if name in used}
    for name, column in inputs.items():
        if _misses_together(table.goal.known, column):
            how.setdefault(name, "is missing where the target is missing")
    for name in _named_alike(table, list(inputs)):
        how.setdefault(name, "is named like the target")
    if how:
        each = "it" if len(how) == 1 else "each of them"
        yield Question(
            f"{_joined([f'{name!r} {evidence}' for name, evidence in how.items()])}: is {each} "
            f"known when the prediction is made? If not, comment it out",
            tuple(f"# {line}" for line in _lines(list(how), features)),
        )


def _entity(table: TableProfile, features: list[Entry]) -> Iterator[Question]:
    """Asks whether rows that may repeat an entity have to stay together."""
    other = table.split.other
    if other is None:
        return
    active = [f for f in features if f.is_active]
    yield Question(
        f"{other.why.replace(' identifies', ' may identify').partition(';')[0]}: if rows of others "
        f"are to be predicted, replace the split and the comments on it, and comment out its "
        "feature",
        (
            f"split: {scalar(other.document)}",
            *(f"# {line}" for line in _lines(list(other.disjoint), active)),
        ),
    )


def _moment(table: TableProfile, features: list[Entry]) -> Iterator[Question]:
    """Asks about a split by a time that stands in columns of its parts, or of years alone."""
    inputs = {n: c for n, c in table.columns.items() if n != table.target}
    if table.split.document["by"] != "hash":
        return
    years = [c.name for c in inputs.values() if counts_years(c)]
    found = split_by_moment(table.sample, inputs, table.goal)
    if found is None:
        if years:
            yield Question(
                f"{years[0]!r} holds years, and rows of one year land in both train and test: if "
                f"later rows are to be predicted from earlier ones, write the time into the table "
                f"as a date, such as 1999-01-01, and split by it"
            )
        return
    sql, split = found
    parts = [n for n in inputs if quoted(n) in sql]
    held = "holds years" if len(parts) == 1 else "hold the time of a row"
    trained = "train has rows of each"
    if day_of_number(inputs[parts[0]]):
        held = "seems to count days"
        trained = f"train has rows of the newest, from {split.document['test_from']} on"
    yield Question(
        f"{' and '.join(map(repr, parts))} {held}, and {trained}: if "
        f"later rows are to be predicted from earlier ones, add the column to clean.derive, and "
        f"replace the split with the comments on it",
        (
            *_declared(table, parts, features),
            clean_line(table, "derive", {MOMENT: sql}),
            f"split: {scalar(split.document)}",
        ),
    )


def _declared(table: TableProfile, names: list[str], features: list[Entry]) -> Iterator[str]:
    """Yields the declaration of each column that the spec does not read."""
    read = {f.value["from"] for f in features if f.is_active} | {table.target, *table.split.keys}
    for name in names:
        if name not in read:
            yield f"{scalar({name: table.columns[name].declared})[1:-1]}  # below columns"


def _weight(table: TableProfile, features: list[Entry]) -> Iterator[Question]:
    """Asks whether a number says how much a row counts, as in a survey."""
    used = {f.value["from"] for f in features if f.is_active}
    for name in sorted(used):
        column = table.columns[name]
        others = {w for w in column.words - WEIGHTS if len(w) > 1 and not w.isdigit()}
        may_count = column.words & WEIGHTS and others <= _COUNTED
        if column.is_number and may_count and np.nanmin(column.numbers) >= 0:
            active = [f for f in features if f.is_active]
            yield Question(
                f"{name!r} may say how much a row counts, as in a survey: if it does, add this, "
                f"and comment out its feature",
                (f"weight: {scalar(name)}", *(f"# {line}" for line in _lines([name], active))),
            )


def _joined(parts: list[str]) -> str:
    more = f"; and {len(parts) - LISTED} more" if len(parts) > LISTED else ""
    return "; ".join(parts[:LISTED]) + more


def _lines(names: list[str], features: list[Entry]) -> tuple[str, ...]:
    """Returns the features of some columns, as the spec writes them."""
    of_names = [f.value for f in features if f.value["from"] in names[:LISTED]]
    return tuple(f"- {scalar(f)}" for f in of_names)


def _named_alike(table: TableProfile, names: list[str]) -> list[str]:
    """Returns the columns that share a word with the target, unless most columns do.

    Of a word with a number behind it, as in Class1 or G3, the number may differ.
    """
    least = 1 if set(digits) & set(table.target) else 3
    target = {stem for w in words(table.target) if len(stem := w.rstrip(digits)) >= least}
    alike = [n for n in names if {w.rstrip(digits) for w in words(n)} & target]
    return alike if len(alike) <= max(len(names) / 2, 1) else []


def _misses_together(known: np.ndarray, column: ColumnProfile) -> bool:
    """Whether a column is missing in nearly the same rows as the label, and in ten at least.

    Such a column is likely measured together with the label, and so too late to predict it.
    """
    missing, unlabelled = column.codes < 0, ~known
    both = int((missing & unlabelled).sum())
    return bool(both >= 10 and both > 0.85 * max(missing.sum(), unlabelled.sum()))
