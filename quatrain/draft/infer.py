"""Infers a spec from a table: what `quatrain init` chooses, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from quatrain.components.errors import SpecError
from quatrain.components.specification.schema import Clean
from quatrain.components.specification.source import Source
from quatrain.components.wording import counted
from quatrain.draft.draft import Draft, Entry, Question, TableProfile
from quatrain.draft.features import exclusions_of, features_of
from quatrain.draft.gate import WHY_OPPONENT, evaluation
from quatrain.draft.leaks import find_leaks
from quatrain.draft.profile.column_names import names_an_entity, quoted
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.profile.columns import codes_as_text, profile_columns
from quatrain.draft.profile.nulls import Nulls, find_nulls
from quatrain.draft.questions import questions_on
from quatrain.draft.remarks import RECODE, SHOWN, remarks_on
from quatrain.draft.sample.not_a_table import (
    check_head,
    check_quotes,
    lacks_header,
    looks_like_a_row,
    naming_command,
)
from quatrain.draft.sample.sample import Sample
from quatrain.draft.sample.sampling import draw_sample
from quatrain.draft.split import choose_split, missed_request
from quatrain.draft.target import find_goal, literal, plain
from quatrain.trainer.features.text_format import tidy_numpy

LARGE, STEPS = 1_000_000, 6_000
"""With more train rows than this, a first run takes 6 000 steps instead of twelve whole epochs."""
MOST_BAD = Clean().max_rejected
"""The largest share of rows that are not UTF-8: a run rejects no more by default."""
_NAMELESS = "a CSV starts with the names of its columns, so write a line of them above it"


def infer(uri: str, target: str) -> Draft:
    """Returns a draft of a spec for the files of a uri.

    The same files give the same draft.

    Raises:
        SourceError: The files cannot be read.
        SpecError: The target cannot be predicted, or no column is left to predict it from.
    """
    check_head(uri)
    sample = draw_sample(uri)
    if not sample.table.num_rows and not sample.rejected:
        raise SpecError(f"{uri}: there are no rows, only a header; add rows to the file")
    if lacks_header(sample):
        raise SpecError(
            f"{uri}: there is no header: the first line seems to be a row, since its cells look "
            f"like those below; {_NAMELESS}, with better names than these: "
            f"{naming_command(uri, sample)}"
        )
    check_quotes(uri, sample)
    if sample.rejected.total() > MOST_BAD * (sample.table.num_rows + sample.rejected.total()):
        raise SpecError(f"{uri}: {_why_rejected(sample)}")
    target = _column_named(sample, target)
    nulls = find_nulls(sample, target)
    columns = profile_columns(sample, nulls.spellings)
    remarks = list(sample.remarks)
    if sample.source.format == "csv" and looks_like_a_row(sample.names):
        remarks.append(f"the header seems to be a row: {_NAMELESS}")
        if target not in sample.names:
            raise SpecError(
                f"{uri}: target {target!r}: there is no such column, and the first line seems to "
                f"be a row: {_NAMELESS}"
            )
    goal = find_goal(sample, columns, target)
    columns = codes_as_text(sample, columns, nulls.spellings, target)
    inputs = [
        column
        for name, column in columns.items()
        if name != target and column.kind not in ("empty", "constant")
    ]
    if not inputs:
        raise SpecError(f"{uri}: {_why_no_input(sample, columns, target)}")
    split, split_remarks = choose_split(sample, columns, goal, target)
    split_remarks += missed_request(split, goal)
    found = find_leaks(goal, inputs)
    leaks, suspects = (
        {n: how for n, how in each.items() if n not in split.disjoint}
        for each in (found.sure, found.likely)
    )
    table = TableProfile(sample, columns, target, goal, split, leaks, suspects)
    table, tolerated = _with_a_feature(uri, table)
    exclusions = exclusions_of(table)
    features = features_of(table, exclusions)
    questions, rest = questions_on(table, features, nulls.spellings)
    remarks = [*remarks, *tolerated, *rest, *remarks_on(table, nulls), *split_remarks]
    return _draft(uri, table, nulls, exclusions, features, questions, remarks)


def _why_no_input(sample: Sample, columns: Mapping[str, ColumnProfile], target: str) -> str:
    """Returns the sentence about a table without a column to predict the target from."""
    reason = (
        f"every column besides the target {target!r} has one value or none; add one that varies"
        if columns.keys() - {target}
        else f"there is no column besides the target {target!r} to predict it from; add some"
    )
    return "; ".join([reason, *(f"{name!r}: {why}" for name, why in sample.unreadable.items())])


def _why_rejected(sample: Sample) -> str:
    """Returns the sentence about more bad rows than a run allows, with one of the most frequent."""
    [(reason, n)] = sample.rejected.most_common(1)
    total = sample.rejected.total()
    row = next(r for r in sample.rejected_rows.to_pylist() if r["reason"] == reason)
    shown = row["row"][:SHOWN].decode(errors="replace")
    return (
        f"{counted(total, 'row', 'do')} not parse in the sample, more than a run allows; "
        f"correct them, {n:,} of them as {shown!r} ({reason}: {row['detail']})"
        + f"; {RECODE}"
        * (reason == "bad_encoding")
    )


def _with_a_feature(uri: str, table: TableProfile) -> tuple[TableProfile, list[str]]:
    """Returns a table with at least one feature, and remarks on what it takes to have one.

    If no column qualifies, suspected leaks may be features, or else columns that number the rows.

    Raises:
        SpecError: No column is left.
    """
    if _has_feature(table):
        return table, []
    if table.leaks:
        remarks = [
            f"{name!r} may give the label away: it {how}; it is kept, because no other "
            f"column is left"
            for name, how in table.leaks.items()
        ]
        return replace(table, leaks={}), remarks
    row_numbers = {
        n: replace(c, kind="number")
        for n, c in table.columns.items()
        if n != table.target and c.kind == "identifier" and c.is_number and not names_an_entity(n)
    }
    with_them = replace(table, columns={**table.columns, **row_numbers})
    if row_numbers and _has_feature(with_them):
        listed = ", ".join(map(repr, row_numbers))
        return with_them, [f"may only count the rows: {listed}; no other column is left"]
    reasons = "; ".join(f"{n!r}: {why}" for n, why in list(exclusions_of(table).items())[:5])
    raise SpecError(
        f"{uri}: no column is left to predict {table.target!r} from; add one: ({reasons})"
    )


def _has_feature(table: TableProfile) -> bool:
    return any(f.is_active for f in features_of(table, exclusions_of(table)))


def _draft(
    uri: str,
    table: TableProfile,
    nulls: Nulls,
    exclusions: dict[str, str],
    features: list[Entry],
    questions: list[Question],
    remarks: list[str],
) -> Draft:
    """Returns the draft of a table: the sections of the spec, with their comments."""
    goal, split = table.goal, table.split
    clean: dict[str, Any] = {"derive": {goal.label: goal.sql}} if goal.sql else {}
    reject, why_rules = _rules(table)
    if reject:
        clean["reject"] = reject
    rejected, why_rejected = _max_rejected(table)
    if rejected:
        clean["max_rejected"] = rejected
    evaluate, why_gate = evaluation(table, features)
    train, why_train = _training(table)
    columns = _columns(table, exclusions, features, evaluate)
    document = {
        "name": model_name(uri),
        "source": _source(table.sample, nulls),
        "columns": {},
        **({"clean": clean} if clean else {}),
        "label": goal.label,
        "task": goal.task,
        "split": split.document,
        "features": [],
        **({"train": train} if train else {}),
        "evaluate": evaluate,
    }
    comments = {
        "clean.max_rejected": why_rejected,
        "clean.reject": why_rules,
        "task": "; ".join(goal.remarks),
        "split": split.why,
        "train.max_steps": why_train,
        "evaluate.gate": why_gate,
        "evaluate.opponent": WHY_OPPONENT,
    }
    about = [
        f"The label is {table.target!r}; types, split, features and gate come from "
        f"{table.sample.sentence}.",
    ]
    return Draft(document, columns, features, about, questions, remarks, comments)


def _rules(table: TableProfile) -> tuple[dict[str, str], str]:
    """Returns the rules that reject rows, by name, and the comment that says why."""
    rules, reasons = dict(table.goal.reject), []
    if rules:
        reasons.append("a few cells hold no label")
    if table.sample.headers and table.columns[table.target].type == "string":
        # Where the target is a number, the cell with its name does not convert.
        rules["repeated_header"] = _is_text(table, table.target, table.target)
        reasons.append("the header is repeated")
    if footers := _footers_as_text(table):
        same = [_is_text(table, name, text) for name, text in footers]
        rules["footer"] = " OR ".join(dict.fromkeys(same))
        reasons.append("the last rows sum up the others, or are notes")
    if table.untrained:
        rules["class_not_in_train"] = _untrained_rule(table)
        reasons.append("train has no row of some classes, so they cannot be learned")
    return rules, "; ".join(reasons)


def _column_named(sample: Sample, target: str) -> str:
    """Returns the column of a name, which may have blanks around it in the header."""
    alike = (name for name in sample.names if name.strip() == target)
    return target if target in sample.names else next(alike, target)


def _is_text(table: TableProfile, name: str, text: str) -> str:
    """Returns the SQL condition that a column holds a text, as rules see it: tidied."""
    spelling = table.columns[name].spelling
    tidy = tidy_numpy(pa.array([text]), spelling.get("trim", False), spelling.get("case"))
    return f"{quoted(name)} = {literal(tidy[0].as_py())}"


def model_name(uri: str) -> str:
    """Returns a model's name from its file's: lower-case letters, digits and hyphens."""
    stem = Path(uri.rstrip("/")).name.partition(".")[0]
    name = plain(stem).replace("_", "-")[:60].strip("-")
    return name if name[:1].isalpha() else "model"


def _source(sample: Sample, nulls: Nulls) -> dict[str, Any]:
    """Returns the section `source`, without the settings that are defaults."""
    source = sample.source
    if source.format != "csv":
        keys_of_json = ("encoding", "optional_keys")
        own = _not_default(source, keys_of_json)
        return {"uri": source.uri[0], "format": source.format, **own}
    document: dict[str, Any] = {"uri": source.uri[0], "nulls": list(nulls.spellings)}
    keys = ("delimiter", "quoted_newlines", "encoding", "skip_rows", "skip_rows_after_header")
    return {**document, **_not_default(source, keys)}


def _not_default(source: Source, keys: Sequence[str]) -> dict[str, Any]:
    default = Source(uri=source.uri)
    return {k: getattr(source, k) for k in keys if getattr(source, k) != getattr(default, k)}


def _columns(
    table: TableProfile, exclusions: dict[str, str], features: list[Entry], evaluate: dict[str, Any]
) -> dict[str, Entry]:
    """Returns an entry for every column of the header, inactive if the spec does not read it."""
    read = {f.value["from"] for f in features if f.is_active}
    read |= {table.target, *table.split.keys, *evaluate["slices"]}
    read |= {name for name, _ in _footers_as_text(table)}
    entries = {}
    for name in dict.fromkeys(table.sample.names):
        column = table.columns.get(name)
        if column is None:
            why = table.sample.unreadable.get(name, "it cannot be read")
            entries[name] = Entry("string", f"left out: {why}", False)
        elif name in read:
            entries[name] = Entry(column.declared, _comment(table, column, exclusions.get(name)))
        else:
            why = exclusions.get(name) or "no feature uses it"
            entries[name] = Entry(column.declared, f"left out: {why}", False)
    return entries


def _footers_as_text(table: TableProfile) -> list[tuple[str, str]]:
    """Returns the footers that a rule has to reject, since their column is text.

    In other columns they do not convert, and are rejected for that where the spec reads them.
    """
    return [f for f in table.sample.footers if table.columns[f[0]].type == "string"]


def _comment(table: TableProfile, column: ColumnProfile, exclusion: str | None) -> str:
    """Returns the comment on a column that the spec reads."""
    parts = []
    if column.name == table.target:
        parts.append("the target")
    elif column.name in table.split.keys:
        parts.append("used for the split" if exclusion else "also used for the split")
    if column.n_bad:
        parts.append(f"{counted(column.n_bad, 'cell', 'do')} not convert; their rows are rejected")
    if column.kind == "code":
        parts.append("a code, not an amount")
    if column.kind == "quantity":
        parts.append(f"{column.note}, so its texts are categories")
    if column.note and column.kind == "category":
        parts.append(column.note)
    if missing := column.values.null_count:
        share = missing / len(column.values)
        parts.append(f"{share:.1%} missing" if share >= 0.001 else f"{missing:,} missing")
    return "; ".join(parts)


def _untrained_rule(table: TableProfile) -> str:
    """Returns the SQL condition of the rows whose class is in `table.untrained`."""
    names = [table.goal.classes[c] for c in table.untrained]
    if table.columns[table.target].type == "string":
        names = ["'" + name.replace("'", "''") + "'" for name in names]
    return f"{quoted(table.target)} IN ({', '.join(names)})"


def _max_rejected(table: TableProfile) -> tuple[float | None, str]:
    """Returns the share of rows that may be rejected, and why; None leaves it at the default.

    Rows without a label are rejected, and so are those of a class that train lacks.
    """
    n = len(table.goal.values)
    rejected = ~table.goal.known | np.isin(table.goal.values, table.untrained)
    share = float(np.mean(rejected)) if n else 0.0
    if share <= 0.05:
        return None, ""
    why = f"{share:.1%} of the sample rows have no label to learn from, and such rows are rejected"
    # A tenth and five points more than in the sample, since other rows may have more of them.
    return min(math.ceil((share * 1.1 + 0.05) * 100) / 100, 1.0), why


def _training(table: TableProfile) -> tuple[dict[str, Any], str]:
    """Returns the section `train` and the reason: a bound on steps for a large table, or none."""
    rows = table.train_rows
    if rows <= LARGE:
        return {}, ""
    why = f"a first look at about {counted(rows, 'train row')}; without this, twelve epochs or more"
    return {"max_steps": STEPS}, why
