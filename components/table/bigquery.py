"""BigQuery tables: each range is a stream of one read session, so all show the same moment.

A session is a snapshot of the table at the moment it is created. It lasts some hours, and its
streams can be reread from any row: https://cloud.google.com/bigquery/docs/reference/storage
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from quatrain.components.errors import SourceDenied, SourceError
from quatrain.components.login import check_login
from quatrain.components.specification.source import TABLE
from quatrain.components.wording import a_or_an, first_line

EMULATOR = "BIGQUERY_STORAGE_EMULATOR_HOST"
"""Holds the address of an unencrypted storage API; Google's client has no variable for it."""
TIMEOUT_S = 60.0
"""The longest wait for one call."""
MAX_STREAMS = 1000
"""Limit of a session: https://cloud.google.com/bigquery/quotas#createreadsession-max-streams."""
_ROLES = "roles/bigquery.dataViewer on it, and roles/bigquery.readSessionUser in the job's project"


@dataclass(frozen=True)
class BigQueryTable:
    """The metadata of a table.

    Attributes:
        version: The time of its last change, in milliseconds since 1970.
        n_bytes: The logical size of all its columns together.
        columns: The names of its columns, in order.
    """

    version: str
    n_bytes: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class ReadSession:
    """A read session: the names of its streams, and the Arrow schema of their batches."""

    streams: tuple[str, ...]
    schema: pa.Schema


def find_table(uri: str) -> BigQueryTable | None:
    """Looks up a table; returns None when there is none.

    Raises:
        SourceDenied: These credentials may not see the table.
        SourceError: The uri names a view, or BigQuery does not answer.
    """
    from google.api_core.exceptions import NotFound
    from google.cloud import bigquery

    project, dataset, name = _parts(uri)
    check_login(uri)
    with _refusals(uri):
        client = bigquery.Client(project=project)
        try:
            table = client.get_table(f"{project}.{dataset}.{name}", timeout=TIMEOUT_S)
        except NotFound:
            return None
    if table.table_type != "TABLE":
        raise SourceError(
            f"{uri} is {a_or_an(table.table_type.lower())}, and the storage API reads tables only; "
            f"write its rows to a table"
        )
    version = str(round(table.modified.timestamp() * 1000))
    return BigQueryTable(version, table.num_bytes or 0, tuple(field.name for field in table.schema))


def open_session(
    uri: str, columns: Sequence[str], n_bytes: int, size: int, payer: str, rows: str = ""
) -> ReadSession:
    """Opens a session that reads some columns of a table, and some of its rows.

    Args:
        uri: The table, as bq://project.dataset.table.
        columns: The columns to read; no others leave BigQuery.
        n_bytes: The size of the table.
        size: About how many bytes of the table a stream should hold.
        payer: The project that pays; if empty, the table's own.
        rows: The condition that the rows fulfil, in BigQuery's SQL; if empty, all are read.

    Raises:
        SourceDenied: The table may not be read.
        SourceError: The session cannot be opened.
    """
    from google.cloud.bigquery_storage_v1 import types

    project, dataset, name = _parts(uri)
    compression = types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME
    request = types.ReadSession(
        table=f"projects/{project}/datasets/{dataset}/tables/{name}",
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(
            selected_fields=list(columns),
            row_restriction=rows,
            arrow_serialization_options={"buffer_compression": compression},
        ),
    )
    n_streams = min(max(1, math.ceil(n_bytes / size)), MAX_STREAMS)
    with _refusals(uri), _client() as client:
        session = client.create_read_session(
            parent=f"projects/{payer or project}",
            read_session=request,
            max_stream_count=n_streams,
            timeout=TIMEOUT_S,
        )
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    return ReadSession(tuple(stream.name for stream in session.streams), schema)


def read_stream(uri: str, stream: str) -> Iterator[pa.RecordBatch]:
    """Yields the batches of a stream; the client resumes where a connection broke.

    Raises:
        SourceDenied: The table may not be read.
        SourceError: The stream cannot be read, or its session has expired.
    """
    schema = None
    with _refusals(uri), _client() as client:
        for message in client.read_rows(stream, timeout=TIMEOUT_S):
            if message.arrow_schema.serialized_schema:  # only the first message has one
                schema = pa.ipc.read_schema(pa.py_buffer(message.arrow_schema.serialized_schema))
            data = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
            yield pa.ipc.read_record_batch(data, schema)


def _parts(uri: str) -> tuple[str, str, str]:
    match = re.fullmatch(TABLE, uri)
    if match is None:
        raise SourceError(f"source.uri: {uri} is no table; write it as bq://project.dataset.table")
    return match[1], match[2], match[3]


@contextmanager
def _client() -> Iterator[Any]:
    """Opens a client of the storage API, and closes its connection in the end."""
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

    client = BigQueryReadClient(transport=_emulator_transport())
    try:
        yield client
    finally:
        client.transport.close()


def _emulator_transport() -> Any:
    """Returns a transport to the emulator, or None for Google's own."""
    host = os.environ.get(EMULATOR)
    if not host:
        return None
    import grpc
    from google.cloud.bigquery_storage_v1.services.big_query_read import transports

    return transports.BigQueryReadGrpcTransport(channel=grpc.insecure_channel(host))


@contextmanager
def _refusals(uri: str) -> Iterator[None]:
    """Raises the errors of Google's clients as ours, each as one sentence with the way out."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (exceptions.Forbidden, exceptions.Unauthorized, GoogleAuthError) as error:
        raise SourceDenied(
            f"{uri} may not be read ({first_line(error)}); whoever reads it needs {_ROLES}"
        ) from error
    except (exceptions.GoogleAPICallError, exceptions.RetryError, OSError) as error:
        raise SourceError(f"{uri} cannot be read: {first_line(error)}; try again later") from error
