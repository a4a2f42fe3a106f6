"""The engines that Beam runs on, by name, and their options, checked against Beam's own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from quatrain.components.engine import beam_options
from quatrain.components.engine.local_threads import THREADS
from quatrain.components.engine.names import DATAFLOW, LOCAL, PORTABLE, PRISM
from quatrain.components.errors import RunnerError
from quatrain.components.wording import near

MOST_WORKERS = 4
"""The workers of a local run, unless the option `direct_num_workers` says another number. Each adds
about 75 MB to the 360 MB of one: 4 take less than 600 MB, and 8 would take 830."""
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
    merged = beam_options.merge(defaults or {}, chosen)
    _check_needs(runner, engine, merged)
    program = merged.get(engine.program)
    if program and not Path(program).is_file():
        raise RunnerError(
            f"runner option {engine.program}={program!r} is no file on this machine; copy it "
            f"there first ({engine.source})"
        )
    read = _parse(merged)
    if engine not in (ENGINES[LOCAL], ENGINES[DATAFLOW]):
        read.setdefault("job_server_timeout", ANSWER_S)
    return PipelineOptions([], runner=engine.beam, save_main_session=False, **read)


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
            f"runner 'local' works in threads of this process, or in a worker pool; here "
            f"environment_type is {kind!r} and environment_config is {address!r}: leave both out, "
            f"or give --runner-option environment_type=EXTERNAL and --runner-option "
            f"environment_config=HOST:PORT"
        )
    return str(address)


def local_defaults(
    chosen: Mapping[str, Any], n_elements: int, n_cores: int | None = None
) -> dict[str, Any]:
    """Returns the default options of a local run: a worker for each core, as threads.

    Args:
        chosen: The options that are chosen.
        n_elements: The bound of the workers.
        n_cores: The number of cores; by default, those that this process may use.
    """
    n_workers = min(n_cores or _own_cores(), n_elements)
    number = _parse({"direct_num_workers": chosen.get("direct_num_workers", n_workers)})
    # By default Beam has one worker. Where there is only one, it needs no thread and no connection.
    mode = "in_memory" if number.get("direct_num_workers", 1) == 1 else THREADS
    return {"direct_num_workers": n_workers, "direct_running_mode": mode}


def _own_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    read = beam_options.read(chosen)
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


def _names() -> str:
    return ", ".join(ENGINES)
