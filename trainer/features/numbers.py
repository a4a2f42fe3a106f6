"""Transforms of one number: scales, shapes, buckets and piecewise-linear encoding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np

from ..settings import TrainerError
from .base import (
    NUMBERS,
    QUANTITY,
    Engineered,
    Feature,
    Raw,
    Tensors,
    in_range,
    tensorflow_arithmetic,
)
from .statistics import ColumnStatistics, Distribution

if TYPE_CHECKING:
    from typing import Self

    import tensorflow as tf

MAX_DEVIATIONS = 1e6
"""Bounds a scaled number, so that it and its square stay finite as float32 (up to 3.4e38)."""
_TINY = float(np.finfo(np.float64).tiny)  # takes the place of a width of 0 in a division
IMPUTE = ("median", "mean", "most_frequent")


@dataclass(frozen=True, kw_only=True)
class Number(Feature):
    """Base of the transforms of one number a row, which fill in a missing number.

    NaN and infinities are missing.

    Attributes:
        impute: What to fill in: the train split's median, mean or most frequent value (the least of
            equally frequent ones), or a constant.
        indicator: Whether there is a column `<name>_missing` that is 1 where the number is missing,
            else 0; None: only if a number is missing in the train split.
        fill: The number that is filled in.
        flag: Whether there is an indicator column.
    """

    accepts = NUMBERS
    fitted: ClassVar[tuple[str, ...]] = ("fill", "flag")
    is_column: ClassVar[bool] = True
    """Whether the number is a raw input, and not computed from raw inputs."""

    impute: str | float = "median"
    indicator: bool | None = None
    fill: float = 0.0
    flag: bool = False

    def check(self) -> str | None:
        """Checks `impute`."""
        if not isinstance(self.impute, str) or self.impute in IMPUTE:
            return None
        return f"impute is {self.impute!r}; it must be {', '.join(IMPUTE)} or a number"

    def value(self, raw: Any, xp: Any) -> Any:
        """Returns the number of each row, `[N] float64`, not finite where missing.

        Args:
            raw: Raw inputs, as arrays or as tensors.
            xp: numpy, or `tensorflow_arithmetic()`.
        """
        return raw[self.columns[0]]

    @abstractmethod
    def fit_shape(self, x: Distribution) -> Self:
        """Returns the feature fitted to the train split's numbers, without `fill` and `flag`."""

    @abstractmethod
    def shaped(self, x: Any, xp: Any) -> dict[str, Any]:
        """Returns the engineered columns by name, `[N] float64`.

        Args:
            x: Finite numbers, `[N] float64`.
            xp: numpy, or `tensorflow_arithmetic()`.
        """

    @property
    def statistics_name(self) -> str:
        """Name of the number's statistics: the raw input, or the feature if it is computed."""
        return self.columns[0] if self.is_column else QUANTITY + self.name

    def quantities(self, raw: Raw) -> dict[str, Any]:
        """Returns the number of each row, to be counted, unless it is a raw input."""
        if self.is_column:
            return {}
        with np.errstate(all="ignore"):
            return {self.statistics_name: self.value(raw, np)}

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the shape, the number to fill in, and whether there is an indicator column."""
        x = cast(Distribution, columns[self.statistics_name])
        if not x.count:
            raise TrainerError(
                f"feature {self.name!r} is missing in every row of the train split, "
                f"as made of {', '.join(map(repr, self.columns))}; remove it or correct its columns"
            )
        flag = x.missing > 0 if self.indicator is None else self.indicator
        return replace(self.fit_shape(x), fill=self._fill(x), flag=flag)

    def _fill(self, x: Distribution) -> float:
        if not isinstance(self.impute, str):
            return self.impute
        if self.impute == "mean":
            return x.moments()[0]
        return x.mode() if self.impute == "most_frequent" else float(x.quantile([0.5])[0])

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """The shaped columns, and the indicator if there is one."""
        return self._with_indicator(self.shaped_names, self.flag)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns that it may have, with the indicator unless the spec forbids it."""
        columns = self._with_indicator(self.shaped_names, self.indicator is not False)
        return tuple(o.name for o in columns)

    @property
    def shaped_names(self) -> tuple[str, ...]:
        """Names of the columns of `shaped`."""
        return (self.name,)

    def _with_indicator(self, names: tuple[str, ...], flag: bool) -> tuple[Engineered, ...]:
        return tuple(map(Engineered, (*names, f"{self.name}_missing") if flag else names))

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Returns the shaped numbers and the indicator, `[N] float32` each."""
        with np.errstate(all="ignore"):
            x = self.value(raw, np)
            known = np.isfinite(x)
            shaped = self.shaped(np.where(known, x, self.fill), np)
        if self.flag:
            shaped[f"{self.name}_missing"] = ~known
        return {name: column.astype(np.float32) for name, column in shaped.items()}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same with tensors."""
        import tensorflow as tf

        xp = tensorflow_arithmetic()
        x = self.value(raw, xp)
        known = tf.math.is_finite(x)
        shaped = self.shaped(tf.where(known, x, tf.constant(self.fill, tf.float64)), xp)
        if self.flag:
            shaped[f"{self.name}_missing"] = ~known
        return {name: tf.cast(column, tf.float32) for name, column in shaped.items()}


