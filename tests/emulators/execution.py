"""Executes a posted pipeline job on this machine, as `quatrain run` executes the compiled file.

A bucket is a folder here: gs://BUCKET/PATH is BUCKETS/BUCKET/PATH. The job's parameters
decide what runs. Only uris are translated, and translated back in the job's details.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.cloud import aiplatform_v1
from google.protobuf import json_format

ROOT = Path(__file__).parents[2]
RUN = """
import json, pathlib, sys
from quatrain.components.specification.parameter import read_parameter
from quatrain.local.run import run_pipeline
path, root, values = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
spec = read_parameter(values["spec"])
options = {name: values.get(name, "") for name in ("tier", "runner", "at")}
run_pipeline(pathlib.Path(path), spec, pathlib.Path(root), trust=True, **options)
"""
STATES = {"running": "RUNNING", "succeeded": "SUCCEEDED", "failed": "FAILED"}
State = aiplatform_v1.PipelineState
Task = aiplatform_v1.PipelineTaskDetail


def newest_run(runs: Path) -> Path:
    """Returns the run of a model that was started last; the folder itself if there is none."""
    return max((file.parent.resolve() for file in runs.glob("*/run.json")), default=runs)


class LocalExecution:
    """Executes jobs, for `Vertex(execute=...)`.

    Args:
        buckets: The folder of the buckets.
    """

    def __init__(self, buckets: Path) -> None:
        self.buckets = buckets
        self.runs: list[Path] = []

    def __call__(self, job: Any, update: Callable[[], None]) -> None:
        """Runs a job to its end, and updates its tasks as they run."""
        pb = aiplatform_v1.PipelineJob.pb(job)
        root = self.here(pb.runtime_config.gcs_output_directory)
        root.mkdir(parents=True, exist_ok=True)
        path = root / f"{pb.name.rsplit('/', 1)[1]}.yaml"
        path.write_text(json_format.MessageToJson(pb.pipeline_spec))
        values = json_format.MessageToDict(pb.runtime_config)["parameterValues"]
        spec = json.loads(values["spec"])
        if "sha256" in spec:  # a long one is a file below the root
            spec = json.loads(self.here(spec["uri"]).read_text())
        spec["source"]["uri"] = [str(self.here(uri)) for uri in spec["source"]["uri"]]
        values["spec"] = json.dumps(spec)
        log = path.with_suffix(".log")
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(path), str(root), json.dumps(values)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=stream,
                stderr=stream,
            )
        job.state = State.PIPELINE_STATE_RUNNING
        while process.poll() is None:
            if job.state == State.PIPELINE_STATE_CANCELLING:
                process.terminate()
            self.show(job, newest_run(root / spec["name"]))
            time.sleep(0.2)
        self.show(job, newest_run(root / spec["name"]))
        self.runs.append(newest_run(root / spec["name"]))
        if job.state == State.PIPELINE_STATE_CANCELLING:
            job.state = State.PIPELINE_STATE_CANCELLED
        elif process.returncode:
            job.error = {"code": 9, "message": log.read_text()[-2000:]}
            job.state = State.PIPELINE_STATE_FAILED
        else:
            job.state = State.PIPELINE_STATE_SUCCEEDED

    def here(self, uri: str) -> Path:
        return self.buckets / uri.removeprefix("gs://")

    def show(self, job: Any, run: Path) -> None:
        """Copies the steps of the run's record to the job's tasks."""
        if not (run / "run.json").exists():
            return
        record = json.loads((run / "run.json").read_text())
        tasks = [self.task(n, s, record["error"]) for n, s in enumerate(record["steps"], 1)]
        report = run / "report.html"
        if report.exists():
            folder = report.resolve().parent.relative_to(self.buckets.resolve())
            artifact = aiplatform_v1.Artifact(uri=f"gs://{folder}")
            outputs = {"evaluation": Task.ArtifactList(artifacts=[artifact])}
            tasks.append(Task(task_id=99, task_name="measure", parent_task_id=4, outputs=outputs))
        job.job_detail = aiplatform_v1.PipelineJobDetail(task_details=tasks)

    def task(self, number: int, step: Mapping[str, Any], error: str) -> Any:
        state = Task.State[STATES[step["status"]]]
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        end = start + datetime.timedelta(seconds=step["wall_s"])
        task = Task(task_id=number, task_name=step["name"], state=state, start_time=start)
        if step["status"] != "running":
            task.end_time = end
        if step["status"] == "failed":
            task.error = {"code": 9, "message": error}
        return task
