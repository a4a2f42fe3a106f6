"""Checks the engine that `--runner` names, and its options, before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quatrain.components.errors import QuatrainError

LOCAL = "local"


def check(runner: str, options: Mapping[str, Any]) -> None:
    """Checks an engine and its options.

    Raises:
        RunnerError: The engine is refused, or an option is unknown or has a wrong value.
    """
    if runner == LOCAL and not options:
        return  # Beam's options need an import of Beam, which takes a second
    from quatrain.components.engine import runners

    runners.check_options(runner, options)


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
