"""What each transform makes of numbers, times and places: values worked by hand."""

import datetime
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.trainer import features as ft
from quatrain.trainer.features import transform as tr
from quatrain.trainer.settings import TrainerError
from tests.trainer.small import statistics_of

NAN = float("nan")


def fit(transform: str, raw: dict[str, Any], type_: ft.Type = "float", **settings: Any) -> Any:
    names = tuple(raw)
    feature = ft.FEATURES[transform](
        name="f", columns=names, types=(type_,) * len(names), **settings
    )
    assert feature.check() is None
    return feature.fit(statistics_of([feature], raw, len(raw[names[0]])).columns)


def applied(fitted: ft.Feature, *columns: list[float]) -> dict[str, list[float]]:
    raw = {n: np.array(c) for n, c in zip(fitted.columns, columns, strict=True)}
    return {n: v.tolist() for n, v in fitted.numpy(raw).items()}


def numbers(*values: float) -> dict[str, np.ndarray]:
    return {"u": np.array(values)}


def test_a_missing_number_gets_a_column_of_its_own_where_the_train_split_misses_one() -> None:
    fitted = fit("standardize", numbers(1.0, 3.0, NAN))
    assert [o.name for o in fitted.outputs] == ["f", "f_missing"]
    assert applied(fitted, [3.0, NAN]) == {"f": [1.0, -1.0], "f_missing": [0.0, 1.0]}
    whole = fit("standardize", numbers(1.0, 3.0))
    assert applied(whole, [3.0, NAN]) == {"f": [1.0, -1.0]}  # the lower median, 1, stands in


def test_an_indicator_can_be_forced_or_ruled_out() -> None:
    forced = fit("standardize", numbers(1.0, 3.0), indicator=True)
    assert applied(forced, [NAN])["f_missing"] == [1.0]
    ruled_out = fit("standardize", numbers(1.0, NAN), indicator=False)
    assert list(applied(ruled_out, [NAN])) == ["f"]
    assert ft.Standardize(name="f", columns=("u",), indicator=False).names == ("f",)
    assert ft.Standardize(name="f", columns=("u",)).names == ("f", "f_missing")


@pytest.mark.parametrize(
    ("impute", "fill"),
    [("median", 2.0), ("mean", 4.0), ("most_frequent", 1.0), (-7.0, -7.0)],
)
def test_a_missing_number_is_filled_in(impute: Any, fill: float) -> None:
    assert fit("robust", numbers(1, 1, 2, 4, 12, NAN, np.inf), impute=impute).fill == fill


def test_what_is_missing_in_every_row_is_an_error_that_names_its_columns() -> None:
    with pytest.raises(TrainerError, match=r"'f' is missing in every row .* 'u', 'v'; remove"):
        fit("ratio", {"u": np.array([1.0, NAN]), "v": np.array([0.0, 1.0])})


def test_a_signed_logarithm_keeps_the_side_of_a_number() -> None:
    e = np.e - 1
    fitted = fit("log", numbers(-e, e), signed=True)
    assert applied(fitted, [-e, 0.0, e])["f"] == pytest.approx([-1, 0, 1])


def test_a_clip_may_be_at_quantiles_of_the_train_split() -> None:
    fitted = fit("clip", numbers(*range(10)), quantiles=(0.1, 0.9))
    assert (fitted.min, fitted.max) == (0.0, 8.0)  # the first and the ninth of ten
    low, high, beyond = applied(fitted, [0.0, 8.0, 1e9])["f"]
    assert low < high == beyond


def test_a_robust_scale_is_of_quartiles_and_never_reaches_three() -> None:
    fitted = fit("robust", numbers(0, 1, 2, 3, 4))  # median 2, quartiles 1 and 3
    got = applied(fitted, [2.0, 4.0, -1e300])["f"]
    assert got == pytest.approx([0.0, 1 / (1 + 1 / 9) ** 0.5, -3.0])
    point = fit("robust", numbers(0, 0, 0, 0, 4))  # equal quartiles: half the range, 2
    assert applied(point, [4.0])["f"] == pytest.approx([2 / (1 + 4 / 9) ** 0.5])
    assert applied(fit("robust", numbers(5, 5)), [5.0, 6.0])["f"] == [0.0, 0.0]


def test_the_power_of_a_log_normal_column_is_zero_and_of_a_normal_one_one() -> None:
    scores = np.array([NormalDist(3, 0.5).inv_cdf(i / 1000) for i in range(1, 1000)])
    assert fit("power", {"u": np.expm1(scores)}).power == pytest.approx(0.0, abs=1 / 64)
    assert fit("power", {"u": scores}).power == pytest.approx(1.0, abs=0.2)
    assert fit("power", numbers(7, 7)).power == 1.0


