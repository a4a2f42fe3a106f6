"""A small, strict BigQuery: tables and load jobs over REST, and read sessions over gRPC.

It is for Google's own clients. It refuses what Google refuses. RPC below is short for
https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import duckdb
import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types

from tests.emulators.bigquery_jobs import Dataset, Failed, LoadJobs, clock_ms

BATCH_ROWS = 3
MAX_STREAMS = 1000
TYPES = {
    pa.int64(): "INTEGER",
    pa.float64(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.string(): "STRING",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.timestamp("us"): "DATETIME",
    pa.timestamp("us", "UTC"): "TIMESTAMP",
    pa.decimal128(38, 9): "NUMERIC",
    pa.list_(pa.int64()): "INTEGER",
    pa.list_(pa.string()): "STRING",
}
"""https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details."""


@dataclass
class Table:
    """A table: its rows and when they changed, and how it is partitioned and sorted."""

    rows: pa.Table
    modified_ms: int = 1_700_000_000_000
    kind: str = "TABLE"
    forbidden: bool = False
    time_partitioning: dict[str, Any] | None = None
    clustering: list[str] = field(default_factory=list)
    partitions: dict[str, pa.Table] = field(default_factory=dict)


@dataclass
class BigQuery:
    """The state behind the servers."""

    tables: dict[str, Table] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    sessions: list[types.CreateReadSessionRequest] = field(default_factory=list)
    reads: list[tuple[str, int]] = field(default_factory=list)
    breaks: int = 0
    on_read: Callable[[], None] = lambda: None
    url: str = ""
    address: str = ""
    now_ms: Callable[[], int] = clock_ms
    _streams: dict[str, pa.Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loads = LoadJobs(self)

    def create(
        self, request: types.CreateReadSessionRequest, context: grpc.ServicerContext
    ) -> types.ReadSession:
        """RPC#createreadsessionrequest: which columns, how many streams at most."""
        self.sessions.append(request)
        session = request.read_session
        if not re.fullmatch(r"projects/[^/]+", request.parent):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"parent {request.parent!r}")
        if session.data_format != types.DataFormat.ARROW:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Data format must be set.")
        if not 0 <= request.max_stream_count <= MAX_STREAMS:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "max_stream_count above 1000")
        table = self.tables.get(session.table)
        if table is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: Table {session.table}")
        if table.forbidden:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "bigquery.tables.getData denied")
        names = list(session.read_options.selected_fields)
        if unknown := set(names) - set(table.rows.column_names):
            message = f"The following selected fields do not exist in the table schema: {unknown}"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
        try:
            chosen = _where(table.rows, session.read_options.row_restriction)
        except duckdb.Error as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"row restriction: {error}")
        # Fields come in the order of the table: RPC#tablereadoptions.
        rows = chosen.select([n for n in table.rows.column_names if n in names or not names])
        name = f"{request.parent}/locations/eu/sessions/{len(self.sessions)}"
        n = min(request.max_stream_count or 1, max(rows.num_rows, 1)) if rows.num_rows else 0
        session_with_streams = types.ReadSession(session)
        session_with_streams.name = name
        session_with_streams.arrow_schema = _schema(rows)
        for i in range(n):  # rows fall into streams as BigQuery likes
            stream = f"{name}/streams/{i}"
            self._streams[stream] = rows.take(pa.array(range(i, rows.num_rows, n)))
            session_with_streams.streams.append(types.ReadStream(name=stream))
        return session_with_streams

    def read(
        self, request: types.ReadRowsRequest, context: grpc.ServicerContext
    ) -> Iterator[types.ReadRowsResponse]:
        """RPC#readrowsresponse: the schema comes with the first message only."""
        self.reads.append((request.read_stream, request.offset))
        self.on_read()
        rows = self._streams.get(request.read_stream)
        if rows is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "Session expired or stream not found")
        if request.offset > rows.num_rows:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, f"offset {request.offset}")
        rows = rows.slice(request.offset)
        for start in range(0, rows.num_rows, BATCH_ROWS):
            if start and self.breaks:
                self.breaks -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            [batch] = rows.slice(start, BATCH_ROWS).combine_chunks().to_batches()
            answer = types.ReadRowsResponse(
                arrow_record_batch={"serialized_record_batch": _serialized(batch)},
                row_count=batch.num_rows,
            )
            if start == 0:
                answer.arrow_schema = _schema(rows)
            yield answer

    def resource(self, name: str) -> tuple[int, dict[str, Any]]:
        """https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#resource."""
        table = self.tables.get(name)
        if table is None:
            return 404, _error(404, "notFound", f"Not found: Table {name}")
        if table.forbidden:
            return 403, _error(403, "accessDenied", f"Access Denied: Table {name}")
        project, dataset, last = name.split("/")[1::2]
        partitioning = (
            {"timePartitioning": table.time_partitioning} if table.time_partitioning else {}
        )
        clustering = {"clustering": {"fields": table.clustering}} if table.clustering else {}
        fields = [
            {
                "name": f.name,
                "type": TYPES[f.type],
                "mode": "REPEATED" if pa.types.is_list(f.type) else "NULLABLE",
            }
            for f in table.rows.schema
        ]
        return 200, {
            "kind": "bigquery#table",
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": last},
            "schema": {"fields": fields},
            "numBytes": str(table.rows.nbytes),
            "numRows": str(table.rows.num_rows),
            "lastModifiedTime": str(table.modified_ms),
            "type": table.kind,
            **partitioning,
            **clustering,
        }

    def dataset(self, project: str, name: str) -> tuple[int, dict[str, Any]]:
        """https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets#resource."""
        dataset = self.datasets.get(f"{project}.{name}")
        if "bigquery.datasets.get" in self.loads.denied:
            return 403, _error(403, "accessDenied", f"Access Denied: Dataset {project}:{name}")
        if dataset is None:
            return 404, _error(404, "notFound", f"Not found: Dataset {project}:{name}")
        reference = {"projectId": project, "datasetId": name}
        return 200, {"datasetReference": reference, "location": dataset.location}


