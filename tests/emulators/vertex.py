"""A small, strict stand-in for Vertex AI over REST: pipeline jobs, schedules, custom jobs, models.

It accepts and refuses what the real service does. Each rule names its source:
proto = the field's comment in google.cloud.aiplatform_v1 1.165, which is the API's reference;
sdk = what google-cloud-aiplatform checks before it sends; labels =
https://cloud.google.com/resource-manager/docs/labels-overview#requirements; AIP = https://aip.dev.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import itertools
import json
import re
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import google.protobuf.message
from cronsim import CronSim, CronSimError
from google.cloud import aiplatform_v1
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from tests.emulators import jobs
from tests.emulators.images import Images
from tests.emulators.log_entries import Log

UTC = datetime.UTC
TERMINAL = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")
PROJECT_NUMBER = "12345"
NO_AGENTS = (
    "Service agents are being provisioned (https://cloud.google.com/vertex-ai/docs/general/"
    "access-control#service-agents). Service agents are needed to read the Cloud Storage file "
    "provided. So please try again in a few minutes."
)
"""The first calls in a new project, as many reports quote it."""

_PARENT = r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)"
_JOB_ID = re.compile(r"[a-z][-a-z0-9]{0,127}")  # sdk: pipeline_constants._VALID_NAME_PATTERN
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")  # labels
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")  # labels
_NETWORK = re.compile(r"projects/[0-9]+/global/networks/[^/]+")  # proto: PipelineJob.network
_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "STRUCT": (dict,),
    "LIST": (list,),
}
_OUTPUT_ONLY = {  # proto: Schedule, "Output only."
    "started_run_count",
    "state",
    "create_time",
    "update_time",
    "next_run_time",
    "last_pause_time",
    "last_resume_time",
    "catch_up",
    "last_scheduled_run_response",
    "name",
}


class Refusal(Exception):
    """An error of the API: its HTTP code, canonical status and message."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code, self.status = code, status


def invalid(message: str) -> Refusal:
    return Refusal(400, "INVALID_ARGUMENT", message)


