"""Whether the rows can train the model of a spec: problems stop the run, warnings do not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import add

from quatrain.components.preprocess.expressions import columns_used
from quatrain.components.preprocess.splitting import threshold
from quatrain.components.preprocess.summary.summary import Summary, classes_of
from quatrain.components.specification.schema import Deduplicate, ModelSpec
from quatrain.components.specification.split import SPLITS, Split
from quatrain.components.wording import a_or_an, counted, near
from quatrain.trainer.features.statistics import Categories, ColumnStatistics, TableStatistics

NAMED_REASONS = 3
_IS_WRITTEN_OTHERWISE = re.compile(
    r": '(?![-+]?\d+\.\d*')[^0-9']{0,4}\d[\d.,' \u00a0\u202f\u2019]*[^0-9']{0,12}' "
    r"is not (?:an int|a finite number)$"
)
"""The end of a reason that quotes a number as people write them, such as 1.234,50 EUR."""
LABEL_TYPES = {
    "binary": ("bool", "int", "string"),
    "multiclass": ("string", "int", "bool"),
    "regression": ("float", "int"),
}
NUMBER_TYPES = ("timestamp", "date", "int", "float")
FOLD_TYPES = ("int", "string")
CLASS_TYPES = ("string", "int", "bool")
WEIGHT_TYPES = ("float", "int", "bool")


def spec_problems(spec: ModelSpec, derived: dict[str, str]) -> Iterator[str]:
    """Yields the problems of a spec that only the types of its derived columns show."""
    types: dict[str, str] = {**spec.columns, **derived}
    label = types[spec.label]
    if label not in LABEL_TYPES[spec.task]:
        allowed = " or ".join(LABEL_TYPES[spec.task])
        yield f"label: {spec.label!r} is {label}; {a_or_an(spec.task)} model takes {allowed}"
    if spec.weight is not None and types[spec.weight] not in WEIGHT_TYPES:
        yield f"weight: {spec.weight!r} is {types[spec.weight]}; a weight is a number"
    yield from _split_problems(spec.split, types)
    yield from _duplicate_problems(spec.clean.deduplicate, types)
    yield from _leaks(spec)


def _split_problems(split: Split, types: dict[str, str]) -> Iterator[str]:
    """Yields what is wrong with the types of the columns that a split uses, or with its times."""
    if split.by == "column" and types[split.column] != "string":
        yield f"split.column: {split.column!r} is {types[split.column]}, not a string"
    if split.by == "fold" and types[split.column] not in FOLD_TYPES:
        allowed = " or ".join(FOLD_TYPES)
        yield f"split.column: {split.column!r} is {types[split.column]}; a fold is {allowed}"
    if split.by == "hash" and split.stratify and types[split.stratify] not in CLASS_TYPES:
        type_, allowed = types[split.stratify], ", ".join(CLASS_TYPES)
        yield f"split.stratify: {split.stratify!r} is {type_}; its values must be few: {allowed}"
    if split.by != "time":
        return
    if types[split.column] not in ("timestamp", "date"):
        yield f"split.column: {split.column!r} is {types[split.column]}, not a time"
        return
    yield from order_problems(split.validation_from, split.test_from)


def order_problems(validation_from: str, test_from: str) -> Iterator[str]:
    """Yields what is wrong with the order of the times of a split.

    Raises:
        SpecError: A text is no time.
    """
    if threshold(validation_from).as_py() >= threshold(test_from).as_py():
        yield (
            f"split: validation_from {validation_from} is not before test_from {test_from}; "
            f"validation lies between train and test"
        )


def _duplicate_problems(rule: Deduplicate | None, types: dict[str, str]) -> Iterator[str]:
    """Yields what is wrong with the types of the columns that decide between duplicates."""
    if rule is None:
        return
    for i, key in enumerate(rule.keys):
        if types[key] == "float":
            yield f"clean.deduplicate.keys[{i}]: {key!r} is float; a key is no measured number"
    newest = rule.keep_newest_by
    if newest and types[newest] not in NUMBER_TYPES:
        allowed = ", ".join(NUMBER_TYPES)
        yield f"clean.deduplicate.keep_newest_by: {newest!r} is {types[newest]}, not {allowed}"


def _leaks(spec: ModelSpec) -> Iterator[str]:
    """Yields a problem if the label is derived from inputs alone: a rule, not a prediction."""
    columns = _label_columns(spec)
    if columns and columns <= {i.name for i in spec.inputs}:
        sql = spec.clean.derive[spec.label]
        places = [
            f"features[{i}]" for i, f in enumerate(spec.features) if columns.intersection(f.columns)
        ]
        yield (
            f"{', '.join(places)}: the label ({spec.label}: {sql}) is made of nothing but "
            f"{' and '.join(map(repr, sorted(columns)))}, which would give the answer away; "
            f"remove {'it' if len(columns) == 1 else 'one of them'} from the features"
        )


def leak_warnings(spec: ModelSpec) -> list[str]:
    """Returns a warning for each input from which the label is derived."""
    return [
        f"column {name!r} is a feature and makes a part of the label {spec.label!r}; "
        f"is it known when the prediction is made?"
        for name in sorted(_label_columns(spec) & {i.name for i in spec.inputs})
    ]


def _label_columns(spec: ModelSpec) -> frozenset[str]:
    """Returns the columns from which the label is derived; empty if it is a column of the table."""
    sql = spec.clean.derive.get(spec.label)
    return columns_used(sql, spec.columns) if sql else frozenset()


def run_problem(spec: ModelSpec, derived: dict[str, str], summary: Summary) -> str | None:
    """Returns why the rows that were read cannot train a model, or None."""
    if not summary.read:
        return f"{', '.join(spec.source.uri)}: there are no rows, only headers"
    if problem := too_many_rejected(spec, summary):
        return problem
    rows = summary.rows
    if empty := [s for s in SPLITS if not rows[s]]:
        sizes = ", ".join(f"{s} {rows[s]:,}" for s in SPLITS)
        return (
            f"the {empty[0]} split has no rows ({sizes}); give `split` more rows, other keys, "
            f"or other bounds"
        )
    problems = table_problems(spec, derived, summary, "in the train split")
    for split in SPLITS[1:]:
        problems += _weight_problems(spec, summary.splits[split], f"in the {split} split")
    return "\n".join(problems) or None


def class_weight_problems(
    spec: ModelSpec, derived: dict[str, str], summary: Summary
) -> Iterator[str]:
    """Yields the classes of `train.class_weights` that the label does not have in any split."""
    weights, classes = spec.train.settings.class_weights, fitted_classes(spec, derived, summary)
    if isinstance(weights, Mapping):
        for name in weights:
            if name not in classes:
                yield (
                    f"train.class_weights.{name}: the label {spec.label!r} has no such class"
                    f"{near(name, classes)}"
                )


def table_problems(
    spec: ModelSpec, derived: dict[str, str], summary: Summary, where: str
) -> list[str]:
    """Returns why the train rows cannot train a model.

    Args:
        spec: The model spec.
        derived: The types of the derived columns.
        summary: The counts of the rows.
        where: The phrase that names the rows in a sentence, for example `in the train split`.
    """
    label = _label_problem(spec, derived, summary, where)
    return [
        *([label] if label else []),
        *_column_problems(spec, summary, where),
        *_weight_problems(spec, summary.splits["train"], where),
    ]


def too_many_rejected(spec: ModelSpec, summary: Summary) -> str | None:
    """Returns the most frequent reasons, each with a sample row, if too many rows were rejected.

    Returns None otherwise. Duplicates count neither as rejected nor as read: a spec that removes
    them expects them.
    """
    duplicates = summary.reasons.get("duplicate")
    n_duplicates = duplicates.rows if duplicates else 0
    rejected, read = summary.rejected - n_duplicates, summary.read - n_duplicates
    if rejected <= spec.clean.max_rejected * read:
        return None
    share, limit = rejected / read, spec.clean.max_rejected
    lines = [
        f"{rejected:,} of {counted(read, 'row')} ({share:.1%}) "
        f"{'was' if rejected == 1 else 'were'} rejected, more than clean.max_rejected "
        f"({limit:.1%}); the most frequent reasons:"
    ]
    bad = [(name, reason) for name, reason in summary.frequent if name != "duplicate"]
    for name, reason in bad[:NAMED_REASONS]:
        detail = f" ({reason.detail})" if reason.detail else ""
        lines.append(f"  {name}: {counted(reason.rows, 'row')}{detail}, as: {reason.sample}")
    if any(_IS_WRITTEN_OTHERWISE.search(reason.detail or "") for _, reason in bad[:NAMED_REASONS]):
        lines.append(
            "if numbers are written so, declare how below columns, for example as "
            "{type: float, decimal: ',', thousands: '.', unit: EUR}"
        )
    lines.append("correct the source or the rules, or raise clean.max_rejected")
    return "\n".join(lines)


def warnings(spec: ModelSpec, summary: Summary, classes: tuple[str, ...]) -> list[str]:
    """Returns warnings about rows that can train a model but look odd."""
    train = summary.splits["train"].columns
    sentences = [
        f"column {i.name!r} has one value in the train split; features made of it say nothing"
        for i in spec.inputs
        if _n_distinct(train[i.name]) == 1
    ]
    return [*sentences, *leak_warnings(spec)]


def fitted_classes(spec: ModelSpec, derived: dict[str, str], summary: Summary) -> tuple[str, ...]:
    """Returns the classes of the label in all splits; () for a regression."""
    if spec.task == "regression":
        return ()
    merged = reduce(add, (summary.splits[s].columns[spec.label] for s in SPLITS))
    return classes_of(merged, {**spec.columns, **derived}[spec.label])


def _label_problem(
    spec: ModelSpec, derived: dict[str, str], summary: Summary, where: str
) -> str | None:
    """Returns why no model can learn the label from the train rows, or None."""
    label = summary.splits["train"].columns[spec.label]
    if spec.task == "regression":
        if _n_distinct(label) > 1:
            return None
        return f"the label {spec.label!r} has one value {where}; there is nothing to learn"
    classes = fitted_classes(spec, derived, summary)
    known = classes_of(label, {**spec.columns, **derived}[spec.label])
    if len(known) < 2:
        return (
            f"the label {spec.label!r} has one class {where}, {known[0]!r} in "
            f"{counted(label.count, 'row')}; a classifier needs two"
        )
    if not isinstance(label, Categories) and not label.exact:
        n_classes = counted(len(label.keys), "class")
        where_to = "if it is an amount, set task: regression"
        return f"the label {spec.label!r} has over {n_classes}; {where_to}"
    if spec.task == "binary" and len(classes) > 2:
        shown = ", ".join(classes[:5])
        return (
            f"the label {spec.label!r} has {counted(len(classes), 'class')} ({shown}, ...); "
            f"a binary model takes two: derive one, or set task: multiclass"
        )
    if absent := sorted(set(classes) - set(known)):
        return (
            f"the label {spec.label!r} has no row {where} of {len(absent)} of its "
            f"{counted(len(classes), 'class')} "
            f"({', '.join(absent[:5])}{', ...' * (len(absent) > 5)}): reject their rows by "
            "clean.reject, merge them with others, or change the split"
        )
    return None


def _column_problems(spec: ModelSpec, summary: Summary, where: str) -> Iterator[str]:
    """Yields a sentence for each input that is always missing."""
    train = summary.splits["train"]
    for column in spec.inputs:
        if not train.columns[column.name].count:
            users = ", ".join(f.name for f in spec.features if column.name in f.columns)
            yield (
                f"column {column.name!r} is missing in all {counted(train.rows, 'row')} {where}; "
                f"remove it from the features ({users}) or correct source.nulls and its type"
            )


def _weight_problems(spec: ModelSpec, rows: TableStatistics, where: str) -> Iterator[str]:
    """Yields a sentence if no row of a split counts."""
    if spec.weight is None:
        return
    weight = rows.columns[spec.weight]
    if not isinstance(weight, Categories) and weight.count and weight.values[-1] <= 0:
        yield (
            f"weight: {spec.weight!r} is 0 in every row {where}; correct the column, remove the "
            f"key, or change the split"
        )


def _n_distinct(column: ColumnStatistics) -> int:
    return len(column.values if isinstance(column, Categories) else column.keys)
