"""Runs a pipeline job as Vertex AI does: the compiled file's own commands, on gs:// uris.

It reads the job that `quatrain submit` sends. A component's container is started with the command
that KFP wrote and an executor input on uris below the job's root, and its outputs are read from
the bucket. The two launchers of Google's components are not started: what they would send is
checked as Vertex AI checks it (tests/emulators/jobs.py), and the replicas are started here.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import json_format
from google_cloud_pipeline_components.container.v1.gcp_launcher.utils import json_util
from kfp.local import placeholder_utils
from kfp.pipeline_spec import pipeline_spec_pb2

from quatrain.components.storage import mounted
from quatrain.components.train.best_trial import argument, with_arguments
from quatrain.local import training_job
from quatrain.pipelines.compiled import LAUNCHER, TUNING_LAUNCHER
from quatrain.trainer.failure import LOST
from tests.emulators import jobs
from tests.vertex.machine import BUCKET, Machine, process_1

TIMEOUT_S = 600
GRACE_S = 60
"""How long the other replicas may run on after one has ended."""
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
GOOGLES_METRIC_FILE = Path("/tmp/hypertune/output.metrics")  # noqa: S108
"""Where cloudml-hypertune writes when the service names no file."""
NEVER = "1970-01-01T00:00:00Z"
"""What Vertex says of the schedule of a job that has none."""
_CONDITION = re.compile(r"inputs\.parameter_values\['([^']+)'\]")

Values = dict[str, Any]


class TaskFailed(Exception):
    """A task failed for good; the message ends with its log.

    Attributes:
        path: The task, and the ones that it is in, from the innermost on.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path: list[str] = []


class _LastTaskEnded(Exception):
    """No further task is wanted."""


@dataclass(frozen=True)
class Attempt:
    """A container that has ended, or the replicas of a job.

    Attributes:
        task: The name of its task.
        code: Its exit code; of several replicas, that of the one which decides the job.
        codes: The exit code of each replica; None if it did not end by itself.
        log: What it wrote.
        left: The objects below the job's root when it had ended.
        requests: The requests that the storage got meanwhile.
        ending_s: The seconds that it went on after SIGTERM, if it got it.
    """

    task: str
    code: int
    codes: tuple[int | None, ...]
    log: str
    left: frozenset[str]
    requests: tuple[str, ...]
    ending_s: float | None = None


@dataclass
class Outputs:
    """What a task, or a pipeline, gives to others by name."""

    parameters: Values = field(default_factory=dict)
    artifacts: Values = field(default_factory=dict)


