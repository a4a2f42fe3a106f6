"""Runs a compiled pipeline on this machine: kfp.local, with a seam for the training job.

kfp.local passes every task to the run, by way of `kfp_seam`. Python components run as kfp itself
would run them. Where a task is the custom-job launcher of google-cloud-pipeline-components, the
worker pools of its payload run as local processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from quatrain.components.buckets import HERE
from quatrain.components.errors import GateFailed, QuatrainError, short_traceback
from quatrain.components.notify.failures import FUNCTION, record_text
from quatrain.components.notify.sending import shown
from quatrain.components.quick_run import ROWS
from quatrain.components.specification.parameter import parameter_of, write_spec
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.termination import termination_as_interrupt
from quatrain.components.wording import counted
from quatrain.local import kfp_seam, training_job
from quatrain.local.frame_files import frame_digests
from quatrain.local.processes import POLL_S, Process, describe_exit, stop_all
from quatrain.local.runs import RunFolder, Step, start_run
from quatrain.local.task_cache import cached_task
from quatrain.local.thread_output import thread_output_to
from quatrain.pipelines.compiled import (
    LAUNCHER,
    RELEASE,
    TUNING_LAUNCHER,
    Compiled,
    executor_of,
    read_compiled,
)
from quatrain.pipelines.origin import check_origin
from quatrain.terminal.console import Console, progress_stream, summarize, taken_from_cache
from quatrain.terminal.printouts import short_path
from quatrain.terminal.verdict import last_lines, missed_gate
from quatrain.trainer.failure import NAME, full_disk

UNSCHEDULED = "1970-01-01T00:00:00Z"
"""The schedule time that Vertex sets for a run without a schedule."""


FULL = 64 << 10
"""A disk with fewer bytes left is full: a log and the run's record need as many."""
_MORE_ROOM = "make room there, or choose another --root"


PREDICTION_RUNS = ".predictions"
"""The folder below that of all runs with the logs of predictions. No model has such a name."""


_ONE_AT_A_TIME = threading.Lock()
"""Held by the run of this process that uses kfp.local, whose settings are those of the process."""


class StepFailed(QuatrainError):
    """A step failed; the message says which, why and where its log is.

    Attributes:
        folder: The folder of the run.
        run: Of `quatrain.run`, the run as a `quatrain.Run`; None if its folder cannot be read.
    """

    run: Any = None  # its type is of a layer above

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


class GateStepFailed(StepFailed, GateFailed):
    """The model missed a bound of the gate, so its last step failed; the run has its report."""


class RunInterrupted(KeyboardInterrupt):
    """The run was interrupted; the message names its folder."""

    def _render_traceback_(self) -> list[str]:
        """Returns the lines that IPython shows; it looks for this name."""
        return short_traceback(self)


