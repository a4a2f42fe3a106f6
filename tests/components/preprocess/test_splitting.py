"""Splits: stable, and the same as BigQuery's."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from quatrain.components.errors import SpecError
from quatrain.components.preprocess.splitting import assign, bad_split, parts, threshold
from quatrain.components.specification.split import ColumnSplit, FoldSplit, HashSplit, TimeSplit
from quatrain.trainer.features.fingerprint import fingerprint64

# FARM_FINGERPRINT's own example in BigQuery's documentation.
BIGQUERY = {
    "1footrue": -1541654101129638711,
    "2applefalse": 2794438866806483259,
    "3true": -4880158226897771312,
}


PARTS_BY_SQL = {"1footrue": 711, "2applefalse": 259, "3true": 312}
"""ABS(MOD(fingerprint, 1000)): the last three digits, as MOD keeps the sign of what it divides."""


@pytest.mark.parametrize("key", BIGQUERY)
def test_the_split_is_abs_of_mod_of_bigquerys_fingerprint(key: str) -> None:
    assert int(fingerprint64(pa.array([key])).view(np.int64)[0]) == BIGQUERY[key]
    part = PARTS_BY_SQL[key]
    assert parts(pa.array([key])).tolist() == [part]
    below, from_it = (
        HashSplit(keys=("k",), train=t / 1000, validation=0.001, test=0.999 - t / 1000)
        for t in (part + 1, part)
    )
    batch = pa.record_batch({"k": [key]})
    assert [assign(s, batch).tolist() for s in (below, from_it)] == [[0], [1]]


def test_keys_are_joined_as_text_by_the_unit_separator() -> None:
    batch = pa.record_batch(
        {
            "year": pa.array([2013, 2013, None]),
            "ok": pa.array([True, False, None]),
            "d": pa.array([date(2013, 1, 31), None, None]),
        }
    )
    joined = pa.array(["2013\x1ftrue\x1f2013-01-31", "2013\x1ffalse\x1f", "\x1f\x1f"])
    keys = HashSplit(keys=("year", "ok", "d"))
    as_text = assign(HashSplit(keys=("j",)), pa.record_batch({"j": joined}))
    assert assign(keys, batch).tolist() == as_text.tolist()


def test_shares_are_met_and_a_seed_moves_the_rows() -> None:
    batch = pa.record_batch({"k": pa.array(range(50_000))})
    plain = assign(HashSplit(keys=("k",), train=0.7, validation=0.2, test=0.1), batch)
    shares = [(plain == i).mean() for i in range(3)]
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.006)
    seeded = assign(HashSplit(keys=("k",), train=0.7, validation=0.2, test=0.1, seed=1), batch)
    prefixed = pa.record_batch({"s": ["1"] * 50_000, "k": pa.array(range(50_000))})
    same = assign(HashSplit(keys=("s", "k"), train=0.7, validation=0.2, test=0.1), prefixed)
    assert (seeded == same).all()
    assert 0.4 < (seeded == plain).mean() < 0.7


def test_many_distinct_key_columns_are_hashed_row_by_row() -> None:
    n = 3000
    columns = {c: pa.array(range(n)) for c in "abcdef"}  # 3000**6 combinations overflow int64
    batch = pa.record_batch(columns)
    joined = pa.array(["\x1f".join([str(i)] * 6) for i in range(n)])
    expected = assign(HashSplit(keys=("j",)), pa.record_batch({"j": joined}))
    assert (assign(HashSplit(keys=tuple("abcdef")), batch) == expected).all()


def test_time_thresholds_belong_to_the_later_split() -> None:
    days = [date(2013, 8, 31), date(2013, 9, 1), date(2013, 10, 1), None]
    split = TimeSplit(by="time", column="d", validation_from="2013-09-01", test_from="2013-10-01")
    assert assign(split, pa.record_batch({"d": days})).tolist() == [0, 1, 2, -1]


def test_a_threshold_with_an_offset_is_utc() -> None:
    assert threshold("2013-09-01T02:00:00+02:00").as_py() == datetime(2013, 9, 1)
    with pytest.raises(SpecError, match=r"'1\.9\.2013' must be an ISO 8601 date"):
        threshold("1.9.2013")


def test_a_column_of_split_names_is_taken_at_its_word() -> None:
    batch = pa.record_batch({"s": ["test", "train", "validation", "Train", None]})
    assert assign(ColumnSplit(by="column", column="s"), batch).tolist() == [2, 0, 1, -1, -1]


def test_a_stratified_key_is_the_class_before_the_keys() -> None:
    batch = pa.record_batch({"late": pa.array([True, False, None]), "id": ["a", "a", "b"]})
    joined = pa.record_batch({"j": ["true\x1fa", "false\x1fa", "\x1fb"]})
    stratified = assign(HashSplit(keys=("id",), stratify="late"), batch)
    assert stratified.tolist() == assign(HashSplit(keys=("j",)), joined).tolist()


def test_each_class_has_its_share_of_every_split_within_chance() -> None:
    n, rare = 40_000, 400
    batch = pa.record_batch({"id": pa.array(range(n)), "late": [i < rare for i in range(n)]})
    assigned = assign(HashSplit(keys=("id",), stratify="late"), batch)
    for rows in (slice(0, rare), slice(rare, n)):
        size = rows.stop - rows.start
        for side, share in enumerate((0.8, 0.1, 0.1)):
            chance = (share * (1 - share) / size) ** 0.5
            assert abs((assigned[rows] == side).mean() - share) < 3 * chance


def test_folds_are_compared_as_text_and_the_others_are_train() -> None:
    batch = pa.record_batch({"f": pa.array([1, 2, 3, 4, None])})
    split = FoldSplit(by="fold", column="f", validation=3, test=4.0)
    assert assign(split, batch).tolist() == [0, 0, 1, 2, -1]
    assert bad_split(split, assign(split, batch)).detail == "f is missing"
    text = pa.record_batch({"f": ["a", "b", "c"]})
    assert assign(FoldSplit(by="fold", column="f", validation="c", test="a"), text).tolist() == [
        *(2, 0, 1),
    ]


def test_one_fold_cannot_be_both_validation_and_test() -> None:
    with pytest.raises(ValidationError, match="validation and test are both fold '3'; name two"):
        FoldSplit(by="fold", column="f", validation=3, test="3")
