"""DuckDB for our own questions about a batch; one connection a thread: opening it costs 20 ms."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa


def ask(query: str, batch: pa.Table, parameters: Sequence[Any] = ()) -> pa.Table:
    """Returns the answer to a query over `batch`, which it calls `read`; times are UTC."""
    connection = _connection(threading.get_ident())
    connection.register("read", batch)
    try:
        return connection.sql(query, params=list(parameters)).to_arrow_table()
    finally:
        connection.unregister("read")


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Returns a table as one batch; columns of one chunk are not copied, unlike each one's own."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)


@cache
def _connection(thread: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads=1; SET TimeZone='UTC'; SET enable_external_access=false")
    return connection