def _where(rows: pa.Table, condition: str) -> pa.Table:
    """Returns the rows of a condition "similar to a WHERE clause": RPC#tablereadoptions."""
    if not condition:
        return rows
    with duckdb.connect() as connection:
        # A TIMESTAMP of BigQuery is a moment, which DuckDB calls a TIMESTAMPTZ.
        moments = re.sub(r"\bTIMESTAMP '", "TIMESTAMPTZ '", condition)
        numbered = rows.append_column("_row", pa.array(range(rows.num_rows)))
        connection.register("numbered", numbered)
        found = connection.sql(f"SELECT _row FROM numbered WHERE {moments} ORDER BY 1")  # noqa: S608
        return rows.take(found.to_arrow_table().column("_row"))


def _schema(rows: pa.Table) -> types.ArrowSchema:
    return types.ArrowSchema(serialized_schema=rows.schema.serialize().to_pybytes())


def _serialized(batch: pa.RecordBatch) -> bytes:
    """Returns one batch alone, compressed: the second message of a stream, after the schema."""
    sink, options = pa.BufferOutputStream(), pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
        head = sink.tell()
        writer.write_batch(batch)
        stop = sink.tell()
    return sink.getvalue().to_pybytes()[head:stop]


def _error(status: int, reason: str, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "errors": [{"reason": reason}]}}


class _Handler(BaseHTTPRequestHandler):
    bigquery: BigQuery

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path).removeprefix("/bigquery/v2/")
        match path.split("/"):
            case ["projects", _, "jobs", job]:
                location = parse_qs(url.query).get("location", [""])[0]
                self._try(lambda: (200, self.bigquery.loads.get(job, location)))
            case ["projects", project, "datasets", name]:
                self._answer(*self.bigquery.dataset(project, name))
            case _:
                self._answer(*self.bigquery.resource(path))

    def do_POST(self) -> None:
        """Begins or cancels a job; or returns a token for the key of `write_credentials`."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        url = urlsplit(self.path)
        loads = self.bigquery.loads
        match unquote(url.path).split("/")[1:]:
            case ["upload", "bigquery", "v2", "projects", project, "jobs"]:
                session = loads.start_upload(project, json.loads(body))
                place = f"{self.bigquery.url}{url.path}?uploadType=resumable&upload_id={session}"
                self._answer(200, {}, {"Location": place})
            case ["bigquery", "v2", "projects", project, "jobs"]:
                self._try(lambda: (200, loads.insert(project, json.loads(body))))
            case ["bigquery", "v2", "projects", _, "jobs", job, "cancel"]:
                location = parse_qs(url.query).get("location", [""])[0]
                self._try(lambda: (200, loads.cancel(job, location)))
            case _:
                self._answer(200, {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"})

    def do_PUT(self) -> None:
        """Takes a chunk of a file that a job loads."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        [session] = parse_qs(urlsplit(self.path).query)["upload_id"]
        span = self.headers["Content-Range"]
        self._try(lambda: self.bigquery.loads.upload(session, span, data))

    def _try(self, call: Callable[[], tuple[int, Any]]) -> None:
        try:
            status, value = call()
        except Failed as error:
            body = _error(error.status, error.reason, str(error))
            body["error"]["errors"][0]["message"] = str(error)
            self._answer(error.status, body)
            return
        if status == 308:
            self._answer(308, {}, {"Range": f"bytes=0-{value - 1}"} if value else {})
        else:
            self._answer(status, value)

    def _answer(
        self, status: int, value: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""


@contextmanager
def serving() -> Iterator[BigQuery]:
    """Serves an empty BigQuery on loopback: REST at `url`, the storage API at `address`."""
    bigquery = BigQuery()
    handler = type("Handler", (_Handler,), {"bigquery": bigquery})
    rest = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    bigquery.url = f"http://127.0.0.1:{rest.server_port}"
    thread = threading.Thread(target=rest.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    methods = {
        "CreateReadSession": grpc.unary_unary_rpc_method_handler(
            bigquery.create,
            request_deserializer=types.CreateReadSessionRequest.deserialize,
            response_serializer=types.ReadSession.serialize,
        ),
        "ReadRows": grpc.unary_stream_rpc_method_handler(
            bigquery.read,
            request_deserializer=types.ReadRowsRequest.deserialize,
            response_serializer=types.ReadRowsResponse.serialize,
        ),
    }
    service = "google.cloud.bigquery.storage.v1.BigQueryRead"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, methods)])
    bigquery.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield bigquery
    finally:
        server.stop(None)
        rest.shutdown()
        thread.join()
        rest.server_close()
