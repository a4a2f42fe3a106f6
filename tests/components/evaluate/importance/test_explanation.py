from __future__ import annotations

import numpy as np
import pyarrow as pa

from quatrain.components.evaluate.importance.explanation import strongest_alone, text_bytes
from quatrain.components.evaluate.measures.exact_sums import MeanSums
from quatrain.components.evaluate.measures.measurements import (
    Measurements,
    PairedComparison,
    measure,
    no_rows,
)
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.trainer.features import Cross, Input, Standardize, Text
from quatrain.trainer.features.transform import Label, Transform

REFERENCE = Reference("regression", 0, (0.0,))
INPUTS = (Input("a", "int"), Input("b", "int"), Input("c", "string"), Input("d", "string"))
FEATURES = (
    Standardize(name="a", columns=("a",), types=("int",), fill=0.0, mean=0.0, scale=1.0),
    Standardize(name="b", columns=("b",), types=("int",), fill=0.0, mean=0.0, scale=1.0),
    Cross(name="bc", columns=("b", "c"), types=("int", "string"), buckets=2),
    Text(name="d", columns=("d",), types=("string",), buckets=2),
)
TRANSFORM = Transform("regression", Label("y", ()), None, INPUTS, FEATURES)


def test_inputs_rank_by_the_best_column_of_any_feature_that_is_made_of_them() -> None:
    errors = {"a": 3.0, "b": 5.0, "bc": 2.0} | {c.name: 4.0 for c in FEATURES[3].outputs}
    labels = np.zeros(2, np.float32)
    nothing = no_rows(REFERENCE)
    inputs = {name: measure(REFERENCE, labels, labels + e) for name, e in errors.items()}
    measured = Measurements(nothing, PairedComparison(nothing, MeanSums()), inputs, {})
    assert strongest_alone(measured, TRANSFORM) == ["b", "c", "a", "d"]


def test_the_bytes_of_text_features_alone_are_counted() -> None:
    columns = {"a": np.zeros(2), "b": np.zeros(2), "c": pa.array(["x", "y"])}
    assert text_bytes(TRANSFORM, {**columns, "d": pa.array(["", "four"])}) == 2.0
