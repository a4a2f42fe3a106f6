"""Checks the engine that `--runner` names, and its options, before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quatrain.components.engine.names import LOCAL
from quatrain.components.errors import QuatrainError, RunnerError


def check(runner: str, options: Mapping[str, Any]) -> None:
    """Checks an engine and its options.

    Raises:
        RunnerError: The engine is refused, or an option is unknown or has a wrong value.
    """
    if runner == LOCAL and not options:
        return  # Beam's options need an import of Beam, which takes a second
    from quatrain.components.engine import runners

    runners.check_options(runner, options)


def with_workers(runner: str, options: Mapping[str, Any], workers: int | None) -> dict[str, Any]:
    """Returns the options of an engine with a number of workers.

    Args:
        runner: The engine.
        options: Its options.
        workers: How many worker threads the local engine has; None for its default.

    Raises:
        RunnerError: `workers` does not suit the engine.
    """
    if workers is None:
        return dict(options)
    if runner != LOCAL:
        raise RunnerError(
            f"--workers belongs to runner local; give {runner!r} its own --runner-option, such as "
            f"max_num_workers=N for dataflow or parallelism=N for flink"
        )
    if workers < 0:
        raise RunnerError(f"--workers is {workers}; write at least 1, or 0 for one per core")
    return {**options, "direct_num_workers": workers}


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of several layers in one, by `beam_options.merge`."""
    present = [layer for layer in layers if layer]
    if len(present) < 2:
        return dict(present[0]) if present else {}  # without an import of Beam
    from quatrain.components.engine import beam_options

    return beam_options.merge(*present)


def check_here(runner: str) -> None:
    """Refuses an engine whose workers cannot write where a local run writes.

    Raises:
        QuatrainError: The engine is Dataflow.
    """
    if runner in ("dataflow", "DataflowRunner"):
        raise QuatrainError(
            "runner 'dataflow' writes to a bucket, and a run on this machine to a folder; "
            "`quatrain submit --runner dataflow` launches it from Vertex AI"
        )
