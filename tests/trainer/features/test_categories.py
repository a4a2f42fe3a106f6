"""What each transform makes of categories and texts: values worked by hand."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quatrain.trainer import features as ft
from quatrain.trainer.features.categories import least_rows
from quatrain.trainer.features.fingerprint import fingerprint64
from quatrain.trainer.features.statistics import Categories
from tests.trainer.small import statistics_of


def fit(transform: str, texts: list[str], **settings: Any) -> Any:
    feature = ft.FEATURES[transform](name="f", columns=("u",), types=("string",), **settings)
    assert feature.check() is None
    return feature.fit(statistics_of([feature], {"u": pa.array(texts)}, len(texts)).columns)


def rows_of(fitted: ft.Feature, texts: list[str]) -> list[list[float]]:
    columns = fitted.numpy({"u": pa.array(texts)})
    return np.stack(list(columns.values()), axis=1).tolist()


@pytest.mark.parametrize(
    ("rows", "fewest", "trusted"),
    [
        (0, 1, 1),
        (5, 1, 1),
        (199, 1, 1),
        (299, 2, 2),
        (300, 3, 3),
        (2_559, 3, 3),
        (2_560, 3, 4),
        (64_000, 3, 100),
        (10**7, 3, 100),
    ],
)
def test_three_rows_make_a_category_and_a_640th_of_all_make_it_trusted(
    rows: int, fewest: int, trusted: int
) -> None:
    statistics_of = Categories(pa.array(["a"]), np.array([rows // 2]), missing=rows - rows // 2)
    assert ft.rare(statistics_of) == fewest
    assert least_rows(rows) == trusted


def test_a_vocabulary_without_min_count_fits_it() -> None:
    fitted = fit("vocabulary", ["a"] * 297 + ["b", "b", ""])
    assert (fitted.min_count, fitted.tokens) == (3, ("a",))
    assert fit("vocabulary", ["a", "b", "b"]).tokens == ("b", "a")  # 1 of a few rows


def test_a_frequency_is_the_logarithm_of_a_values_rows() -> None:
    fitted = fit("frequency", ["a", "a", "a", "b", "c", ""], top_k=1)
    # ln(1 + rows): missing 1, others (b and c) 1 each on average, a 3; mean ln(2) + ln(2) / 2
    z = np.array([-1, -1, 1])  # half of the rows are ln(2), half ln(4)
    assert fitted.levels == pytest.approx((z / (1 + 1 / 9) ** 0.5).tolist())
    assert rows_of(fitted, ["a", "b", "new", ""]) == [
        pytest.approx([v]) for v in np.array([1, -1, -1, -1]) / (1 + 1 / 9) ** 0.5
    ]


def test_an_unseen_value_beside_equally_frequent_ones_stays_within_three() -> None:
    fitted = fit("frequency", ["a", "b"] * 5000)
    assert rows_of(fitted, ["a", "b"]) == [[0.0], [0.0]]
    assert -3 < rows_of(fitted, ["new"])[0][0] < -2


def test_a_bag_has_a_column_a_value_and_one_for_all_others() -> None:
    fitted = fit("bag", ["a|b", "a", "a | c", "b|b"], top_k=2)
    assert fitted.tokens == ("a", "b")
    assert rows_of(fitted, ["b| a", "a|a|a", "c|new", "", "|"]) == [
        [1, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
        [0, 0, 0],
        [0, 0, 0],
    ]


def test_a_bag_of_rare_values_merges_them() -> None:
    fitted = fit("bag", ["a|b"] * 299 + ["c"])
    assert (fitted.min_count, fitted.tokens) == (3, ("a", "b"))


def test_a_hashed_bag_counts_values_of_one_bucket() -> None:
    fitted = fit("bag", ["x"], buckets=2, separator=",")
    bucket = int(fingerprint64(pa.array(["a"]))[0] % np.uint64(2))
    (row,) = rows_of(fitted, ["a, a ,a"])
    assert row[bucket] == pytest.approx(np.log(4))
    assert row[1 - bucket] == 0


def text_row(pieces: list[str], buckets: int) -> list[float]:
    counts = np.bincount(fingerprint64(pa.array(pieces)) % np.uint64(buckets), minlength=buckets)
    return np.log1p(counts).astype(np.float32).tolist()


def test_a_text_is_its_words_and_their_neighbours_in_lower_case() -> None:
    fitted = fit("text", [""], buckets=50, words=2)
    (row,) = rows_of(fitted, ["The cat -- the CAT!"])
    assert row == text_row(["the", "cat", "the", "cat", "the cat", "cat the", "the cat"], 50)


def test_a_text_may_be_its_runs_of_characters() -> None:
    fitted = fit("text", [""], buckets=50, characters=3)
    (row,) = rows_of(fitted, [" Né, b"])
    assert row == text_row(["né ", "é b"], 50)
    assert rows_of(fitted, ["ab", "", "--"]) == [[0] * 50] * 3


def test_rows_of_a_text_do_not_run_into_each_other() -> None:
    fitted = fit("text", [""], buckets=50, words=2)
    whole = pa.array(["zz top", "a", "", "b c", "d"])
    columns = fitted.numpy({"u": whole.slice(1)})
    assert np.stack(list(columns.values()), axis=1).tolist() == [
        text_row(["a"], 50),
        [0] * 50,
        text_row(["b", "c", "b c"], 50),
        text_row(["d"], 50),
    ]


def test_rows_beyond_the_first_part_are_counted_alike() -> None:
    fitted = fit("text", [""], buckets=4)
    texts = [f"w{i % 7} w{i % 3}" for i in range(21)]  # repeats after 21 rows
    assert rows_of(fitted, texts * 400) == rows_of(fitted, texts) * 400  # 8 400 rows: three parts


@pytest.mark.parametrize(
    ("transform", "settings", "sentence"),
    [
        ("bag", {"separator": ""}, "separator is empty"),
        ("bag", {"top_k": 1025}, "top_k is 1025; it must be between 1 and 1024"),
        ("bag", {"min_count": 0}, "min_count is 0; it must be at least 1"),
        ("bag", {"buckets": 1}, "buckets is 1; it must be between 2 and 1024"),
        ("text", {"buckets": 8, "words": 6}, "words is 6; it must be between 1 and 5"),
        ("text", {"buckets": 8, "characters": 0}, "characters is 0; it must be between 1 and 10"),
        ("text", {"buckets": 8, "words": 2, "characters": 3}, "not both"),
        ("frequency", {"top_k": 0}, "top_k is 0; it must be at least 1"),
    ],
)
def test_wrong_settings_are_named(transform: str, settings: dict[str, Any], sentence: str) -> None:
    feature = ft.FEATURES[transform](name="f", columns=("u",), types=("string",), **settings)
    assert sentence in (feature.check() or "")
