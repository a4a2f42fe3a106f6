"""Infers a spec from a table: what `quatrain init` decides, and why."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quatrain.components.errors import SpecError
from quatrain.components.specification.schema import Clean
from quatrain.draft.columns import Column, find_columns, names_an_entity, quoted
from quatrain.draft.draft import Draft, Entry, Table
from quatrain.draft.features import features_of, left_out_of
from quatrain.draft.gate import evaluation
from quatrain.draft.leaks import find_leaks
from quatrain.draft.not_a_table import check_head, looks_like_a_row
from quatrain.draft.nulls import Nulls, find_nulls
from quatrain.draft.remarks import RECODE, amounts_as_text, rejected_rows, remarks_on
from quatrain.draft.sample import Sample, sample
from quatrain.draft.split import find_parting
from quatrain.draft.target import find_goal, plain

LARGE, STEPS = 1_000_000, 6_000
"""Of more train rows than this a first run takes so many steps, not twelve whole epochs."""
MOST_BAD = Clean().max_rejected
_NAMELESS = "a CSV starts with the names of its columns, so write a line of them above it"


def infer(uri: str, target: str) -> Draft:
    """Returns a draft of a spec for the files of a uri.

    The same files give the same draft.

    Raises:
        SourceError: The files cannot be read.
        SpecError: The target cannot be predicted, or no column is left to predict it from.
    """
    check_head(uri)
    found = sample(uri)
    bad = found.rejected["bad_encoding"]
    if bad > MOST_BAD * (found.table.num_rows + found.rejected.total()):
        raise SpecError(f"{uri}: {bad:,} rows of the sample are not UTF-8; {RECODE}")
    if not found.table.num_rows:
        listed = rejected_rows(found)
        why = f"no row can be read: {listed}" if listed else "there are no rows, only a header"
        raise SpecError(f"{uri}: {why}")
    nulls = find_nulls(found, target)
    columns = find_columns(found, nulls.spellings)
    remarks = []
    if found.source.format == "csv" and looks_like_a_row(found.names):
        remarks.append(f"the header seems to be a row: {_NAMELESS}")
        if target not in found.names:
            raise SpecError(
                f"{uri}: --target {target!r}: there is no such column, and the first line seems to "
                f"be a row: {_NAMELESS}"
            )
    goal = find_goal(found, columns, target)
    inputs = [c for n, c in columns.items() if n != target]
    if not any(c.kind not in ("empty", "constant") for c in inputs):
        told = f"every column beside the target {target!r} has one value or none"
        if not inputs:
            told = f"there is no column beside the target {target!r} to predict it from"
        if found.unreadable:
            told += "; " + "; ".join(f"{n!r}: {why}" for n, why in found.unreadable.items())
        raise SpecError(f"{uri}: {told}")
    split, odd = find_parting(found, columns, goal, target)
    leaks = find_leaks(goal, [c for c in inputs if c.kind not in ("empty", "constant")])
    leaks = {n: told for n, told in leaks.items() if n not in split.spent}
    table = Table(found, columns, target, goal, split, leaks)
    table, let_pass = _with_a_feature(uri, table)
    left_out = left_out_of(table)
    features = features_of(table, left_out)
    remarks = [*remarks_on(table, nulls), *remarks, *odd, *let_pass]
    return _draft(uri, table, nulls, left_out, features, remarks)


def _with_a_feature(uri: str, table: Table) -> tuple[Table, list[str]]:
    """Returns a table of which a feature can be made, and what was let pass for it.

    Raises:
        SpecError: No column is left.
    """
    if _has_feature(table):
        return table, []
    if table.leaks:
        told = [
            f"{name!r} may give the label away: it {how}; it stays, as no other column is left"
            for name, how in table.leaks.items()
        ]
        return replace(table, leaks={}), told
    counted = {
        n: replace(c, kind="number")
        for n, c in table.columns.items()
        if n != table.target and c.kind == "identifier" and c.is_number and not names_an_entity(n)
    }
    with_them = replace(table, columns={**table.columns, **counted})
    if counted and _has_feature(with_them):
        listed = ", ".join(map(repr, counted))
        return with_them, [f"may do no more than count the rows: {listed}; no other column is left"]
    reasons = "; ".join(f"{n!r}: {why}" for n, why in list(left_out_of(table).items())[:5])
    told = [f"({reasons})", *amounts_as_text(table)]
    raise SpecError(f"{uri}: no column is left to predict {table.target!r} from {'; '.join(told)}")


def _has_feature(table: Table) -> bool:
    return any(f.used for f in features_of(table, left_out_of(table)))


def _draft(
    uri: str,
    table: Table,
    nulls: Nulls,
    left_out: dict[str, str],
    features: list[Entry],
    remarks: list[str],
) -> Draft:
    goal, split = table.goal, table.split
    clean: dict[str, Any] = {"derive": {goal.label: goal.sql}} if goal.sql else {}
    if table.untrained:
        clean["reject"] = {"class_not_in_train": _is_untrained(table)}
    rejected, why_rejected = _max_rejected(table)
    if rejected:
        clean["max_rejected"] = rejected
    evaluate, why_gate = evaluation(table, features)
    train, why_train = _training(table)
    columns = _columns(table, left_out, features, evaluate)
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
        "clean.reject": "no row of these classes falls to train, so they cannot be learned",
        "task": "; ".join(goal.remarks),
        "split": split.why,
        "train.max_steps": why_train,
        "evaluate.gate": why_gate,
    }
    about = [
        f"The label is {table.target!r}; types, split, features and gate come from "
        f"{table.sample.sentence}.",
    ]
    return Draft(document, columns, features, about, remarks, comments)


def model_name(uri: str) -> str:
    """Returns the name of a model after its file: lower-case letters, digits and hyphens."""
    stem = Path(uri.rstrip("/")).name.partition(".")[0]
    name = plain(stem).replace("_", "-")[:60].strip("-")
    return name if name[:1].isalpha() else "model"


def _source(found: Sample, nulls: Nulls) -> dict[str, Any]:
    source = found.source
    if source.format != "csv":
        lacks = {"optional_keys": True} if source.optional_keys else {}
        return {"uri": source.uri[0], "format": source.format, **lacks}
    document: dict[str, Any] = {"uri": source.uri[0], "nulls": list(nulls.spellings)}
    if source.delimiter != ",":
        document["delimiter"] = source.delimiter
    if source.quoted_newlines:
        document["quoted_newlines"] = True
    return document


def _columns(
    table: Table, left_out: dict[str, str], features: list[Entry], evaluate: dict[str, Any]
) -> dict[str, Entry]:
    """Returns every column of the header: those that are read, and as comments the others."""
    read = {f.value["from"] for f in features if f.used}
    read |= {table.target, *table.split.keys, *evaluate["slices"]}
    entries = {}
    for name in dict.fromkeys(table.sample.names):
        column = table.columns.get(name)
        if column is None:
            why = table.sample.unreadable.get(name, "it cannot be read")
            entries[name] = Entry("string", f"left out: {why}", False)
        elif name in read:
            entries[name] = Entry(column.declared, _told(table, column, left_out.get(name)))
        else:
            why = left_out.get(name) or "no feature is made of it"
            entries[name] = Entry(column.declared, f"left out: {why}", False)
    return entries


def _told(table: Table, column: Column, left_out: str | None) -> str:
    told = []
    if column.name == table.target:
        told.append("the target")
    elif column.name in table.split.keys:
        told.append("for the split" if left_out else "also for the split")
    if column.n_bad:
        told.append(f"{column.n_bad:,} cells do not convert; their rows are rejected")
    if column.kind == "code":
        told.append("digits that name something")
    if column.kind == "quantity" and column.name != table.target:
        told.append(f"{column.note}, used as categories: a feature takes a column as it stands")
    if column.note and column.kind == "category":
        told.append(column.note)
    if missing := column.values.null_count:
        share = missing / len(column.values)
        told.append(f"{share:.1%} missing" if share >= 0.001 else f"{missing:,} missing")
    return "; ".join(told)


def _is_untrained(table: Table) -> str:
    """Returns the rule in SQL that holds for the rows of `table.untrained`."""
    names = [table.goal.classes[c] for c in table.untrained]
    if table.columns[table.target].type == "string":
        names = ["'" + name.replace("'", "''") + "'" for name in names]
    return f"{quoted(table.target)} IN ({', '.join(names)})"


def _max_rejected(table: Table) -> tuple[float | None, str]:
    """Rows without a label are rejected; their share may be larger than the default allows."""
    n = len(table.goal.values)
    rejected = ~table.goal.known | np.isin(table.goal.values, table.untrained)
    share = float(np.mean(rejected)) if n else 0.0
    if share <= 0.05:
        return None, ""
    told = f"{share:.1%} of the sample has no label to learn, and such rows are rejected"
    return min(math.ceil((share * 1.1 + 0.05) * 100) / 100, 1.0), told


def _training(table: Table) -> tuple[dict[str, Any], str]:
    """Bounds the training of a large table; else the trainer's defaults follow the rows."""
    rows = table.train_rows
    if rows <= LARGE:
        return {}, ""
    told = f"of about {rows:,} train rows, for a first look; without it twelve epochs or more"
    return {"max_steps": STEPS}, told