class Vertex:
    """One project's jobs, schedules and models.

    Args:
        project: The only project.
        location: The only region that this endpoint serves.
        execute: Runs a job in a thread: it gets the job's message and `update`, a function to call
            after each change. None leaves jobs PENDING.
        run_custom_job: Runs a custom job to its end before it is looked at, and returns why it
            failed, or nothing. None lets a job advance by one state at each look.
        now: The clock.
    """

    routes: list[tuple[str, str, str, str]]
    """The verb, path, method here and argument of each method of the API."""

    def __init__(
        self,
        project: str = "my-project",
        location: str = "europe-west1",
        execute: Callable[[Any, Callable[[], None]], None] | None = None,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(UTC),
        run_custom_job: Callable[[Any], str] | None = None,
    ) -> None:
        self.project, self.location, self.now = project, location, now
        self.execute, self.run_custom_job = execute, run_custom_job
        self.jobs: dict[str, Any] = {}
        self.custom_jobs: dict[str, Any] = {}
        self.tuning_jobs: dict[str, Any] = {}
        self.models: dict[str, Any] = {}
        self.schedules: dict[str, Any] = {}
        self.images = Images()
        self.log = Log(project)
        self.calls: list[str] = []
        self.user_projects: dict[str, str | None] = {}
        """The project whose quota a request uses, by the path."""
        self.bodies: list[dict[str, Any]] = []
        self.faults: list[tuple[str, int, str]] = []
        """Faults to come: method, HTTP code (0 cuts the connection), before or after the call."""
        self.calls_without_agents = 0
        """How many calls to come find a new project, whose service agents are not made yet."""
        self.fired: list[tuple[datetime.datetime, Any]] = []
        """When each scheduled run was due, and its job."""
        self.refusal = ""
        """Why no scheduled run can be started, as the service's own error; empty: it can."""
        self._cursors: dict[str, datetime.datetime] = {}
        self._queues: dict[str, list[datetime.datetime]] = {}
        self.after_call: Callable[[str], None] = lambda method: None
        self._ids = itertools.count(1)
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []

    # -- pipeline jobs

    def create_pipeline_job(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        job = _parse(body, aiplatform_v1.PipelineJob)
        job_id = query.get("pipelineJobId") or f"job-{next(self._ids)}"
        if not _JOB_ID.fullmatch(job_id):
            raise invalid(f"pipeline_job_id {job_id!r} must match {_JOB_ID.pattern}")
        name = f"projects/{PROJECT_NUMBER}/locations/{self.location}/pipelineJobs/{job_id}"
        if name in self.jobs:
            raise Refusal(409, "ALREADY_EXISTS", f"PipelineJob {job_id} already exists")
        check_job(job)
        pb = aiplatform_v1.PipelineJob.pb(job)
        pb.name, pb.state = name, aiplatform_v1.PipelineState.PIPELINE_STATE_PENDING
        _stamp(pb.create_time, self.now())
        self.jobs[name] = job
        if self.execute:
            thread = threading.Thread(target=self._run, args=(job,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return job

    def _run(self, job: Any) -> None:
        assert self.execute
        self.execute(job, lambda: None)

    def get_pipeline_job(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        job = _lookup(self.jobs, name, "PipelineJob")
        shown = aiplatform_v1.PipelineJob(job)
        if (
            job.state.name == "PIPELINE_STATE_CANCELLING"
        ):  # proto: CancelPipelineJob, "Code.CANCELLED"
            job.state = aiplatform_v1.PipelineState.PIPELINE_STATE_CANCELLED
            job.error = {"code": 1, "message": "CANCELED"}
        return shown

    def list_pipeline_jobs(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        all_jobs = list(self.jobs.values())
        if text := query.get("filter"):
            # sdk: PipelineJobSchedule.list_jobs; proto: "labels: Supports key-value equality and
            # key presence"; of the grammar only this is understood here
            match = re.fullmatch(r'(schedule_name|labels\.[a-z_-]+)(=|:)"?([^"\s]+)"?', text)
            if not match or (match[2] == ":") != (match[3] == "*"):
                raise invalid(f"filter {text!r} is not understood")
            all_jobs = [job for job in all_jobs if _fits(job, match[1], match[3])]
        # proto: order_by, "default order is create time in descending order"
        if query.get("orderBy", "create_time desc") != "create_time desc":
            raise invalid(f"order_by {query['orderBy']!r} is not understood")
        all_jobs.sort(key=lambda job: job.create_time, reverse=True)
        page, token = _page(all_jobs, query)
        if paths := query.get("readMask"):
            page = [_masked(job, paths) for job in page]
        return aiplatform_v1.ListPipelineJobsResponse(pipeline_jobs=page, next_page_token=token)

    def cancel_pipeline_job(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        job = _lookup(self.jobs, name, "PipelineJob")
        if job.state.name in TERMINAL:  # proto: CancelPipelineJob, best effort on a running job
            raise Refusal(400, "FAILED_PRECONDITION", f"{name} is {job.state.name}")
        job.state = aiplatform_v1.PipelineState.PIPELINE_STATE_CANCELLING
        return None

    # -- custom jobs

    def create_custom_job(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        job = _parse(body, aiplatform_v1.CustomJob)
        _checked(jobs.check_custom_job, job)
        _check_labels(job.labels)
        job.name = self._named("customJobs")
        job.state = aiplatform_v1.JobState.JOB_STATE_PENDING
        _stamp(aiplatform_v1.CustomJob.pb(job).create_time, self.now())
        self.custom_jobs[job.name] = job
        if self.run_custom_job:
            reason = self.run_custom_job(job)
            if reason:
                job.error = {"code": 3, "message": reason}
            job.state = _JOB_STATES[3 if reason else 2]
        return job

    def get_custom_job(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        job = _lookup(self.custom_jobs, name, "CustomJob")
        job_pb = aiplatform_v1.CustomJob(job)
        if job.state in _JOB_STATES[:2]:  # PENDING, RUNNING, then SUCCEEDED
            job.state = _JOB_STATES[_JOB_STATES.index(job.state) + 1]
        return job_pb

    def list_custom_jobs(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        page, token = _page(_of_display_name(self.custom_jobs, query), query)
        return aiplatform_v1.ListCustomJobsResponse(custom_jobs=page, next_page_token=token)

    def get_tuning_job(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        return _lookup(self.tuning_jobs, name, "HyperparameterTuningJob")

    def list_tuning_jobs(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        page, token = _page(_of_display_name(self.tuning_jobs, query), query)
        return aiplatform_v1.ListHyperparameterTuningJobsResponse(
            hyperparameter_tuning_jobs=page, next_page_token=token
        )

    def cancel_tuning_job(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        job = _lookup(self.tuning_jobs, name, "HyperparameterTuningJob")
        job.state = aiplatform_v1.JobState.JOB_STATE_CANCELLED

    def cancel_custom_job(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        job = _lookup(self.custom_jobs, name, "CustomJob")
        if job.state in _JOB_STATES[2:]:
            raise Refusal(400, "FAILED_PRECONDITION", f"{name} is {job.state.name}")
        job.state = aiplatform_v1.JobState.JOB_STATE_CANCELLED

    # -- models

    def upload_model(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        if set(body) - {"parent", "parentModel", "modelId", "model", "serviceAccount"}:
            raise invalid(f"unknown fields in {sorted(body)}")  # proto: UploadModelRequest
        model = _parse(body.get("model", {}), aiplatform_v1.Model)
        _checked(jobs.check_model, model)
        model.name = self._named("models")
        self.models[model.name] = model
        return {
            "name": f"{model.name}/operations/{next(self._ids)}",
            "done": True,
            "response": {
                "@type": "type.googleapis.com/google.cloud.aiplatform.v1.UploadModelResponse",
                "model": model.name,
            },
        }

    def get_model(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        return _lookup(self.models, name, "Model")

    def list_models(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        page, token = _page(list(self.models.values()), query)
        return aiplatform_v1.ListModelsResponse(models=page, next_page_token=token)

    def _named(self, collection: str) -> str:
        parent = f"projects/{PROJECT_NUMBER}/locations/{self.location}"
        return f"{parent}/{collection}/{next(self._ids)}"

    # -- schedules

    def create_schedule(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        schedule = _parse(body, aiplatform_v1.Schedule)
        pb = aiplatform_v1.Schedule.pb(schedule)
        for field in _OUTPUT_ONLY:  # AIP-203: output-only fields in a request are ignored
            pb.ClearField(field)
        self._check_schedule(schedule)
        number = next(self._ids)
        pb.name = f"projects/{PROJECT_NUMBER}/locations/{self.location}/schedules/{number}"
        pb.state = aiplatform_v1.Schedule.State.ACTIVE
        _stamp(pb.create_time, self.now())
        _stamp(pb.update_time, self.now())
        if not pb.HasField("start_time"):  # proto: start_time, "Default to Schedule create time"
            pb.start_time.CopyFrom(pb.create_time)
        self.schedules[pb.name] = schedule
        # kfp-operator#580: runs that were due since a start in the past are started at once
        self._skip_missed(pb.name, since=min(self.now(), schedule.start_time))
        self._plan(schedule)
        return schedule

    def _skip_missed(self, name: str, since: datetime.datetime | None = None) -> None:
        """Lets a schedule forget the runs that were due before now, or before `since`."""
        self._cursors[name] = since or self.now()
        self._queues[name] = []

    def _check_schedule(self, schedule: Any) -> None:
        pb = aiplatform_v1.Schedule.pb(schedule)
        if not 1 <= len(pb.display_name) <= 128:  # proto: display_name
            raise invalid("display_name is required and at most 128 characters long")
        if pb.max_concurrent_run_count < 1:  # proto: "Required."
            raise invalid("max_concurrent_run_count is required and must be positive")
        if pb.max_run_count < 0 or pb.max_concurrent_active_run_count < 0:
            raise invalid("run counts must not be negative")
        if pb.WhichOneof("time_specification") != "cron":
            raise invalid("cron is required")
        parse_cron(pb.cron)
        if pb.WhichOneof("request") != "create_pipeline_job_request":
            raise invalid("create_pipeline_job_request is required")
        request = schedule.create_pipeline_job_request
        # proto: "CreatePipelineJobRequest.parent field is required"
        if not re.fullmatch(_PARENT, request.parent):
            raise invalid("create_pipeline_job_request.parent: projects/{project}/locations/{loc}")
        if request.pipeline_job_id:  # every run would have the same id
            raise invalid("create_pipeline_job_request.pipeline_job_id must not be set")
        self._check_parent(request.parent)
        check_job(request.pipeline_job)
        start, end = schedule.start_time, schedule.end_time
        if end and start and end <= start:
            raise invalid("end_time must be after start_time")
        if end and end <= self.now():
            raise invalid("end_time must be in the future")

    def restore(self, schedule: Any) -> None:
        """Adds a schedule that was created earlier, with no run due."""
        # New names continue its number.
        self.schedules[schedule.name] = schedule
        self._skip_missed(schedule.name)
        self._ids = itertools.count(int(schedule.name.rpartition("/")[2]) + 1)

    def get_schedule(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        schedule = _lookup(self.schedules, name, "Schedule")
        self._plan(schedule)
        return schedule

    def list_schedules(self, query: Mapping[str, str], body: Any, parent: str) -> Any:
        schedules = _of_display_name(self.schedules, query)
        for schedule in schedules:
            self._plan(schedule)
        page, token = _page(schedules, query)
        return aiplatform_v1.ListSchedulesResponse(schedules=page, next_page_token=token)

    def update_schedule(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        schedule = _lookup(self.schedules, name, "Schedule")
        self._plan(schedule)
        if schedule.state.name == "COMPLETED":  # proto: "Updates an active or paused Schedule."
            raise Refusal(400, "FAILED_PRECONDITION", f"{name} is COMPLETED")
        requested = aiplatform_v1.Schedule.pb(_parse(body, aiplatform_v1.Schedule))
        paths = [_snake(p) for p in query.get("updateMask", "").split(",") if p]
        if not paths:  # proto: update_mask, "Required."
            raise invalid("update_mask is required")
        changed = aiplatform_v1.Schedule(aiplatform_v1.Schedule.pb(schedule))
        pb = aiplatform_v1.Schedule.pb(changed)
        for path in paths:
            if path not in aiplatform_v1.Schedule.meta.fields:
                raise invalid(f"update_mask: unknown field {path!r}")
            if path in _OUTPUT_ONLY:
                continue  # proto: "The output_only fields will be ignored if specified."
            _copy_field(pb, requested, path)
        self._check_schedule(changed)
        _stamp(pb.update_time, self.now())
        # proto: UpdateSchedule, "All unstarted runs before the update time will be skipped"
        self._skip_missed(name)
        self.schedules[name] = changed
        self._plan(changed)
        return changed

    def pause_schedule(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        schedule = self._changeable(name)
        schedule.state = aiplatform_v1.Schedule.State.PAUSED
        schedule.last_pause_time = self.now()

    def resume_schedule(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        schedule = self._changeable(name)
        if set(body) - {"name", "catchUp"}:  # proto: ResumeScheduleRequest
            raise invalid(f"unknown fields in {sorted(body)}")
        schedule.catch_up = bool(body.get("catchUp", False))
        if not schedule.catch_up:  # proto: ResumeScheduleRequest.catch_up
            self._skip_missed(name)
        schedule.state = aiplatform_v1.Schedule.State.ACTIVE
        schedule.last_resume_time = self.now()

    def _changeable(self, name: str) -> Any:
        schedule = _lookup(self.schedules, name, "Schedule")
        self._plan(schedule)
        if schedule.state.name == "COMPLETED":  # proto: State.COMPLETED
            raise Refusal(400, "FAILED_PRECONDITION", f"{name} cannot be paused or resumed")
        return schedule

    def delete_schedule(self, query: Mapping[str, str], body: Any, name: str) -> Any:
        _lookup(self.schedules, name, "Schedule")
        del self.schedules[name]
        return {"name": f"{name}/operations/{next(self._ids)}", "done": False}

    def _plan(self, schedule: Any) -> None:
        """Brings the schedule's state and next run to the present."""
        now = self.now()
        end, pb = schedule.end_time, aiplatform_v1.Schedule.pb(schedule)
        if (end and end <= now) or 0 < pb.max_run_count <= pb.started_run_count:  # proto: end_time
            pb.state = aiplatform_v1.Schedule.State.COMPLETED
            pb.ClearField("next_run_time")
            return
        cron, zone = parse_cron(pb.cron)
        after = max(now, schedule.start_time)
        _stamp(pb.next_run_time, next(CronSim(cron, after.astimezone(zone))))

    def tick(self) -> None:
        """Starts the runs that became due since the last tick; every call ticks first."""
        now = self.now()
        for name, schedule in self.schedules.items():
            if schedule.state.name != "ACTIVE":
                continue
            cron, zone = parse_cron(schedule.cron)
            after = max(self._cursors[name], schedule.start_time)
            queue = self._queues[name]
            for due in CronSim(cron, after.astimezone(zone)):
                if due > now or (schedule.end_time and due >= schedule.end_time):
                    break
                queue.append(due)
            while queue and not 0 < schedule.max_run_count <= schedule.started_run_count:
                if self._is_full(schedule):
                    if schedule.allow_queueing:  # proto: "queued instead of skipped"
                        break
                    queue.clear()
                else:
                    self._fire(schedule, queue.pop(0))
            self._cursors[name] = max(now, self._cursors[name])
            self._plan(schedule)

    def _is_full(self, schedule: Any) -> bool:
        """Whether as many runs of a schedule are active as may be."""
        active = [
            j
            for j in self.jobs.values()
            if j.schedule_name == schedule.name and j.state.name not in TERMINAL
        ]
        return 0 < schedule.max_concurrent_active_run_count <= len(active)

    def _fire(self, schedule: Any, due: datetime.datetime) -> None:
        """Starts a run, or notes why it cannot be; proto: Schedule.last_scheduled_run_response."""
        schedule.last_scheduled_run_response = {
            "scheduled_run_time": due,
            "run_response": self.refusal or "OK",
        }
        if self.refusal:
            return
        job = aiplatform_v1.PipelineJob(schedule.create_pipeline_job_request.pipeline_job)
        job_id = f"scheduled-{next(self._ids)}"
        job.name = f"projects/{PROJECT_NUMBER}/locations/{self.location}/pipelineJobs/{job_id}"
        job.schedule_name = schedule.name
        job.create_time = self.now()
        job.state = aiplatform_v1.PipelineState.PIPELINE_STATE_PENDING
        self.jobs[job.name] = job
        schedule.started_run_count += 1
        self.fired.append((due, job))

    def live(self) -> list[str]:
        """Returns the schedules that would start a run if one were due this instant."""
        now = self.now()
        return [
            name
            for name, s in self.schedules.items()
            if s.state.name == "ACTIVE"
            and s.start_time <= now
            and not (s.end_time and s.end_time <= now)
        ]

    # -- transport

    def _check_parent(self, path: str) -> None:
        match = re.match(_PARENT, path)
        if not match or match["location"] != self.location:
            raise invalid(f"{path}: this endpoint serves {self.location}")
        if match["project"] not in (self.project, PROJECT_NUMBER):
            raise Refusal(403, "PERMISSION_DENIED", f"Permission denied on {path}")

    def answer(self, verb: str, target: str, data: bytes) -> tuple[int, Any]:
        """Returns the HTTP code and the JSON of a request; None stands for a cut connection."""
        split = urlsplit(target)
        query = {k: v[0] for k, v in parse_qs(split.query).items()}
        name, arguments = _route(verb, unquote(split.path), self.routes)
        with self._lock:
            self.calls.append(name)
            self.tick()
            fault = self.faults[0] if self.faults and self.faults[0][0] == name else None
            try:
                if self.calls_without_agents:
                    self.calls_without_agents -= 1
                    raise Refusal(400, "FAILED_PRECONDITION", NO_AGENTS)
                if fault and fault[2] == "before":
                    return self._fail(self.faults.pop(0))
                body = json.loads(data) if data else {}
                self.bodies.append(body)
                self._check_parent(next(iter(arguments.values())))
                canonical = {k: _by_number(v, self.project) for k, v in arguments.items()}
                reply = getattr(self, name)(query, body, **canonical)
                self.after_call(name)
                if fault:
                    return self._fail(self.faults.pop(0))
            except Refusal as refusal:
                return refusal.code, _error(refusal.code, refusal.status, str(refusal))
            # https://cloud.google.com/apis/docs/system-parameters: $alt
            return 200, _dump(reply, by_number="enum-encoding=int" in query.get("$alt", ""))

    def _fail(self, fault: tuple[str, int, str]) -> tuple[int, Any]:
        code = fault[1]
        statuses = {
            403: "PERMISSION_DENIED",
            409: "ABORTED",  # AIP-193: a conflict of concurrent writes
            429: "RESOURCE_EXHAUSTED",
            503: "UNAVAILABLE",
        }
        return code, _error(code, statuses.get(code, "INTERNAL"), f"a fault of {code}")


def check_job(job: Any) -> None:
    """Refuses what CreatePipelineJob refuses."""
    if len(job.display_name) > 128:  # proto: display_name
        raise invalid("display_name is longer than 128 characters")
    _check_labels(job.labels)
    pb = aiplatform_v1.PipelineJob.pb(job)
    if job.network and not _NETWORK.fullmatch(job.network):
        raise invalid(f"network {job.network!r} must be projects/NUMBER/global/networks/NAME")
    if job.network and pb.HasField("psc_interface_config"):
        raise invalid("network and psc_interface_config exclude each other")
    if not pb.runtime_config.gcs_output_directory.startswith("gs://"):  # proto: "Required."
        raise invalid("runtime_config.gcs_output_directory must be a gs:// path")
    if pb.runtime_config.parameters:  # proto: for schemaVersion 2.0.0 or lower only
        raise invalid("runtime_config.parameters is not for schema version 2.1.0")
    spec = json_format.MessageToDict(pb.pipeline_spec)
    if not spec and not job.template_uri:
        raise invalid("pipeline_spec or template_uri is required")
    if job.template_uri and "@" in job.template_uri:
        raise invalid(f"template_uri {job.template_uri!r} is malformed")
    _check_spec(spec)
    values = json_format.MessageToDict(pb.runtime_config).get("parameterValues", {})
    _check_parameters(spec, values)


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > 64:
        raise invalid("more than 64 labels")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise invalid(f"label {key!r}: {value!r} is malformed")


def _check_spec(spec: Mapping[str, Any]) -> None:
    """Refuses a spec that kfp's own message does not accept."""
    from kfp.pipeline_spec import pipeline_spec_pb2

    try:
        message = json_format.ParseDict(dict(spec), pipeline_spec_pb2.PipelineSpec())
    except (json_format.ParseError, google.protobuf.message.Error) as error:
        raise invalid(f"pipeline_spec: {error}") from error
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", message.pipeline_info.name):
        raise invalid("pipeline_spec.pipeline_info.name is malformed")  # kfp: PipelineInfo.name
    if message.schema_version != "2.1.0":
        raise invalid(f"schema version {message.schema_version!r} is not supported")


def _check_parameters(spec: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, value in values.items():
        if name not in declared:
            raise invalid(f"parameter {name!r} is not found in the pipeline's input definitions")
        kind = declared[name]["parameterType"]
        boolean = isinstance(value, bool) and kind != "BOOLEAN"
        whole = kind == "NUMBER_INTEGER" and isinstance(value, float) and not value.is_integer()
        if not isinstance(value, _TYPES[kind]) or boolean or whole:
            raise invalid(f"parameter {name!r} must be {kind}, not {value!r}")
    for name, parameter in declared.items():
        optional = parameter.get("isOptional") or "defaultValue" in parameter
        if name not in values and not optional:
            raise invalid(f"parameter {name!r} is required")


def parse_cron(text: str) -> tuple[str, datetime.tzinfo]:
    """Reads a five-field cron with its zone; proto: Schedule.cron."""
    match = re.fullmatch(r"(?:(?:CRON_)?TZ=(\S+) +)?(\S+(?: +\S+){4})", text)
    if not match or not re.fullmatch(r"[0-9A-Za-z*/, -]+", match[2]):
        raise invalid(f"cron {text!r} is malformed")
    try:
        zone = ZoneInfo(match[1] or "UTC")
        CronSim(match[2], datetime.datetime.now(zone))
    except (CronSimError, ZoneInfoNotFoundError, ValueError) as error:
        raise invalid(f"cron {text!r}: {error}") from error
    return match[2], zone


_JOB_STATES = [
    aiplatform_v1.JobState[f"JOB_STATE_{name}"]
    for name in ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED")
]

_ROUTES = [
    ("POST", rf"({_PARENT})/pipelineJobs", "create_pipeline_job", "parent"),
    ("GET", rf"({_PARENT})/pipelineJobs", "list_pipeline_jobs", "parent"),
    ("GET", rf"({_PARENT}/pipelineJobs/[^/:]+)", "get_pipeline_job", "name"),
    ("POST", rf"({_PARENT}/pipelineJobs/[^/:]+):cancel", "cancel_pipeline_job", "name"),
    ("POST", rf"({_PARENT})/schedules", "create_schedule", "parent"),
    ("GET", rf"({_PARENT})/schedules", "list_schedules", "parent"),
    ("GET", rf"({_PARENT}/schedules/[^/:]+)", "get_schedule", "name"),
    ("PATCH", rf"({_PARENT}/schedules/[^/:]+)", "update_schedule", "name"),
    ("DELETE", rf"({_PARENT}/schedules/[^/:]+)", "delete_schedule", "name"),
    ("POST", rf"({_PARENT}/schedules/[^/:]+):pause", "pause_schedule", "name"),
    ("POST", rf"({_PARENT}/schedules/[^/:]+):resume", "resume_schedule", "name"),
    ("POST", rf"({_PARENT})/customJobs", "create_custom_job", "parent"),
    ("GET", rf"({_PARENT})/customJobs", "list_custom_jobs", "parent"),
    ("GET", rf"({_PARENT}/customJobs/[^/:]+)", "get_custom_job", "name"),
    ("POST", rf"({_PARENT}/customJobs/[^/:]+):cancel", "cancel_custom_job", "name"),
    ("GET", rf"({_PARENT})/hyperparameterTuningJobs", "list_tuning_jobs", "parent"),
    ("GET", rf"({_PARENT}/hyperparameterTuningJobs/[^/:]+)", "get_tuning_job", "name"),
    (
        "POST",
        rf"({_PARENT}/hyperparameterTuningJobs/[^/:]+):cancel",
        "cancel_tuning_job",
        "name",
    ),
    ("POST", rf"({_PARENT})/models:upload", "upload_model", "parent"),
    ("GET", rf"({_PARENT})/models", "list_models", "parent"),
    ("GET", rf"({_PARENT}/models/[^/:]+)", "get_model", "name"),
]

Vertex.routes = _ROUTES


def _checked(check: Callable[[Any], None], message: Any) -> None:
    try:
        check(message)
    except jobs.Invalid as error:
        raise invalid(str(error)) from error


def _route(
    verb: str, path: str, routes: list[tuple[str, str, str, str]]
) -> tuple[str, dict[str, str]]:
    for method, pattern, name, argument in routes:
        match = re.fullmatch(f"/(?:v1|v1beta1)/{pattern}", path)
        if method == verb and match:
            return name, {argument: match[1]}
    raise LookupError(f"{verb} {path} is no method of this API")


def _parse(body: Any, cls: Any) -> Any:
    try:
        return cls(json_format.ParseDict(body, cls.pb()()))
    except json_format.ParseError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from error


def _dump(reply: Any, by_number: bool) -> Any:
    if reply is None or isinstance(reply, dict):
        return reply or {}
    pb = type(reply).pb(reply)
    return json.loads(json_format.MessageToJson(pb, use_integers_for_enums=by_number))


def _error(code: int, status: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status}}


def _lookup(table: Mapping[str, Any], name: str, kind: str) -> Any:
    if name not in table:
        raise Refusal(404, "NOT_FOUND", f"The {kind} {name.rsplit('/', 1)[1]} does not exist")
    return table[name]


def _of_display_name(table: Mapping[str, Any], query: Mapping[str, str]) -> list[Any]:
    """Returns what a filter leaves of a table; of AIP-160's grammar only this is understood."""
    text = query.get("filter")
    if not text:
        return list(table.values())
    match = re.fullmatch(r'display_name="([^"\\]*)"', text)
    if not match:
        raise invalid(f"filter {text!r} is not understood")
    return [value for value in table.values() if value.display_name == match[1]]


def _by_number(path: str, project: str) -> str:
    """Names a resource as the service does: by the project's number."""
    return path.replace(f"projects/{project}/", f"projects/{PROJECT_NUMBER}/", 1)


def _page(items: list[Any], query: Mapping[str, str]) -> tuple[list[Any], str]:
    """AIP-158: pages of `page_size` items or 100; a token of another query is refused."""
    size = min(int(query.get("pageSize", 0)) or 100, 100)
    key = query.get("filter", "")
    start = 0
    if token := query.get("pageToken"):
        try:
            of, at = json.loads(base64.urlsafe_b64decode(token))
        except ValueError as error:
            raise invalid("page_token is malformed") from error
        if of != key:
            raise invalid("page_token belongs to another request")
        start = at
    more = json.dumps([key, start + size]).encode() if start + size < len(items) else b""
    return items[start : start + size], base64.urlsafe_b64encode(more).decode()


def _copy_field(pb: Any, requested: Any, path: str) -> None:
    """Copies a field; proto: UpdateScheduleRequest, "non-empty fields cannot be unset"."""
    field = pb.DESCRIPTOR.fields_by_name[path]
    was, new = getattr(pb, path), getattr(requested, path)
    if field.message_type:
        if pb.HasField(path) and not requested.HasField(path):
            raise invalid(f"{path} cannot be unset")
        was.CopyFrom(new)
        return
    if was and not new and field.type != field.TYPE_BOOL:
        raise invalid(f"{path} cannot be unset")
    setattr(pb, path, new)


def _fits(job: Any, field: str, value: str) -> bool:
    """Returns whether a field of a job has a value, or any where that is *."""
    collection, _, key = field.partition(".")
    if not key:
        return bool(getattr(job, field) == value)
    labels = getattr(job, collection)
    return key in labels and value in ("*", labels[key])


def _masked(job: Any, paths: str) -> Any:
    """Returns what a read mask leaves of a job; AIP-157."""
    masked = aiplatform_v1.PipelineJob()
    mask = FieldMask(paths=[_snake(path) for path in paths.split(",")])
    mask.MergeMessage(aiplatform_v1.PipelineJob.pb(job), aiplatform_v1.PipelineJob.pb(masked))
    return masked


def _snake(path: str) -> str:
    return re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", path)


def _stamp(field: Any, when: datetime.datetime) -> None:
    field.FromDatetime(when.astimezone(UTC))


class Server(ThreadingHTTPServer):
    """A server that ignores a client that has gone, as after Ctrl-C."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serving(
    vertex: Vertex,
    other: Callable[[str, str], tuple[int, Any] | None] = lambda verb, target: None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Serves on loopback and yields the address; `other` answers for other services."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # one packet an answer: else each waits 40 ms for an acknowledgement

        def _answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            vertex.user_projects[urlsplit(self.path).path] = self.headers["x-goog-user-project"]
            try:
                code, reply = (
                    other(self.command, self.path)
                    or vertex.images.answer(self.command, self.path)
                    or vertex.log.answer(self.command, self.path, data)
                    or vertex.answer(self.command, self.path, data)
                )
            except LookupError as error:
                code, reply = 404, _error(404, "NOT_FOUND", str(error))
            if code == 0:
                self.close_connection = True
                self.connection.close()
                return
            payload = json.dumps(reply).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls:  # the handshake is the connection's own thread's: nobody else waits for it
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