@dataclass(frozen=True, kw_only=True)
class Ordered(Number):
    """Base of the transforms of a column whose outputs never fall where its number rises.

    Attributes:
        monotone: Whether a model's answer may never fall (`increasing`) or never rise
            (`decreasing`) where the number rises and all else stays; None: it is free. A missing
            number has no place in the order.
    """

    monotone: Literal["increasing", "decreasing"] | None = None


@dataclass(frozen=True, kw_only=True)
class Scaled(Number):
    """Base of the shapes that are standardized to mean 0 and deviation 1 on the train split.

    A column with a single value becomes 0 everywhere. The result is clipped to a million
    deviations.

    Attributes:
        mean: Mean of the shaped numbers of the train split.
        scale: Their population standard deviation; 1 where that is 0.
    """

    fitted = (*Number.fitted, "mean", "scale")

    mean: float = 0.0
    scale: float = 1.0

    def shape(self, x: Any, xp: Any) -> Any:
        """Returns the shaped numbers, before they are standardized, `[N] float64`."""
        return x

    def fit_parameters(self, x: Distribution) -> Self:
        """Returns the feature with the parameters of `shape` fitted."""
        return self

    def fit_shape(self, x: Distribution) -> Self:
        """Fits the parameters, then the moments of the shaped numbers."""
        ready = self.fit_parameters(x)
        with np.errstate(all="ignore"):
            mean, deviation = x.moments(lambda values: ready.shape(values, np))
        if not np.isfinite(deviation):
            low, high = x.quantile([0.0, 1.0]).tolist()
            raise TrainerError(
                f"feature {self.name!r} makes infinities of numbers from {low:g} to {high:g} in "
                f"the train split; give another exponent, or reject such rows"
            )
        return replace(ready, mean=mean, scale=deviation or 1.0)

    def shaped(self, x: Any, xp: Any) -> dict[str, Any]:
        """Returns (shape(x) - mean) / scale, clipped."""
        scaled = (self.shape(x, xp) - self.mean) / self.scale
        return {self.name: xp.clip(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS)}