def test_an_exponent_of_the_spec_is_that_of_yeo_and_johnson() -> None:
    fitted = fit("power", numbers(0.0, 2.0), exponent=2.0)  # ((1 + 2)^2 - 1) / 2 = 4; mean 2
    # below 0 the exponent is 2 - 2: -ln(1 + 1)
    assert applied(fitted, [0.0, 2.0, -1.0])["f"] == pytest.approx([-1, 1, (-np.log(2) - 2) / 2])


def test_an_exponent_that_makes_infinities_of_the_train_split_is_an_error() -> None:
    with pytest.raises(TrainerError, match=r"infinities of numbers from 1 to 1e\+300 .* exponent"):
        fit("power", numbers(1.0, 1e300), exponent=2.0)


def test_a_normal_score_is_that_of_the_middle_of_a_values_rows() -> None:
    fitted = fit("quantile_normal", numbers(1, 2, 2, 3))  # shares 1/8, 1/2, 7/8
    z = NormalDist().inv_cdf(7 / 8)
    got = applied(fitted, [1.0, 1.5, 2.0, 3.0, 99.0, -99.0])["f"]
    assert got == pytest.approx([-z, -z / 2, 0, z, z, -z])
    assert applied(fit("quantile_normal", numbers(5, 5)), [4.0, 5.0])["f"] == [0.0, 0.0]


def test_a_piecewise_linear_encoding_has_a_column_a_bin() -> None:
    fitted = fit("piecewise_linear", numbers(0, 1, 2, 4), bins=3)
    got = applied(fitted, [0.5, 3.0, -9.0, 9.0])
    assert got == {"f_0": [0.5, 1, 0, 1], "f_1": [0, 1, 0, 1], "f_2": [0, 0.5, 0, 1]}
    one = fit("piecewise_linear", numbers(5, 5))
    assert applied(one, [4.0, 5.0, 6.0]) == {"f_0": [0, 0, 1]}


def test_a_frequent_value_is_an_edge_and_takes_no_bin_from_the_rest() -> None:
    fitted = fit("piecewise_linear", numbers(*[0] * 90, *range(1, 11)), bins=4)
    assert fitted.edges == (0, 1, 4, 7, 10)  # of 1 to 10: the first, fourth, seventh and last


def test_the_parts_of_a_time_are_those_of_the_calendar() -> None:
    first = datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)
    times = [first + datetime.timedelta(days=97.3 * i, seconds=i) for i in range(37_000)]
    raw = {"u": np.array([t.timestamp() for t in times])}
    expected = {
        "year": [t.year for t in times],
        "month": [t.month for t in times],
        "day": [t.day for t in times],
        "hour": [t.hour for t in times],
        "minute": [t.minute for t in times],
        "day_of_week": [t.weekday() for t in times],
        "day_of_year": [t.timetuple().tm_yday for t in times],
    }
    for part, values in expected.items():
        feature = ft.Calendar(name="f", columns=("u",), part=part)  # type: ignore[arg-type]
        np.testing.assert_array_equal(feature.value(raw, np), values)
    second = ft.Calendar(name="f", columns=("u",), part="second").value(raw, np)
    seconds = [t.second + t.microsecond / 1e6 for t in times]
    np.testing.assert_allclose(second, seconds, atol=1e-4)


def test_a_time_outside_the_calendar_is_missing() -> None:
    feature = ft.Calendar(name="f", columns=("u",), part="year")
    value = feature.value(numbers(253_402_300_799.0, 253_402_300_800.0, -62_135_596_801.0), np)
    np.testing.assert_array_equal(value, [9999, NAN, NAN])


def test_a_difference_of_two_times_is_in_its_unit() -> None:
    feature = ft.Difference(name="f", columns=("u", "v"), unit="hour")
    raw = {"u": np.array([7200.0, NAN]), "v": np.array([-1800.0, 0.0])}
    np.testing.assert_array_equal(feature.value(raw, np), [2.5, NAN])


def test_a_division_by_zero_is_missing() -> None:
    raw = {"u": np.array([1.0, 3.0, 0.0, 5.0]), "v": np.array([2.0, 0.0, 0.0, NAN])}
    fitted = fit("ratio", raw, impute=0.5)
    assert (fitted.center, fitted.fill, fitted.flag) == (0.5, 0.5, True)
    assert applied(fitted, [9.0], [0.0]) == {"f": [0.0], "f_missing": [1.0]}


