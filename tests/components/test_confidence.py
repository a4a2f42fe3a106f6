from __future__ import annotations

import math

import pytest

from quatrain.components.confidence import wilson


def test_wilsons_interval_of_eight_in_ten() -> None:
    assert wilson(0.8, 10) == pytest.approx((0.4901625, 0.9433178))


def test_wilsons_interval_has_a_width_without_a_hit_and_is_unknown_without_a_row() -> None:
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775328))
    assert all(math.isnan(end) for end in wilson(0.5, 0))
