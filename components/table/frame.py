"""A table in memory, from pandas, polars, Arrow or a list of dicts, as one Arrow table."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa

from quatrain.components.errors import FrameError
from quatrain.components.wording import a_or_an, first_line

ACCEPTED = (
    "a pandas or polars DataFrame, an Arrow table or anything else with __arrow_c_stream__, "
    "or a list of dicts"
)
_NESTED = (list, tuple, dict, set)


def to_arrow(data: Any) -> pa.Table:
    """Returns a table in memory as an Arrow table, without a copy where there need not be one.

    The same rows give the same table, whichever library holds them: categories become their values,
    and metadata goes. A row keeps its place, and the labels of a pandas index are left out, as
    `to_csv(index=False)` leaves them out.

    Args:
        data: A pandas or polars DataFrame, an object with `__arrow_c_stream__` such as an Arrow
            table or a DuckDB relation, a list of dicts (one for each row; an absent key is a
            missing value), or one dict.

    Raises:
        FrameError: It is no table, a pandas index has a name, two columns have the same name, or a
            column mixes types or has one that no file could hold.
    """
    table = _table_of(data)
    if twice := [name for name, n in Counter(table.column_names).items() if n > 1]:
        raise FrameError(f"two columns are named {twice[0]!r}; rename or drop one of them")
    if not table.num_columns:
        raise FrameError(f"the {_kind(data)} has no columns; give one with the columns of a table")
    if "" in table.column_names:
        raise FrameError(f"the {_kind(data)} has a column without a name; rename it")
    return pa.table({name: _plain(name, table.column(name)) for name in table.column_names})


def _table_of(data: Any) -> pa.Table:
    if isinstance(data, Mapping):
        data = [data]
    if isinstance(data, list):
        return _from_dicts(data)
    # A library that is not imported has made no frame, and Quatrain depends on neither.
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return _from_pandas(data)
    try:
        if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
            return pa.table(data)
    except Exception as error:  # whatever the library raises that exports it
        raise FrameError(
            f"the {_kind(data)} cannot be read as a table ({first_line(error)}); give {ACCEPTED}"
        ) from error
    hint = "; call .collect() first" if hasattr(data, "collect") else f"; give {ACCEPTED}"
    raise FrameError(f"{a_or_an(_kind(data))} is no table in memory{hint}")


def _from_pandas(frame: Any) -> pa.Table:
    """Returns a pandas DataFrame; its index only numbers the rows, unless it has a name."""
    if named := [name for name in frame.index.names if name is not None]:
        raise FrameError(
            f"the index of the DataFrame is named {named[0]!r}: call .reset_index() to have it as "
            f"a column, or .reset_index(drop=True) to leave it out"
        )
    if texts := [name for name in frame.columns if not isinstance(name, str)]:
        raise FrameError(
            f"the DataFrame has a column named {texts[0]!r}, which is no text; rename its columns, "
            f"for example by frame.columns = [...]"
        )
    if not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        raise FrameError(f"two columns are named {name!r}; rename or drop one of them")
    return _joined(
        {
            name: lambda series=frame[name]: pa.Array.from_pandas(series)  # type: ignore[misc]
            for name in frame.columns
        },
        lambda name: frame[name].tolist(),
    )


def _from_dicts(rows: Sequence[Any]) -> pa.Table:
    """Returns the rows of a list of dicts, whose keys may differ."""
    if not rows:
        raise FrameError(f"{rows!r} has no rows; give a list of at least one dict")
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise FrameError(
                f"row {number} is {a_or_an(type(row).__name__)}, not a dict of values by column; "
                f"give {ACCEPTED}"
            )
        for name, value in row.items():
            if not isinstance(name, str):
                raise FrameError(
                    f"row {number} has the key {name!r}, which is no text; name it by one"
                )
            if isinstance(value, _NESTED) or np.ndim(value):
                raise FrameError(
                    f"row {number}, column {name!r} holds {type(value).__name__}, not one value; "
                    f"give a dict for each row, or a table by pyarrow.table(...)"
                )
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = {name: [row.get(name) for row in rows] for name in names}
    return _joined(
        {n: lambda v=v: pa.array(v, from_pandas=True) for n, v in values.items()},  # type: ignore[misc]
        values.__getitem__,
    )


def _joined(
    columns: Mapping[str, Callable[[], Any]], values_of: Callable[[str], Sequence[Any]]
) -> pa.Table:
    """Returns a table of columns that Python objects are converted to.

    Raises:
        FrameError: The values of a column have types that do not go together.
    """
    converted = {}
    for name, convert in columns.items():
        why, cause = "", None
        try:
            converted[name] = convert()
            if pa.types.is_date(
                converted[name].type
            ):  # Arrow cuts the time off those that have one
                why = _mixture(values_of(name))
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            why, cause = _mixture(values_of(name)) or first_line(error), error
        if why:
            raise FrameError(f"column {name!r}: {why}; convert it to one type first") from cause
    return pa.table(converted)


def _mixture(values: Sequence[Any]) -> str:
    """Returns where the types of Python values first differ; an empty text if they do not."""
    first: tuple[int, Any] | None = None
    for number, value in enumerate(values):
        if _is_missing(value):
            continue
        if first is None:
            first = number, value
        elif _family(value) != _family(first[1]):
            return " and ".join(
                f"row {n} holds {type(v).__name__} {v!r:.60}" for n, v in (first, (number, value))
            )
    return ""


def _is_missing(value: Any) -> bool:
    """Returns whether a value is None, NaN, or pandas's NA or NaT."""
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def _family(value: Any) -> type:
    """Returns the type of a value, one for whole numbers and fractions."""
    return float if isinstance(value, Real) and not isinstance(value, bool) else type(value)


def _plain(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column in a type that Parquet files have too.

    Raises:
        FrameError: No file could hold its type.
    """
    type_ = column.type
    if pa.types.is_dictionary(type_):
        values = _stored(type_.value_type)
        chunks = [c.dictionary.cast(values).take(c.indices) for c in column.chunks]
        return pa.chunked_array(chunks, values)
    # polars exports its Object as the addresses of Python objects, 8 bytes each.
    unknown = (pa.types.is_union, pa.types.is_fixed_size_binary)
    if isinstance(type_, pa.BaseExtensionType) or any(is_one(type_) for is_one in unknown):
        raise FrameError(
            f"column {name!r} is {type_}, which is neither numbers, texts, bools nor times; "
            f"convert or drop it"
        )
    return column.cast(_stored(type_))


def _stored(type_: pa.DataType) -> pa.DataType:
    """Returns the type in which Parquet gives back what polars exports as a view."""
    if pa.types.is_string_view(type_):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(type_) else type_


def _kind(data: Any) -> str:
    return type(data).__name__
