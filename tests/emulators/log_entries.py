"""A small, strict Cloud Logging over REST: `entries.list`.

The request and the entries are those of
https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list, the filter a part of
https://cloud.google.com/logging/docs/view/logging-query-language: comparisons, AND, OR, brackets,
and a list of values in brackets.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.api import monitored_resource_pb2
from google.logging.type import log_severity_pb2
from google.protobuf import json_format

SEVERITY = log_severity_pb2.LogSeverity
MAX_PAGE, MAX_FILTER = 1000, 20_000  # the reference
LABELS = {  # https://cloud.google.com/logging/docs/api/v2/resource-list
    "aiplatform.googleapis.com/PipelineJob": {"resource_container", "location", "pipeline_job_id"},
    "ml_job": {"project_id", "job_id", "task_name"},
    "dataflow_step": {"project_id", "region", "job_name", "job_id", "step_id"},
}
_REQUEST = {"resourceNames", "filter", "orderBy", "pageSize", "pageToken"}
_TOKEN = re.compile(r'\s*(>=|<=|!=|=|>|<|\(|\)|AND\b|OR\b|"(?:[^"\\]|\\.)*"|[\w./-]+)')


class Log:
    """The entries of one project.

    Attributes:
        entries: LogEntry values in the JSON form of the API.
        requests: The bodies of the requests.
        permission: Whether the caller may read.
        page_size: Pages are no longer than this.
    """

    def __init__(self, project: str) -> None:
        self.project = project
        self.entries: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.permission = True
        self.page_size = MAX_PAGE

    def write(
        self, kind: str, labels: Mapping[str, str], time: str, text: Any, severity: str = "INFO"
    ) -> None:
        """Adds an entry whose payload is a text or an object."""
        assert set(labels) <= LABELS[kind], f"{kind} has no labels {sorted(labels)}"
        resource = {"type": kind, "labels": dict(labels)}
        json_format.ParseDict(resource, monitored_resource_pb2.MonitoredResource())
        payload = "textPayload" if isinstance(text, str) else "jsonPayload"
        entry = {
            "logName": f"projects/{self.project}/logs/{labels.get('task_name', 'x')}",
            "insertId": f"i{len(self.entries)}",
            "resource": resource,
            "timestamp": time,
            payload: text,
        }
        if SEVERITY.Value(severity):  # the default is left out
            entry["severity"] = severity
        self.entries.append(entry)

    def answer(self, verb: str, path: str, data: bytes) -> tuple[int, Any] | None:
        """Returns the code and the body of an answer, or None for another path."""
        if (verb, path) != ("POST", "/v2/entries:list"):
            return None
        if not self.permission:
            message = "Permission 'logging.logEntries.list' denied on resource"
            return 403, _error(403, "PERMISSION_DENIED", message)
        body = json.loads(data)
        self.requests.append(body)
        try:
            return 200, self._list(body)
        except ValueError as error:
            return 400, _error(400, "INVALID_ARGUMENT", str(error))

    def _list(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := set(body) - _REQUEST:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        if body.get("resourceNames") != [f"projects/{self.project}"]:
            raise ValueError(f"resourceNames {body.get('resourceNames')!r}")
        order = body.get("orderBy", "timestamp asc")
        if order not in ("timestamp asc", "timestamp desc"):
            raise ValueError(f"orderBy {order!r}")
        if len(body.get("filter", "")) > MAX_FILTER:
            raise ValueError("filter is too long")
        matches = [entry for entry in self.entries if _Filter(body["filter"]).accepts(entry)]
        matches.sort(key=lambda e: (_moment(e["timestamp"]), e["insertId"]))
        if order.endswith("desc"):
            matches.reverse()
        query = json.dumps([body["filter"], order])
        if "pageToken" not in body:  # "the search found no log entries so far"
            return {"nextPageToken": json.dumps([query, 0])}
        of, start = json.loads(body["pageToken"])
        if of != query:
            raise ValueError("pageToken belongs to another request")
        size = body.get("pageSize", 50)
        if not 0 < size <= MAX_PAGE:
            raise ValueError(f"pageSize {size}")
        end = start + min(size, self.page_size)
        token = {"nextPageToken": json.dumps([query, end])} if end < len(matches) else {}
        return {"entries": matches[start:end], **token}


class _Filter:
    """A filter, which raises a ValueError where it is not understood."""

    def __init__(self, text: str) -> None:
        self._tokens, at = [], 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if not match:
                raise ValueError(f"filter: unparseable at {text[at:]!r}")
            self._tokens.append(match[1])
            at = match.end()
        self._all = list(self._tokens)

    def accepts(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry fulfils the filter; AND binds weaker than OR, as in the reference."""
        self._tokens = list(self._all)
        accepted = self._conjunction(entry)
        if self._tokens:
            raise ValueError(f"filter: unexpected {self._tokens[0]!r}")
        return accepted

    def _conjunction(self, entry: Mapping[str, Any]) -> bool:
        parts = [self._disjunction(entry)]
        while self._tokens and self._tokens[0] == "AND":
            self._tokens.pop(0)
            parts.append(self._disjunction(entry))
        return all(parts)

    def _disjunction(self, entry: Mapping[str, Any]) -> bool:
        parts = [self._term(entry)]
        while self._tokens and self._tokens[0] == "OR":
            self._tokens.pop(0)
            parts.append(self._term(entry))
        return any(parts)

    def _term(self, entry: Mapping[str, Any]) -> bool:
        word = self._pop()
        if word == "(":
            inner = self._conjunction(entry)
            self._expect(")")
            return inner
        operator = self._pop()
        values = list(self._values())
        actual = _field(entry, word)
        return any(_compare(word, actual, operator, value) for value in values)

    def _values(self) -> Iterator[str]:
        word = self._pop()
        if word != "(":
            yield word.strip('"')
            return
        yield self._pop().strip('"')
        while self._tokens and self._tokens[0] == "OR":
            self._tokens.pop(0)
            yield self._pop().strip('"')
        self._expect(")")

    def _pop(self) -> str:
        if not self._tokens:
            raise ValueError("filter: ends too early")
        return self._tokens.pop(0)

    def _expect(self, token: str) -> None:
        if self._pop() != token:
            raise ValueError(f"filter: {token} expected")


def _field(entry: Mapping[str, Any], path: str) -> Any:
    if path in ("timestamp", "severity", "logName"):
        return entry.get(path, "DEFAULT")
    if path == "resource.type":
        return entry["resource"]["type"]
    if match := re.fullmatch(r"resource\.labels\.(\w+)", path):
        if not any(match[1] in labels for labels in LABELS.values()):
            raise ValueError(f"filter: no resource has a label {match[1]}")
        return entry["resource"]["labels"].get(match[1])
    raise ValueError(f"filter: unknown field {path}")


def _compare(path: str, actual: Any, operator: str, value: str) -> bool:
    if operator == "=":
        return bool(actual == value)
    if operator == ">=" and path == "timestamp":
        return _moment(actual) >= _moment(value)
    if operator == ">=" and path == "severity":
        return SEVERITY.Value(actual) >= SEVERITY.Value(value)
    raise ValueError(f"filter: {path} {operator} is not understood here")


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def _error(code: int, status: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status}}
