"""The DuckDB of this process: one database, since opening another one takes 20 ms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa


def connect() -> duckdb.DuckDBPyConnection:
    """Returns a new connection, which cannot reach any file, network or extension.

    Its queries run on the calling thread. Its time zone is UTC: by default DuckDB takes the
    machine's, and a timestamp that has a zone would be another time on another machine.
    """
    return _database().cursor()


def run_query(sql: str, batch: pa.Table, parameters: Sequence[Any] = ()) -> pa.Table:
    """Returns the result of a query over a table, which the query calls `batch`."""
    with connect() as connection:
        connection.register("batch", batch)
        return connection.sql(sql, params=list(parameters)).to_arrow_table()


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Returns a table as one batch.

    `Table.combine_chunks` does not copy a column of one chunk; `ChunkedArray.combine_chunks` does.
    """
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Opens the database, and locks its settings so that no query can change them."""
    database = duckdb.connect()
    database.execute(
        "SET threads=1; SET GLOBAL TimeZone='UTC'; "
        "SET enable_external_access=false; SET lock_configuration=true"
    )
    return database
