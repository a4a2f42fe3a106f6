from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatrain.components.preprocess.summary.histograms import PARTS, common, histogram
from quatrain.trainer.features.statistics import Distribution

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0, -1.0, 2.5])


def of(values: list[float] | np.ndarray, whole: bool = False) -> tuple[list[float], list[int]]:
    return histogram(Distribution.of(np.asarray(values, float)), whole=whole)


def counted(values: np.ndarray, edges: np.ndarray) -> list[int]:
    bins = np.searchsorted(edges, values, side="right")
    return np.bincount(bins, minlength=len(edges) + 1).tolist()


def test_whole_numbers_of_some_weight_have_bins_of_their_own() -> None:
    edges, counts = of([1, 1, 2, 5, 5, 5], whole=True)
    assert edges[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert counts[:8] == [0, 0, 2, 1, 0, 0, 3, 0]
    assert sum(counts) == 6


def test_a_heavy_number_is_cut_out_of_the_numbers_beside_it() -> None:
    edges, counts = of([*np.linspace(1, 2, 1000), *[1.5] * 500])
    at = edges.index(1.5)
    assert edges[at + 1] == np.nextafter(1.5, 2)
    assert counts[at + 1] == 500


def test_no_bin_is_heavier_than_its_share_unless_it_is_one_value() -> None:
    values = np.random.default_rng(0).lognormal(3, 2, 10_000)
    _, counts = of(values)
    assert max(counts) <= len(values) // PARTS
    assert sum(counts) == len(values)
    assert len(counts) < 4 * PARTS


def test_no_value_gives_empty_bins() -> None:
    edges, counts = of([np.nan])
    assert sum(counts) == 0
    assert len(counts) == len(edges) + 1


@given(st.lists(NUMBERS, max_size=80), st.lists(NUMBERS, max_size=80))
def test_two_runs_are_counted_exactly_in_the_edges_they_share(a: list, b: list) -> None:
    edges, ours, theirs = common(of(a), of(b))
    assert ours.tolist() == counted(np.array(a, float), edges)
    assert theirs.tolist() == counted(np.array(b, float), edges)


@given(st.lists(st.integers(-60, 60), min_size=1, max_size=80))
def test_edges_of_whole_numbers_are_whole(values: list[int]) -> None:
    edges, counts = of(values, whole=True)
    assert all(e == int(e) for e in edges)
    assert counts == counted(np.array(values, float), np.array(edges))


# The distance of two normal distributions: 2 * Phi(shift / 2) - 1.
@pytest.mark.parametrize(("shift", "distance"), [(0.5, 0.1974), (-3.0, 0.8664), (100.0, 1.0)])
def test_shared_bins_stay_fine_enough_to_see_a_shift(shift: float, distance: float) -> None:
    rng = np.random.default_rng(0)
    _, ours, theirs = common(of(rng.normal(5, 1, 50_000)), of(rng.normal(5 + shift, 1, 50_000)))
    assert np.abs(ours - theirs).sum() / 100_000 == pytest.approx(distance, rel=0.04)


def test_past_the_exact_counts_bins_still_nest() -> None:
    values = np.random.default_rng(0).normal(0, 1, 100_000)
    few = Distribution.of(values)
    assert not few.exact
    edges, ours, _ = common(histogram(few, whole=False), of(values[:5000]))
    # A value of a coarse bin is known to 2^-36 or so: far less than a bin of the histogram.
    assert np.abs(ours - counted(values, edges)).max() <= 1