def test_a_quarter_of_the_equator_is_a_quarter_of_its_length() -> None:
    feature = ft.Distance(name="f", columns=("a", "b", "c", "d"))
    raw = {
        n: np.array(v) for n, v in {"a": [0, 90], "b": [0, 0], "c": [0, 91], "d": [90, 0]}.items()
    }
    np.testing.assert_allclose(feature.value(raw, np), [6371.0088 * np.pi / 2, NAN])


def test_a_cell_counts_from_the_south_pole_and_180_degrees_west() -> None:
    feature = ft.Grid(name="f", columns=("a", "b"), types=("float", "float"), degrees=90.0)
    raw = {"a": np.array([-90.0, 0.0, 0.0, 45.0, NAN]), "b": np.array([-180.0, 0.0, 270.0, 181, 0])}
    # rows of 4 cells; 0 N 0 E is row 1, column 2; 270 E is 90 W, column 1; 181 E is 179 W
    assert feature.text_numpy(raw).to_pylist() == ["0", "6", "5", "4", ""]
    fitted = feature.fit(statistics_of([feature], raw, 5).columns)
    assert fitted.numpy(raw)["f"].tolist() == [2, 5, 4, 3, 0]


def test_a_grid_merges_a_cell_of_few_rows_into_the_unseen_one() -> None:
    place = {"a": np.array([50.0] * 300 + [-20.0, -20.0]), "b": np.zeros(302)}
    fitted = fit("grid", place, degrees=10.0)
    got = fitted.numpy({"a": np.array([50.0, -20.0, 0.0]), "b": np.zeros(3)})
    assert got["f"].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("transform", "settings", "types", "sentence"),
    [
        ("clip", {"min": 0.0}, ("float",), "give either `min` and `max`, or"),
        ("clip", {"min": 0.0, "max": 1.0, "quantiles": (0.1, 0.9)}, ("float",), "give either"),
        ("clip", {"quantiles": (0.9, 0.1)}, ("float",), "not in order within"),
        (
            "robust",
            {"impute": "average"},
            ("float",),
            "impute is 'average'; it must be",
        ),
        ("clip", {"min": 0.0, "max": 1.0, "impute": "x"}, ("float",), "impute is 'x'"),
        ("quantile_normal", {"quantiles": 1}, ("float",), "quantiles is 1; it must be between 2"),
        (
            "piecewise_linear",
            {"bins": 257},
            ("float",),
            "bins is 257; it must be",
        ),
        ("difference", {}, ("date", "int"), "not of date and int"),
        ("difference", {}, ("date", "timestamp"), "takes `unit`: second, minute"),
        ("difference", {"unit": "day"}, ("int", "int"), "takes no `unit`"),
        ("grid", {"degrees": 91.0}, ("float", "float"), "degrees is 91.0; it must be between"),
        ("grid", {"degrees": 1.0, "min_count": 0}, ("float", "float"), "min_count is 0"),
    ],
)
def test_wrong_settings_are_named(
    transform: str, settings: dict[str, Any], types: tuple[ft.Type, ...], sentence: str
) -> None:
    columns = ("u", "v")[: len(types)]
    feature = ft.FEATURES[transform](name="f", columns=columns, types=types, **settings)
    assert sentence in (feature.check() or "")


def test_features_that_give_a_column_of_one_name_are_an_error() -> None:
    raw = {"u": np.array([1.0, 2.0]), "t": pa.array(["a", "b"])}
    features = [
        ft.PiecewiseLinear(name="x", columns=("u",)),
        ft.Hash(name="x_0", columns=("t",), buckets=3),
    ]
    with pytest.raises(TrainerError, match="'x' and 'x_0' both give a column 'x_0'; rename"):
        tr.fit_features(features, statistics_of(features, raw, 2).columns)


def test_several_standardized_numbers_at_once_are_each_the_same_bits() -> None:
    import tensorflow as tf

    names = ("a", "b", "c")
    raw = {
        "a": np.array([1.0, 2.5, NAN, 1e300]),
        "b": np.array([0.1, 0.2, 0.7, np.inf]),
        "c": np.array([5.0, 5.0, 5.0, 5.0]),
    }
    features = [
        ft.Standardize(name=n, columns=(n,), types=("float",), indicator=flag)
        for n, flag in zip(names, (True, None, True), strict=True)
    ]
    fitted = tr.fit_features(features, statistics_of(features, raw, 4).columns)
    transform = tr.Transform("regression", tr.Label("y"), None, (), fitted)
    graph, ours = (
        transform.tensor({n: tf.constant(v) for n, v in raw.items()}),
        transform.numpy(raw),
    )
    assert set(graph) == set(ours) == {*names, "a_missing", "b_missing", "c_missing"}
    for name, column in ours.items():
        np.testing.assert_array_equal(graph[name].numpy(), column)
