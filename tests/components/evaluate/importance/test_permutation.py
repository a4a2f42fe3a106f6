"""The importance of inputs, for the hand-made models of a number and a category."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from quatrain.components.evaluate.importance.permutation import SampledRows, importances
from quatrain.components.evaluate.measures.reference import Reference
from quatrain.components.serve import saved_model
from quatrain.components.serve.served_model import ServedModel
from tests.components.handmade import INPUTS, make_rows, make_transform

REFERENCES = {
    "binary": Reference("binary", 2, (0.5, 0.5)),
    "multiclass": Reference("multiclass", 3, (0.4, 0.3, 0.3)),
    "regression": Reference("regression", 0, (0.0,), mean_weight=1.25),
}


def rows_of(model: ServedModel, task: str, n: int = 300, carrier: str | None = None) -> SampledRows:
    """Rows of a hand-made table, weighted if it is that of the regression."""
    table = make_rows(n, task)
    if carrier:
        table = table.set_column(1, "carrier", pa.array([carrier] * n))
    names = ["raw_delay", "raw_carrier", "label", "weight"]
    table = table.rename_columns(names)
    columns = names if task == "regression" else names[:3]
    return SampledRows.of(table.select(columns), model, REFERENCES[task])


def losses(task: str, labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The loss of each row, written once more."""
    if task == "regression":
        return np.square(answers.astype(np.float64) - labels)
    return -np.log(answers[np.arange(len(labels)), labels].astype(np.float64))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_rise_is_that_of_scikit_learn_for_the_same_permutations(
    task: str, models: dict[str, Path]
) -> None:
    # sklearn.inspection.permutation_importance: the score of the data with one column shuffled,
    # minus that of the data, with sample_weight in the score alone; the mean of the repeats.
    model = ServedModel.load(models[task])
    rows = rows_of(model, task)
    found = importances(model, rows, REFERENCES[task], ["delay", "carrier"], 3)
    own = losses(task, rows.labels, model.answer(rows.columns))
    base = np.average(own, weights=rows.weights)
    for name, estimate in found.items():
        scores = []
        for shift in (1, 2, 3):
            order = (np.arange(len(rows)) + shift) % len(rows)
            column = rows.columns[name]
            shuffled = column[order] if isinstance(column, np.ndarray) else column.take(order)
            answers = model.answer({**rows.columns, name: shuffled})
            scores.append(
                np.average(losses(task, rows.labels, answers), weights=rows.weights) - base
            )
        expected = np.mean(scores)
        if task == "regression":
            expected = math.sqrt(base + expected) - math.sqrt(base)
        assert estimate.value == pytest.approx(expected, rel=1e-9)
        assert estimate.low < estimate.value < estimate.high
    assert found["delay"].low > found["carrier"].high


def test_the_interval_is_that_of_the_paired_differences(models: dict[str, Path]) -> None:
    model = ServedModel.load(models["binary"])
    rows = rows_of(model, "binary", n=40)
    found = importances(model, rows, REFERENCES["binary"], ["delay"], 1)["delay"]
    shuffled = {**rows.columns, "delay": np.roll(rows.columns["delay"], -1)}
    rises = losses("binary", rows.labels, model.answer(shuffled)) - losses(
        "binary", rows.labels, model.answer(rows.columns)
    )
    half = 1.959964 * rises.std() / math.sqrt(39)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))


def test_a_handful_of_rows_gives_no_interval(models: dict[str, Path]) -> None:
    model = ServedModel.load(models["binary"])
    rows = rows_of(model, "binary", n=19)
    found = importances(model, rows, REFERENCES["binary"], ["delay"], 5)["delay"]
    assert math.isfinite(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_an_input_that_never_varies_has_no_effect_at_all(models: dict[str, Path]) -> None:
    model = ServedModel.load(models["binary"])
    rows = rows_of(model, "binary", carrier="UA")
    found = importances(model, rows, REFERENCES["binary"], ["carrier"], 5)["carrier"]
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_more_permutations_do_not_narrow_the_interval(models: dict[str, Path]) -> None:
    # Five give the same rows other values, but no further rows: a fifth of the variance would be a
    # promise that they cannot keep.
    model = ServedModel.load(models["binary"])
    rows = rows_of(model, "binary")
    one, five = (
        importances(model, rows, REFERENCES["binary"], ["delay"], n)["delay"] for n in (1, 5)
    )
    assert (five.high - five.low) / (one.high - one.low) == pytest.approx(1, abs=0.15)


def test_a_model_that_refuses_shuffled_rows_has_no_importance_to_show(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float64), tf.TensorSpec([None], tf.string)]
    )
    def serve(delay: tf.Tensor, carrier: tf.Tensor) -> dict[str, tf.Tensor]:
        late = tf.reduce_all((delay > 0) == (carrier == "UA"))
        with tf.control_dependencies([tf.debugging.Assert(late, ["UA alone is late"])]):
            return {"prediction": tf.cast(delay, tf.float32)}

    names = {"serving_default": {i.name: i.name for i in INPUTS}}
    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path), {"serving_default": serve})
    model = ServedModel(make_transform("regression"), (), saved_model.load(tmp_path), names)
    delay = np.array([-1.0, 2.0] * 10)
    carrier = pa.array(["AA", "UA"] * 10)
    rows = SampledRows({"delay": delay, "carrier": carrier}, delay, np.ones(20))
    found = importances(model, rows, Reference("regression", 0, (0.0,)), ["delay"], 1)
    assert math.isnan(found["delay"].value)
