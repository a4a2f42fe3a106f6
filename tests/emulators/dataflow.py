"""A small, strict Dataflow over REST, for the stock runner of Beam.

Requests are parsed by the service's own protos, and refused as Google refuses them. REST is
https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.jobs.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.cloud import dataflow_v1beta3 as api
from google.protobuf import json_format

NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
"""REST#Job.name"""
LABEL = re.compile(r"[\w-]{0,63}")
_JOB = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs(?:/([^/?]+))?(/messages)?")


@dataclass
class Dataflow:
    """The service and its jobs, each of which changes its state when it is read.

    Attributes:
        states: The states that a new job goes through, one at each read.
        error: A line of its log, of importance ERROR.
        worker: Starts the process that executes a job, by the uri of its pipeline; the process
            decides the state of the job.
        jobs: Jobs as they were posted, by id.
        cancelled: The ids of jobs whose end was requested.
    """

    states: list[str] = field(
        default_factory=lambda: ["JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_DONE"]
    )
    error: str = ""
    worker: Callable[[str], subprocess.Popen[bytes]] | None = None
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    jobs: dict[str, Any] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    polled: threading.Event = field(default_factory=threading.Event)

    def create(self, project: str, location: str, body: bytes) -> dict[str, Any]:
        """Creates a job from a request, or refuses it."""
        job = api.Job()
        json_format.Parse(body, api.Job.pb(job))
        if not NAME.fullmatch(job.name):
            raise ValueError(f"invalid job name {job.name!r}")
        if job.type_ != api.JobType.JOB_TYPE_BATCH:
            raise ValueError(f"a batch job, not {job.type_!r}")
        for key, value in job.labels.items():
            if not (LABEL.fullmatch(key) and LABEL.fullmatch(value)):
                raise ValueError(f"invalid label {key}={value}")
        if not job.environment.temp_storage_prefix.startswith("storage.googleapis.com/"):
            raise ValueError("temp_storage_prefix is no bucket")
        job.id = f"2026-11-25_00_00_00-{len(self.jobs) + 1}"
        job.project_id, job.location = project, location
        self.jobs[job.id] = job
        if self.worker:
            options = json_format.MessageToDict(api.Job.pb(job).environment.sdk_pipeline_options)
            self.running[job.id] = self.worker(options["options"]["pipelineUrl"])
        return self._shown(job)

    def read(self, job_id: str) -> dict[str, Any]:
        """Returns a job in its next state."""
        job = self.jobs[job_id]
        if job_id in self.cancelled:
            job.current_state = api.JobState.JOB_STATE_CANCELLED
        elif process := self.running.get(job_id):
            code = process.poll()
            ended = "JOB_STATE_FAILED" if code else "JOB_STATE_DONE"
            job.current_state = api.JobState["JOB_STATE_RUNNING" if code is None else ended]
        else:
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            job.current_state = api.JobState[state]
        self.polled.set()
        return self._shown(job)

    def update(self, job_id: str, body: bytes) -> dict[str, Any]:
        """Cancels a job."""
        requested = json.loads(body).get("requestedState")
        if requested not in ("JOB_STATE_CANCELLED", int(api.JobState.JOB_STATE_CANCELLED)):
            raise ValueError(f"requestedState {requested!r}")
        self.cancelled.append(job_id)
        if process := self.running.pop(job_id, None):
            process.kill()
            process.wait()
        return self._shown(self.jobs[job_id])

    def messages(self) -> dict[str, Any]:
        """Returns the log."""
        line = {
            "id": "1",
            "time": "2026-11-25T00:00:00Z",
            "messageText": self.error,
            "messageImportance": "JOB_MESSAGE_ERROR",
        }
        return {"jobMessages": [line] if self.error else []}

    def _shown(self, job: Any) -> dict[str, Any]:
        return {
            "id": job.id,
            "name": job.name,
            "projectId": job.project_id,
            "location": job.location,
            "currentState": api.JobState(job.current_state).name,
        }


class _Handler(BaseHTTPRequestHandler):
    service: Dataflow

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        match = _JOB.match(self.path)
        if not match:
            self._send(404, {"error": {"code": 404, "message": self.path}})
            return
        project, location, job_id, messages = match.groups()
        try:
            if method == "POST":
                answer = self.service.create(project, location, body)
            elif method == "PUT":
                answer = self.service.update(job_id, body)
            else:
                answer = self.service.messages() if messages else self.service.read(job_id)
        except (ValueError, json_format.ParseError) as error:
            refused = {"code": 400, "message": str(error), "status": "INVALID_ARGUMENT"}
            self._send(400, {"error": refused})
            return
        self._send(200, answer)

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""


@contextmanager
def serving(service: Dataflow) -> Iterator[str]:
    """Serves on loopback and yields the address, for `dataflow_endpoint`."""
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
