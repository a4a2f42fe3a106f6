"""Chooses the slices and the gate of a spec."""

from __future__ import annotations

import math
from typing import Any

from quatrain.draft.draft import GATE_ROWS, Entry, TableProfile
from quatrain.draft.leaks import bins
from quatrain.draft.profile.column_profile import ColumnProfile

DRIFTED_R2 = -0.05
"""Below this r2 of the mean train label, the test labels have drifted away from those of train.

The gain of a column then starts below 0, and half of it may be worse than the test rows' own mean.
"""
OPPONENT = {"fail": 0}
WHY_OPPONENT = (
    "boosted trees on the raw columns must not be better beyond chance; a larger share allows more"
)
SLICES = 3
"""The most slices that a draft has."""
SLICE_LEVELS = 12
"""The most values of a column whose values are slices."""


def evaluation(table: TableProfile, features: list[Entry]) -> tuple[dict[str, Any], str]:
    """Returns the section `evaluate`, and the reason for its gate."""
    slices = [
        c.name
        for c in table.columns.values()
        if c.name in {f.value["from"] for f in features if f.is_active} and _is_slice(c)
    ][:SLICES]
    gate, why = _gate(table, features)
    return {"slices": slices, "gate": gate, "opponent": OPPONENT}, why


def _is_slice(column: ColumnProfile) -> bool:
    return column.kind in ("category", "code") and 2 <= column.n_distinct <= SLICE_LEVELS


def _gate(table: TableProfile, features: list[Entry]) -> tuple[dict[str, Any], str]:
    """Returns a bound of half the gain of the best single column in the sample, and the reason.

    A model that uses all columns should easily reach half of what one column reaches alone. There
    is no bound if that half is so small that chance could explain it.
    """
    models = table.column_models
    names = {f.value["from"] for f in features if f.is_active}
    if min(models.train.sum(), models.test.sum()) < GATE_ROWS:
        return {}, "too few rows for a bound; the model must still beat the trivial prediction"
    gains = {n: models.gain(bins(table.columns[n])) for n in names}
    best = max(sorted(gains), key=lambda n: gains[n])
    half = gains[best] / 2
    least = {"auc": 0.02, "log_loss": 0.0, "r2": 0.02}[models.metric]
    if models.metric == "r2" and models.trivial < DRIFTED_R2:
        half = (models.trivial + gains[best]) / 2
    if half <= least / 2:
        return {}, (
            "no column alone says much about the label; the model must still beat the trivial "
            "prediction"
        )
    why = f"half of what {best!r} alone achieves in the sample; raise it once you know the model"
    if models.metric == "log_loss":
        return {"log_loss": {"max": math.ceil((models.trivial - half) * 1000) / 1000}}, why
    bound = models.trivial + half if models.metric == "auc" else half
    return {models.metric: {"min": math.floor(bound * 100) / 100}}, why