class _Session:
    """The tasks of one run: starts them, times them, and records why one failed."""

    def __init__(
        self,
        run: RunFolder,
        compiled: Compiled,
        console: Console,
        cache_key: str,
        notices: Mapping[str, str],
    ) -> None:
        self.run, self.compiled, self.console = run, compiled, console
        self.cache_key, self.notices = cache_key, notices
        self.failure = ""
        self._artifacts: dict[str, str] = {}
        self._launched: dict[str, training_job.Outcome] = {}

    def run_task(self, command: Sequence[str], env: Mapping[str, str]) -> bool:
        """Runs one task and returns whether it succeeded."""
        if executor_of(command) == self.compiled.exit_executor:
            self._run_exit(command, env)
            return True
        self.failure = ""  # kfp may retry a failed task
        if self.compiled.step_of(command) == RELEASE:
            return self._run_release(command, env)
        step = self._step(self.compiled.step_of(command))
        log = self.run.log_path(step.name)
        self._artifacts.update(_output_uris(command))
        try:
            executor = executor_of(command)
            if executor in (LAUNCHER, TUNING_LAUNCHER):
                outcome = self._launch(executor, command, step, log)
            elif executor in self.compiled.cached:
                outcome = self._run_cached(command, env, step, log)
            else:
                outcome = self._run_component(command, env, step, log)
        except QuatrainError as error:
            self.failure = f"step {step.name} failed: {error}"
            return False
        step.cpu_s += outcome.cpu_s
        step.peak_mb = max(step.peak_mb, outcome.peak_mb)
        step.wall_s = time.monotonic() - step.started
        if not outcome.succeeded:
            self._fail(step, outcome)
            _record_failure(command, outcome.reason)
        self.run.link(self._artifacts)
        self.run.write()
        return outcome.succeeded

    def _run_release(self, command: Sequence[str], env: Mapping[str, str]) -> bool:
        """Prints what Vertex AI would get, in a line after the steps."""
        self.end_step()
        log = self.run.log_path(RELEASE)
        outcome = self._wait(command, env, log, lambda: None)
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{RELEASE}: "):
                self.console.print(line)
        if not outcome.succeeded:
            self.failure = f"the release failed: {outcome.reason}\nlog: {log}"
        return outcome.succeeded

    def _run_exit(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Sends the notice of the run, if it has addresses; whatever comes of it is logged."""
        if not self.failure:
            self.end_step()
        if not self.notices:
            return  # its process would take half a second to send nothing
        log = self.run.log_path("notify")
        process = Process(kfp_seam.with_this_python(command), log, {**_task_environment(), **env})
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
        finally:
            stop_all([process])
        with contextlib.suppress(OSError):
            for line in log.read_text(encoding="utf-8").splitlines():
                if line.startswith("notify: "):
                    self.console.print(line)

    def _step(self, name: str) -> Step:
        if not self.run.steps or self.run.steps[-1].name != name:
            self.end_step()
            self.run.steps.append(Step(name))
            self.run.write()
            self.console.step_started(self._number(name), name)
        return self.run.steps[-1]

    def _number(self, name: str) -> int:
        return self.compiled.steps.index(name) + 1

    def end_step(self) -> None:
        """Marks the last step as succeeded, when the next one starts or the pipeline ends.

        Only then is it known which tasks the step has had, since conditions skip some.
        """
        if self.run.steps and self.run.steps[-1].status == "running":
            step = self.run.steps[-1]
            step.status = "succeeded"
            step.cached |= taken_from_cache(self._artifacts)
            summary, self._artifacts = summarize(self._artifacts, step.cached), {}
            self.console.step_ended(self._number(step.name), step.name, step.wall_s, summary)
            self.run.write()

    def _fail(self, step: Step, outcome: training_job.Outcome) -> None:
        step.status = "failed"
        self.console.step_ended(self._number(step.name), step.name, step.wall_s, "failed")
        reason = outcome.reason
        if shutil.disk_usage(outcome.log.parent).free < FULL and not full_disk(OSError(reason)):
            reason += f"\nthe disk of {self.run.folder} is full; {_MORE_ROOM}"
        self.failure = f"step {step.name} failed: {reason}\nlog: {outcome.log}"

    def _run_cached(
        self, command: Sequence[str], env: Mapping[str, str], step: Step, log: Path
    ) -> training_job.Outcome:
        """Takes the outputs of a component from an earlier run, or runs and records it."""
        began_s = time.process_time()
        task = cached_task(command, self.run.root, self.cache_key)
        if task and not self.cache_key:
            maker = task.take(lambda: self._tick(step, log), self._report)
            if maker:
                step.cached |= dict.fromkeys(task.artifacts, maker)
                with log.open("a", encoding="utf-8") as stream:
                    print(f"{step.name}: {', '.join(task.artifacts)} of run {maker}", file=stream)
                return training_job.Outcome(True, "", log, time.process_time() - began_s)
        outcome = self._run_component(command, env, step, log)
        if task and outcome.succeeded:
            task.record(self.run.folder.name)
        return outcome

    def _run_component(
        self, command: Sequence[str], env: Mapping[str, str], step: Step, log: Path
    ) -> training_job.Outcome:
        """Runs a Python component of a step."""
        return self._wait(command, env, log, lambda: self._tick(step, log))

    def _wait(
        self, command: Sequence[str], env: Mapping[str, str], log: Path, tick: Callable[[], object]
    ) -> training_job.Outcome:
        """Runs a Python component, as kfp's own handler does without a virtual environment."""
        command = kfp_seam.with_this_python(command)
        process = Process(command, log, {**_task_environment(), **env})
        try:
            while (code := process.poll()) is None:
                tick()
                time.sleep(POLL_S)
        finally:
            stop_all([process])
        reason = describe_exit(code, log)
        return training_job.Outcome(code == 0, reason, log, process.cpu_s, peak_mb=process.peak_mb)

    def _launch(
        self, launcher: str, command: Sequence[str], step: Step, log: Path
    ) -> training_job.Outcome:
        """Runs a launcher's job; a retried launcher finds its failed job again, as on Vertex."""
        payload = _option(command, "--payload")
        if payload not in self._launched:
            run = self._run_job if launcher == LAUNCHER else self._run_study
            self._launched[payload] = run(command, step, log)
        return self._launched[payload]

    def _run_job(self, command: Sequence[str], step: Step, log: Path) -> training_job.Outcome:
        """Runs the worker pools of the launcher's payload, and writes a reference to the job."""
        job = json.loads(_option(command, "--payload"))
        if absent := training_job.hardware_of(job):
            self.console.print(f"      no {', '.join(absent)} here: training runs on the CPU")
        if (replicas := training_job.replicas_of(job)) > 1:
            self.console.print(f"      {replicas} replicas as processes on this machine")
        _write_gcp_resources(Path(_option(command, "--gcp_resources")), log)
        return training_job.run_job(
            job,
            _task_environment(),
            log,
            tick=lambda: self._tick(step, log),
            report=self._report,
        )

    def _run_study(self, command: Sequence[str], step: Step, log: Path) -> training_job.Outcome:
        """Runs the trials of the launcher's payload, and writes a reference to the study."""
        from quatrain.local.tuning_job import Study

        job = json.loads(_option(command, "--payload"))
        count, at_once = int(job["max_trial_count"]), int(job["parallel_trial_count"])
        self.console.print(f"      tuning: {counted(count, 'trial')}, {at_once} at once")
        study = Study(job, _task_environment(), log, lambda text: self.console.print(f"  {text}"))
        outcome = study.run(lambda: self._tick(step, study.trial_log))
        _write_gcp_resources(Path(_option(command, "--gcp_resources")), study.path)
        return outcome

    def _report(self, text: str) -> None:
        self.console.print(f"      {text}")

    def _tick(self, step: Step, log: Path) -> None:
        elapsed = time.monotonic() - step.started
        self.console.step_goes_on(self._number(step.name), step.name, elapsed, log)


def run_pipeline(
    path: Path,
    spec: ModelSpec,
    root: Path,
    *,
    tier: str = "",
    runner: str = "local",
    runner_options: Mapping[str, Any] | None = None,
    at: str = "",
    cached: bool = True,
    quick: bool = False,
    scheduled: str = UNSCHEDULED,
    stream: TextIO | None = None,
    trust: bool = False,
    copied: Callable[[], object] = lambda: None,
    notify: str = "",
) -> RunFolder:
    """Executes a compiled pipeline file, byte for byte, on this machine.

    Args:
        path: The compiled file.
        spec: The model; it travels as the pipeline's parameter.
        root: The folder of all runs.
        tier: Replaces the spec's tier, unless empty.
        runner: Where Beam runs.
        runner_options: Beam's options for the runner.
        at: The time of the run, at which a window of the source ends; if empty, now.
        cached: Whether to take from the cache what has not changed since an earlier run.
        quick: Whether to read a sample of the rows, train for a few epochs and promote nothing.
        scheduled: The value of the placeholder of the schedule time, as on Vertex.
        stream: Receives the progress; by default `progress_stream()`.
        trust: Whether to run a file that `quatrain compile` would not write.
        copied: Called once the run's folder has a copy of the file.
        notify: The address of a webhook that hears how the run ended; if empty, none does.

    Raises:
        PipelineError: The file is not a pipeline, takes other parameters, or is not to be trusted.
        SpecError: The spec is too long for a parameter, and its file cannot be written.
        ArtifactError: The source is a table that was in memory, and its file was altered.
        StepFailed: A step failed; nothing after it ran. Of a missed gate it is a GateFailed too.
        RunInterrupted: The run was interrupted; the message names its folder.
    """
    compiled = read_compiled(path)
    cache_key = "" if cached else uuid4().hex
    options: dict[str, Any] = {
        "tier": tier,
        **_options(root, runner, runner_options, at),
        **({"cache_key": cache_key} if cache_key and compiled.takes("cache_key") else {}),
        **({"sample_rows": ROWS} if quick else {}),
        **({"template": compiled.sha256} if compiled.takes("template") else {}),
    }
    return _run(compiled, spec, root, options, cache_key, scheduled, stream, trust, copied, notify)


def predict_window(
    path: Path,
    spec: ModelSpec,
    root: Path,
    *,
    runner: str = "local",
    runner_options: Mapping[str, Any] | None = None,
    at: str = "",
    keep: Sequence[str] = (),
    stream: TextIO | None = None,
    trust: bool = False,
    copied: Callable[[], object] = lambda: None,
    notify: str = "",
) -> RunFolder:
    """Executes a compiled prediction pipeline, byte for byte, on this machine.

    Its folder is below `.predictions` of the root, apart from the runs that train.

    Args:
        path: The compiled file.
        spec: The model; it travels as the pipeline's parameter.
        root: The folder of all runs, which has the champion.
        runner: Where Beam runs.
        runner_options: Beam's options for the runner.
        at: The time of the prediction, at which a window of the source ends; if empty, now.
        keep: Columns of the input to copy to the left of the answers; by default those of the spec,
            or else of the split's keys.
        stream: Receives the progress; by default `progress_stream()`.
        trust: Whether to run a file that `quatrain compile` would not write.
        copied: Called once the folder has a copy of the file.
        notify: The address of a webhook that hears how it ended; if empty, none does.

    Raises:
        PipelineError: The file is not a pipeline, takes other parameters, or is not to be trusted.
        SpecError: The spec is too long for a parameter, and its file cannot be written.
        StepFailed: A step failed; nothing after it ran.
        RunInterrupted: The prediction was interrupted; the message names its folder.
    """
    compiled = read_compiled(path)
    options = _options(root, runner, runner_options, at) | ({"keep": [*keep]} if keep else {})
    options |= {"notify_success": True} if notify else {}
    below = root / PREDICTION_RUNS
    return _run(compiled, spec, below, options, "", UNSCHEDULED, stream, trust, copied, notify)


def _options(
    root: Path, runner: str, runner_options: Mapping[str, Any] | None, at: str
) -> dict[str, Any]:
    """Returns the arguments of a pipeline on this machine that both pipelines take."""
    return {
        "runner": runner,
        "project": HERE,
        "location": HERE,
        "root": str(root.absolute()),
        **({"at": at} if at else {}),
        **({"runner_options": dict(runner_options)} if runner_options else {}),
    }


def _run(
    compiled: Compiled,
    spec: ModelSpec,
    root: Path,
    options: dict[str, Any],
    cache_key: str,
    scheduled: str,
    stream: TextIO | None,
    trust: bool,
    copied: Callable[[], object],
    notify: str = "",
) -> RunFolder:
    """Executes a compiled file with the arguments `options`, in a new folder below `root`."""
    notices = {"webhook": notify} if notify else {}
    arguments = {"spec": parameter_of(spec, options["root"]), **options}
    arguments |= {"notices": notices} if notices else {}
    # The address is a secret, so the record of the run has its host alone.
    options |= {"notices": {"webhook": shown(notify)}} if notify else {}
    compiled.check_arguments(arguments)
    if not trust:
        check_origin(compiled)
    data = frame_digests(spec.source)
    try:
        write_spec(spec, options["root"])
        run = start_run(root, compiled, spec, options, data)
    except OSError as raised:
        if full := full_disk(raised, str(root)):
            raise QuatrainError(f"no run can be made: {full}; {_MORE_ROOM}") from raised
        raise
    copied()
    console = Console(stream or progress_stream(), len(compiled.steps))
    console.print(f"run {short_path(run.folder)}")
    session = _Session(run, compiled, console, cache_key, notices)
    try:
        with termination_as_interrupt(), _alone(console):
            error = _execute(session, arguments, scheduled)
    except KeyboardInterrupt as raised:
        reason = f"interrupted by {raised}" if str(raised) else "interrupted"
        run.finish(reason)
        raise RunInterrupted(
            f"{reason}; what was done is in {run.folder}; another run starts anew, in a new folder"
        ) from raised
    except BaseException as raised:
        full = full_disk(raised, str(root)) if isinstance(raised, OSError) else ""
        if not full:
            run.finish(f"{type(raised).__name__}: {raised}")
            raise
        error = session.failure or f"the run stopped: {full}; {_MORE_ROOM}"
    run.finish(error)
    for line in last_lines(run.folder):
        console.print(line)
    if error:
        if missed_gate(run.folder):
            raise GateStepFailed(run.with_report(error), run.folder)
        raise StepFailed(run.with_report(error), run.folder)
    return run


@contextlib.contextmanager
def _alone(console: Console) -> Iterator[None]:
    """Waits until no other thread of this process runs a pipeline."""
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        console.print("waiting for another run of this process to end ...")
        _ONE_AT_A_TIME.acquire()
    try:
        yield
    finally:
        _ONE_AT_A_TIME.release()


def _execute(session: _Session, arguments: Mapping[str, Any], scheduled: str) -> str:
    """Runs the file with kfp.local and returns why it failed, or an empty text."""
    run = session.run
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(run.log_path("kfp").open("w", encoding="utf-8"))
        stack.enter_context(thread_output_to(log))
        placeholders = {
            kfp_seam.SCHEDULED: scheduled,
            kfp_seam.CREATED: run.started,
            kfp_seam.NAME: run.folder.name,
        }
        stack.enter_context(kfp_seam.replace_kfp(session.run_task, placeholders))
        pipeline = kfp_seam.pipeline_of(session.compiled)
        stack.enter_context(kfp_seam.local_execution(run.pipeline_root, run.folder / "workspace"))
        try:
            pipeline(**arguments)
        except RuntimeError:
            if not session.failure:
                raise
    if not session.failure:
        session.end_step()
    return session.failure


def _task_environment() -> dict[str, str]:
    """Returns this environment, with a safe path on which the running code comes first."""
    code = str(Path(__file__).parents[2])
    # An empty entry, as in `:/my/code`, means the current folder, which is the user's.
    path = [code, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    settings = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **settings}


def _record_failure(command: Sequence[str], reason: str) -> None:
    """Records why a component failed for the exit task, if it was killed before it could."""
    if FUNCTION not in command:
        return  # the trainer records its own
    document = json.loads(_option(command, "--executor_input"))
    if not Path(document["outputs"]["outputFile"]).with_name(NAME).exists():
        with contextlib.suppress(OSError):
            record_text(command, reason, "StepError")


def _option(command: Sequence[str], name: str) -> str:
    return command[list(command).index(name) + 1]


def _output_uris(command: Sequence[str]) -> dict[str, str]:
    """Returns the uris of the artifacts that a Python component writes."""
    if "--executor_input" not in command:
        return {}
    outputs = json.loads(_option(command, "--executor_input")).get("outputs", {})
    artifacts = outputs.get("artifacts", {})
    return {name: entry["artifacts"][0]["uri"] for name, entry in artifacts.items()}


def _write_gcp_resources(path: Path, resource_path: Path) -> None:
    """Writes the reference that a launcher leaves to its job: here, a log or a study."""
    resource = {"resourceType": "Local", "resourceUri": resource_path.absolute().as_uri()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"resources": [resource]}), encoding="utf-8")