@dataclass
class Driver:
    """Runs one job.

    Attributes:
        machine: Where its containers run.
        job: The job, as `submit` sends it.
        name: The last part of the job's name.
        tries: How often a failed task is tried again, beyond its own retry policy.
        last: The task after which the run ends; empty: it runs to its end.
        attempts: The containers that have ended.
        folders: The gs:// folder of each task's artifacts.
        jobs: The CustomJob of each training task.
        reports: The lines of each trial's metric file, by its number.
        running: The containers that run.
        stops: The requests at which a task's containers get SIGTERM, one in each attempt, by the
            task's name.
        inputs: The inputs of each task that was started.
        exits: The containers of the exit task that have ended. They are none of `attempts`.
    """

    machine: Machine
    job: Mapping[str, Any]
    name: str
    tries: int = 0
    last: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    folders: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, Values] = field(default_factory=dict)
    reports: dict[int, list[Values]] = field(default_factory=dict)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    stops: dict[str, list[str]] = field(default_factory=dict)
    _stopped_at: float | None = None
    inputs: dict[str, tuple[Mapping[str, Any], Outputs]] = field(default_factory=dict)
    exits: list[Attempt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self.spec = self.job["pipelineSpec"]
        self.root = f"{self.job['runtimeConfig']['gcsOutputDirectory']}/123456789/{self.name}"
        now = datetime.datetime.now(datetime.UTC)
        self._constants = {
            "{{$.pipeline_job_name}}": self.name,
            "{{$.pipeline_job_create_time_utc}}": now.isoformat(timespec="seconds"),
            "{{$.pipeline_job_schedule_time_utc}}": NEVER,
        }

    def run(self) -> None:
        """Runs the job to its end, or to the end of its last task.

        Raises:
            TaskFailed: A task did.
        """
        given = Outputs(dict(self.job["runtimeConfig"]["parameterValues"]))
        with contextlib.suppress(_LastTaskEnded):
            self._run_dag(self.spec["root"], given)

    def again(
        self,
        name: str,
        artifacts: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Attempt:
        """Runs the container of a task once more, in a folder of its own, and without a record.

        Args:
            name: The task, which has run.
            artifacts: Other uris of input artifacts.
            parameters: Other values of input parameters.
            env: Further variables of the container.
        """
        component, given = self.inputs[name]
        inputs = copy.deepcopy(given)
        inputs.parameters.update(parameters or {})
        for key, uri in (artifacts or {}).items():
            inputs.artifacts[key]["uri"] = uri
        folder = f"gs://{BUCKET}/again/{self._n_requests}/{name}"
        command, _ = self._command(name, component, inputs, folder)
        self._run_processes(name, [(command, env or {})])
        return self.attempts.pop()

    def run_job(self, payload: Mapping[str, Any], env: Mapping[str, str] | None = None) -> Attempt:
        """Runs the replicas of a CustomJob once, with further variables and without a record."""
        replicas = training_job.read_replicas(payload, {}, env or {})
        self._run_processes("job", [(r.command, r.env) for r in replicas])
        return self.attempts.pop()

    def kill(self, *places: int) -> None:
        """Kills the containers that run, with all their processes; or some of them."""
        for place, process in enumerate(self.running):
            if places and place not in places:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not places:
                process.wait()

    def stop(self) -> None:
        """Sends SIGTERM to the containers that run, as the service does to a cancelled task's."""
        self._stopped_at = time.monotonic()
        for process in self.running:
            os.kill(process_1(process), signal.SIGTERM)

    def _run_dag(self, component: Mapping[str, Any], given: Outputs) -> Outputs:
        """Runs the tasks of a pipeline in their order, but those whose condition is false."""
        given.parameters = {**_defaults(component), **given.parameters}
        tasks, done = component["dag"]["tasks"], dict[str, Outputs]()
        exits = {name: task for name, task in tasks.items() if _is_exit(task)}
        order = TopologicalSorter({n: t.get("dependentTasks", []) for n, t in tasks.items()})
        failure = None
        try:
            for name in order.static_order():
                if name not in exits:
                    self._run_task(name, tasks[name], given, done)
        except TaskFailed as error:
            failure = error
            raise
        finally:
            for name, task in exits.items() if not self.last else ():
                self._run_exit(name, task, given, failure)
        return _selected(component["dag"].get("outputs", {}), done)

    def _run_task(
        self, name: str, task: Mapping[str, Any], given: Outputs, done: dict[str, Outputs]
    ) -> None:
        inputs = self._inputs(task.get("inputs", {}), given, done)
        if not _holds(task.get("triggerPolicy", {}).get("condition", ""), inputs.parameters):
            return
        body = self.spec["components"][task["componentRef"]["name"]]
        run = self._run_dag if "dag" in body else self._run_container(name, task)
        try:
            done[name] = run(body, inputs)
        except TaskFailed as error:
            error.path.append(name)
            raise

    def _run_exit(
        self, name: str, task: Mapping[str, Any], given: Outputs, failure: TaskFailed | None
    ) -> None:
        """Runs the exit task, unless there is nothing for it to do: it would end at once.

        The status has the form of kfp's own test of it (sdk/python/kfp/dsl/executor_test.py).
        """
        if not (given.parameters.get("notices") or given.parameters.get("experiment")):
            return
        inputs, attempts = self._inputs(task["inputs"], given, {}), self.attempts
        (of_handler,) = task["dependentTasks"]
        status: Values = {
            "state": "FAILED" if failure else "SUCCEEDED",
            "pipelineJobResourceName": f"projects/123456789/locations/l/pipelineJobs/{self.name}",
            "pipelineTaskName": of_handler,
        }
        if failure:
            message = "The DAG failed because some tasks failed. The failed tasks are: "
            status["error"] = {"code": 9, "message": f"{message}[{failure.path[-2]}]."}
        inputs.parameters["status"] = status
        self.attempts = self.exits
        try:
            body = self.spec["components"][task["componentRef"]["name"]]
            self._run_container(name, task)(body, inputs)
        finally:
            self.attempts = attempts

    def _inputs(self, wiring: Any, given: Outputs, done: Mapping[str, Outputs]) -> Outputs:
        found = Outputs()
        for name, source in wiring.get("parameters", {}).items():
            match source:
                case {"componentInputParameter": key}:
                    if key in given.parameters:
                        found.parameters[name] = given.parameters[key]
                case {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}:
                    found.parameters[name] = done[task].parameters[key]
                case {"runtimeValue": {"constant": value}}:
                    found.parameters[name] = self._resolved(value)
        for name, source in wiring.get("artifacts", {}).items():
            match source:
                case {"componentInputArtifact": key}:
                    found.artifacts[name] = given.artifacts[key]
                case {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": key}}:
                    found.artifacts[name] = done[task].artifacts[key]
        return found

    def _resolved(self, value: Any) -> Any:
        for placeholder, text in self._constants.items():
            value = value.replace(placeholder, text) if isinstance(value, str) else value
        return value

    def _run_container(self, name: str, task: Mapping[str, Any]) -> Any:
        """Returns a function that runs a component until it succeeds, as its policy allows."""
        retries = int(task.get("retryPolicy", {}).get("maxRetryCount", 0)) + self.tries
        if name.startswith(("custom-training-job", "hyperparameter-tuning-job")):
            retries = self.tries  # a retried launcher polls the same job, which has failed
        folder = self.folders[name] = f"{self.root}/{name}_{len(self.folders) + 1}"

        def run(component: Mapping[str, Any], inputs: Outputs) -> Outputs:
            inputs.parameters = {**_defaults(component), **inputs.parameters}
            self.inputs[name] = component, inputs
            command, executor_input = self._command(name, component, inputs, folder)
            for _ in range(1 + retries):
                if LAUNCHER in command:
                    self.jobs[name] = _payload(command)
                    attempt = self.run_custom_job(name, self.jobs[name], folder)
                elif TUNING_LAUNCHER in command:
                    attempt = self._run_study(name, _payload(command), folder)
                else:
                    attempt = self._run_processes(name, [(command, {})])
                if attempt.code == 0:
                    if name == self.last:
                        raise _LastTaskEnded
                    return self._outputs(executor_input)
            raise TaskFailed(f"{name} ended with {attempt.code}:\n{attempt.log[-4000:]}")

        return run

    def _command(
        self, name: str, component: Mapping[str, Any], inputs: Outputs, folder: str
    ) -> tuple[list[str], Values]:
        """Returns the command of a container whose artifacts go to a folder, and its input."""
        executor_input = _executor_input(component, inputs, folder)
        label = component["executorLabel"]
        container = self.spec["deploymentSpec"]["executors"][label]["container"]
        command = placeholder_utils.replace_placeholders(
            [*container["command"], *container.get("args", [])],
            executor_input,
            pipeline_resource_name=self.name,
            task_resource_name=name,
            pipeline_root=self.root,
            unique_pipeline_id=self.name,
        )
        return command, executor_input

    def _run_processes(
        self, name: str, commands: Sequence[tuple[Sequence[str], Mapping[str, str]]]
    ) -> Attempt:
        """Runs a container, or the replicas of a job, until the first has ended or any failed."""
        folder, before = Path(self.machine.environment["TMPDIR"]), self._n_requests
        number, self._stopped_at = next(self._numbers), None
        if patterns := self.stops.get(name):
            self.machine.storage.watch(patterns.pop(0), self.stop)
        logs = [folder / f"{self.name}-{number}-{i}.log" for i in range(len(commands))]
        for (command, extra), log in zip(commands, logs, strict=True):
            self.running.append(self.machine.start(list(command), log, dict(extra)))
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            codes = [process.poll() for process in self.running]
            if codes[0] is not None or any(codes) or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        ended = time.monotonic()
        while None in codes and time.monotonic() < ended + GRACE_S:  # the others end by themselves
            time.sleep(0.05)
            codes = [process.poll() for process in self.running]
        self.kill()
        self.running.clear()
        # A killed replica comes first, and one that lost another one last.
        failed = sorted(
            (code for code in codes if code), key=lambda c: (c not in KILLED, c == LOST)
        )
        code = failed[0] if failed else codes[0]
        attempt = Attempt(
            name,
            -1 if code is None else code,
            tuple(codes),
            "".join(log.read_text() for log in logs),
            frozenset(self.machine.objects(self.root)),
            tuple(self.machine.storage.requests[before:]),
            None if self._stopped_at is None else ended - self._stopped_at,
        )
        self.attempts.append(attempt)
        return attempt

    @property
    def _n_requests(self) -> int:
        return len(self.machine.storage.requests)

    def run_custom_job(
        self,
        name: str,
        payload: Mapping[str, Any],
        folder: str,
        service: Mapping[str, str] | None = None,
    ) -> Attempt:
        """Runs a CustomJob, and runs it again when a machine was taken away, as Vertex does."""
        jobs.check_custom_job(aiplatform_v1.CustomJob.from_json(json.dumps(payload)))
        for _ in range(1 + training_job.MAX_RESTARTS):
            replicas = training_job.read_replicas(payload, {}, service or {})
            containers = [(r.command, {**r.env, **_own_disk(r)}) for r in replicas]
            attempt = self._run_processes(name, containers)
            if attempt.code not in (*KILLED, LOST):
                break
        self._write_resource(folder, {"resourceType": "CustomJob", "resourceUri": "https://none"})
        return attempt

    def _run_study(self, name: str, payload: Mapping[str, Any], folder: str) -> Attempt:
        """Runs the trials of a HyperparameterTuningJob, whose settings lie across each range."""
        spec, count = payload["trial_job_spec"], int(payload["max_trial_count"])
        base = spec["base_output_directory"]["output_uri_prefix"]
        (metric,) = payload["study_spec"]["metrics"]
        trials = []
        for number in range(1, count + 1):
            share = (number - 0.5) / count
            settings = {
                p["parameter_id"]: _across(p, share) for p in payload["study_spec"]["parameters"]
            }
            arguments = [f"--{key}={argument(value)}" for key, value in settings.items()]
            pools = with_arguments(spec["worker_pool_specs"], arguments)
            place = {"output_uri_prefix": f"{base}/{number}"}
            job_spec = {**spec, "worker_pool_specs": pools, "base_output_directory": place}
            job = {"display_name": payload["display_name"], "job_spec": job_spec}
            file = self._metric_file(number)
            service = {"CLOUD_ML_TRIAL_ID": str(number)}
            if file != GOOGLES_METRIC_FILE:
                service["CLOUD_ML_HP_METRIC_FILE"] = str(file)
            attempt = self.run_custom_job(name, job, folder, service)
            if attempt.code:
                return attempt
            self.reports[number] = [json.loads(line) for line in file.read_text().splitlines()]
            value = float(self.reports[number][-1][metric["metric_id"]])
            measured = {"metrics": [{"metricId": metric["metric_id"], "value": value}]}
            parameters = [{"parameterId": key, "value": v} for key, v in settings.items()]
            trials.append(
                {
                    "id": str(number),
                    "state": "SUCCEEDED",
                    "parameters": parameters,
                    "finalMeasurement": measured,
                }
            )
        metrics = [{"metricId": metric["metric_id"], "goal": metric["goal"]}]
        study = {"studySpec": {"metrics": metrics}, "trials": trials}
        path = Path(self.machine.environment["TMPDIR"], f"{self.name}.study.json")
        path.write_text(json.dumps(study))
        kind = "HyperparameterTuningJob"
        self._write_resource(folder, {"resourceType": kind, "resourceUri": path.as_uri()})
        return attempt

    def _metric_file(self, number: int) -> Path:
        """Returns where a trial reports: every second one is not told by the service."""
        own = Path(self.machine.environment["TMPDIR"], f"{self.name}-{number}.metrics")
        file = own if number % 2 else GOOGLES_METRIC_FILE
        file.unlink(missing_ok=True)
        return file

    def _write_resource(self, folder: str, resource: Mapping[str, str]) -> None:
        text = json.dumps({"resources": [resource]})
        self.machine.storage.put(f"{folder}/gcp_resources", text.encode())

    def _outputs(self, executor_input: Mapping[str, Any]) -> Outputs:
        """Reads what a component gave: executor_output.json, or a file of its own a parameter."""
        declared, objects = executor_input["outputs"], self.machine.storage
        path = _uri(declared["outputFile"])
        given = json.loads(objects.get(path)) if objects.has(path) else {}
        found = Outputs(dict(given.get("parameterValues", {})))
        for name, parameter in declared.get("parameters", {}).items():
            if name not in found.parameters:
                found.parameters[name] = objects.get(_uri(parameter["outputFile"])).decode()
        for name, artifacts in declared.get("artifacts", {}).items():
            (artifact,) = artifacts["artifacts"]
            (written,) = given["artifacts"][name]["artifacts"]
            found.artifacts[name] = {**artifact, **written}
        return found


def document(machine: Machine, driver: Driver, task: str, name: str) -> Any:
    """Returns a JSON document below a task's folder."""
    return json.loads(machine.storage.get(f"{driver.folders[task]}/{name}"))


def _is_exit(task: Mapping[str, Any]) -> bool:
    strategy = task.get("triggerPolicy", {}).get("strategy")
    return bool(strategy == "ALL_UPSTREAM_TASKS_COMPLETED")


def _defaults(component: Mapping[str, Any]) -> Values:
    parameters = component.get("inputDefinitions", {}).get("parameters", {})
    return {n: p["defaultValue"] for n, p in parameters.items() if "defaultValue" in p}


def _holds(condition: str, parameters: Values) -> bool:
    """Evaluates a condition of dsl.If, whose language is Python's but for the negation."""
    python = _CONDITION.sub(r"parameters['\1']", condition).replace("!(", "not (")
    names = {"parameters": parameters, "int": int, "__builtins__": {}}
    return not condition or bool(eval(python, names))  # noqa: S307 - of the compiled file


def _selected(wiring: Mapping[str, Any], done: Mapping[str, Outputs]) -> Outputs:
    """Returns the outputs of a pipeline, each of which one of its tasks made."""
    found = Outputs()
    for name, source in wiring.get("artifacts", {}).items():
        (selector,) = source["artifactSelectors"]
        key = selector["outputArtifactKey"]
        found.artifacts[name] = done[selector["producerSubtask"]].artifacts[key]
    for name, source in wiring.get("parameters", {}).items():
        selector = source["valueFromParameter"]
        key = selector["outputParameterKey"]
        found.parameters[name] = done[selector["producerSubtask"]].parameters[key]
    return found


def _executor_input(component: Mapping[str, Any], inputs: Outputs, folder: str) -> Values:
    """Returns the executor input; the proto makes a float of every number but whole parameters."""
    outputs = component.get("outputDefinitions", {})
    files, named = mounted(folder), outputs.get("parameters", {})
    declared = {
        "inputs": {
            "parameterValues": inputs.parameters,
            "artifacts": {name: {"artifacts": [a]} for name, a in inputs.artifacts.items()},
        },
        "outputs": {
            "parameters": {name: {"outputFile": f"{files}/{name}"} for name in named},
            "artifacts": {
                name: {
                    "artifacts": [
                        {
                            "name": f"projects/123456789/artifacts/{name}",
                            "uri": f"{folder}/{name}",
                            "type": artifact["artifactType"],
                        }
                    ]
                }
                for name, artifact in outputs.get("artifacts", {}).items()
            },
            "outputFile": f"{files}/executor_output.json",
        },
    }
    message = json_format.ParseDict(declared, pipeline_spec_pb2.ExecutorInput())
    found = json_format.MessageToDict(message)
    values = found["inputs"].get("parameterValues", {})
    for name, parameter in component.get("inputDefinitions", {}).get("parameters", {}).items():
        if parameter["parameterType"] == "NUMBER_INTEGER" and name in values:
            values[name] = int(values[name])
    return found


def _payload(command: Sequence[str]) -> Values:
    """Returns what a launcher sends, without what its remote_runner.py takes out."""
    payload = json.loads(command[list(command).index("--payload") + 1])
    payload = dict(json_util.recursive_remove_empty(payload))
    scheduling = payload.get("job_spec", {}).get("scheduling", {})
    if scheduling.get("strategy") != "FLEX_START":
        scheduling.pop("max_wait_duration", None)
    return payload


def _own_disk(replica: training_job.Replica) -> dict[str, str]:
    """Returns where a replica's metric file is, since each machine but the chief's has its own."""
    file = replica.env.get("CLOUD_ML_HP_METRIC_FILE")
    return {"CLOUD_ML_HP_METRIC_FILE": f"{file}.{replica.name}"} if file and replica.pool else {}


def _across(parameter: Mapping[str, Any], share: float) -> Any:
    """Returns the value of a parameter that lies a share of the way through its range."""
    for kind, type_ in (("double_value_spec", float), ("integer_value_spec", int)):
        if span := parameter.get(kind):
            low, high = float(span["min_value"]), float(span["max_value"])
            return type_(low + (high - low) * share)
    values = (parameter.get("discrete_value_spec") or parameter["categorical_value_spec"])["values"]
    return values[int(share * len(values))]


def _uri(path: str) -> str:
    return "gs://" + path.removeprefix("/gcs/")
