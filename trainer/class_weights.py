"""Class weights: what multiplies the weight of a row, by the class of its label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .examples import Examples
from .features import LABEL, WEIGHT
from .settings import BALANCED, ClassWeights, TrainerError

SHOWN = 5
"""Classes that a message names."""


def with_class_weights(examples: Examples, class_weights: ClassWeights) -> Examples:
    """Returns examples whose rows weigh as much more, or less, as the setting says of their class.

    Training, early stopping and the choice among candidates then go by these weights; the metrics
    of an evaluation do not.

    Args:
        examples: The folder of examples.
        class_weights: `Hyperparameters.class_weights`. A class without an entry has weight 1.
            `balanced` gives each class the same total weight (King & Zeng, "Logistic regression in
            rare events data", 2001): W / (C * W_c), where W is the weight of the train rows, W_c
            that of a class's, and C the number of classes.

    Raises:
        TrainerError: The task has no classes, or none of this name.
    """
    if class_weights is None:
        return examples
    label = examples.transform.label
    if not label.classes:
        raise TrainerError(
            "train.class_weights: a regression has no classes; leave it out, and name a column of "
            "example weights as `weight`"
        )
    if class_weights == BALANCED:
        return replace(examples, class_weights=_balanced(examples))
    unknown = [name for name in class_weights if name not in label.classes]
    if unknown:
        more = ", ..." if len(label.classes) > SHOWN else ""
        raise TrainerError(
            f"train.class_weights.{unknown[0]}: the label {label.name!r} has no such class; use "
            f"those that it has: {', '.join(map(repr, label.classes[:SHOWN]))}{more}"
        )
    factors = [class_weights.get(name, 1.0) for name in label.classes]
    return replace(examples, class_weights=np.array(factors, np.float32))


def _balanced(examples: Examples) -> np.ndarray:
    """Returns the weights that make the train rows of all classes weigh the same, `[C] float32`."""
    n_classes, weighted = (
        len(examples.transform.label.classes),
        examples.transform.weight is not None,
    )
    totals = np.zeros(n_classes)
    for table in examples.shards("train", [LABEL, *([WEIGHT] if weighted else [])]):
        labels = table.column(LABEL).to_numpy()
        weights = table.column(WEIGHT).to_numpy().astype(np.float64) if weighted else None
        totals += np.bincount(labels, weights, minlength=n_classes)
    # A class without a row is an error, which `head_of` raises.
    return (totals.sum() / (n_classes * np.where(totals > 0, totals, 1.0))).astype(np.float32)
