"""Confidence intervals of what was measured on a sample of rows."""

import math

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: half a 95 % interval, in standard errors."""


def wilson(rate: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Returns the interval of a proportion observed on n rows, NaN without rows (Wilson 1927).

    Unlike `rate ± z * error`, it stays within [0, 1] and keeps its coverage near 0 and 1 and for
    few rows: with 0 hits in 10 rows it ends at 0.28, where `rate ± z * error` has no width at all.
    `n` may be a fraction, such as the effective number of weighted rows; `scipy.stats.binomtest`
    takes whole numbers only.
    """
    if n <= 0 or math.isnan(rate):
        return math.nan, math.nan
    z2 = z**2
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)
