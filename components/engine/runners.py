"""The engines that Beam runs on, by name, and their options, checked against Beam's own."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from quatrain.components.engine.beam_import import LOCAL
from quatrain.components.engine.beam_seam import OptionError, option_parser
from quatrain.components.errors import RunnerError
from quatrain.components.wording import near

DATAFLOW, PORTABLE, PRISM = "dataflow", "portable", "prism"
_GOOGLE_ENDPOINT = r"https://[a-z0-9-]+(\.[a-z0-9-]+)*\.googleapis\.com/?"
ANSWER_S = 30
"""How long a job server may take to answer a request; Beam's default is 300."""


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes:
        beam: Beam's name of the runner.
        remote: Whether workers may be on other machines and must write to a bucket.
        needs: The options without which the engine cannot start.
        program: The option that names the program of its job server, for an engine that is not
            given the address of one; Beam would download the program.
        source: Where that program comes from: a command, or a page and the version.
    """

    beam: str
    remote: bool = True
    needs: tuple[str, ...] = ()
    program: str = ""
    source: str = ""


_BEAM = metadata.version("apache-beam")
ENGINES: dict[str, Engine] = {
    # By its full name, since Beam's DirectRunner would first try to download another runner.
    LOCAL: Engine("apache_beam.runners.portability.fn_api_runner.FnApiRunner", remote=False),
    PRISM: Engine(
        "PrismRunner",
        program="prism_location",
        source=f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{_BEAM}",
    ),
    PORTABLE: Engine("PortableRunner", needs=("job_endpoint",)),
    DATAFLOW: Engine(
        "DataflowRunner", needs=("project", "region", "temp_location", "sdk_container_image")
    ),
    "flink": Engine(
        "FlinkRunner",
        program="flink_job_server_jar",
        source=f"https://beam.apache.org/documentation/runners/flink/; Beam {_BEAM}",
    ),
    "spark": Engine(
        "SparkRunner",
        program="spark_job_server_jar",
        source=f"https://beam.apache.org/documentation/runners/spark/; Beam {_BEAM}",
    ),
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
            f"unknown runner {runner!r}, which is no name of a Beam runner either, as SamzaRunner "
            f"is{near(runner, ENGINES)}"
        )
    return Engine(runner)


def check_options(runner: str, chosen: Mapping[str, Any]) -> None:
    """Checks a runner and its options, as far as possible without the defaults of a job.

    Raises:
        RunnerError: The runner is refused, lacks an option, or an option is unknown or has a wrong
            value.
    """
    engine = engine_of(runner)
    _parse(chosen)
    if engine is not ENGINES[DATAFLOW]:  # what it needs is known when the step launches it
        _check_needs(runner, engine, chosen)
    if engine is ENGINES[LOCAL]:
        pool_of(chosen)


def read_options(
    runner: str, chosen: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> PipelineOptions:
    """Returns Beam's options of a run.

    Args:
        runner: The engine.
        chosen: Options by Beam's names. A list repeats an option. Whole floats are integers, which
            KFP has turned into floats.
        defaults: The values of options that are not chosen, and more values of those that may be
            repeated.

    Raises:
        RunnerError: An option is unknown, has a wrong value, or is missing.
    """
    engine = engine_of(runner)
    merged = merge(defaults or {}, chosen)
    _check_needs(runner, engine, merged)
    program = merged.get(engine.program)
    if program and not Path(program).is_file():
        raise RunnerError(
            f"runner option {engine.program}={program!r} is no file on this machine; copy it "
            f"there first ({engine.source})"
        )
    read = _parse(merged)
    if engine is ENGINES[LOCAL]:
        if read.get("direct_num_workers", 1) != 1 and not pool_of(chosen):
            # Workers of one process only wait for each other's lock.
            read.setdefault("direct_running_mode", "multi_processing")
    elif engine is not ENGINES[DATAFLOW]:
        read.setdefault("job_server_timeout", ANSWER_S)
    return PipelineOptions([], runner=engine.beam, save_main_session=False, **read)


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of several layers in one.

    A later value replaces an earlier one, but an option that may be repeated keeps the values of
    all layers: an experiment of the user's does not take away those that a job needs.
    """
    if sum(bool(layer) for layer in layers) < 2:
        return {name: value for layer in layers for name, value in layer.items()}
    parser, actions = option_parser()
    merged: dict[str, Any] = {}
    names: dict[str, str] = {}  # an option may have two names
    for name, value in ((n, v) for layer in layers for n, v in layer.items()):
        action = actions.get(name)
        earlier = names.setdefault(action.dest if action else name, name)
        if earlier in merged and action and _is_repeatable(parser, action):
            values = [*_as_list(merged[earlier]), *_as_list(value)]
            merged[earlier] = [v for i, v in enumerate(values) if v not in values[:i]]
            continue
        merged.pop(earlier, None)
        names[action.dest if action else name] = name
        merged[name] = value
    return merged


