"""The engines that Beam runs on, by name, and their options, checked against Beam's own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions

from quatrain.components.engine.beam_import import LOCAL
from quatrain.components.engine.beam_seam import OptionError, option_parser
from quatrain.components.errors import RunnerError
from quatrain.components.wording import near

DATAFLOW = "dataflow"


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes:
        beam: Beam's name of the runner.
        remote: Whether workers may be on other machines and must write to a bucket.
        needs: The options without which the engine cannot start.
    """

    beam: str
    remote: bool = True
    needs: tuple[str, ...] = ()


ENGINES: dict[str, Engine] = {
    # By its full name, since Beam's DirectRunner would first try to download another runner.
    LOCAL: Engine("apache_beam.runners.portability.fn_api_runner.FnApiRunner", remote=False),
    DATAFLOW: Engine(
        "DataflowRunner", needs=("project", "region", "temp_location", "sdk_container_image")
    ),
    # See https://beam.apache.org/documentation/runners/flink/ and .../spark/: the option
    # job_endpoint names a job server; flink_job_server_jar or spark_job_server_jar starts one.
    "flink": Engine("FlinkRunner"),
    "spark": Engine("SparkRunner"),
    "portable": Engine("PortableRunner", needs=("job_endpoint",)),
}
REFUSED = {
    "dask": "it loses rows and reports success: of several outputs only the last is written, and "
    "what a bundle gives when it finishes is dropped",
    "direct": "it tries to download another runner first; local is the one of this process",
    "interactive": "it keeps intermediate rows on the driver",
}
"""The engines that are refused, and why, in Beam 2.77."""


def engine_of(runner: str) -> Engine:
    """Returns an engine by our name or by Beam's.

    Raises:
        RunnerError: The engine is refused, or unknown.
    """
    if runner in ENGINES:
        return ENGINES[runner]
    short = runner.rpartition(".")[2].removesuffix("Runner").lower()
    if short in REFUSED:
        raise RunnerError(
            f"runner {runner!r} is not offered: {REFUSED[short]}; choose one of {_names()}"
        )
    for engine in ENGINES.values():
        if runner in (engine.beam, engine.beam.rpartition(".")[2]):
            return engine
    if not runner.endswith("Runner"):
        raise RunnerError(
            f"unknown runner {runner!r}{near(runner, ENGINES)}; choose one of {_names()}, or give "
            f"the name of a Beam runner, as PrismRunner"
        )
    return Engine(runner)


def check_options(runner: str, chosen: Mapping[str, Any]) -> None:
    """Checks a runner and its options, as far as possible without the defaults of a job.

    Raises:
        RunnerError: The runner is refused, or an option is unknown or has a wrong value.
    """
    engine_of(runner)
    _parse(runner, chosen)


def read_options(
    runner: str, chosen: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> PipelineOptions:
    """Returns Beam's options of a run.

    Args:
        runner: The engine.
        chosen: Options by Beam's names. A list repeats an option. Whole floats are integers, which
            KFP has turned into floats.
        defaults: The values of options that are not chosen.

    Raises:
        RunnerError: An option is unknown, has a wrong value, or is missing.
    """
    engine = engine_of(runner)
    merged = {**(defaults or {}), **chosen}
    if lacking := [name for name in engine.needs if not merged.get(name)]:
        raise RunnerError(
            f"runner {runner!r} needs {', '.join(lacking)}; give "
            f"{' '.join(f'--runner-option {name}=...' for name in lacking)}"
        )
    read = _parse(runner, merged)
    if runner == LOCAL and read.get("direct_num_workers", 1) != 1:
        # Workers of one process only wait for each other's lock.
        read.setdefault("direct_running_mode", "multi_processing")
    return PipelineOptions([], runner=engine.beam, save_main_session=False, **read)


def n_workers(runner: str, chosen: Mapping[str, Any]) -> int | None:
    """Returns the number of workers of a local run, 0 for one per core; None on other engines."""
    if engine_of(runner) is not ENGINES[LOCAL]:
        return None
    if not chosen:
        return 1
    options = read_options(runner, chosen)
    elsewhere = options.view_as(pipeline_options.PortableOptions).environment_type
    own = options.view_as(pipeline_options.DirectOptions)
    return None if elsewhere else int(own.direct_num_workers or 0)


def _parse(runner: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options as Beam's own declarations read them."""
    parser, actions = option_parser()
    if unknown := [name for name in chosen if name not in actions]:
        raise RunnerError(
            f"runner option {unknown[0]!r} is none of Beam's{near(unknown[0], sorted(actions))}"
        )
    read: dict[str, Any] = {}
    for name, value in chosen.items():
        try:
            parsed = parser.parse_args(list(_arguments(name, value, actions[name])))
        except OptionError as error:
            raise RunnerError(f"runner option {name}={value!r}: {error}") from error
        read[actions[name].dest] = getattr(parsed, actions[name].dest)
    return read


def _arguments(name: str, value: Any, action: argparse.Action) -> Iterator[str]:
    """Yields the command-line arguments that give an option its value."""
    if action.nargs == 0:  # a switch
        if value not in (True, "true", "True"):
            raise OptionError("it is a switch; write true, or leave it out")
        yield f"--{name}"
        return
    for item in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        is_whole = isinstance(item, float) and item.is_integer()
        yield f"--{name}={int(item) if is_whole else item}"


def _names() -> str:
    return ", ".join(ENGINES)
