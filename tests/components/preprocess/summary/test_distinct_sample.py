from __future__ import annotations

from collections import Counter
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatrain.components.preprocess.summary.distinct_sample import (
    MISSING,
    SIZE,
    DistinctSample,
    fingerprints,
    words,
)

TEXTS = ["", "a", "b", "ab", "ba", "12345678", "123456789", "1234567812345678", "x" * 64]
LONG = ["x" * 65, "x" * 64 + "y", "x" * 130, "x" * 129 + "z"]


def table(rows: int, distinct: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fingerprints with copies, and the split of each row."""
    rng = np.random.default_rng(seed)
    keys = fingerprints({"x": pa.array(rng.integers(0, distinct, rows))})
    return keys, rng.integers(0, 3, rows)


def test_texts_have_equal_words_only_when_they_are_equal() -> None:
    values = [*TEXTS, *LONG, "a\0", "é"]
    twice = words(pa.array([*values, *values], pa.string()))
    assert twice[: len(values)].tolist() == twice[len(values) :].tolist()
    assert len(set(twice.tolist())) == len(values)


def test_a_slice_of_a_column_has_the_words_of_the_column() -> None:
    column = pa.array(["skipped", None, *LONG, "", "end"], pa.string())
    assert words(column.slice(1, 5)).tolist() == words(column)[1:6].tolist()
    assert words(pa.array([], pa.string())).tolist() == []


@given(st.lists(st.text(alphabet="ab\0é", max_size=20), min_size=2, max_size=6))
def test_words_tell_any_texts_apart(values: list[str]) -> None:
    assert len(set(words(pa.array(values)).tolist())) == len(set(values))


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, None, -1], pa.int64()),
        ([1.5, None, -1.5], pa.float64()),
        ([True, None, False], pa.bool_()),
        ([0, None, 1], pa.date32()),
        ([0, None, 1], pa.timestamp("us")),
        (["", None, "a"], pa.string()),
    ],
)
def test_a_missing_value_has_one_word_in_any_type(values: list, type_: pa.DataType) -> None:
    values = words(pa.array(values, type_))
    assert values[1] == MISSING
    assert (values == MISSING).sum() == (2 if type_ == pa.string() else 1)


def test_both_zeros_are_one_value() -> None:
    assert len(set(words(pa.array([0.0, -0.0])).tolist())) == 1


def test_a_value_in_another_column_is_another_row() -> None:
    a, b = pa.array([1, 2, 1]), pa.array([2, 1, 2])
    first, second, third = fingerprints({"a": a, "b": b}).tolist()
    assert first == third != second
    assert fingerprints({"b": b, "a": a}).tolist() == [first, second, third]


def test_fingerprints_by_some_columns_and_by_the_others_add_up() -> None:
    columns = {
        "n": pa.array([1, None, 3]),
        "t": pa.array(["a", None, ""]),
        "x": pa.array([0.5] * 3),
    }
    encoded = {n: c.dictionary_encode(null_encoding="encode") for n, c in columns.items()}
    whole = fingerprints(columns)
    assert fingerprints(encoded).tolist() == whole.tolist()
    parts = [fingerprints({n: c}) for n, c in columns.items()]
    assert sum(parts[1:], parts[0]).tolist() == whole.tolist()


def test_fingerprints_of_rows_that_differ_in_few_bits_are_spread_evenly() -> None:
    rows = np.arange(40_000)
    columns = {"a": pa.array(rows % 200 / 1.0), "b": pa.array(rows // 200)}
    values = fingerprints(columns)
    assert len(np.unique(values)) == len(rows)
    for shift in (0, 28, 56):
        counts = np.bincount((values >> np.uint64(shift)).astype(np.uint8), minlength=256)
        # A sum of 255 squared normal deviates: beyond 350 in one draw of 30 000.
        assert np.sum((counts - len(rows) / 256) ** 2) / (len(rows) / 256) < 350


@pytest.mark.parametrize("distinct", [10, 3000, 10_000])
def test_any_cut_and_order_gives_the_same_sketch(distinct: int) -> None:
    keys, split = table(30_000, distinct)
    whole = DistinctSample.of(keys, split, [pa.array(keys.view(np.int64))])
    rng = np.random.default_rng(1)
    for _ in range(10):
        order = rng.permutation(len(keys))
        cuts = np.split(order, np.sort(rng.integers(0, len(keys), 5)))
        parts = [
            DistinctSample.of(keys[c], split[c], [pa.array(keys[c].view(np.int64))]) for c in cuts
        ]
        merged = reduce(add, parts, DistinctSample())
        assert merged.keys.tolist() == whole.keys.tolist()
        assert merged.counts.tolist() == whole.counts.tolist()
        assert merged.words.tolist() == whole.words.tolist()
        assert merged.n_rows == 30_000


def test_the_rows_of_each_sampled_key_are_counted_exactly() -> None:
    keys, split = table(30_000, 10_000)
    merged = DistinctSample.of(keys[:9000], split[:9000]) + DistinctSample.of(
        keys[9000:], split[9000:]
    )
    smallest = np.unique(keys)[:SIZE]
    assert merged.keys.tolist() == smallest.tolist()
    rows = Counter(zip(keys.tolist(), split.tolist(), strict=True))
    expected = [[rows[key, side] for side in range(3)] for key in smallest.tolist()]
    assert merged.counts.tolist() == expected


def test_distinct_rows_are_counted_exactly_or_estimated() -> None:
    few, many = (DistinctSample.of(*table(60_000, n)) for n in (1000, 50_000))
    assert (few.complete, few.distinct) == (True, 1000)
    true = len(np.unique(table(60_000, 50_000)[0]))
    assert not many.complete
    assert many.distinct == pytest.approx(true, rel=0.05)