def pool_of(chosen: Mapping[str, Any]) -> str:
    """Returns the address of the worker pool that the options of a local run name, or "".

    Raises:
        RunnerError: The workers of a local run would be of another kind.
    """
    if not any("environment" in name for name in chosen):
        return ""
    portable = PipelineOptions([], **_parse(chosen)).view_as(PortableOptions)
    kind = portable.environment_type
    if not kind:
        return ""
    address = portable.environment_config or portable.lookup_environment_option(
        "external_service_address"
    )
    if kind != "EXTERNAL" or not address:
        raise RunnerError(
            f"runner 'local' works in processes of its own, or in a worker pool; here "
            f"environment_type is {kind!r} and environment_config is {address!r}: leave both out, "
            f"or give --runner-option environment_type=EXTERNAL and --runner-option "
            f"environment_config=HOST:PORT"
        )
    return str(address)


def n_workers(runner: str, chosen: Mapping[str, Any]) -> int | None:
    """Returns the number of workers of a local run, 0 for one per core; None if elsewhere."""
    if engine_of(runner) is not ENGINES[LOCAL] or pool_of(chosen):
        return None
    if not chosen:
        return 1
    own = read_options(runner, chosen).view_as(pipeline_options.DirectOptions)
    return int(own.direct_num_workers or 0)


def _check_needs(runner: str, engine: Engine, options: Mapping[str, Any]) -> None:
    """Refuses an engine that lacks an option, or whose program Beam would download."""
    if lacking := [name for name in engine.needs if not options.get(name)]:
        raise RunnerError(
            f"runner {runner!r} needs {', '.join(lacking)}; give "
            f"{' '.join(f'--runner-option {name}=...' for name in lacking)}"
        )
    if engine.program and not options.get("job_endpoint"):
        program = str(options.get(engine.program) or "")
        if not program or "://" in program:
            raise RunnerError(
                f"runner {runner!r} needs its job server, which Quatrain does not download: give "
                f"--runner-option job_endpoint=HOST:PORT of one that runs, or --runner-option "
                f"{engine.program}=FILE, its program on the machine of the step ({engine.source})"
            )


def _parse(chosen: Mapping[str, Any]) -> dict[str, Any]:
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
    endpoint = read.get("dataflow_endpoint")
    # With no_auth, Beam sends no credentials.
    google = re.fullmatch(_GOOGLE_ENDPOINT, str(endpoint)) is not None
    if endpoint and not google and not read.get("no_auth"):
        raise RunnerError(
            f"runner option dataflow_endpoint={endpoint!r} is no host of Google's, and the "
            f"credentials of the run would go to it; leave it out, or write "
            f"https://dataflow.googleapis.com"
        )
    return read


def _arguments(name: str, value: Any, action: argparse.Action) -> Iterator[str]:
    """Yields the command-line arguments that give an option its value."""
    if action.nargs == 0:  # a switch
        if value not in (True, "true", "True"):
            raise OptionError("it is a switch; write true, or leave it out")
        yield f"--{name}"
        return
    for item in _as_list(value):
        is_whole = isinstance(item, float) and item.is_integer()
        yield f"--{name}={int(item) if is_whole else item}"


def _is_repeatable(parser: argparse.ArgumentParser, action: argparse.Action) -> bool:
    """Returns whether an option may be given several times, so that it holds a list."""
    try:
        parsed = parser.parse_args([f"{action.option_strings[0]}=1"])
    except OptionError:
        return False
    return isinstance(getattr(parsed, action.dest), list)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _names() -> str:
    return ", ".join(ENGINES)
