"""The private parts of Beam that the engines use, and the version that they were read from.

- `pipeline_options._BeamArgumentParser`: Beam declares its options to argparse and offers no list
  of them. With such a list, a misspelt option is an error; Beam itself ignores unknown options.
- `PipelineResult._runner.dataflow_client` of a Dataflow job: the result has the job's state, but
  not the messages in its log that say why it failed.
- The texts of the errors that a runner raises when a worker process is gone: they have no class of
  their own.

The runner of worker processes has a seam of its own: `local_runner`, `local_bundles`,
`local_worker` and `beam_import` use the other names that `problems` looks for.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
from collections.abc import Iterator
from importlib import metadata
from typing import Any, NoReturn

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions

READ_FROM = "2.77"
"""The version of Beam that the seam was read from."""
_CHANNEL = "Channel closed prematurely"
LOST_WORKER = (_CHANNEL, "SDK worker disconnected")
"""The messages of Beam's own runner, and of Prism, when a worker process has ended without an error
of its own."""
_RUNNER = "apache_beam.runners.portability.fn_api_runner"
_PLACES = (
    ("apache_beam.options.pipeline_options", "_BeamArgumentParser"),
    ("apache_beam.options.pipeline_options", "PipelineOptions._add_argparse_args"),
    (f"{_RUNNER}.fn_runner", "BundleManager.process_bundle"),
    (f"{_RUNNER}.fn_runner", "FnApiRunner._get_bundle_manager"),
    (f"{_RUNNER}.fn_runner", "FnApiRunner.run_via_runner_api"),
    (f"{_RUNNER}.fn_runner", "ParallelBundleManager"),
    (f"{_RUNNER}.worker_handlers", "GrpcWorkerHandler.start_worker"),
    (f"{_RUNNER}.worker_handlers", "WorkerHandler.register_environment"),
    ("apache_beam.runners.worker.sdk_worker_main", "main"),
    ("apache_beam.runners.worker.statesampler", "StateSampler.__init__"),
)
"""The names that are used, by module."""
_TEXTS = {_CHANNEL: "apache_beam.runners.worker.data_plane"}
"""The messages that are recognised, with the module that raises them."""


class OptionError(Exception):
    """Beam's parser refuses an option."""


def option_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.Action]]:
    """Returns a parser of every option that Beam declares, and its actions by option's name."""

    class OptionParser(pipeline_options._BeamArgumentParser):
        """Beam's parser; it raises an error where Beam's own would end the process."""

        def error(self, message: str) -> NoReturn:
            raise OptionError(f"Beam refuses it: {message}; correct it")

    parser = OptionParser(allow_abbrev=False, add_help=False, conflict_handler="resolve")
    for group in _groups(PipelineOptions):
        group._add_argparse_args(parser)
    actions = {o.removeprefix("--"): a for o, a in parser._option_string_actions.items()}
    return parser, actions


def dataflow_errors(result: Any) -> list[str]:
    """Returns the errors in the log of a job of Dataflow."""
    messages, _ = result._runner.dataflow_client.list_messages(result.job_id())
    return [m.message_text for m in messages if "ERROR" in m.message_importance.name]


def problems() -> list[str]:
    """Returns what keeps the installed Beam from being the one that the seam was read from."""
    version = metadata.version("apache-beam")
    texts = [] if version.startswith(f"{READ_FROM}.") else [f"apache-beam is {version}"]
    texts += [f"{module}.{name} is gone" for module, name in _PLACES if not _exists(module, name)]
    texts += [f"{m} no longer says {t!r}" for t, m in _TEXTS.items() if not _says(m, t)]
    return [
        f"the seams of the engines were read from Beam {READ_FROM}, but {text}: read that part of "
        f"Beam again and mend components/engine"
        for text in texts
    ]


def _says(module: str, text: str) -> bool:
    try:
        return text in inspect.getsource(importlib.import_module(module))
    except ModuleNotFoundError:
        return False


def _exists(module: str, name: str) -> bool:
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    for part in name.split("."):
        value = getattr(value, part, None)
    return value is not None


def _groups(base: type[PipelineOptions]) -> Iterator[type[PipelineOptions]]:
    """Yields Beam's own groups of options, and none that a program has added."""
    for group in base.__subclasses__():
        if group.__module__ == pipeline_options.__name__:
            yield group
            yield from _groups(group)
