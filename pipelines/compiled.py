"""The two compiled pipeline files: writes them, and reads parameters, steps and executors."""

from __future__ import annotations

import hashlib
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from quatrain.components.documents import MAX_BYTES, DocumentError, parse
from quatrain.components.errors import QuatrainError
from quatrain.components.image import IMAGE, LAUNCHER_IMAGE
from quatrain.components.wording import near
from quatrain.pipelines.kfp_import import import_kfp

RELEASE = "release"
"""The task after the steps, which most runs leave out; it is none of them."""

PREDICTION = "quatrain-prediction"
"""The name of the pipeline that predicts; any other one trains."""

LAUNCHER = "google_cloud_pipeline_components.container.v1.custom_job.launcher"
"""The module by which CustomTrainingJobOp starts a CustomJob (components 2.22.0)."""

TUNING_LAUNCHER = "google_cloud_pipeline_components.container.v1.hyperparameter_tuning_job.launcher"
"""The module by which HyperparameterTuningJobRunOp starts a study."""

_LAUNCHERS = (LAUNCHER, TUNING_LAUNCHER)

_FUNCTION = "--function_to_execute"
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "STRUCT": (dict,),
    "LIST": (list,),
    "BOOLEAN": (bool,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
}
_NOT_IN_JSON = re.compile(r"[\"\\\x00-\x1f]")


class PipelineError(QuatrainError):
    """The compiled pipeline cannot be read, or does not take these arguments."""


@dataclass(frozen=True)
class Compiled:
    """One compiled pipeline file, read once: what is checked is what is copied, sent and run.

    Attributes:
        path: Where it was.
        data: Its bytes.
        documents: The documents of its YAML; the first one is the pipeline.
    """

    path: Path
    data: bytes
    documents: Sequence[Any]

    @cached_property
    def sha256(self) -> str:
        """The digest of the file."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def spec(self) -> Mapping[str, Any]:
        """The pipeline."""
        spec: Mapping[str, Any] = self.documents[0]
        return spec

    @property
    def predicts(self) -> bool:
        """Whether the file is the prediction pipeline."""
        return bool(self.spec.get("pipelineInfo", {}).get("name") == PREDICTION)

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """The steps of the pipeline, in the order they can run."""
        tasks = tasks_of(self.spec)
        graph = {name: task.get("dependentTasks", []) for name, task in tasks.items()}
        return tuple(name for name in TopologicalSorter(graph).static_order() if name != RELEASE)

    @cached_property
    def executors(self) -> dict[str, str]:
        """The step of each executor, or the release, by the key that `executor_of` returns."""
        tasks = tasks_of(self.spec)
        return {
            key: step
            for step in (*self.steps, *({RELEASE} & tasks.keys()))
            for key in self._executors_below(tasks[step]["componentRef"]["name"])
        }

    @cached_property
    def exit_executor(self) -> str:
        """What runs when everything else has ended, by its executor; empty without such a task."""
        tasks = self.spec["root"]["dag"]["tasks"]
        exits = [task for task in tasks.values() if _is_exit(task)]
        names = (task["componentRef"]["name"] for task in exits)
        return next((key for name in names for key in self._executors_below(name)), "")

    @cached_property
    def images(self) -> frozenset[str]:
        """The images of the Python components; the launchers run in Google's own."""
        return self._images(of_launchers=False)

    @cached_property
    def launcher_images(self) -> frozenset[str]:
        """The images of the launchers."""
        return self._images(of_launchers=True)

    @cached_property
    def cached(self) -> frozenset[str]:
        """What of `executors` may be taken from a cache, by every task that runs it."""
        bodies = (self.spec["root"], *self.spec["components"].values())
        enabled: dict[str, list[bool]] = {}
        for body in bodies:
            for task in body.get("dag", {}).get("tasks", {}).values():
                component = task["componentRef"]["name"]
                if "executorLabel" not in self.spec["components"][component]:
                    continue
                options = task.get("cachingOptions", {})
                for executor in self._executors_below(component):
                    enabled.setdefault(executor, []).append(options.get("enableCache", False))
        return frozenset(executor for executor, options in enabled.items() if all(options))

    def step_of(self, command: Sequence[str]) -> str:
        """Returns the step that a task's full command belongs to."""
        return self.executors[executor_of(command)]

    def takes(self, parameter: str) -> bool:
        """Returns whether the file has a parameter."""
        return parameter in self.spec["root"].get("inputDefinitions", {}).get("parameters", {})

    def check_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Checks arguments against the file's parameters; kfp itself would accept any.

        Raises:
            PipelineError: An argument is unknown, missing or of the wrong type; the message lists
                all of them.
        """
        problems = list(self._argument_problems(arguments))
        if problems:
            raise PipelineError("\n".join(f"{self.path.name}: {problem}" for problem in problems))

    def _images(self, *, of_launchers: bool) -> frozenset[str]:
        containers = [e["container"] for e in self.spec["deploymentSpec"]["executors"].values()]
        return frozenset(
            c["image"]
            for c in containers
            if bool(set(_LAUNCHERS) & set(c.get("command", []))) == of_launchers
        )

    def _argument_problems(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        """Yields a sentence for each argument that is unknown, missing or of the wrong type."""
        parameters = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for name in arguments:
            if name not in parameters:
                yield f"has no parameter {name!r}{near(name, parameters)}"
        for name, parameter in parameters.items():
            if name not in arguments:
                if not parameter.get("isOptional") and "defaultValue" not in parameter:
                    yield f"parameter {name!r} is missing"
                continue
            types = _PYTHON_TYPES[parameter["parameterType"]]
            value = arguments[name]
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                expected = " or ".join(t.__name__ for t in types)
                shown = reprlib.repr(value)  # cut short: a spec may be long
                actual = f"{type(value).__name__} {shown}"
                yield f"parameter {name!r} takes {expected}, not {actual}{_way_out(name, expected)}"

        if _NOT_IN_JSON.search(str(arguments.get("root", ""))):
            yield (
                f"parameter 'root' is {arguments['root']!r}: Kubeflow puts it into JSON text as it "
                f"is, so it may hold no quote, backslash or control character; name another folder"
            )

    def _executors_below(self, component: str) -> Iterator[str]:
        """Yields what a component runs, and all the components in it."""
        body = self.spec["components"][component]
        if "executorLabel" in body:
            container = self.spec["deploymentSpec"]["executors"][body["executorLabel"]]["container"]
            yield executor_of([*container.get("command", []), *container.get("args", [])])
        for task in body.get("dag", {}).get("tasks", {}).values():
            yield from self._executors_below(task["componentRef"]["name"])


def tasks_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the tasks of a pipeline's steps.

    kfp compiles dsl.ExitHandler to two tasks, of which one holds the others and one is the exit.
    """
    tasks: Mapping[str, Any] = spec["root"]["dag"]["tasks"]
    handled = [task for task in tasks.values() if not _is_exit(task)]
    if len(handled) == len(tasks) or len(handled) != 1:
        return tasks
    component = spec["components"][handled[0]["componentRef"]["name"]]
    return dict(component["dag"]["tasks"]) if "dag" in component else tasks


