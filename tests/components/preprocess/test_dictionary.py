"""Work done once for each distinct value gives the same result as row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.components.preprocess import engineered_columns
from quatrain.components.preprocess.dictionary import compact, count_values, encode
from quatrain.trainer.features import FEATURES, Input, raw_inputs
from quatrain.trainer.features.statistics import TableStatistics
from quatrain.trainer.features.transform import Label, Transform, fit_features

INPUTS = (Input("a", "int"), Input("x", "float"), Input("t", "string", trim=True))
FEATURE_COLUMNS = {
    "standardize": ("a",),
    "bucketize": ("x",),
    "vocabulary": ("t",),
    "cross": ("t", "a"),
    "ratio": ("x", "a"),
}


def rows(n_values: int, n: int = 400) -> pa.RecordBatch:
    draw = np.random.default_rng(n_values)
    codes = draw.integers(0, n_values, (3, n))
    missing = draw.random((3, n)) < 0.1
    return pa.record_batch(
        {
            "a": pa.array(codes[0], mask=missing[0]),
            "x": pa.array(codes[1] / 7, mask=missing[1]),
            "t": pa.array([f" t{c}" for c in codes[2]], pa.string(), mask=missing[2]),
        }
    )


def transform_of(batch: pa.RecordBatch) -> Transform:
    types = {i.name: i.type for i in INPUTS}
    settings: dict[str, Any] = {"bucketize": {"buckets": 5}, "cross": {"buckets": 50}}
    features = [
        FEATURES[name](
            name=name, columns=c, types=tuple(types[n] for n in c), **settings.get(name, {})
        )
        for name, c in FEATURE_COLUMNS.items()
    ]
    raw = raw_inputs(batch, INPUTS)
    extra = {k: v for f in features for k, v in f.quantities(raw).items()}
    counted = TableStatistics.of({**raw, **extra}, batch.num_rows)
    fitted = fit_features(features, counted.columns)
    return Transform("binary", Label("late", ("false", "true")), None, INPUTS, fitted)


@pytest.mark.parametrize("n_values", [2, 15, 200, 100_000])
def test_features_of_distinct_values_are_those_of_the_rows(n_values: int) -> None:
    batch = rows(n_values)
    transform = transform_of(batch)
    expected = transform.numpy(raw_inputs(batch, INPUTS))
    columns = engineered_columns.apply(transform, compact(encode(batch)))
    assert list(columns) == list(expected)
    for name, column in columns.items():
        type_ = pa.array(expected[name]).type
        assert column.cast(type_).slice(17, 50).equals(pa.array(expected[name][17:67])), name


def test_columns_come_back_as_they_were() -> None:
    batch = rows(15)
    back = compact(encode(batch))
    assert back.to_pylist() == batch.to_pylist()
    assert [t.index_type for t in back.schema.types] == [pa.int8()] * 3


@pytest.mark.parametrize(
    ("n_values", "type_"),
    [(128, pa.int8()), (129, pa.int16()), (32_769, pa.int32())],
)
def test_codes_are_of_the_smallest_type_that_holds_them(n_values: int, type_: pa.DataType) -> None:
    column = pa.array(np.tile(np.arange(n_values), 2))
    [packed] = compact(encode(pa.record_batch({"a": column}))).columns
    assert packed.type == pa.dictionary(type_, pa.int64())
    assert packed.dictionary_decode().equals(column)


@pytest.mark.parametrize("low", [-(2**53), -3, 0, 2**53 - 20])
@pytest.mark.parametrize("missing", [False, True])
def test_integers_in_a_narrow_range_are_encoded_without_hashing(low: int, missing: bool) -> None:
    values = np.delete(np.arange(400) % 20 + low, 7)
    column = pa.array(values, mask=np.arange(399) % 9 == 0 if missing else None)
    [encoded] = encode(pa.record_batch({"a": column})).columns
    expected = [*range(low, low + 20), *([None] if missing else [])]
    assert encoded.dictionary.to_pylist() == expected
    assert (encoded.indices.type, encoded.indices.null_count) == (pa.int32(), 0)
    assert encoded.dictionary_decode().equals(column)


@pytest.mark.parametrize("values", [[None] * 40, [2**53, -(2**53)] * 40, [], [5]])
def test_integers_that_are_far_apart_few_or_missing_are_encoded(values: list[int | None]) -> None:
    column = pa.array(values, pa.int64())
    [encoded] = encode(pa.record_batch({"a": column})).columns
    assert encoded.dictionary_decode().equals(column)
    assert len(encoded.dictionary) == len(set(values))


def test_a_column_of_distinct_values_stays_as_it_is() -> None:
    batch = pa.record_batch({"a": pa.array(range(100))})
    assert compact(encode(batch)).equals(batch)


def test_rows_of_each_part_are_counted_by_value() -> None:
    [column] = encode(pa.record_batch({"a": ["u", "v", "u", None]})).columns
    counts = count_values(column, np.array([2, 1, 1]))
    assert dict(zip(column.dictionary.to_pylist(), counts.tolist(), strict=True)) == {
        "u": [1, 1, 0],
        None: [0, 0, 1],
        "v": [1, 0, 0],
    }
