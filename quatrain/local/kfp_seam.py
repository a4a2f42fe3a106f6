"""The private parts of kfp that a local run replaces while it lasts.

kfp.local has no public way to say how a task runs, nor to end its `init`, and kfp none to take
YAML that is parsed. Three names are replaced, and the others are used:

- `subprocess_task_handler.SubprocessTaskHandler`, the class that `task_dispatcher` makes an
  instance of for each task: ours passes the task's command to the run, which starts it as a
  supervised process, or as the worker pools of a custom job.
- `placeholder_utils.resolve_individual_placeholder`: kfp.local raises an IndexError at the two
  placeholders of times, and makes up a name for the run.
- `config.LocalExecutionConfig.instance`, which `init` sets, gets its former value back.
- `ComponentSpec.from_ir_dicts`, and what `yaml_component` imports.
- `subprocess_task_handler.replace_python_executable`, which knows which part of a component's
  command is the user's code.

They are the same in kfp 2.17.0 to 2.17.2. Before another version is allowed, read
kfp/local/subprocess_task_handler.py, task_dispatcher.py, placeholder_utils.py and config.py again.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from quatrain.pipelines.compiled import Compiled, executor_of
from quatrain.pipelines.kfp_import import import_kfp

import_kfp()

# ruff: noqa: E402 - kfp must not be imported before
from kfp import dsl, local
from kfp.components import YamlComponent
from kfp.dsl import yaml_component
from kfp.dsl.structures import ComponentSpec
from kfp.local import config, placeholder_utils, status, subprocess_task_handler, task_dispatcher

READ_FROM = "2.17"
"""The version of kfp that the seam was read from."""

SCHEDULED = dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER
CREATED = dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER
NAME = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
"""The placeholders that `replace_kfp` resolves."""

RunTask = Callable[[Sequence[str], Mapping[str, str]], bool]
"""Runs a task by its command and environment, and returns whether it succeeded."""

_SIGNATURES: Mapping[tuple[Any, str], tuple[str, ...]] = {
    (subprocess_task_handler, "SubprocessTaskHandler"): (
        "image",
        "full_command",
        "pipeline_root",
        "runner",
        "env_vars",
    ),
    (subprocess_task_handler, "replace_python_executable"): ("full_command", "new_executable"),
    (ComponentSpec, "from_ir_dicts"): ("pipeline_spec_dict", "platform_spec_dict"),
    (placeholder_utils, "resolve_individual_placeholder"): (
        "element",
        "executor_input_dict",
        "pipeline_resource_name",
        "task_resource_name",
        "pipeline_root",
        "pipeline_job_id",
        "pipeline_task_id",
    ),
}
"""The names of the seam, with their parameters."""


def _task_handler(run_task: RunTask) -> type:
    """Returns a class of task handlers that pass each task of kfp.local to `run_task`."""

    class TaskHandler(subprocess_task_handler.SubprocessTaskHandler):
        def validate_image(self, image: str) -> None:
            """Accepts any image, since the task runs the code of this installation instead."""

        def validate_not_container_component(self, full_command: list[str]) -> None:
            """Refuses containers other than the launchers of custom jobs and tuning jobs."""
            executor_of(full_command)

        def run(self) -> status.Status:
            """Runs the task."""
            succeeded = run_task(self.full_command, self.env_vars)
            return status.Status.SUCCESS if succeeded else status.Status.FAILURE

    return TaskHandler


@contextlib.contextmanager
def replace_kfp(run_task: RunTask, placeholders: Mapping[str, str]) -> Iterator[None]:
    """Lets kfp.local run its tasks by `run_task`, until the context ends.

    Args:
        run_task: Runs one task.
        placeholders: The values of SCHEDULED, CREATED and NAME.
    """
    resolve_by_kfp = placeholder_utils.resolve_individual_placeholder

    def resolve(element: str, **arguments: Any) -> str:
        for placeholder, value in placeholders.items():
            element = element.replace(placeholder, value)
        return resolve_by_kfp(element, **arguments)

    handler = _task_handler(run_task)
    handler_of_kfp = subprocess_task_handler.SubprocessTaskHandler
    subprocess_task_handler.SubprocessTaskHandler = handler
    placeholder_utils.resolve_individual_placeholder = resolve
    try:
        yield
    finally:
        subprocess_task_handler.SubprocessTaskHandler = handler_of_kfp
        placeholder_utils.resolve_individual_placeholder = resolve_by_kfp


@contextlib.contextmanager
def local_execution(pipeline_root: Path, workspace_root: Path) -> Iterator[None]:
    """Lets a call of a pipeline run it on this machine, until the context ends.

    `kfp.local.init` is for good: in a notebook, a later call of any component of the user's would
    run it too.
    """
    former = config.LocalExecutionConfig.instance
    try:
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(pipeline_root),
            workspace_root=str(workspace_root),
        )
        yield
    finally:
        config.LocalExecutionConfig.instance = former


class _Pipeline(YamlComponent):
    """A compiled pipeline whose YAML is parsed; kfp would do it again, and in Python."""

    def __init__(self, compiled: Compiled) -> None:
        spec, *others = compiled.documents
        (platform,) = others or [{}]
        super().__init__(ComponentSpec.from_ir_dicts(spec, platform), compiled.data.decode())
        self._spec = spec

    @property
    def pipeline_spec(self) -> Any:
        """The pipeline, as a protocol buffer."""
        empty = yaml_component.pipeline_spec_pb2.PipelineSpec()
        return yaml_component.json_format.ParseDict(self._spec, empty)


def pipeline_of(compiled: Compiled) -> Any:
    """Returns a compiled pipeline as a function, as `kfp.components.load_component_from_text`."""
    return _Pipeline(compiled)


def with_this_python(command: Sequence[str]) -> list[str]:
    """Returns a component's command with this Python instead of `python3`."""
    return subprocess_task_handler.replace_python_executable(list(command), sys.executable)


def problems() -> list[str]:
    """Returns how the installed kfp differs from the version that the seam was read from."""
    version = metadata.version("kfp")
    texts = [] if version.startswith(f"{READ_FROM}.") else [f"kfp is {version}"]
    if not hasattr(config.LocalExecutionConfig, "instance"):
        texts.append("kfp.local.config.LocalExecutionConfig.instance is gone")
    for (module, name), parameters in _SIGNATURES.items():
        value = getattr(module, name, None)
        where = f"{module.__name__}.{name}"
        if value is None:
            texts.append(f"{where} is gone")
        elif (actual := tuple(inspect.signature(value).parameters)) != parameters:
            texts.append(f"{where} takes {', '.join(actual)}")
    if "subprocess_task_handler.SubprocessTaskHandler," not in inspect.getsource(task_dispatcher):
        texts.append("kfp.local.task_dispatcher takes its handler from elsewhere")
    return [
        f"the seam of a local run was read from kfp {READ_FROM}, but {text}: read kfp/local again "
        f"and mend quatrain/local/kfp_seam.py"
        for text in texts
    ]
