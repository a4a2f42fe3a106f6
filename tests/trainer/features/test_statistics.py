"""Statistics are exact, mergeable and independent of the order of rows."""

import numpy as np
import pyarrow as pa
import pytest

from quatrain.trainer.features.statistics import (
    MAX_BINS,
    MAX_VALUES,
    Categories,
    Distribution,
    TableStatistics,
)


def same(a: Distribution, b: Distribution) -> bool:
    return (
        (a.missing, a.shift) == (b.missing, b.shift)
        and np.array_equal(a.keys, b.keys)
        and np.array_equal(a.counts, b.counts)
    )


def test_few_values_are_counted_exactly() -> None:
    d = Distribution.of(np.array([3.0, -1.5, np.nan, 3.0, 0.0, -0.0]))
    assert d.values.tolist() == [-1.5, 0.0, 3.0]
    assert d.counts.tolist() == [1, 2, 2]
    assert (d.count, d.missing, d.exact) == (5, 1, True)


def test_moments_and_quantiles_of_four_values() -> None:
    d = Distribution.of(np.array([1.0, 2.0, 3.0, 6.0]))
    mean, deviation = d.moments()
    assert mean == 3.0
    assert deviation == pytest.approx(3.5**0.5)  # (4 + 1 + 0 + 9) / 4
    assert d.quantile([0.0, 0.25, 0.5, 0.51, 1.0]).tolist() == [1.0, 1.0, 2.0, 3.0, 6.0]


def test_an_empty_distribution_has_no_moments() -> None:
    assert np.isnan(Distribution().moments()[0])
    assert np.isnan(Distribution().quantile([0.5])[0])


