"""The slices and the gate of an inferred spec."""

from __future__ import annotations

import math
from typing import Any

from quatrain.draft.columns import Column
from quatrain.draft.draft import GATE_ROWS, Entry, Table
from quatrain.draft.leaks import bins

MOVED_ON = -0.05
"""Where labels move on, the trivial answer has an r2 below 0: not all of a gain over it is any."""
SLICES = 3
SLICE_LEVELS = 12


def evaluation(table: Table, features: list[Entry]) -> tuple[dict[str, Any], str]:
    """Returns the section `evaluate`, and why the gate is as it is."""
    slices = [
        c.name
        for c in table.columns.values()
        if c.name in {f.value["from"] for f in features if f.used} and _is_slice(c)
    ][:SLICES]
    gate, why = _gate(table, features)
    return {"slices": slices, "gate": gate}, why


def _is_slice(column: Column) -> bool:
    return column.kind in ("category", "code") and 2 <= column.n_distinct <= SLICE_LEVELS


def _gate(table: Table, features: list[Entry]) -> tuple[dict[str, Any], str]:
    """Asks for half of what the best single column gives in the sample, split as written."""
    trial = table.trial
    names = {f.value["from"] for f in features if f.used}
    if min(trial.train.sum(), trial.test.sum()) < GATE_ROWS:
        return {}, "too few rows for a bound; beating the trivial answer is always asked"
    gains = {n: trial.gain(bins(table.columns[n])) for n in names}
    best = max(sorted(gains), key=lambda n: gains[n])
    half = gains[best] / 2
    least = {"auc": 0.02, "log_loss": 0.0, "r2": 0.02}[trial.metric]
    if trial.metric == "r2" and trial.trivial < MOVED_ON:
        half = (trial.trivial + gains[best]) / 2
    if half <= least / 2:
        told = "no column alone says much of the label; beating the trivial answer is always asked"
        return {}, told
    told = f"half of what {best!r} alone gives in the sample; raise it once you know the model"
    if trial.metric == "log_loss":
        return {"log_loss": {"max": math.ceil((trial.trivial - half) * 1000) / 1000}}, told
    bound = trial.trivial + half if trial.metric == "auc" else half
    return {trial.metric: {"min": math.floor(bound * 100) / 100}}, told
