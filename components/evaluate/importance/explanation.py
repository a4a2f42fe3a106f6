"""What metrics.json says about a model's inputs: which matter, and how the answers follow them."""

from __future__ import annotations

import math
from typing import Any

import pyarrow.compute as pc

from quatrain.components.evaluate.importance.budget import (
    IMPORTANCE_SHARE,
    Budget,
    importance_size,
)
from quatrain.components.evaluate.importance.dependence import shapes
from quatrain.components.evaluate.importance.permutation import SampledRows, importances
from quatrain.components.evaluate.measures.measurements import Measurements, mean_loss, plain
from quatrain.components.evaluate.measures.metrics import MetricEstimate, loss_of
from quatrain.components.serve.served_model import Columns, ServedModel
from quatrain.trainer.features import Text
from quatrain.trainer.features.transform import Transform


def explain(measured: Measurements, model: ServedModel, budget: Budget) -> dict[str, Any]:
    """Returns the part of metrics.json that explains the model.

    Args:
        measured: The measurements of all test rows, with a sample of them.
        model: The model.
        budget: What the explanation may cost.
    """
    reference, transform = measured.overall.reference, model.transform
    names = strongest_alone(measured, transform)
    sample = SampledRows.of(measured.sample.rows, model, reference)
    affordable = budget.affordable(transform, text_bytes(transform, sample.columns))
    to_shuffle = int(IMPORTANCE_SHARE * affordable)
    n_inputs, n_rows, n_permutations = importance_size(
        to_shuffle, min(len(names), budget.max_inputs), len(sample)
    )
    rows = sample.first(n_rows)
    estimates: dict[str, MetricEstimate] = {}
    if n_permutations:
        names = names[:n_inputs]
        estimates = importances(model, rows, reference, names, n_permutations)
    place = {i.name: k for k, i in enumerate(transform.inputs)}
    ranked = sorted(estimates.items(), key=lambda e: (*_rank(e[1]), place[e[0]]))
    strong = [name for name, estimate in ranked if estimate.low > 0]
    document: dict[str, Any] = {
        "importance": [
            {"input": name, "rise": e.value, "low": e.low, "high": e.high} for name, e in ranked
        ],
        "importance_basis": {
            "loss": ("class-weighted " if reference.class_weights else "")
            + loss_of(reference.task),
            "rows": n_rows,
            "permutations": n_permutations,
            "inputs_left_out": len(transform.inputs) - len(estimates),
        },
        "dependence": shapes(model, sample, reference, strong, affordable - to_shuffle),
    }
    return dict(plain(document))


def strongest_alone(measured: Measurements, transform: Transform) -> list[str]:
    """Returns the raw inputs, those first of which a single engineered column predicts best.

    An input counts as much as the best column of any feature that is made of it; of equal ones the
    first comes first.
    """
    losses: dict[str, float] = {i.name: math.inf for i in transform.inputs}
    for feature in transform.features:
        loss = min(mean_loss(measured.inputs[column.name]) for column in feature.outputs)
        for name in feature.columns:
            losses[name] = min(losses[name], loss)
    return sorted(losses, key=lambda name: losses[name])


def text_bytes(transform: Transform, columns: Columns) -> float:
    """Returns the bytes of the text features in a row, on average."""
    texts = [columns[f.columns[0]] for f in transform.features if isinstance(f, Text)]
    return float(sum(pc.mean(pc.binary_length(text)).as_py() or 0 for text in texts))


def _rank(estimate: MetricEstimate) -> tuple[bool, float]:
    """Returns what sorts the largest rise first, and one that is not a number last."""
    return math.isnan(estimate.value), -estimate.value
