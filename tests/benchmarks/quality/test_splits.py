import numpy as np
import pyarrow as pa

from benchmarks.quality.splits import split_rows, units_of_test


def test_a_random_split_has_its_shares_and_changes_with_the_seed():
    rows = pa.table({"x": np.arange(1_000)})
    first, second = (split_rows(rows, "random", "", seed) for seed in (0, 1))
    counts = {name: int((first == name).sum()) for name in ("train", "validation", "test")}
    assert counts == {"train": 640, "validation": 160, "test": 200}
    assert (first != second).any()


def test_the_newest_rows_are_the_test_rows_and_no_moment_is_in_two_splits():
    days = np.random.default_rng(0).integers(0, 50, 1_000)
    places = split_rows(pa.table({"day": days}), "time", "day", 0)
    ranges = [set(days[places == name]) for name in ("train", "validation", "test")]
    assert max(ranges[0]) < min(ranges[1]) and max(ranges[1]) < min(ranges[2])


def test_no_group_is_in_two_splits():
    groups = np.random.default_rng(0).integers(0, 100, 1_000).astype(str)
    places = split_rows(pa.table({"group": groups}), "group", "group", 0)
    found = [set(groups[places == name]) for name in ("train", "validation", "test")]
    assert sum(map(len, found)) == len(set(groups))


def test_a_day_and_a_group_are_the_units_that_a_bootstrap_draws():
    places = np.array(["train", "test", "test", "test", "test"])
    times = ["2015-01-01T00:00:00Z", "2016-08-14T00:00:01Z", "2016-08-13T23:59:59Z"]
    rows = pa.table({"at": [*times, times[2], times[1]], "group": ["a", "c", "b", "c", "b"]})
    assert units_of_test(rows, places, "time", "at").tolist() == [1, 0, 0, 1]
    assert units_of_test(rows, places, "group", "group").tolist() == [1, 0, 1, 0]
    assert units_of_test(rows, places, "random", "").tolist() == [0, 1, 2, 3]
