"""Serves an exported model by Vertex AI's protocol.

    python -P -m quatrain.components.serve.server

Vertex sets the port, the routes and the model in environment variables: `AIP_HTTP_PORT`,
`AIP_HEALTH_ROUTE`, `AIP_PREDICT_ROUTE` and `AIP_STORAGE_URI`
(https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements). Google's own
serving images end at TensorFlow 2.15, so our image has a server of its own.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import numpy as np
import pyarrow as pa

from quatrain.components.errors import DataError, PortError
from quatrain.components.faults import in_a_sentence
from quatrain.components.serve.model_folder import find_model
from quatrain.components.serve.served_model import ServedModel, on_this_machine, read_metadata
from quatrain.components.table.values.bounds import FIRST_S, LAST_S, TypedColumn
from quatrain.components.table.values.conversion import USUAL, from_json
from quatrain.components.termination import SIGNALS, exit_on_termination
from quatrain.components.wording import counted, first_line, near
from quatrain.trainer.features import TIMES, Input, raw_inputs
from quatrain.trainer.features.text_format import Spelling
from quatrain.trainer.features.transform import Transform
from quatrain.trainer.streams import stderr_for_errors

FORM = '{"instances": [{"INPUT": VALUE, ...}, ...]}'
"""The body of a request."""
GZIP = b"\x1f\x8b"
"""The first bytes of a body that a client has compressed."""
MAX_BODY_BYTES = 1_500_000
"""Vertex refuses a larger request to an online endpoint: its limit is 1.5 MB."""

MAX_DIGITS = 4300
"""Python refuses to convert a longer whole number, which is infinite as a float64 anyway."""
THREADS = 4
MAX_CONNECTIONS = 300
"""Beyond it, the oldest connections that have sent no whole request are closed."""
SILENCE_S = 20
"""A connection that is silent for so long is closed."""
STOP_S = 15.0
"""How long a stopped server goes on with requests; a container is killed after 30 s."""
ARRIVAL_S = 2.0
"""How long a stopped server waits for more of a request that still arrives."""
MAX_PORT = 65535
NOBODY = 65534
Respond = Callable[[str, list[tuple[str, str]]], Any]


@dataclass(frozen=True)
class Service:
    """The WSGI application: a health route and a predict route over one loaded model."""

    model: ServedModel
    health_route: str = "/health"
    predict_route: str = "/predict"

    def __call__(self, request: Mapping[str, Any], respond: Respond) -> Iterable[bytes]:
        """Answers one request; a client's mistake is answered by a status of 4xx and a sentence."""
        status, answer = self._answer(request)
        # Half of a surrogate pair, which JSON can hold and UTF-8 cannot, is escaped as JSON does.
        body = json.dumps(answer, ensure_ascii=False).encode("utf-8", "backslashreplace")
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        respond(f"{status.value} {status.phrase}", headers)
        return [body]

    def _answer(self, request: Mapping[str, Any]) -> tuple[HTTPStatus, dict[str, Any]]:
        """Returns the status and the JSON body of the response to a request."""
        method, path = request["REQUEST_METHOD"], request["PATH_INFO"]
        if path == self.health_route and method in ("GET", "HEAD"):
            return HTTPStatus.OK, {}
        if path != self.predict_route:
            return HTTPStatus.NOT_FOUND, {"error": f"no route {path}"}
        if method != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"{path} takes POST"}
        try:
            instances = read_instances(_body(request))
            return HTTPStatus.OK, {"predictions": predict(self.model, instances)}
        except DataError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except RecursionError:
            return HTTPStatus.BAD_REQUEST, {
                "error": "the body is nested too deeply; an input is one value"
            }