@pytest.mark.parametrize("seed", range(10))
def test_any_cut_and_order_gives_the_same_bins(seed: int) -> None:
    values = np.concatenate(
        [
            np.random.default_rng(7).normal(1e9, 1e3, MAX_BINS),
            np.random.default_rng(8).lognormal(0, 4, MAX_BINS)
            * np.array([-1, 1] * (MAX_BINS // 2)),
            [np.nan, np.inf, -np.inf, 0.0, 5e-324],
        ]
    )
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(values)
    parts = [
        Distribution.of(p) for p in np.split(shuffled, sorted(rng.integers(0, len(values), 9)))
    ]
    merged = Distribution()
    for i in rng.permutation(len(parts)):
        merged = merged + parts[i] if rng.random() < 0.5 else parts[i] + merged
    assert same(merged, Distribution.of(values))
    assert len(merged.keys) <= MAX_BINS


def test_a_coarsened_value_stays_within_the_stated_relative_error() -> None:
    values = np.random.default_rng(0).lognormal(3, 2, 200_000)
    d = Distribution.of(values)
    assert not d.exact
    median = np.sort(values)[len(values) // 2 - 1]
    assert abs(d.quantile([0.5])[0] - median) <= median * 2.0 ** (d.shift - 53)


def test_infinities_are_missing_and_huge_values_have_a_deviation() -> None:
    d = Distribution.of(np.array([np.inf, -np.inf, 1e300, -1e300]))
    assert (d.count, d.missing) == (2, 2)
    assert d.moments() == (0.0, 1e300)


def test_categories_merge_and_rank_with_ties_in_byte_order() -> None:
    merged = Categories.of(pa.array(["b", None, "a", "b"])) + Categories.of(
        pa.array(["a", "c", ""])
    )
    assert merged.top() == [("a", 2), ("b", 2), ("c", 1)]
    assert merged.top(1) == [("a", 2)]
    assert merged.top(min_count=2) == [("a", 2), ("b", 2)]
    assert (merged.count, merged.missing) == (5, 2)


def test_the_zero_of_a_table_changes_nothing() -> None:
    table = TableStatistics.of({"x": np.array([1.0]), "c": pa.array(["u"])}, 1)
    for merged in (TableStatistics() + table, table + TableStatistics()):
        assert merged.rows == 1
        assert same(merged.columns["x"], table.columns["x"])


def test_the_most_frequent_value_is_the_least_of_equally_frequent_ones() -> None:
    assert Distribution.of(np.array([5.0, 5.0, 2.0, 2.0, 9.0])).mode() == 2.0


def test_knots_part_the_rows_evenly_and_hold_the_ends() -> None:
    d = Distribution.of(np.arange(100.0))
    assert d.values[d.knots(5)].tolist() == [0, 24, 49, 74, 99]
    assert d.values[d.knots(2)].tolist() == [0, 99]
    assert d.knots(100).tolist() == list(range(100))


def test_a_frequent_value_is_a_knot_beside_an_even_parting_of_the_rest() -> None:
    d = Distribution.of(np.array([*range(-10, 0), *[0.0] * 50, *range(1, 11)], float))
    # 0 has 50 of 70 rows, more than a third; three knots part the other twenty
    assert d.values[d.knots(4)].tolist() == [-10, -1, 0, 10]


@pytest.mark.parametrize("seed", range(5))
def test_a_limited_column_keeps_the_same_sample_for_any_cut_and_order(seed: int) -> None:
    values = np.array([f"v{i}" for i in range(500)] * 2 + ["", "v0"])
    whole = Categories.of(pa.array(values), limit=64)
    rng = np.random.default_rng(seed)
    parts = np.split(rng.permutation(values), sorted(rng.integers(0, len(values), 6)))
    merged = Categories()
    for part in parts:
        merged = merged + Categories.of(pa.array(part, pa.string()), limit=64)
    for name in ("values", "missing", "unsampled", "shift"):
        assert getattr(merged, name) == getattr(whole, name)
    assert merged.counts.tolist() == whole.counts.tolist()
    assert (merged.count, merged.missing, merged.exact) == (1001, 1, False)
    assert 32 <= len(merged.values) <= 64
    assert 400 <= merged.distinct <= 600  # 500, to three deviations of 1.2 / 8


def test_a_column_at_its_limit_is_exact() -> None:
    counted = Categories.of(pa.array(["a", "b", "b"]), limit=2)
    assert (counted.exact, counted.distinct, counted.top()) == (True, 2, [("b", 2), ("a", 1)])


def test_only_a_sampled_column_has_a_limit() -> None:
    rows = MAX_VALUES + 1
    texts = pa.array([f"v{i}" for i in range(rows)])
    columns = TableStatistics.of({"a": texts, "b": texts}, rows, sampled={"a"}).columns
    assert len(columns["a"].values) <= MAX_VALUES < len(columns["b"].values)
    assert columns["a"].count == columns["b"].count == rows


def test_values_that_span_16_powers_of_two_are_known_to_a_8192th() -> None:
    values = 2.0 ** np.random.default_rng(0).uniform(0, 16, 200_000)
    d = Distribution.of(values)
    assert d.shift == 40  # 2^16 bins over 2^4 powers of two: 2^12 each, so half a bin is 2^-13
    for share in (0.1, 0.5, 0.9):
        exact = np.sort(values)[int(share * len(values)) - 1]
        assert abs(d.quantile([share])[0] - exact) <= exact * 2.0**-13


def test_parts_of_the_rows_are_counted_as_they_would_be_alone() -> None:
    rng = np.random.default_rng(5)
    numbers = rng.choice([-0.0, 0.0, 1.5, np.nan, np.inf, -3.0], 300)
    texts = pa.array(rng.choice(["b", "a", "", "c", "d"], 300).tolist(), pa.string())
    part = rng.integers(0, 3, 300)
    values, counts = {}, {}
    for name, column in {"x": pa.array(numbers), "t": texts}.items():
        encoded = column.dictionary_encode()
        k = len(encoded.dictionary)
        cells = encoded.indices.to_numpy() * 3 + part
        values[name] = encoded.dictionary
        counts[name] = np.bincount(cells, minlength=3 * k).reshape(k, 3)
    values["x"] = values["x"].to_numpy()
    tables = TableStatistics.parts(values, counts, np.bincount(part).tolist())
    for i, table in enumerate(tables):
        there = part == i
        x, t = table.columns["x"], table.columns["t"]
        assert table.rows == there.sum()
        assert same(x, Distribution.of(numbers[there]))
        alone = Categories.of(texts.filter(pa.array(there)))
        assert (t.top(), t.missing) == (alone.top(), alone.missing)
