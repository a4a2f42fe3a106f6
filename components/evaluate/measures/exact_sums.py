"""Sums of values and of whole units that are exact: no order or cut of the rows changes a digit.

Floating-point addition is not associative: the same rows in other shards, or on more workers, would
give metrics that differ in their last digits. Two runs could then not be compared byte by byte, and
a metric that lies on its bound could pass the gate on one machine and fail it on another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

_POINT = 1126
"""Every finite float64 is a whole multiple of 2**-1126 when its mantissa is taken as 53 bits.

The smallest subnormal number is 2**-1074, which frexp gives as 0.5 * 2**-1073: -1073 - 53 = -1126.
"""
_LOW_BITS = 27
"""A 53-bit mantissa splits into 26 and 27 bits, and 2**25 of either still sum exactly in float64.

bincount adds in float64, which holds whole numbers up to 2**53.
"""


@dataclass(frozen=True)
class ExactSum:
    """A sum of float64 values, in whole units of 2**-1126, so that `+` does not round.

    The idea of the long accumulator (Kulisch 1971), with Python's integers as the register.
    """

    units: int = 0

    @classmethod
    def of(cls, values: np.ndarray) -> ExactSum:
        """Sums `[N] float64`, all finite, N at most 2**25.

        Mantissas are first added up by exponent, so Python's slow integers only see the few
        hundred exponents that occur and not every row.
        """
        if not len(values):
            return cls()
        mantissa, exponent = np.frexp(np.asarray(values, np.float64))
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        lowest = int(exponent.min())
        shift = exponent - lowest
        # The shift rounds down: the high part has the sign, and the low part is never negative.
        high = np.bincount(shift, whole >> _LOW_BITS)
        low = np.bincount(shift, whole & ((1 << _LOW_BITS) - 1))
        occupied = np.flatnonzero((high != 0) | (low != 0)).tolist()
        units = sum(((int(high[s]) << _LOW_BITS) + int(low[s])) << s for s in occupied)
        return cls(units << (lowest - 53 + _POINT))

    def __add__(self, other: ExactSum) -> ExactSum:
        return ExactSum(self.units + other.units)

    def __float__(self) -> float:
        """The sum, rounded once."""
        return self.units / (1 << _POINT)


@dataclass(frozen=True)
class MeanSums:
    """The sums that give the mean of a value over weighted rows, and its 95 % interval.

    Attributes:
        weight: Sum of the weights w.
        weight2: Sum of w**2.
        x: Sum of w * x.
        x2: Sum of w * x**2.
    """

    weight: ExactSum = field(default_factory=ExactSum)
    weight2: ExactSum = field(default_factory=ExactSum)
    x: ExactSum = field(default_factory=ExactSum)
    x2: ExactSum = field(default_factory=ExactSum)

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray) -> MeanSums:
        """Sums `[N] float64` values with `[N] float64` weights."""
        weighted = values * weights
        return cls(
            ExactSum.of(weights),
            ExactSum.of(weights * weights),
            ExactSum.of(weighted),
            ExactSum.of(weighted * values),
        )

    def __add__(self, other: MeanSums) -> MeanSums:
        return MeanSums(
            self.weight + other.weight,
            self.weight2 + other.weight2,
            self.x + other.x,
            self.x2 + other.x2,
        )

    @property
    def mean(self) -> float:
        """The weighted mean; NaN without rows."""
        return self.x.units / self.weight.units if self.weight.units else math.nan

    @property
    def variance(self) -> float:
        """The weighted population variance; NaN without rows.

        `E[x**2] - E[x]**2` loses all its digits in float64 when the mean is large; the sums are
        exact integers, so nothing cancels here.
        """
        w = self.weight.units
        return (w * self.x2.units - self.x.units**2) / w**2 if w else math.nan

    @property
    def n_effective(self) -> float:
        """The number of unweighted rows worth as much: (sum w)**2 / sum w**2 (Kish 1965)."""
        # The square of a sum is in units of 2**-2252; the shift puts the sum of squares in them.
        w2 = self.weight2.units << _POINT
        return self.weight.units**2 / w2 if w2 else 0.0

    @property
    def error(self) -> float:
        """The standard error of the mean; NaN below two rows."""
        n = self.n_effective
        return math.sqrt(max(self.variance, 0.0) / (n - 1)) if n > 1 else math.nan


def count(keys: np.ndarray, units: np.ndarray, n: int) -> np.ndarray:
    """Sums whole units by key, `[n] int64`.

    Up to 2**22 rows of 2**31 units a call sum exactly in bincount's float64.
    """
    return np.bincount(keys, units, minlength=n).astype(np.int64)
