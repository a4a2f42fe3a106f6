"""Transforms of places on the Earth, given as latitude and longitude in degrees."""

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
    """Whether a place is on the Earth; longitudes may count from -180 or from 0."""
    return (xp.abs(latitude) <= 90.0) & (xp.abs(longitude) <= 360.0)


@dataclass(frozen=True, kw_only=True)
class Distance(Scaled):
    """The great-circle distance of two places in kilometres (haversine), standardized.

    From `[latitude, longitude, latitude, longitude]` in degrees. Missing where one of the four is,
    or where a latitude lies beyond 90 or a longitude beyond 360 degrees.
    """

    accepts = NUMBERS - TIMES
    n_columns = (4, 4)
    is_column = False
    transform: Literal["distance"] = "distance"

    def value(self, raw: Any, xp: Any) -> Any:
        """The distance of each row."""
        a, b, c, d = (raw[name] for name in self.columns)
        known = _is_place(a, b, xp) & _is_place(c, d, xp)
        a, b, c, d = (xp.where(known, x, 0.0) * (np.pi / 180.0) for x in (a, b, c, d))
        vertical, horizontal = xp.sin((c - a) / 2.0), xp.sin((d - b) / 2.0)
        square = vertical * vertical + xp.cos(a) * xp.cos(c) * horizontal * horizontal
        half = xp.arcsin(xp.minimum(xp.sqrt(square), 1.0))
        return xp.where(known, 2.0 * EARTH_KM * half, np.nan)


@dataclass(frozen=True, kw_only=True)
class Grid(Vocabulary):
    """The cell of a place in a grid of `degrees`, as a vocabulary of the train split's cells.

    From `[latitude, longitude]`. Cells are counted from the south pole and from 180 degrees west,
    row by row; a place on an edge belongs to the cell north or east of it. Missing and places off
    the Earth are 0; a cell with few rows of the train split is an unseen one.
    """

    accepts = NUMBERS - TIMES
    n_columns = (2, 2)
    transform: Literal["grid"] = "grid"  # type: ignore[assignment]
    degrees: float

    def check(self) -> str | None:
        """Cells of a sensible size."""
        if not 1e-4 <= self.degrees <= 90:
            return f"degrees is {self.degrees}; it must be between 0.0001 and 90"
        return super().check()

    @property
    def counted(self) -> str:
        """A name of its own: the cell is made of two columns."""
        return QUANTITY + self.name

    def quantities(self, raw: Raw) -> dict[str, Any]:
        """The cell of each row."""
        return {self.counted: self.text_numpy(raw)}

    def text_numpy(self, raw: Raw) -> pa.Array:
        """The number of the cell, in decimal."""
        return text_numpy(self._cell(raw, np))

    def text_tensor(self, raw: Tensors) -> tf.Tensor:
        """The same on tensors."""
        return text_tensor(self._cell(raw, tensorflow_arithmetic()))

    def _cell(self, raw: Any, xp: Any) -> Any:
        latitude, longitude = (raw[name] for name in self.columns)
        known = _is_place(latitude, longitude, xp)
        east = xp.where(known, longitude, 0.0) + 180.0
        east = east - xp.floor(east / 360.0) * 360.0
        north = xp.where(known, latitude, 0.0) + 90.0
        row, column = xp.floor(north / self.degrees), xp.floor(east / self.degrees)
        return xp.where(known, row * np.ceil(360.0 / self.degrees) + column, np.nan)
