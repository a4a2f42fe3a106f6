"""Why a step failed, written beside its other outputs for the exit task of the same job.

An exit task can take no outputs of other tasks, but the folders of all tasks of a job lie in one
folder: `<root>/<project number>/<job>/<task>` on Vertex AI, `<run>/pipeline/<job>/<task>` here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quatrain.components.errors import DriftFailed, GateFailed, QuatrainError
from quatrain.components.storage import list_names, read_file, write_file
from quatrain.trainer.failure import NAME, Failure
from quatrain.trainer.uris import by_uri

STEPS = {
    "find_files": "preprocess",
    "preprocess": "preprocess",
    "compare": "preprocess",
    "package": "package",
    "plan": "train",
    "choose": "train",
    "measure": "evaluate",
    "gate": "evaluate",
    "find_inputs": "find-inputs",
    "compare_inputs": "compare-inputs",
}
"""The step of each component. A component that is not here is a step of its own."""
_ORDER = tuple(dict.fromkeys(STEPS.values()))
_DONE = "executor_output.json"
"""What KFP's executor writes at the end of a task: a failure beside it is of an earlier attempt."""
_INPUT, FUNCTION = "--executor_input", "--function_to_execute"
_ADVICE = {
    GateFailed.__name__: "read report.html; the champion stays, and `quatrain promote RUN --reason "
    "TEXT` promotes this model all the same"
}
_LISTED = re.compile(r"failed tasks are: \W([\w, -]*)")


@dataclass(frozen=True)
class StepFailure:
    """Why a step failed.

    Attributes:
        step: preprocess, package, train, evaluate or release; find-inputs, compare-inputs or
            predict of the prediction pipeline.
        phase: The component of the step, or what the trainer was at: read, train, export, ...
        kind: The class of the error.
        reason: What was wrong.
        advice: The way out; empty if none is known.
    """

    step: str
    phase: str
    kind: str
    reason: str
    advice: str


def record(arguments: Sequence[str], error: BaseException) -> None:
    """Writes why a component failed, unless it was stopped; prints a line if even that fails.

    Args:
        arguments: The arguments of KFP's executor.
        error: What ended the component.
    """
    if isinstance(error, SystemExit):
        if not isinstance(error.code, str):
            return  # SIGTERM, or the end
        text, cause = error.code.removeprefix("error: "), error.__context__ or error
    else:
        failure = Failure.of(error)
        text, cause = str(failure), error
    try:
        record_text(arguments, text, type(cause).__name__)
    except (OSError, ValueError, KeyError, QuatrainError) as problem:
        print(f"{NAME} could not be written: {problem}", flush=True)


def record_text(arguments: Sequence[str], text: str, kind: str) -> None:
    """Writes why a component failed.

    Args:
        arguments: The arguments of KFP's executor, or the whole command.
        text: The reason, and after its first semicolon the advice.
        kind: The class of the error.

    Raises:
        OSError: The file cannot be written.
        ValueError: The arguments are not those of KFP's executor.
    """
    words = list(arguments)
    document = json.loads(words[words.index(_INPUT) + 1])
    phase = words[words.index(FUNCTION) + 1]
    reason, _, advice = by_uri(text).partition("; ")
    if kind == DriftFailed.__name__:  # which quotes sentences that have semicolons of their own
        reason, _, advice = by_uri(text).rpartition("; ")
    if kind in _ADVICE:
        reason, advice = by_uri(text), _ADVICE[kind]
    found = StepFailure(STEPS.get(phase, phase), phase, kind, reason, advice)
    folder = str(Path(document["outputs"]["outputFile"]).parent)
    data = json.dumps(asdict(found), indent=1) + "\n"
    write_file(f"{by_uri(folder)}/{NAME}", data.encode())


def find(folder: str, steps: Collection[str]) -> StepFailure | None:
    """Returns why a job failed, by the record of its first step that has failed; None without one.

    Args:
        folder: The folder of the job's tasks.
        steps: The steps that failed; if empty, they are not known.
    """
    names = list_names(folder)
    tasks = {task: rest for task, _, rest in (name.partition("/") for name in names)}
    failures = []
    for task in sorted(tasks):
        for inside in (NAME, f"model/{NAME}"):
            of_trainer = inside != NAME  # its task only planned the job, and has ended well
            is_old = not of_trainer and f"{task}/{_DONE}" in names
            if f"{task}/{inside}" not in names or is_old:
                continue
            failures.append(_read(json.loads(read_file(f"{folder}/{task}/{inside}")), of_trainer))
    counting = [f for f in failures if not steps or f.step in steps]
    places = {step: place for place, step in enumerate(_ORDER)}
    return min(counting, key=lambda f: places.get(f.step, len(places)), default=None)


def _read(document: Mapping[str, Any], of_trainer: bool) -> StepFailure:
    if not of_trainer:
        return StepFailure(**document)
    failure = Failure(**document)
    return StepFailure("train", failure.phase, "TrainingFailed", failure.reason, failure.hint)


def failed_steps(message: str) -> list[str]:
    """Returns the failed tasks that Vertex AI names in the error of a pipeline.

    It reads "The DAG failed because some tasks failed. The failed tasks are: [train].", as in KFP's
    own test of PipelineTaskFinalStatus (sdk/python/kfp/dsl/executor_test.py).
    """
    listed = _LISTED.search(message)
    return [name.strip() for name in listed[1].split(",")] if listed else []
