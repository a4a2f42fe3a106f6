"""The engine of the preprocess step as the command line names it: `--runner` and its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from quatrain.components.errors import QuatrainError

LOCAL = "local"


def read_pairs(runner: str, pairs: Sequence[str], workers: int | None = None) -> dict[str, Any]:
    """Returns runner options from KEY=VALUE pairs; a key that is given twice holds a list.

    Args:
        runner: The engine.
        pairs: What `--runner-option` gave.
        workers: How many processes the local engine has.

    Raises:
        click.UsageError: A pair has no value, or `workers` does not suit the engine.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.removeprefix("--").partition("=")
        if not (key and equals):
            raise click.UsageError(f"--runner-option {pair!r}: write KEY=VALUE")
        found[key] = [*_listed(found[key]), value] if key in found else value
    if workers is None:
        return found
    if runner != LOCAL:
        raise click.UsageError(
            f"--workers is of runner local; {runner!r} takes its own --runner-option, as "
            f"max_num_workers=N of dataflow or parallelism=N of flink"
        )
    if workers < 0:
        raise click.UsageError(f"--workers is {workers}; it is at least 1, or 0 for a core each")
    return {**found, "direct_num_workers": workers}


def check(runner: str, options: Mapping[str, Any]) -> None:
    """Checks an engine and its options before anything starts.

    Raises:
        RunnerError: It is refused, or an option is unknown or has a wrong value.
    """
    if runner == LOCAL and not options:
        return  # to know Beam's options, Beam must be imported, which takes a second
    from quatrain.components.engine import runners

    runners.check_options(runner, options)


def check_here(runner: str) -> None:
    """Refuses an engine whose workers cannot write where a local run writes.

    Raises:
        QuatrainError: It is Dataflow.
    """
    if runner in ("dataflow", "DataflowRunner"):
        raise QuatrainError(
            "runner 'dataflow' writes to a bucket, and a run on this machine to a folder; "
            "`quatrain submit --runner dataflow` launches it from Vertex AI"
        )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
