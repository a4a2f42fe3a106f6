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


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of several layers in one, by `runners.merge`."""
    present = [layer for layer in layers if layer]
    if len(present) < 2:
        return dict(present[0]) if present else {}  # without an import of Beam
    from quatrain.components.engine import runners

    return runners.merge(*present)


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