def _is_exit(task: Mapping[str, Any]) -> bool:
    parameters = task.get("inputs", {}).get("parameters", {}).values()
    return any("taskFinalStatus" in value for value in parameters)


def _way_out(name: str, expected: str) -> str:
    """Returns the way out for a file of Quatrain 0.1, whose spec was a mapping."""
    if (name, expected) != ("spec", "dict"):
        return ""
    return "; the file was compiled by Quatrain 0.1: write a new one with `quatrain compile`"


def executor_of(command: Sequence[str]) -> str:
    """Returns what a task runs: the name of a component's function, or a job's launcher.

    Raises:
        PipelineError: The task runs another container, which has no local form.
    """
    for launcher in _LAUNCHERS:
        if launcher in command:
            return launcher
    if _FUNCTION in command:
        return command[list(command).index(_FUNCTION) + 1]
    raise PipelineError(
        f"a step runs the container command {list(command)[:3]}, which cannot run locally; "
        f"use Python components, CustomTrainingJobOp or HyperparameterTuningJobRunOp"
    )


def compile_pipeline(
    path: Path,
    image: str = IMAGE,
    retries: int = 0,
    launcher_image: str = LAUNCHER_IMAGE,
    memory: str = "",
    cpu: str = "",
    predicts: bool = False,
) -> Path:
    """Writes a compiled pipeline; the same code, images and retries give the same bytes.

    Args:
        path: The file to write; its name must end in .yaml or .json.
        image: The image of every component, and of the training replicas by default.
        retries: How often a failed component is repeated.
        launcher_image: The image of the launchers of the training and tuning jobs.
        memory: What a step may use, such as 32G; if empty, what the service gives.
        cpu: How many CPUs it may use, such as 8; if empty, what the service gives.
        predicts: Whether to write the prediction pipeline, not the training pipeline.
    """
    import_kfp()
    from kfp import compiler

    from quatrain.pipelines import prediction, training

    path.parent.mkdir(parents=True, exist_ok=True)
    if predicts:
        pipeline = prediction.make_pipeline(image, retries, memory, cpu)
    else:
        pipeline = training.make_pipeline(image, retries, launcher_image, memory, cpu)
    compiler.Compiler().compile(pipeline, str(path))
    return path


def read_compiled(path: Path | str) -> Compiled:
    """Reads a compiled pipeline.

    Raises:
        PipelineError: There is no such file, or it is not a compiled KFP v2 pipeline.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        documents = parse(data)
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror}; check the name") from error
    except DocumentError as error:
        raise PipelineError(f"{path}: {error}") from error
    try:
        compiled = Compiled(Path(path), data, documents)
        if compiled.spec["root"]["dag"]["tasks"] and compiled.steps and compiled.images:
            return compiled
    except (IndexError, KeyError, TypeError, AttributeError, ValueError):
        pass  # a document of another shape
    raise PipelineError(
        f"{path}: is not a compiled KFP v2 pipeline; write one with `quatrain compile`"
    )
