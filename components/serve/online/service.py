"""The WSGI application that answers requests by Vertex AI's prediction protocol."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from quatrain.components.errors import DataError
from quatrain.components.serve.online.counters import CONTENT_TYPE, Counters
from quatrain.components.serve.online.instances import Instance, read_instances, read_rows
from quatrain.components.serve.online.log_file import LogFile
from quatrain.components.serve.online.version import Slot, Version, predictions
from quatrain.components.wording import counted
from quatrain.trainer.features import raw_inputs

MAX_BODY_BYTES = 1_500_000
"""Vertex refuses a larger request to an online endpoint: its limit is 1.5 MB."""
RECEIVED = "quatrain.received"
"""The key of a request's environment for when its last byte came, by time.monotonic."""
METRICS_ROUTE = "/metrics"
Respond = Callable[[str, list[tuple[str, str]]], Any]
_LOADING: tuple[HTTPStatus, dict[str, Any]] = (
    HTTPStatus.SERVICE_UNAVAILABLE,
    {"error": "the model is being loaded; send it again"},
)
"""The answer before there is a version."""


@dataclass(frozen=True)
class Service:
    """The application: routes for health, predictions and metrics over the version in a slot.

    Attributes:
        slot: Holds the version that answers.
        health_route: Answers 200 once there is a version, and 503 before.
        predict_route: Answers instances.
        counters: What is counted for the route of metrics.
        log: Where requests for predictions are logged; None: nowhere.
    """

    slot: Slot
    health_route: str = "/health"
    predict_route: str = "/predict"
    counters: Counters = field(default_factory=Counters)
    log: LogFile | None = None

    def __call__(self, request: Mapping[str, Any], respond: Respond) -> Iterable[bytes]:
        """Answers one request; a client's mistake is answered by a status of 4xx and a sentence."""
        started = request.get(RECEIVED, time.monotonic())
        route, status, answer = self._answer(request)
        if isinstance(answer, str):
            type_, body = CONTENT_TYPE, answer.encode()
        else:
            # Half of a surrogate pair, which JSON can hold and UTF-8 cannot, is escaped as in JSON.
            body = json.dumps(answer, ensure_ascii=False).encode("utf-8", "backslashreplace")
            type_ = "application/json"
        headers = [("Content-Type", type_), ("Content-Length", str(len(body)))]
        respond(f"{status.value} {status.phrase}", headers)
        self.counters.answered(route, status.value, time.monotonic() - started)
        return [body]

    def _answer(self, request: Mapping[str, Any]) -> tuple[str, HTTPStatus, dict[str, Any] | str]:
        """Returns the name of the route, the status, and the body as JSON or as text."""
        method, path = request["REQUEST_METHOD"], request["PATH_INFO"]
        if path == self.predict_route:
            return "predict", *self._predict(method, request)
        if path not in (self.health_route, METRICS_ROUTE):
            return "other", HTTPStatus.NOT_FOUND, {"error": f"no route {path}"}
        route = "health" if path == self.health_route else "metrics"
        if method not in ("GET", "HEAD"):
            return route, HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"{path} takes GET"}
        version = self.slot.version
        if route == "metrics":
            return route, HTTPStatus.OK, self.counters.text(version)
        return route, *(_LOADING if version is None else (HTTPStatus.OK, {}))

    def _predict(
        self, method: str, request: Mapping[str, Any]
    ) -> tuple[HTTPStatus, dict[str, Any]]:
        """Returns the status and the JSON body of the response to a request for predictions."""
        if method != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"{self.predict_route} takes POST"}
        version = self.slot.version
        if version is None:
            return _LOADING
        try:
            body = _body(request)
        except DataError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        status, answer = self._answered(version, body)
        if self.log is not None:
            self.log.write(version.run or version.metadata, body, answer)
        return status, answer

    def _answered(self, version: Version, body: bytes) -> tuple[HTTPStatus, dict[str, Any]]:
        """Returns the status and the JSON of the response to a body."""
        try:
            instances = read_instances(body)
            return HTTPStatus.OK, {"predictions": predict(version, instances, self.counters)}
        except DataError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except RecursionError:
            return HTTPStatus.BAD_REQUEST, {
                "error": "the body is nested too deeply; an input is one value"
            }


def predict(
    version: Version, instances: Sequence[Instance], counters: Counters | None = None
) -> list[dict[str, Any]]:
    """Returns the answer to each instance: probabilities with their classes, or a prediction.

    Args:
        version: The version that answers.
        instances: The values of its inputs, by name or in order.
        counters: Counts the rows, and their missing and unseen values.

    Raises:
        DataError: An instance lacks an input, has an unknown one, or has a value of the wrong type.
    """
    transform = version.model.transform
    batch = read_rows(instances, transform.inputs, transform.text.columns)
    columns = raw_inputs(batch, transform.inputs)
    answers = predictions(version.model, columns)
    if counters is not None:
        counters.predicted(len(instances), *version.values.count(columns))
    return answers


def _body(request: Mapping[str, Any]) -> bytes:
    length = int(request.get("CONTENT_LENGTH") or 0)
    if length > MAX_BODY_BYTES:
        raise DataError(f"the body has {counted(length, 'byte')}; send at most {MAX_BODY_BYTES:,}")
    encoding = request.get("HTTP_CONTENT_ENCODING") or "identity"
    if encoding != "identity":
        raise DataError(f"the body has Content-Encoding {encoding!r}; send it as JSON text")
    return bytes(request["wsgi.input"].read(length))