def read_instances(body: bytes) -> list[Mapping[str, Any]]:
    """Reads `{"instances": [{input: value, ...}, ...]}`.

    Raises:
        DataError: The body does not have this form.
    """
    try:
        # As UTF-8 always: json.loads would guess UTF-16 or UTF-32, whose codecs are imported late,
        # perhaps from a folder that only root may read.
        value = json.loads(
            body.removeprefix(codecs.BOM_UTF8).decode(),
            object_pairs_hook=_object,
            parse_int=_whole_number,
        )
    except ValueError as error:
        if body.startswith(GZIP):
            raise DataError(f"the body is compressed by gzip; send {FORM} as text") from error
        raise DataError(f"the body is not JSON ({error}); send {FORM}") from error
    instances = value.get("instances") if isinstance(value, dict) else None
    if not isinstance(instances, list) or not instances:
        raise DataError(f"the body must be {FORM} with at least one instance")
    for i, instance in enumerate(instances):
        if not isinstance(instance, dict):
            raise DataError(f"instances[{i}] must be an object of inputs by name")
    return instances


def _whole_number(text: str) -> int | float:
    """Returns a whole number of any length."""
    return int(text) if len(text) <= MAX_DIGITS else float(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object; of a key that stands twice, none of the values can be trusted.

    Raises:
        DataError: A key stands twice.
    """
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise DataError(f"the key {name!r} stands twice in one object; leave one of them out")
        values[name] = value
    return values


def predict(model: ServedModel, instances: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the answer to each instance: probabilities with their classes, or a prediction.

    Raises:
        DataError: An instance lacks an input, has an unknown one, or has a value of the wrong type.
    """
    batch = read_rows(instances, model.transform.inputs, model.transform.text.columns)
    answers = model.answer(raw_inputs(batch, model.transform.inputs))
    if not model.classes:
        return [{"prediction": float(answer)} for answer in answers]
    return [
        {
            "predicted_class": model.classes[int(np.argmax(row))],
            "classes": list(model.classes),
            "probabilities": [float(p) for p in row],
        }
        for row in answers
    ]


def read_rows(
    instances: list[Mapping[str, Any]],
    inputs: tuple[Input, ...],
    spellings: Mapping[str, Spelling] | None = None,
) -> pa.RecordBatch:
    """Returns the instances as a typed batch; null and an absent optional input are missing.

    Args:
        instances: The values of the inputs by name, as JSON has them.
        inputs: The raw inputs of the model.
        spellings: How the values of inputs are written, where that is not the usual way.

    Raises:
        DataError: An instance lacks an input, has an unknown one, or has a value of the wrong type.
    """
    names = [i.name for i in inputs]
    required = [i.name for i in inputs if not i.optional]
    for number, instance in enumerate(instances):
        for name in instance:
            if name not in names:
                shown = name[:100]  # a search for the nearest name takes long for a long text
                raise DataError(f"instances[{number}]: unknown input {shown!r}{near(shown, names)}")
        for name in required:
            if name not in instance:
                raise DataError(
                    f"instances[{number}]: input {name!r} is absent; send null if it is missing, "
                    f"or declare its column `optional: true` in the spec"
                )
    spellings = {} if spellings is None else spellings
    columns, faults = {}, []
    for i in inputs:
        column, column_faults = _column(instances, i, spellings.get(i.name, USUAL))
        columns[i.name] = column
        faults += [(int(f.rows[0]), f) for f in column_faults if len(f.rows)]
    if faults:
        number, fault = min(faults, key=lambda pair: pair[0])
        detail = fault.detail if isinstance(fault.detail, str) else fault.detail[0].as_py()
        raise DataError(f"instances[{number}].{detail}; send null if it is missing")
    return pa.record_batch(columns)


def _column(instances: list[Mapping[str, Any]], declared: Input, spelling: Spelling) -> TypedColumn:
    """Converts the values of an input by the table of conversions, as JSON Lines are."""
    values = [row.get(declared.name) for row in instances]
    if declared.type in TIMES and spelling == USUAL:
        values = [_as_text(value, declared.type) for value in values]
    fragments = pa.array([_fragment(value) for value in values], pa.string())
    return from_json(declared.name, fragments, declared.type, spelling)


def _as_text(value: Any, type_: str) -> Any:
    """Returns a number of seconds since 1970, the model's own raw input, as a text in ISO 8601.

    As of a timestamp in Parquet, the date is the day in UTC.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not FIRST_S <= value < LAST_S + 1:  # false for NaN, too
        return value
    time = datetime(1970, 1, 1) + timedelta(microseconds=round(value * 1e6))
    return time.date().isoformat() if type_ == "date" else time.isoformat()


def _fragment(value: Any) -> str:
    """Returns a value as DuckDB cuts it out of a line of JSON."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return f"{value:.1f}"
    return json.dumps(value)


def _body(request: Mapping[str, Any]) -> bytes:
    length = int(request.get("CONTENT_LENGTH") or 0)
    if length > MAX_BODY_BYTES:
        raise DataError(f"the body has {counted(length, 'byte')}; send at most {MAX_BODY_BYTES:,}")
    encoding = request.get("HTTP_CONTENT_ENCODING") or "identity"
    if encoding != "identity":
        raise DataError(f"the body has Content-Encoding {encoding!r}; send it as JSON text")
    return bytes(request["wsgi.input"].read(length))


def load(uri: str) -> ServedModel:
    """Loads a model, local or `gs://`, and checks the digests of its files.

    Args:
        uri: The folder of a model, or of a run or of all runs of a model, as `predict` takes it.

    Raises:
        QuatrainError: The folder is not a complete model, or cannot be read.
    """
    with on_this_machine(find_model(uri)) as folder:
        read_metadata(folder)
        served = ServedModel.load(folder)
        _warm(served.transform, served)
    return served


def _warm(transform: Transform, served: ServedModel) -> None:
    """Answers one row of missing values, so that no client waits while the graph is traced."""
    predict(served, [{i.name: None for i in transform.inputs}])


class _Lanes:
    """Waitress's dispatcher of requests, with a thread for all that is not a prediction.

    So a probe of the health route never waits for predictions.
    """

    def __init__(self, predict_route: str) -> None:
        from waitress.task import ThreadedTaskDispatcher

        self.predict_route = predict_route
        self.predictions, self.others = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        self.predictions.set_thread_count(THREADS)
        self.others.set_thread_count(1)

    def add_task(self, channel: Any) -> None:
        """Queues the first request of a connection.

        Waitress has 501 for a Transfer-Encoding that it does not know, which is a client's fault.
        """
        from waitress.utilities import BadRequest

        requests = channel.requests
        for request in requests:
            if request.error and request.error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                request.error = BadRequest(request.error.body)
        path = getattr(requests[0], "path", "") if requests else ""
        (self.predictions if path == self.predict_route else self.others).add_task(channel)

    def shutdown(self) -> None:
        """Drops what is still queued."""
        for lane in (self.predictions, self.others):
            lane.shutdown(timeout=0)


def _channel() -> Any:
    """Returns Waitress's connection, with a 400 for each line that its parser cannot convert.

    Of a length of 5 000 digits, or of `http://[`, it gives no answer at all.
    """
    from waitress.channel import HTTPChannel
    from waitress.parser import HTTPRequestParser, ParsingError

    class Parser(HTTPRequestParser):
        def parse_header(self, header_plus: bytes) -> None:
            try:
                super().parse_header(header_plus)
            except ValueError as error:
                raise ParsingError(f"the request cannot be read: {first_line(error)}") from error

    class Channel(HTTPChannel):
        parser_class = Parser

    return Channel


@contextmanager
def _stop_signals(wake: Callable[[], Any]) -> Iterator[list[int]]:
    """Yields a list that gets the number of a signal to end, in place of what it does otherwise."""
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        received.append(number)
        wake()

    former = {number: signal.signal(number, note) for number in (*SIGNALS, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _listen(service: Service, port: int) -> Any:
    """Returns Waitress's server, which listens at a port.

    Raises:
        PortError: Another program has the port, or this one may not listen at it.
    """
    from waitress.server import create_server

    lanes: Any = _Lanes(service.predict_route)
    try:
        server: Any = create_server(
            service,
            host="0.0.0.0",  # noqa: S104 - a container's port
            port=port,
            _dispatcher=lanes,
            asyncore_use_poll=True,
            channel_timeout=SILENCE_S,
            cleanup_interval=SILENCE_S // 4,
            connection_limit=2 * MAX_CONNECTIONS,
            max_request_body_size=2
            * MAX_BODY_BYTES,  # a body little above the bound gets a sentence
            inbuf_overflow=2 * MAX_BODY_BYTES,  # in memory, not in a file
        )

    except OSError as error:
        raise PortError(
            f"port {port} cannot be listened at: {error.strerror}; set AIP_HTTP_PORT to another "
            f"port"
        ) from error
    server.channel_class = _channel()
    return server


def serve_until_stopped(service: Service, port: int) -> None:
    """Serves until a signal to end, then takes no connection and answers what it has begun."""
    from waitress import wasyncore

    server = _listen(service, port)

    def loop(timeout_s: float) -> None:
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=server._map, count=1)
        _close_oldest(server)

    with _stop_signals(server.pull_trigger) as stopped:
        _drop_root()
        print(f"serving on port {port}", flush=True)
        while not stopped:
            loop(1.0)
        end = time.monotonic() + STOP_S
        for _ in range(10):  # connections that the kernel has accepted, and their first bytes
            loop(0.02)
        server.accepting = False
        server.del_channel()
        server.socket.close()
        while time.monotonic() < end and any(map(_is_busy, server.active_channels.values())):
            loop(0.05)
    print(f"stopped by {signal.Signals(stopped[0]).name}", flush=True)


def _is_busy(channel: Any) -> bool:
    """Whether a connection has a request, one that still arrives, or an answer to send."""
    arrives = channel.request and time.time() - channel.last_activity < ARRIVAL_S
    return bool(channel.requests or arrives or channel.total_outbufs_len)


def _close_oldest(server: Any) -> None:
    """Closes the oldest connections without a complete request where there are too many.

    Connections that send nothing, or a byte now and then, cannot keep others away.
    """
    if len(server.active_channels) <= MAX_CONNECTIONS:
        return
    idle = [c for c in server.active_channels.values() if not (c.requests or c.total_outbufs_len)]
    for channel in sorted(idle, key=lambda c: c.creation_time)[: len(idle) // 2]:
        channel.handle_close()


def _drop_root() -> None:
    """Becomes `nobody`: once the model is loaded and the port is open, nothing needs root."""
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    except OSError as error:
        print(f"warning: the server goes on as root: {error}", file=sys.stderr, flush=True)


def port_of(text: str) -> int:
    """Returns the number of a port, which is checked before the model takes its time to load.

    Raises:
        PortError: The text is no such number.
    """
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > MAX_PORT:
        raise PortError(
            f"the variable AIP_HTTP_PORT is {text[:50]!r}; set it to a port from 0 to {MAX_PORT}"
        )
    return int(text)


def main() -> None:
    """Serves until the process is stopped; the requests that it has begun are still answered."""
    with exit_on_termination():
        _serve()


def _serve() -> None:
    environment = os.environ
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    if not (uri := environment.get("AIP_STORAGE_URI") or "".join(sys.argv[1:2])):
        sys.exit("error: set AIP_STORAGE_URI, or give the model's folder")
    with in_a_sentence(), stderr_for_errors():
        port = port_of(environment.get("AIP_HTTP_PORT", "8080"))
        model = load(uri)
    service = Service(
        model,
        environment.get("AIP_HEALTH_ROUTE", "/health"),
        environment.get("AIP_PREDICT_ROUTE", "/predict"),
    )
    with in_a_sentence():
        serve_until_stopped(service, port)
    os._exit(0)  # at once: Python would wait for TensorFlow's threads


if __name__ == "__main__":
    main()
