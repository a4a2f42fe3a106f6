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

from quatrain.trainer import features as ft
from quatrain.trainer.features import transform as tr
from quatrain.trainer.features.statistics import Distribution, TableStatistics
from quatrain.trainer.settings import TrainerError
from tests.trainer.small import statistics_of

NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.5, 1e-300, 1e300, -1e12, 59.999, np.nan, np.inf, -np.inf]
TEXTS = ["", "a", "b", "A", " a", "é", "日本", "x" * 100, "a\x1fb", "a\nb", "0", "-1"]
BAGS = ["", "|", "a", "a|b", " b |a", "a||b|a", "日本|é", "|a|", "c d|e", "\t|a"]
PROSE = [
    "",
    " -- ",
    "The cat",
    "the  CAT, the dog!",
    "ÉTÉ été",
    "日本 a-b",
    "x" * 100,
    "\x00a\x7fb",
]
CODES = [0.0, 1.0, -7.0, 2.0**53, np.nan, 3.0]
TIMES = [0.0, -0.25, 951_868_799.75, -62_135_596_800.0, 253_402_300_799.0, 1e300, np.nan, np.inf]
DEGREES = [0.0, -0.0, 45.5, -90.0, 90.0, 91.0, -180.0, 180.0, 359.9, 361.0, np.nan, np.inf, 1e300]

ON_NUMBERS: list[dict[str, Any]] = [
    {"transform": "standardize"},
    {"transform": "standardize", "impute": "mean", "indicator": False},
    {"transform": "standardize", "impute": "most_frequent", "indicator": True},
    {"transform": "log"},
    {"transform": "log", "signed": True, "impute": -3.0},
    {"transform": "clip", "quantiles": (0.1, 0.75)},
    {"transform": "clip", "min": -2.0, "max": 3.0},
    {"transform": "robust"},
    {"transform": "power"},
    {"transform": "power", "exponent": 0.0},
    {"transform": "power", "exponent": 0.9},
    {"transform": "power", "exponent": -0.5},
    {"transform": "quantile_normal"},
    {"transform": "quantile_normal", "quantiles": 3},
    {"transform": "piecewise_linear"},
    {"transform": "piecewise_linear", "bins": 3},
    {"transform": "bucketize", "buckets": 4},
    {"transform": "bucketize", "edges": (-1.0, 0.0, 2.5)},
    {"transform": "cyclic", "period": 24.0},
]
PARTS = ["year", "month", "day", "hour", "minute", "second", "day_of_week", "day_of_year"]
ON_TIMES: list[dict[str, Any]] = [
    *({"transform": "cyclic", "part": part} for part in ("hour", "day_of_week", "month")),
    *({"transform": "calendar", "part": part} for part in PARTS),
]
ON_CODES: list[dict[str, Any]] = [
    {"transform": "vocabulary"},
    {"transform": "vocabulary", "top_k": 2, "oov_buckets": 5},
    {"transform": "frequency"},
    {"transform": "frequency", "top_k": 2},
    {"transform": "hash", "buckets": 7},
]
ON_TEXTS: list[dict[str, Any]] = [
    {"transform": "bag"},
    {"transform": "bag", "top_k": 1, "separator": "||"},
    {"transform": "bag", "buckets": 3, "separator": " "},
    {"transform": "text", "buckets": 5},
    {"transform": "text", "buckets": 7, "words": 3},
    {"transform": "text", "buckets": 7, "characters": 3},
]
ON_PAIRS: list[dict[str, Any]] = [
    {"transform": "difference"},
    {"transform": "ratio"},
    {"transform": "ratio", "impute": 1.0, "indicator": True},
]
ON_PLACES: list[dict[str, Any]] = [
    {"transform": "distance"},
    {"transform": "grid", "degrees": 0.1},
    {"transform": "grid", "degrees": 7.0, "oov_buckets": 3},
]


def feature(transform: str, type_: ft.Type = "float", **parameters: Any) -> ft.Feature:
    cls = ft.FEATURES[transform]
    columns = ("u", "v", "w", "z")[: cls.n_columns[0]]
    types = (type_,) * len(columns)
    unfitted = cls(name="f", columns=columns, types=types, **parameters)
    assert unfitted.check() is None
    return unfitted


def fit(unfitted: ft.Feature, raw: dict[str, Any]) -> ft.Feature:
    return unfitted.fit(statistics_of([unfitted], raw, len(next(iter(raw.values())))).columns)


