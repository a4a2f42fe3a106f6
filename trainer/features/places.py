"""Transforms of places on the Earth: latitude and longitude, in degrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from .base import NUMBERS, QUANTITY, TIMES, Raw, Tensors, tensorflow_arithmetic
from .categories import Vocabulary, text_numpy, text_tensor
from .numbers import Scaled

if TYPE_CHECKING:
    import tensorflow as tf

EARTH_KM = 6371.0088
"""The mean radius of the Earth (International Union of Geodesy and Geophysics)."""


def _is_place(latitude: Any, longitude: Any, xp: Any) -> Any:
    """Returns whether a place is on the Earth; longitudes may start at -180 or at 0 degrees."""
    return (xp.abs(latitude) <= 90.0) & (xp.abs(longitude) <= 360.0)


@dataclass(frozen=True, kw_only=True)
class Distance(Scaled):
    """The great-circle distance of two places in kilometres (haversine), standardized.

    The columns are `[latitude, longitude, latitude, longitude]` in degrees. The distance is missing
    where one of the four is missing, a latitude lies beyond 90 or a longitude beyond 360 degrees.
    """

    accepts = NUMBERS - TIMES
    n_columns = (4, 4)
    is_column = False
    transform: Literal["distance"] = "distance"

    def value(self, raw: Any, xp: Any) -> Any:
        """Returns the distance in each row, `[N] float64`, NaN where missing."""
        a, b, c, d = (raw[name] for name in self.columns)
        known = _is_place(a, b, xp) & _is_place(c, d, xp)
        a, b, c, d = (xp.where(known, x, 0.0) * (np.pi / 180.0) for x in (a, b, c, d))
        vertical, horizontal = xp.sin((c - a) / 2.0), xp.sin((d - b) / 2.0)
        square = vertical * vertical + xp.cos(a) * xp.cos(c) * horizontal * horizontal
        half = xp.arcsin(xp.minimum(xp.sqrt(square), 1.0))  # antipodes may round to above 1
        return xp.where(known, 2.0 * EARTH_KM * half, np.nan)


@dataclass(frozen=True, kw_only=True)
class Grid(Vocabulary):
    """The cell of a place in a grid of `degrees`, as a vocabulary of the train split's cells.

    The columns are `[latitude, longitude]`. Cells are numbered row by row, from the south pole and
    180 degrees west; a place on an edge belongs to the cell to its north or east. The index is 0
    where the place is missing or off the Earth. Cells that are rare in the train split share the
    index of unseen cells.
    """

    accepts = NUMBERS - TIMES
    n_columns = (2, 2)
    transform: Literal["grid"] = "grid"  # type: ignore[assignment]
    degrees: float

    def check(self) -> str | None:
        """Checks the size of the cells."""
        if not 1e-4 <= self.degrees <= 90:
            return f"degrees is {self.degrees}; it must be between 0.0001 and 90"
        return super().check()

    @property
    def statistics_name(self) -> str:
        """Name of the statistics of cells, which no single column has."""
        return QUANTITY + self.name

    def quantities(self, raw: Raw) -> dict[str, Any]:
        """Returns the cell of each row, to be counted."""
        return {self.statistics_name: self.text_numpy(raw)}

    def text_numpy(self, raw: Raw) -> pa.Array:
        """Returns the number of each row's cell in decimal, '' where missing; `[N]` strings."""
        return text_numpy(self._cell(raw, np))

    def text_tensor(self, raw: Tensors) -> tf.Tensor:
        """Does the same with tensors."""
        return text_tensor(self._cell(raw, tensorflow_arithmetic()))

    def _cell(self, raw: Any, xp: Any) -> Any:
        """Returns the number of each row's cell, `[N] float64`, NaN where missing."""
        latitude, longitude = (raw[name] for name in self.columns)
        known = _is_place(latitude, longitude, xp)
        east = xp.where(known, longitude, 0.0) + 180.0
        east = east - xp.floor(east / 360.0) * 360.0
        north = xp.where(known, latitude, 0.0) + 90.0
        row, column = xp.floor(north / self.degrees), xp.floor(east / self.degrees)
        return xp.where(known, row * np.ceil(360.0 / self.degrees) + column, np.nan)
