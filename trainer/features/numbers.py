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

MAX_DEVIATIONS = 1e6  # bounds a scaled value, so that it stays finite as float32
_TINY = float(np.finfo(np.float64).tiny)
IMPUTE = ("median", "mean", "most_frequent")


@dataclass(frozen=True, kw_only=True)
class Number(Feature):
    """Base of the transforms of one number a row, which fill it where it is missing.

    NaN and infinities are missing. `impute` says what stands in for them: the train split's
    median, mean or most frequent value (the lowest of equally frequent ones), or a constant. With
    `indicator` the column `<name>_missing` is 1 where the number was missing, else 0; without a
    word about it, there is one where the train split misses a number. `fill` and `flag` are
    what `fit` made of the two.
    """

    accepts = NUMBERS
    fitted: ClassVar[tuple[str, ...]] = ("fill", "flag")
    is_column: ClassVar[bool] = True
    """Whether the number is a raw input itself, not made of raw inputs."""

    impute: str | float = "median"
    indicator: bool | None = None
    fill: float = 0.0
    flag: bool = False

    def check(self) -> str | None:
        """A word for what stands in, or a number."""
        if not isinstance(self.impute, str) or self.impute in IMPUTE:
            return None
        return f"impute is {self.impute!r}; it must be {', '.join(IMPUTE)} or a number"

    def value(self, raw: Any, xp: Any) -> Any:
        """The number of each row, `[N] float64`, not finite where missing.

        Args:
            raw: Raw inputs, as arrays or as tensors.
            xp: numpy, or TensorFlow under numpy's names.
        """
        return raw[self.columns[0]]

    @abstractmethod
    def fit_shape(self, x: Distribution) -> Self:
        """Returns the feature fitted to the numbers of the train split, but for `fill`."""

    @abstractmethod
    def shaped(self, x: Any, xp: Any) -> dict[str, Any]:
        """The engineered columns of `[N] float64` finite numbers, by name, `[N] float64`."""

    @property
    def counted(self) -> str:
        """The raw input, or a name of its own for what is made of several."""
        return self.columns[0] if self.is_column else QUANTITY + self.name

    def quantities(self, raw: Raw) -> dict[str, Any]:
        """The number of each row, unless it is a raw input."""
        if self.is_column:
            return {}
        with np.errstate(all="ignore"):
            return {self.counted: self.value(raw, np)}

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the shape, what stands in for missing numbers, and whether they have a column."""
        x = cast(Distribution, columns[self.counted])
        if not x.count:
            raise TrainerError(
                f"feature {self.name!r} is missing in all {x.missing:,} rows of the train split, "
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
        """All columns that it may give; the indicator unless it is ruled out."""
        given = self._with_indicator(self.shaped_names, self.indicator is not False)
        return tuple(o.name for o in given)

    @property
    def shaped_names(self) -> tuple[str, ...]:
        """The names of the columns of `shaped`."""
        return (self.name,)

    def _with_indicator(self, names: tuple[str, ...], flag: bool) -> tuple[Engineered, ...]:
        return tuple(map(Engineered, (*names, f"{self.name}_missing") if flag else names))

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """The shaped numbers, and whether they were missing; `[N] float32` each."""
        with np.errstate(all="ignore"):
            x = self.value(raw, np)
            known = np.isfinite(x)
            shaped = self.shaped(np.where(known, x, self.fill), np)
        if self.flag:
            shaped[f"{self.name}_missing"] = ~known
        return {name: column.astype(np.float32) for name, column in shaped.items()}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        xp = tensorflow_arithmetic()
        x = self.value(raw, xp)
        known = tf.math.is_finite(x)
        shaped = self.shaped(tf.where(known, x, tf.constant(self.fill, tf.float64)), xp)
        if self.flag:
            shaped[f"{self.name}_missing"] = ~known
        return {name: tf.cast(column, tf.float32) for name, column in shaped.items()}


@dataclass(frozen=True, kw_only=True)
class Scaled(Number):
    """Base of the shapes that end in mean 0 and deviation 1 on the train split.

    A column of one value becomes 0 everywhere. The result is held within a million deviations.
    """

    fitted = (*Number.fitted, "mean", "scale")

    mean: float = 0.0
    scale: float = 1.0

    def shape(self, x: Any, xp: Any) -> Any:
        """The shape on `[N] float64`, in numpy or TensorFlow."""
        return x

    def fit_parameters(self, x: Distribution) -> Self:
        """Fits what the shape itself needs."""
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
        """(shape(x) - mean) / deviation."""
        scaled = (self.shape(x, xp) - self.mean) / self.scale
        return {self.name: xp.clip(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS)}


@dataclass(frozen=True, kw_only=True)
class Standardize(Scaled):
    """(x - mean) / standard deviation."""

    transform: Literal["standardize"] = "standardize"

    @classmethod
    def tensors(cls, features: Sequence[Any], raw: Tensors) -> dict[str, tf.Tensor]:
        """The same operations on one `[features, B]`: a row alone waits for their number."""
        import tensorflow as tf

        fill, mean, scale = (
            np.array([[getattr(f, name)] for f in features]) for name in ("fill", "mean", "scale")
        )
        x = tf.stack([raw[f.columns[0]] for f in features])
        known = tf.math.is_finite(x)
        scaled = (tf.where(known, x, fill) - mean) / scale
        held = tf.clip_by_value(scaled, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        columns = tf.unstack(tf.cast(held, tf.float32), len(features))
        given = {f.name: column for f, column in zip(features, columns, strict=True)}
        flagged = [place for place, f in enumerate(features) if f.flag]
        flags = tf.cast(~tf.gather(known, flagged), tf.float32) if flagged else []
        for number, place in enumerate(flagged):
            given[f"{features[place].name}_missing"] = flags[number]
        return given


@dataclass(frozen=True, kw_only=True)
class Log(Scaled):
    """ln(1 + x) with x below 0 held at 0, or `signed`: sign(x) ln(1 + |x|); then standardized."""

    transform: Literal["log"] = "log"
    signed: bool = False

    def shape(self, x: Any, xp: Any) -> Any:
        """ln(1 + max(x, 0)), or sign(x) ln(1 + |x|)."""
        return xp.sign(x) * xp.log1p(xp.abs(x)) if self.signed else xp.log1p(xp.maximum(x, 0.0))


@dataclass(frozen=True, kw_only=True)
class Clip(Scaled):
    """min(max(x, low), high), then standardized; the bounds may be quantiles of the train split."""

    transform: Literal["clip"] = "clip"
    min: float | None = None
    max: float | None = None
    quantiles: tuple[float, float] | None = None

    def check(self) -> str | None:
        """Bounds, or the shares of the rows at or below them, in order."""
        return super().check() or self._bounds_problem()

    def _bounds_problem(self) -> str | None:
        given = (self.min, self.max) != (None, None)
        if given == (self.quantiles is not None) or (given and None in (self.min, self.max)):
            return "give either `min` and `max`, or `quantiles` of the train split as [0.01, 0.99]"
        if self.quantiles is not None:
            low, high = self.quantiles
            in_order = 0 <= low < high <= 1
            return None if in_order else f"quantiles {[low, high]} are not in order within [0, 1]"
        low, high = cast(tuple[float, float], (self.min, self.max))
        return None if low < high else f"min {low} is not below max {high}"

    def fit_parameters(self, x: Distribution) -> Self:
        """Fits the bounds, unless they are given."""
        if self.quantiles is None:
            return self
        low, high = x.quantile(list(self.quantiles)).tolist()
        return replace(self, min=low, max=high)

    def shape(self, x: Any, xp: Any) -> Any:
        """min(max(x, low), high)."""
        return xp.clip(x, self.min, self.max)


POWERS = (-2.0, 4.0)
"""The least and the greatest exponent that is tried."""


@dataclass(frozen=True, kw_only=True)
class Power(Scaled):
    """Yeo & Johnson's power (Biometrika 87, 2000), then standardized.

    Unlike x^p it is defined and smooth for every number: ((1 + x)^p - 1) / p from 0 up, ln(1 + x)
    where p is 0, and the mirror image with 2 - p below 0; p = 1 changes nothing. Unless `exponent`
    gives it, p is the one in [-2, 4] of the greatest likelihood of a normal distribution, to
    1/64: so near that no model could tell, and too coarse for the last bit of a logarithm to
    change it.
    """

    transform: Literal["power"] = "power"
    fitted = (*Scaled.fitted, "power")
    exponent: float | None = None
    power: float = 1.0

    def fit_parameters(self, x: Distribution) -> Self:
        """Fits the exponent, unless it is given."""
        power = _likeliest_power(x) if self.exponent is None else self.exponent
        return replace(self, power=power)

    def shape(self, x: Any, xp: Any) -> Any:
        """The power of `[N] float64`."""
        return _yeo_johnson(x, self.power, xp)


def _yeo_johnson(x: Any, p: float, xp: Any) -> Any:
    """The power of x from 0 up; below 0 the mirror image of that of -x with 2 - p."""
    above = _box_cox(xp.maximum(x, 0.0), p, xp)
    return xp.where(x < 0.0, -_box_cox(xp.maximum(-x, 0.0), 2.0 - p, xp), above)


def _box_cox(x: Any, p: float, xp: Any) -> Any:
    """((1 + x)^p - 1) / p; ln(1 + x) where p is 0."""
    return xp.expm1(p * xp.log1p(x)) / p if p else xp.log1p(x)


def _likeliest_power(x: Distribution) -> float:
    """The exponent of the greatest profile log-likelihood; 1 where no other one is better.

    The likelihood has one peak, so steps from 1/2 down to 1/64 around the best climb it.
    """
    logs = np.sign(x.values) * np.log1p(np.abs(x.values))
    jacobian = float(np.sum(logs * (x.counts / x.count)))

    def likelihood(p: float) -> float:
        with np.errstate(all="ignore"):
            _, deviation = x.moments(lambda values: _yeo_johnson(values, p, np))
            found = (p - 1.0) * jacobian - np.log(deviation)
        return float(found) if np.isfinite(found) else -np.inf

    low, high = POWERS
    tried = {p: likelihood(p) for p in (1.0, *np.arange(low, high + 0.25, 0.5).tolist())}
    for step in (1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64):
        best = max(tried, key=tried.__getitem__)
        tried |= {p: likelihood(p) for p in (best - step, best + step) if low <= p <= high}
    return max(tried, key=tried.__getitem__)


@dataclass(frozen=True, kw_only=True)
class SmoothlyClipped(Number):
    """Base of robust scales: z = (x - median) / (q75 - q25), then z / sqrt(1 + (z / 3)^2).

    So the result lies in (-3, 3), and an outlier keeps its side and its rank. Where the two
    quartiles are equal, half the range takes their place; a column of one value becomes 0.
    Holzmüller, Grinsztajn & Steinwart, "Better by Default" (NeurIPS 2024), section 3.
    """

    fitted = (*Number.fitted, "center", "slope")

    center: float = 0.0
    slope: float = 0.0

    def fit_shape(self, x: Distribution) -> Self:
        """Fits the median and the slope."""
        low, quarter, median, three_quarters, high = x.quantile([0, 0.25, 0.5, 0.75, 1]).tolist()
        width = three_quarters - quarter or high / 2 - low / 2
        return replace(self, center=median, slope=1.0 / max(width, _TINY) if width else 0.0)

    def shaped(self, x: Any, xp: Any) -> dict[str, Any]:
        """The scaled and smoothly clipped number; first held where its square is finite."""
        z = xp.clip((x - self.center) * self.slope, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        return {self.name: z / xp.sqrt(1.0 + (z / 3.0) * (z / 3.0))}


@dataclass(frozen=True, kw_only=True)
class Robust(SmoothlyClipped):
    """Median and quartiles, then a smooth clip to (-3, 3)."""

    transform: Literal["robust"] = "robust"


@dataclass(frozen=True, kw_only=True)
class QuantileNormal(Number):
    """The normal score of a number's place among the train split's.

    `quantiles` numbers of the train split get the normal score of the share of rows below them
    and half of those equal to them; between two of them the score is linear, beyond the least and
    the greatest it is theirs. A number with more rows than its part is one of them.
    """

    transform: Literal["quantile_normal"] = "quantile_normal"
    fitted = (*Number.fitted, "knots", "scores")
    quantiles: int = 1000
    knots: tuple[float, ...] = (0.0,)
    scores: tuple[float, ...] = (0.0,)

    def check(self) -> str | None:
        """Between 2 and 10000 quantiles."""
        return super().check() or in_range("quantiles", self.quantiles, 2, 10_000)

    def fit_shape(self, x: Distribution) -> Self:
        """Fits the knots and their scores."""
        chosen = x.knots(self.quantiles)
        middle = (np.cumsum(x.counts) - x.counts / 2)[chosen] / x.count
        scores = tuple(NormalDist().inv_cdf(share) for share in middle.tolist())
        return replace(self, knots=tuple(x.values[chosen].tolist()), scores=scores)

    def shaped(self, x: Any, xp: Any) -> dict[str, Any]:
        """The score; halves keep the width of the widest interval finite."""
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
class PiecewiseLinear(Number):
    """Piecewise-linear encoding (Gorishniy, Rubachev & Babenko, NeurIPS 2022): a column a bin.

    `<name>_0` and so on: 0 below the bin, 1 above it, and within it the share of its width that
    lies below the number. The bins hold near equal parts of the train split, and a number with
    more rows than a part is an edge. Beyond the first and the last edge all columns are 0 or 1
    (the paper goes on linearly there; held, an outlier cannot reach far).
    """

    transform: Literal["piecewise_linear"] = "piecewise_linear"
    fitted = (*Number.fitted, "edges")
    bins: int = 32
    edges: tuple[float, ...] = ()

    def check(self) -> str | None:
        """Between 1 and 256 bins."""
        return super().check() or in_range("bins", self.bins, 1, 256)

    def fit_shape(self, x: Distribution) -> Self:
        """Fits the edges; a column of one value has one bin, of no width."""
        edges = x.values[x.knots(self.bins + 1)].tolist()
        return replace(self, edges=tuple(edges if len(edges) > 1 else edges * 2))

    @property
    def shaped_names(self) -> tuple[str, ...]:
        """A column a bin; before the fit, as many as there may be."""
        n_bins = len(self.edges) - 1 if self.edges else self.bins
        return tuple(f"{self.name}_{i}" for i in range(n_bins))

    def shaped(self, x: Any, xp: Any) -> dict[str, Any]:
        """The share of each bin below the number, halved as in `QuantileNormal`."""
        edges = np.asarray(self.edges) / 2.0
        low, width = edges[:-1], np.maximum(np.diff(edges), _TINY)
        half = x / 2.0
        if xp is np:  # a bin after the other: a table of all is 4 times as slow
            shares = [_held_share(half, *bin_, np) for bin_ in zip(low, width, strict=True)]
        else:
            shares = xp.unstack(_held_share(half[None, :], low[:, None], width[:, None], xp))
        return dict(zip(self.shaped_names, shares, strict=True))


def _held_share(x: Any, low: Any, width: Any, xp: Any) -> Any:
    return xp.clip((x - low) / width, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Bucketize(Feature):
    """The index of the bucket of a number: 0 missing, 1 below the first edge, and so on.

    Edges are given, or are `buckets` - 1 equally spaced quantiles of the train split (equal ones
    merged). A value equal to an edge belongs to the bucket above it.
    """

    accepts = NUMBERS
    transform: Literal["bucketize"] = "bucketize"
    buckets: int | None = None
    edges: tuple[float, ...] | None = None

    def check(self) -> str | None:
        """Either edges or a number of buckets."""
        if (self.buckets is None) == (self.edges is None):
            return "give either `buckets` (quantiles of the train split) or `edges`"
        if self.buckets is not None:
            return in_range("buckets", self.buckets, 2, 10_000)
        if self.edges is not None and (not self.edges or list(self.edges) != sorted({*self.edges})):
            return f"edges {list(self.edges)} are not ascending"
        return None

    def fit(self, columns: Mapping[str, ColumnStatistics]) -> Feature:
        """Fits the edges, unless they are given."""
        if self.edges is not None:
            return self
        x = cast(Distribution, columns[self.columns[0]])
        shares = np.arange(1, cast(int, self.buckets)) / cast(int, self.buckets)
        return replace(self, edges=tuple(np.unique(x.quantile(shares)).tolist()))

    @property
    def outputs(self) -> tuple[Engineered, ...]:
        """One index; missing, and one more bucket than edges."""
        return (Engineered(self.name, len(self.edges or ()) + 2),)

    def numpy(self, raw: Raw) -> dict[str, np.ndarray]:
        """The bucket of each number; `[N] int32`."""
        x = cast(np.ndarray, raw[self.columns[0]])
        bucket = np.searchsorted(np.asarray(self.edges), x, side="right") + 1
        return {self.name: np.where(np.isnan(x), 0, bucket).astype(np.int32)}

    def tensor(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """The same on tensors."""
        import tensorflow as tf

        x = raw[self.columns[0]]
        known = tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)
        bucket = tf.searchsorted(tf.constant(self.edges, tf.float64), known, side="right") + 1
        return {self.name: tf.where(tf.math.is_nan(x), tf.zeros_like(bucket), bucket)}