def assert_forms_agree(
    unfitted: ft.Feature, raw: dict[str, Any], train: dict[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Fits to `train`, or to the rows themselves, and compares both forms on the rows."""
    fitted = fit(unfitted, train or raw)
    ours = fitted.numpy(raw)
    tensors = {
        n: tf.constant(v) if isinstance(v, np.ndarray) else tf.constant(v.to_pylist())
        for n, v in raw.items()
    }
    graph = fitted.tensor(tensors)
    assert list(ours) == list(graph) == [o.name for o in fitted.outputs]
    assert set(ours) <= set(unfitted.names)
    for output in fitted.outputs:
        a, b = ours[output.name], graph[output.name].numpy()
        assert a.dtype == b.dtype == (np.float32 if output.cardinality is None else np.int32)
        assert a.shape == b.shape == (len(raw["u"]),)
        assert np.isfinite(a).all()
        if output.cardinality is None:
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(a, b)
            assert a.min() >= 0 and a.max() < output.cardinality
    return ours


def pairs_of(values: list[float]) -> dict[str, np.ndarray]:
    first, second = np.meshgrid(values, values)
    return {"u": first.ravel(), "v": second.ravel()}


def test_every_transform_goes_through_both_forms() -> None:
    entries = (*ON_NUMBERS, *ON_TIMES, *ON_CODES, *ON_TEXTS, *ON_PAIRS, *ON_PLACES)
    assert {e["transform"] for e in entries} | {"cross"} == set(ft.FEATURES)


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


@pytest.mark.parametrize("entry", ON_TEXTS, ids=str)
def test_nasty_bags_and_texts_are_equal_in_both_forms(entry: dict[str, Any]) -> None:
    unfitted = feature(**entry, type_="string")
    assert_forms_agree(unfitted, {"u": pa.array(BAGS + PROSE)})
    assert_forms_agree(unfitted, {"u": pa.array(PROSE + BAGS).slice(2)}, {"u": pa.array(BAGS)})


@pytest.mark.parametrize("entry", ON_PAIRS, ids=str)
def test_nasty_pairs_are_equal_in_both_forms(entry: dict[str, Any]) -> None:
    assert_forms_agree(feature(**entry), pairs_of(NUMBERS))


def test_nasty_pairs_of_times_are_equal_in_both_forms() -> None:
    assert_forms_agree(feature("difference", "timestamp", unit="hour"), pairs_of(TIMES))


@pytest.mark.parametrize("entry", ON_PLACES, ids=str)
def test_nasty_places_are_equal_in_both_forms(entry: dict[str, Any]) -> None:
    raw = pairs_of(DEGREES)
    raw |= {"w": raw["v"][::-1].copy(), "z": raw["u"][::-1].copy()}
    assert_forms_agree(feature(**entry), raw)


@pytest.mark.parametrize("entry", ON_TIMES, ids=str)
def test_nasty_times_are_equal_in_both_forms(entry: dict[str, Any]) -> None:
    assert_forms_agree(feature(**entry, type_="timestamp"), {"u": np.array(TIMES)})


@pytest.mark.parametrize("entry", ON_TIMES, ids=str)
def test_every_day_of_a_leap_cycle_is_equal_in_both_forms(entry: dict[str, Any]) -> None:
    days = np.arange(-80_000, 80_000, 3) * 86_400.0 + 3_599.0
    unfitted = feature(**entry, type_="timestamp")
    assert_forms_agree(unfitted, {"u": np.append(days, np.nan)})


@settings(deadline=None, max_examples=8)
@given(st.lists(st.floats(allow_subnormal=False, width=32), min_size=1, max_size=30))
def test_any_numbers_are_equal_in_both_forms(values: list[float]) -> None:
    u = np.array([1.5, *values])
    raw = {name: np.roll(u, i) for i, name in enumerate("uvwz")}
    for entry in ON_NUMBERS[1:] + ON_PAIRS + ON_PLACES:
        assert_forms_agree(feature(**entry), raw, {n: np.append(v, 2.5) for n, v in raw.items()})


@settings(deadline=None, max_examples=8)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=20))
def test_any_texts_are_equal_in_both_forms(values: list[str]) -> None:
    values = [v.encode("utf-8", "replace").decode() for v in values]
    for entry in ON_CODES + ON_TEXTS:
        assert_forms_agree(feature(**entry, type_="string"), {"u": pa.array(values)})


def test_standardize_of_three_numbers_and_a_missing_one() -> None:
    got = assert_forms_agree(feature("standardize"), {"u": np.array([1.0, 2.0, 6.0, np.nan])})
    deviation = (14 / 3) ** 0.5  # mean 3; squares 4, 1, 9; the missing one becomes the median, 2
    np.testing.assert_allclose(got["f"], np.array([-2, -1, 3, -1]) / deviation, rtol=1e-6)


def test_a_column_of_one_value_becomes_zero() -> None:
    got = assert_forms_agree(feature("standardize"), {"u": np.array([2013.0, 2013.0])})
    assert got["f"].tolist() == [0.0, 0.0]


def test_bucketize_puts_an_edge_into_the_bucket_above_and_missing_into_zero() -> None:
    unfitted = feature("bucketize", edges=(0.0, 10.0))
    got = assert_forms_agree(unfitted, {"u": np.array([-5.0, 0.0, 9.9, 10.0, np.nan])})
    assert got["f"].tolist() == [1, 2, 2, 3, 0]


def test_a_rare_or_unseen_category_maps_to_the_out_of_vocabulary_bucket() -> None:
    unfitted = feature("vocabulary", "string", min_count=2)
    fitted = unfitted.fit(TableStatistics.of({"u": pa.array(["b", "a", "b", "a", "c"])}, 5).columns)
    got = fitted.numpy({"u": pa.array(["a", "b", "c", "new", ""])})
    assert got["f"].tolist() == [2, 3, 1, 1, 0]


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


KINDS: list[tuple[list[dict[str, Any]], tuple[str, ...], ft.Type]] = [
    (ON_NUMBERS, ("number",), "float"),
    (ON_TIMES, ("time",), "timestamp"),
    (ON_CODES, ("code",), "int"),
    (ON_CODES + ON_TEXTS, ("text",), "string"),
    (ON_PAIRS, ("number", "code"), "float"),
    (ON_PLACES, ("number", "code", "code", "number"), "float"),
    ([{"transform": "cross", "buckets": 9}], ("code", "text"), "string"),
]
EVERY: tuple[ft.Feature, ...] = tuple(
    ft.FEATURES[name](
        name=f"{name}_of_{type_}",
        columns=columns[: ft.FEATURES[name].n_columns[0]],
        types=(type_,) * ft.FEATURES[name].n_columns[0],
        **{k: v for k, v in entry.items() if k != "transform"},
    )
    for entries, columns, type_ in KINDS
    for name, entry in {e["transform"]: e for e in reversed(entries)}.items()
)
"""Every transform, as the tables above name it first."""


def every_raw(rows: int) -> dict[str, Any]:
    """Rows of one number, time, code and text, some of each missing."""
    random = np.random.default_rng(3)
    missing = random.random((3, rows)) < 0.03
    number, code = random.normal(0, 30, rows), random.geometric(0.05, rows).astype(float)
    time = random.uniform(-1e9, 2e9, rows)
    words = np.array([*BAGS, *PROSE, *TEXTS])[random.integers(0, 30, (rows, 2))]
    return {
        "number": np.where(missing[0], np.nan, number),
        "time": np.where(missing[1], np.nan, time),
        "code": np.where(missing[2], np.nan, code),
        "text": pa.array(["|".join(pair) for pair in words.tolist()]),
    }


def test_rows_shuffled_cut_and_merged_in_50_ways_give_the_same_bytes() -> None:
    rows, bins = 600, 256  # so few bins that numbers lose low bits, as they do in a large table
    raw = every_raw(rows)
    assert not Distribution.of(raw["number"], bins).exact
    transforms = set()
    for way in range(50):
        random = np.random.default_rng(way)
        order = random.permutation(rows) if way else np.arange(rows)
        cuts = np.sort(random.integers(0, rows, random.integers(0, 6)))
        parts = [
            statistics_of(
                EVERY,
                {n: v[p] if isinstance(v, np.ndarray) else v.take(p) for n, v in raw.items()},
                len(p),
                bins=bins,
            )
            for p in np.split(order, cuts)
        ]
        while len(parts) > 1:
            i, j = random.permutation(len(parts))[:2].tolist()
            merged = parts[i] + parts[j]
            parts = [p for k, p in enumerate(parts) if k not in (i, j)] + [merged]
        fitted = tr.fit_features(EVERY, parts[0].columns)
        transforms.add(tr.Transform("regression", tr.Label("y"), None, (), fitted).to_json())
    assert len(transforms) == 1


def test_every_transform_answers_alike_from_a_saved_module(tmp_path: Path) -> None:
    raw = every_raw(40)
    fitted = tr.fit_features(EVERY, statistics_of(EVERY, raw, 40).columns)
    transform = tr.Transform("regression", tr.Label("y"), None, (), fitted)
    module = tf.Module()
    module.resources = transform.resources
    types = {n: tf.float64 if isinstance(v, np.ndarray) else tf.string for n, v in raw.items()}
    module.apply = tf.function(
        transform.tensor, input_signature=[{n: tf.TensorSpec([None], t) for n, t in types.items()}]
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).apply
    for some in (slice(0, 40), slice(7, 8), slice(0, 0)):
        rows = {n: v[some] for n, v in raw.items()}
        tensors = {n: tf.constant(np.asarray(v), types[n]) for n, v in rows.items()}
        graph, ours = loaded(tensors), transform.numpy(rows)
        assert set(graph) == set(ours)
        for name, column in ours.items():
            np.testing.assert_allclose(graph[name].numpy(), column, rtol=1e-6, atol=1e-6)


def test_a_transform_survives_its_json() -> None:
    columns = statistics_of(EVERY, every_raw(50), 50).columns
    fitted = tr.fit_features(EVERY, columns)
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
    unfitted = ft.FEATURES[transform](name="f", columns=("u",), types=(type_,), **parameters)
    assert word in (unfitted.check() or "")
