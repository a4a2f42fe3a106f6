from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from quatrain.components.errors import DataError
from quatrain.components.evaluate.measures import slice_values
from quatrain.components.evaluate.measures.slice_values import (
    MAX_VALUES,
    TOO_MANY,
    TOP_VALUES,
    Survey,
    rows_of_slices,
)


def of_values(*values: str | None) -> Survey:
    table = pa.table({"c": pa.array(values, pa.string())})
    return Survey.of_test(len(values), None, table)


def test_the_most_frequent_values_are_slices_and_ties_are_alphabetical() -> None:
    survey = of_values("b", "a", None) + of_values("c", "c", "", "d")
    assert survey.slices(top=3) == {"c": ("(missing)", "c", "a")}


def test_a_value_that_is_spelled_as_the_other_values_joins_them() -> None:
    assert of_values("(other)", "(other)", "a").slices() == {"c": ("a",)}


def test_a_column_of_too_many_values_is_one_slice() -> None:
    many = of_values(*map(str, range(MAX_VALUES)))
    assert len(many.slices()["c"] or ()) == TOP_VALUES
    assert (many + of_values("a") + of_values("1")).slices() == {"c": None}


def test_numbers_and_bools_are_sliced_by_their_value() -> None:
    assert slice_values.as_text(pa.array([1.5, 2.0, None])).to_pylist() == ["1.5", "2", "(missing)"]
    assert slice_values.as_text(pa.array([True])).to_pylist() == ["true"]


def test_the_prior_is_the_weighted_share_of_each_class() -> None:
    labels, weights = np.array([0, 1, 1], np.int32), np.array([2, 1, 1], np.float32)
    survey = Survey.of_train(labels, weights) + of_values("a")
    assert survey.reference("multiclass", 3, weighted=False).prior == (0.5, 0.5, 0.0)


def test_a_regression_is_measured_against_its_train_labels() -> None:
    survey = Survey.of_train(np.array([1, 3], np.float32), None) + of_values("a")
    reference = survey.reference("regression", 0, weighted=False)
    assert (reference.prior, reference.deviation, reference.low, reference.high) == (
        (2.0,),
        1.0,
        1.0,
        3.0,
    )


def test_an_empty_split_is_refused() -> None:
    train = Survey.of_train(np.array([0, 1], np.int32), None)
    with pytest.raises(DataError, match="the test split has no rows"):
        train.reference("binary", 2, weighted=False)
    with pytest.raises(DataError, match="the train split has no rows"):
        of_values("a").reference("binary", 2, weighted=False)


def test_values_that_differ_by_a_nul_alone_are_slices_of_their_own() -> None:
    column = pa.chunked_array([["a", "a\0", None], ["b"]])
    rows = {v: np.flatnonzero(r).tolist() for v, r in rows_of_slices(column, ("a", "a\0"))}
    assert rows == {"a": [0], "a\0": [1], "(other)": [2, 3]}
    assert [(v, r.sum()) for v, r in rows_of_slices(column, None)] == [(TOO_MANY, 4)]
