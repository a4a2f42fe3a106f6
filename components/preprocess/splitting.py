"""The split of each row: train, validation or test, the same on every machine and every week."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import SpecError
from quatrain.components.preprocess.dictionary import decode
from quatrain.components.specification.split import (
    SPLITS,
    ColumnSplit,
    FoldSplit,
    HashSplit,
    Split,
    TimeSplit,
)
from quatrain.components.table.block import Fault
from quatrain.components.times import parse_utc
from quatrain.trainer.features.fingerprint import distinct_rows, fingerprint64

PARTS = 1000
"""A split by hash cuts the fingerprints into this many parts; shares are rounded to a part."""
SEPARATOR = "\x1f"
_UNKNOWN = -1


@singledispatch
def assign(split: Split, batch: pa.RecordBatch) -> np.ndarray:
    r"""Returns the split of each row: 0 train, 1 validation, 2 test, -1 unknown; `[N] int8`.

    By hash: `ABS(MOD(FARM_FINGERPRINT(key), 1000))` is compared with the cumulative shares. The key
    is the text of the key columns, joined by the unit separator; a missing one is the empty text. A
    seed other than 0 comes first, then the stratified column. So each class is drawn independently
    of the others, and a split of share p gets p +- sqrt(p (1 - p) / n) of the n keys of a class.
    For `keys: [year, month, day]` and 80/10/10, BigQuery finds the same rows by

        SELECT *, IF(part < 800, 'train', IF(part < 900, 'validation', 'test')) AS split
        FROM (SELECT *, ABS(MOD(FARM_FINGERPRINT(CONCAT(CAST(year AS STRING), '\x1f',
          CAST(month AS STRING), '\x1f', CAST(day AS STRING))), 1000)) AS part FROM flights)

    Integers, strings, bools and dates are spelled as BigQuery does; timestamps and floats as Arrow
    does.

    By time: train ends before `validation_from`, and test begins at `test_from`. By column: the
    column holds the names of the splits. By fold: folds are compared with `validation` and `test`
    as text. A missing time or fold gives -1, and so does any other name.

    Args:
        split: The section of the spec.
        batch: The columns of the rows, plain or encoded.

    Raises:
        SpecError: A threshold is not a timestamp.
    """
    raise TypeError(f"no way to split by {type(split).__name__}")


def bad_split(split: Split, assigned: np.ndarray) -> Fault:
    """Returns the fault of the rows whose split is unknown."""
    if isinstance(split, HashSplit):
        return Fault.where(assigned == _UNKNOWN, "bad_split")
    allowed = f"is none of {', '.join(SPLITS)}" if split.by == "column" else "is missing"
    return Fault.where(assigned == _UNKNOWN, "bad_split", f"{split.column} {allowed}")


@assign.register
def _by_hash(split: HashSplit, batch: pa.RecordBatch) -> np.ndarray:
    """Splits by hash as `assign` describes; each distinct key is hashed only once."""
    rows, keys = distinct_rows([batch.column(k) for k in split.key_columns])
    if split.seed:
        keys.insert(0, pa.repeat(str(split.seed), len(keys[0])))
    part = parts(joined(keys))
    # Rounded, since 0.7 + 0.1 is 0.7999999999999999 in float64.
    bounds = np.rint(np.cumsum([split.train, split.validation]) * PARTS)
    return np.searchsorted(bounds, part, side="right").astype(np.int8)[rows]


def joined(keys: Sequence[pa.Array]) -> pa.Array:
    """Returns the keys of each row as one text, `[N] string`; a missing key is empty."""
    texts = [pc.fill_null(k.cast(pa.string()), "") for k in keys]
    return pc.binary_join_element_wise(*texts, SEPARATOR)


def parts(keys: pa.Array, n: int = PARTS) -> np.ndarray:
    """Returns BigQuery's `ABS(MOD(FARM_FINGERPRINT(key), n))` of texts, `[N] int64` in [0, n)."""
    # fmod keeps the sign of the dividend, as MOD in SQL does. A remainder is never the least int64,
    # which has no absolute value.
    return np.abs(np.fmod(fingerprint64(keys).view(np.int64), np.int64(n)))


@assign.register
def _by_time(split: TimeSplit, batch: pa.RecordBatch) -> np.ndarray:
    """Splits by time: the number of bounds that a row has reached is its split."""
    times = decode(batch.column(split.column)).cast(pa.timestamp("us"))
    starts = [threshold(getattr(split, name)) for name in ("validation_from", "test_from")]
    side = sum(pc.greater_equal(times, s).cast(pa.int8()).fill_null(0).to_numpy() for s in starts)
    missing = times.is_null().to_numpy(zero_copy_only=False)
    return np.where(missing, _UNKNOWN, side).astype(np.int8)


@assign.register
def _by_fold(split: FoldSplit, batch: pa.RecordBatch) -> np.ndarray:
    """Splits by fold: the two held-out folds are validation and test, all others are train."""
    folds = decode(batch.column(split.column)).cast(pa.string())
    held_out = pc.index_in(folds, pa.array([split.validation, split.test]))
    side = pc.fill_null(held_out, -1).to_numpy(zero_copy_only=False) + 1
    missing = folds.is_null().to_numpy(zero_copy_only=False)
    return np.where(missing, _UNKNOWN, side).astype(np.int8)


@assign.register
def _by_column(split: ColumnSplit, batch: pa.RecordBatch) -> np.ndarray:
    index = pc.index_in(decode(batch.column(split.column)), pa.array(SPLITS))
    return pc.fill_null(index, _UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int8)


def threshold(text: str) -> pa.Scalar:
    """Returns the UTC timestamp of a text; one without an offset is UTC.

    Raises:
        SpecError: The text is not ISO 8601.
    """
    try:
        time = parse_utc(text)
    except ValueError as error:
        raise SpecError(
            f"split: {text!r} must be an ISO 8601 date or timestamp, as 2013-10-01"
        ) from error
    return pa.scalar(time.replace(tzinfo=None), pa.timestamp("us"))
