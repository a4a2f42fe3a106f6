"""One transform everywhere: the numpy form and the TensorFlow form agree on every row."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import features as ft
from trainer import transform as tr
from trainer.settings import TrainerError
from trainer.statistics import TableStatistics

NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.5, 1e-300, 1e300, -1e12, 59.999, np.nan, np.inf, -np.inf]
TEXTS = ["", "a", "b", "A", " a", "é", "日本", "x" * 100, "a\x1fb", "a\nb", "0", "-1"]
CODES = [0.0, 1.0, -7.0, 2.0**53, np.nan, 3.0]

ON_NUMBERS: list[dict[str, Any]] = [
    {"transform": "standardize"},
    {"transform": "log"},
    {"transform": "clip", "min": -2.0, "max": 3.0},
    {"transform": "bucketize", "buckets": 4},
    {"transform": "bucketize", "edges": (-1.0, 0.0, 2.5)},
    {"transform": "cyclic", "period": 24.0},
]
ON_TIMES: list[dict[str, Any]] = [
    {"transform": "cyclic", "part": "hour"},
    {"transform": "cyclic", "part": "day_of_week"},
    {"transform": "cyclic", "part": "month"},
]
ON_CODES: list[dict[str, Any]] = [
    {"transform": "vocabulary"},
    {"transform": "vocabulary", "top_k": 2, "oov_buckets": 5},
    {"transform": "hash", "buckets": 7},
]


def feature(transform: str, type_: ft.Type = "float", **parameters: Any) -> ft.Feature:
    columns = ("u", "v") if transform == "cross" else ("u",)
    types = (type_,) * len(columns)
    made = ft.FEATURES[transform](name="f", columns=columns, types=types, **parameters)
    assert made.check() is None
    return made


def assert_forms_agree(made: ft.Feature, raw: dict[str, Any]) -> dict[str, np.ndarray]:
    statistics = TableStatistics.of(raw, len(next(iter(raw.values()))))
    fitted = made.fit(statistics.columns)
    ours = fitted.numpy(raw)
    tensors = {
        n: tf.constant(v) if isinstance(v, np.ndarray) else tf.constant(v.to_pylist())
        for n, v in raw.items()
    }
    graph = fitted.tensor(tensors)
    assert list(ours) == list(graph) == [o.name for o in fitted.outputs]
    for output in fitted.outputs:
        a, b = ours[output.name], graph[output.name].numpy()
        assert a.dtype == b.dtype == (np.float32 if output.cardinality is None else np.int32)
        assert np.isfinite(a).all()
        if output.cardinality is None:
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(a, b)
            assert a.min() >= 0 and a.max() < output.cardinality
    return ours


@pytest.mark.parametrize("entry", ON_NUMBERS, ids=str)
def test_nasty_numbers_are_equal_in_both_forms(entry: dict[str, Any]) -> None:
    assert_forms_agree(feature(**entry), {"u": np.array(NUMBERS)})


@pytest.mark.parametrize("entry", ON_CODES, ids=str)
def test_nasty_texts_and_codes_are_equal_in_both_forms(entry: dict[str, Any]) -> None:
    assert_forms_agree(feature(**entry, type_="string"), {"u": pa.array(TEXTS)})
    assert_forms_agree(feature(**entry, type_="int"), {"u": np.array(CODES)})


def test_nasty_crosses_are_equal_in_both_forms() -> None:
    raw = {"u": pa.array(TEXTS), "v": np.array(CODES * 2)}
    assert_forms_agree(feature("cross", buckets=11), raw)


@pytest.mark.parametrize("entry", ON_TIMES, ids=str)
def test_every_day_of_a_leap_cycle_is_equal_in_both_forms(entry: dict[str, Any]) -> None:
    days = np.arange(-80_000, 80_000, 3) * 86_400.0 + 3_599.0
    made = feature(**entry, type_="timestamp")
    assert_forms_agree(made, {"u": np.append(days, np.nan)})


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(allow_subnormal=False, width=32), min_size=1, max_size=30))
def test_any_numbers_are_equal_in_both_forms(values: list[float]) -> None:
    for entry in ON_NUMBERS[1:]:
        assert_forms_agree(feature(**entry), {"u": np.array([1.5, *values])})


@settings(deadline=None, max_examples=15)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=20))
def test_any_texts_are_equal_in_both_forms(values: list[str]) -> None:
    values = [v.encode("utf-8", "replace").decode() for v in values]
    for entry in ON_CODES:
        assert_forms_agree(feature(**entry, type_="string"), {"u": pa.array(values)})


def test_standardize_of_three_numbers_and_a_missing_one() -> None:
    got = assert_forms_agree(feature("standardize"), {"u": np.array([1.0, 2.0, 6.0, np.nan])})
    deviation = (14 / 3) ** 0.5  # mean 3; squares 4, 1, 9; the missing one becomes the median, 2
    np.testing.assert_allclose(got["f"], np.array([-2, -1, 3, -1]) / deviation, rtol=1e-6)


def test_a_column_of_one_value_becomes_zero() -> None:
    got = assert_forms_agree(feature("standardize"), {"u": np.array([2013.0, 2013.0])})
    assert got["f"].tolist() == [0.0, 0.0]


def test_bucketize_puts_an_edge_into_the_bucket_above_and_missing_into_zero() -> None:
    made = feature("bucketize", edges=(0.0, 10.0))
    got = assert_forms_agree(made, {"u": np.array([-5.0, 0.0, 9.9, 10.0, np.nan])})
    assert got["f"].tolist() == [1, 2, 2, 3, 0]


def test_a_rare_or_unseen_category_maps_to_the_out_of_vocabulary_bucket() -> None:
    made = feature("vocabulary", "string", min_count=2)
    fitted = made.fit(TableStatistics.of({"u": pa.array(["b", "a", "b", "a", "c"])}, 5).columns)
    got = fitted.numpy({"u": pa.array(["a", "b", "c", "new", ""])})
    assert got["f"].tolist() == [2, 3, 1, 1, 0]


def test_an_exported_module_answers_after_it_is_loaded_again(tmp_path: Path) -> None:
    fitted = feature("vocabulary", "string").fit(
        TableStatistics.of({"u": pa.array(["a", "b", "a"])}, 3).columns
    )
    module = tf.Module()
    module.resources = list(fitted.resources)
    module.apply = tf.function(
        lambda u: fitted.tensor({"u": u}), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert loaded.apply(tf.constant(["b", "new"]))["f"].numpy().tolist() == [3, 1]


def test_the_month_of_a_date_is_that_of_the_calendar() -> None:
    days = [datetime.date(1970, 1, 1) + datetime.timedelta(d) for d in range(-3_000, 20_000, 7)]
    seconds = np.array([(d - datetime.date(1970, 1, 1)).days * 86_400.0 for d in days])
    got = feature("cyclic", "date", part="month").numpy({"u": seconds})
    month = np.array([d.month - 1 for d in days])
    np.testing.assert_allclose(got["f_sin"], np.sin(month / 12 * 2 * np.pi), atol=1e-6)
    np.testing.assert_allclose(got["f_cos"], np.cos(month / 12 * 2 * np.pi), atol=1e-6)


def test_a_monday_starts_the_week() -> None:
    monday = datetime.datetime(2013, 7, 1, 23, 30, tzinfo=datetime.UTC).timestamp()
    got = feature("cyclic", "timestamp", part="day_of_week").numpy({"u": np.array([monday])})
    assert (got["f_sin"][0], got["f_cos"][0]) == (0.0, 1.0)


def test_raw_inputs_are_float_seconds_and_text_with_missing_values() -> None:
    batch = pa.record_batch(
        {
            "n": pa.array([1, None], pa.int64()),
            "b": pa.array([True, None]),
            "s": pa.array(["x", None]),
            "t": pa.array([datetime.datetime(1970, 1, 2), None], pa.timestamp("us")),
            "d": pa.array([datetime.date(1970, 1, 3), None]),
        }
    )
    kinds = {"n": "int", "b": "bool", "s": "string", "t": "timestamp", "d": "date"}
    raw = ft.raw_inputs(batch, [ft.Input(n, t) for n, t in kinds.items()])  # type: ignore[arg-type]
    assert raw["s"].to_pylist() == ["x", ""]
    for name, expected in {"n": 1.0, "b": 1.0, "t": 86_400.0, "d": 172_800.0}.items():
        assert raw[name][0] == expected and np.isnan(raw[name][1])


def test_a_transform_survives_its_json() -> None:
    made = [
        feature("standardize"),
        feature("bucketize", buckets=3),
        feature("vocabulary", "string"),
    ]
    numbers = TableStatistics.of({"u": np.array([1.0, 2.0, 3.0])}, 3).columns
    texts = TableStatistics.of({"u": pa.array(["a", "é\n"])}, 2).columns
    fitted = (*tr.fit_features(made[:2], numbers), *tr.fit_features(made[2:], texts))
    transform = tr.Transform("binary", tr.Label("y", ("no", "yes")), None, (), fitted)
    assert tr.Transform.from_json(transform.to_json()) == transform


def test_a_transform_of_another_version_is_refused() -> None:
    with pytest.raises(TrainerError, match="version 99"):
        tr.Transform.from_json('{"version": 99}')


@pytest.mark.parametrize(
    ("transform", "parameters", "type_", "word"),
    [
        ("clip", {"min": 3.0, "max": 3.0}, "float", "below"),
        ("bucketize", {}, "float", "either"),
        ("bucketize", {"edges": (2.0, 1.0)}, "float", "ascending"),
        ("bucketize", {"buckets": 1}, "float", "between"),
        ("hash", {"buckets": 1}, "string", "between 2 and"),
        ("vocabulary", {"top_k": 0}, "string", "at least 1"),
        ("cyclic", {"part": "hour"}, "float", "period"),
        ("cyclic", {"period": 7.0}, "timestamp", "part"),
    ],
)
def test_wrong_parameters_are_named(
    transform: str, parameters: dict[str, Any], type_: ft.Type, word: str
) -> None:
    made = ft.FEATURES[transform](name="f", columns=("u",), types=(type_,), **parameters)
    assert word in (made.check() or "")