@dataclass(frozen=True, kw_only=True)
class Standardize(Scaled, Ordered):
    """(x - mean) / standard deviation."""

    transform: Literal["standardize"] = "standardize"

    @classmethod
    def tensors(cls, features: Sequence[Any], raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same for all features at once, on one tensor `[features, B]`.

        The time to answer a single row grows with the number of operations, hardly with their size.
        """
        import tensorflow as tf

        fill, mean, scale = (
            np.array([[getattr(f, name)] for f in features]) for name in ("fill", "mean", "scale")
        )
        x = tf.stack([raw[f.columns[0]] for f in features])
        known = tf.math.is_finite(x)
        scaled = (tf.where(known, x, fill) - mean) / scale
        clipped = tf.clip_by_value(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        columns = tf.unstack(tf.cast(clipped, tf.float32), len(features))
        by_name = {f.name: column for f, column in zip(features, columns, strict=True)}
        flagged = [place for place, f in enumerate(features) if f.flag]
        flags = tf.cast(~tf.gather(known, flagged), tf.float32) if flagged else []
        for number, place in enumerate(flagged):
            by_name[f"{features[place].name}_missing"] = flags[number]
        return by_name


@dataclass(frozen=True, kw_only=True)
class Log(Scaled, Ordered):
    """ln(1 + max(x, 0)), or if `signed` sign(x) ln(1 + |x|); then standardized."""

    transform: Literal["log"] = "log"
    signed: bool = False

    def shape(self, x: Any, xp: Any) -> Any:
        """Returns ln(1 + max(x, 0)), or sign(x) ln(1 + |x|)."""
        return xp.sign(x) * xp.log1p(xp.abs(x)) if self.signed else xp.log1p(xp.maximum(x, 0.0))


@dataclass(frozen=True, kw_only=True)
class Clip(Scaled, Ordered):
    """min(max(x, low), high), then standardized; the bounds may be quantiles of the train split."""

    transform: Literal["clip"] = "clip"
    min: float | None = None
    max: float | None = None
    quantiles: tuple[float, float] | None = None

    def check(self) -> str | None:
        """Checks for two bounds, or two quantiles, in order."""
        return super().check() or self._bounds_problem()

    def _bounds_problem(self) -> str | None:
        """Returns what is wrong with the bounds or quantiles, or None."""
        has_bound = (self.min, self.max) != (None, None)
        lacks_bound = None in (self.min, self.max)
        if has_bound == (self.quantiles is not None) or (has_bound and lacks_bound):
            return "give either `min` and `max`, or `quantiles` of the train split as [0.01, 0.99]"
        if self.quantiles is not None:
            low, high = self.quantiles
            in_order = 0 <= low < high <= 1
            return None if in_order else f"quantiles {[low, high]} are not in order within [0, 1]"
        low, high = cast(tuple[float, float], (self.min, self.max))
        return None if low < high else f"min {low} is not below max {high}"

    def fit_parameters(self, x: Distribution) -> Self:
        """Fits the bounds to the quantiles, unless the spec sets the bounds."""
        if self.quantiles is None:
            return self
        low, high = x.quantile(list(self.quantiles)).tolist()
        return replace(self, min=low, max=high)

    def shape(self, x: Any, xp: Any) -> Any:
        """Returns min(max(x, low), high)."""
        return xp.clip(x, self.min, self.max)


POWERS = (-2.0, 4.0)
"""The least and the greatest exponent that is tried."""


@dataclass(frozen=True, kw_only=True)
class Power(Scaled, Ordered):
    """Yeo & Johnson's power (Biometrika 87, 2000), then standardized.

    Unlike x^p it is defined and smooth for every number: ((1 + x)^p - 1) / p for x >= 0, or
    ln(1 + x) if p is 0, and the mirror image with 2 - p below 0. With p = 1 nothing changes. Unless
    `exponent` sets p, it is the multiple of 1/64 in [-2, 4] under which the train split is most
    likely to be normal. That is finer than any model could notice, and too coarse for the last bit
    of a logarithm, which differs between machines, to change it.
    """

    transform: Literal["power"] = "power"
    fitted = (*Scaled.fitted, "power")
    exponent: float | None = None
    power: float = 1.0

    def fit_parameters(self, x: Distribution) -> Self:
        """Fits the exponent, unless the spec sets it."""
        power = _likeliest_power(x) if self.exponent is None else self.exponent
        return replace(self, power=power)

    def shape(self, x: Any, xp: Any) -> Any:
        """Returns the power of `[N] float64`."""
        return _yeo_johnson(x, self.power, xp)


def _yeo_johnson(x: Any, p: float, xp: Any) -> Any:
    """Returns Box and Cox's power of x for x >= 0, and minus the power of -x with 2 - p below 0."""
    above = _box_cox(xp.maximum(x, 0.0), p, xp)
    return xp.where(x < 0.0, -_box_cox(xp.maximum(-x, 0.0), 2.0 - p, xp), above)


def _box_cox(x: Any, p: float, xp: Any) -> Any:
    """Returns ((1 + x)^p - 1) / p, or ln(1 + x) if p is 0."""
    return xp.expm1(p * xp.log1p(x)) / p if p else xp.log1p(x)


def _likeliest_power(x: Distribution) -> float:
    """Returns the exponent with the greatest profile log-likelihood; 1 unless another is better.

    Up to a constant, the log-likelihood a row is (p - 1) E[sign(x) ln(1 + |x|)] - ln(deviation of
    the powers) (Yeo & Johnson 2000). It has a single peak, so a grid with steps of 1/2,
    refined around its best point down to steps of 1/64, finds it.
    """
    logs = np.sign(x.values) * np.log1p(np.abs(x.values))
    jacobian = float(np.sum(logs * (x.counts / x.count)))

    def log_likelihood(p: float) -> float:
        with np.errstate(all="ignore"):
            _, deviation = x.moments(lambda values: _yeo_johnson(values, p, np))
            value = (p - 1.0) * jacobian - np.log(deviation)
        return float(value) if np.isfinite(value) else -np.inf

    low, high = POWERS
    # 1 comes first, so that it wins a tie.
    by_power = {p: log_likelihood(p) for p in (1.0, *np.arange(low, high + 0.25, 0.5).tolist())}
    for step in (1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64):
        best = max(by_power, key=by_power.__getitem__)
        by_power |= {p: log_likelihood(p) for p in (best - step, best + step) if low <= p <= high}
    return max(by_power, key=by_power.__getitem__)


@dataclass(frozen=True, kw_only=True)
class SmoothlyClipped(Number):
    """Base of the robust scales: z = (x - median) / (q75 - q25), then z / sqrt(1 + (z / 3)^2).

    The result lies in (-3, 3), and an outlier keeps its side and its rank. Where the two quartiles
    are equal, half the range takes the place of their difference; a column with a single value
    becomes 0. Source: Holzmüller, Grinsztajn & Steinwart, "Better by Default" (NeurIPS 2024),
    section 3.

    Attributes:
        center: The median.
        slope: 1 / (q75 - q25); 0 for a column with a single value.
    """

    fitted = (*Number.fitted, "center", "slope")

    center: float = 0.0
    slope: float = 0.0

    def fit_shape(self, x: Distribution) -> Self:
        """Fits the median and the slope."""
        low, quarter, median, three_quarters, high = x.quantile([0, 0.25, 0.5, 0.75, 1]).tolist()
        # Halves are subtracted, since the difference of the ends may overflow.
        width = three_quarters - quarter or high / 2 - low / 2
        return replace(self, center=median, slope=1.0 / max(width, _TINY) if width else 0.0)

    def shaped(self, x: Any, xp: Any) -> dict[str, Any]:
        """Returns the scaled and smoothly clipped number; z is bounded, so its square is finite."""
        z = xp.clip((x - self.center) * self.slope, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        return {self.name: z / xp.sqrt(1.0 + (z / 3.0) * (z / 3.0))}


@dataclass(frozen=True, kw_only=True)
class Robust(SmoothlyClipped, Ordered):
    """A scale of median and quartiles, then a smooth clip to (-3, 3)."""

    transform: Literal["robust"] = "robust"


@dataclass(frozen=True, kw_only=True)
class QuantileNormal(Ordered):
    """The normal score of a number's rank in the train split.

    The score of a knot is the normal quantile of the share of rows below it, plus half of the rows
    equal to it. Up to `quantiles` numbers of the train split are knots, and a number with more rows
    than an even share is always one. Between two knots the score is linear, and beyond the first
    and the last it stays at theirs.
    """

    transform: Literal["quantile_normal"] = "quantile_normal"
    fitted = (*Number.fitted, "knots", "scores")
    quantiles: int = 1000
    knots: tuple[float, ...] = (0.0,)
    scores: tuple[float, ...] = (0.0,)

    def check(self) -> str | None:
        """Checks for 2 to 10000 quantiles."""
        return super().check() or in_range("quantiles", self.quantiles, 2, 10_000)

    def fit_shape(self, x: Distribution) -> Self:
        """Fits the knots and their scores."""
        chosen = x.knots(self.quantiles)
        middle = (np.cumsum(x.counts) - x.counts / 2)[chosen] / x.count
        scores = tuple(NormalDist().inv_cdf(share) for share in middle.tolist())
        return replace(self, knots=tuple(x.values[chosen].tolist()), scores=scores)

    def shaped(self, x: Any, xp: Any) -> dict[str, Any]:
        """Returns the score; halves are subtracted, since the width of the range may overflow."""
        if len(self.knots) == 1:
            return {self.name: xp.zeros_like(x)}
        knots, scores = xp.asarray(self.knots), xp.asarray(self.scores)
        after = xp.clip(xp.searchsorted(knots, x, side="right"), 1, len(self.knots) - 1)
        before = after - 1
        low, high = xp.take(knots, before), xp.take(knots, after)
        width = xp.maximum(high / 2.0 - low / 2.0, _TINY)
        share = xp.clip((x / 2.0 - low / 2.0) / width, 0.0, 1.0)
        start = xp.take(scores, before)
        return {self.name: start + share * (xp.take(scores, after) - start)}


@dataclass(frozen=True, kw_only=True)
class PiecewiseLinear(Ordered):
    """Piecewise-linear encoding (Gorishniy, Rubachev & Babenko, NeurIPS 2022): a column a bin.

    The columns are `<name>_0` and so on: 0 below the bin, 1 above it, and within it the share of
    its width that lies below the number. The bins divide the train split as evenly as possible, and
    a number with more rows than an even share is an edge. Beyond the first and the last edge the
    columns stay 0 and 1. (In the paper they go on linearly there, so that an outlier can have any
    influence.)
    """

    transform: Literal["piecewise_linear"] = "piecewise_linear"
    fitted = (*Number.fitted, "edges")
    bins: int = 32
    edges: tuple[float, ...] = ()

    def check(self) -> str | None:
        """Checks for 1 to 256 bins."""
        return super().check() or in_range("bins", self.bins, 1, 256)

    def fit_shape(self, x: Distribution) -> Self:
        """Fits the edges; a column with a single value has one bin without width."""
        edges = x.values[x.knots(self.bins + 1)].tolist()
        return replace(self, edges=tuple(edges if len(edges) > 1 else edges * 2))

    @property
    def shaped_names(self) -> tuple[str, ...]:
        """A column a bin; before the fit, the most that there may be."""
        n_bins = len(self.edges) - 1 if self.edges else self.bins
        return tuple(f"{self.name}_{i}" for i in range(n_bins))

    def shaped(self, x: Any, xp: Any) -> dict[str, Any]:
        """Returns the share of each bin below the number; uses halves as `QuantileNormal` does."""
        edges = np.asarray(self.edges) / 2.0
        low, width = edges[:-1], np.maximum(np.diff(edges), _TINY)
        half = x / 2.0
        if xp is np:  # one bin after the other: a table of all bins takes 4 times as long
            shares = [_share_below(half, *bin_, np) for bin_ in zip(low, width, strict=True)]
        else:
            shares = xp.unstack(_share_below(half[None, :], low[:, None], width[:, None], xp))
        return dict(zip(self.shaped_names, shares, strict=True))


def _share_below(x: Any, low: Any, width: Any, xp: Any) -> Any:
    return xp.clip((x - low) / width, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Bucketize(Feature):
    """The index of a number's bucket: 0 where missing, 1 below the first edge, and so on.

    The spec sets the edges, or they are the `buckets` - 1 equally spaced quantiles of the train
    split, without duplicates. A number equal to an edge belongs to the bucket above it.
    """

    accepts = NUMBERS
    transform: Literal["bucketize"] = "bucketize"
    buckets: int | None = None
    edges: tuple[float, ...] | None = None

    def check(self) -> str | None:
        """Checks for either edges or a number of buckets."""
        if (self.buckets is None) == (self.edges is None):
            return "give either `buckets` (quantiles of the train split) or `edges`"
        if self.buckets is not None:
            return in_range("buckets", self.buckets, 2, 10_000)
        if self.edges is not None and (not self.edges or list(self.edges) != sorted({*self.edges})):
            return f"edges {list(self.edges)} are not ascending"
        return None

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the edges, unless the spec sets them."""
        if self.edges is not None:
            return self
        x = cast(Distribution, columns[self.columns[0]])
        shares = np.arange(1, cast(int, self.buckets)) / cast(int, self.buckets)
        return replace(self, edges=tuple(np.unique(x.quantile(shares)).tolist()))

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """One index, over missing and one bucket more than there are edges."""
        return (Engineered(self.name, len(self.edges or ()) + 2),)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """Returns the bucket of each number, `[N] int32`."""
        x = cast(np.ndarray, raw[self.columns[0]])
        bucket = np.searchsorted(np.asarray(self.edges), x, side="right") + 1
        return {self.name: np.where(np.isnan(x), 0, bucket).astype(np.int32)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Does the same with tensors."""
        import tensorflow as tf

        x = raw[self.columns[0]]
        known = tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)
        bucket = tf.searchsorted(tf.constant(self.edges, tf.float64), known, side="right") + 1
        return {self.name: tf.where(tf.math.is_nan(x), tf.zeros_like(bucket), bucket)}
