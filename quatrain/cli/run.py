"""The verb that runs the pipeline on this machine: run. Slow imports are inside it."""

from __future__ import annotations

from pathlib import Path

import click

from quatrain.cli.options import (
    AT,
    NOTIFY,
    PATH,
    RUNNER_OPTION,
    SET,
    SPEC,
    TIER,
    TRUST,
    runner_options_of,
)
from quatrain.components.uris import DEFAULT_ROOT


@click.command()
@SPEC
@TIER
@click.option(
    "--root",
    default=DEFAULT_ROOT,
    type=PATH,
    show_default=True,
    help="The folder of all runs.",
)
@SET
@click.option(
    "--runner",
    default="local",
    metavar="R",
    show_default=True,
    help="Where Beam runs: local, prism, ...",
)
@RUNNER_OPTION
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Threads for preprocess; 0: one per core. Default: up to 4.",
)
@click.option(
    "--pipeline",
    type=PATH,
    metavar="FILE",
    help="Run this compiled file instead of compiling one.",
)
@TRUST
@click.option("--quick", is_flag=True, help="Try the spec on 20,000 rows; nothing is promoted.")
@click.option("--no-cache", is_flag=True, help="Redo everything, even what has not changed.")
@AT
@NOTIFY
def run(
    spec: Path,
    tier: str,
    root: Path,
    overrides: tuple[str, ...],
    runner: str,
    runner_options: tuple[str, ...],
    workers: int | None,
    pipeline: Path | None,
    trust: bool,
    quick: bool,
    no_cache: bool,
    at: str,
    notify: str,
) -> None:
    """Run the whole pipeline for SPEC on this machine.

    The results are in ROOT/<name>/<run id>; ROOT/<name>/latest is the last.

    \b
    Example:
      quatrain run flights.yaml --tier STANDARD_1 --set train.replicas=2
    """  # noqa: D301
    from quatrain.trainer.importing import uncollected

    with uncollected():
        from quatrain.face.run import run as run_spec
        from quatrain.terminal.printouts import short_path

    finished_run = run_spec(
        spec,
        tier=tier,
        root=root,
        set=overrides,
        runner=runner,
        runner_options=runner_options_of(runner_options),
        workers=workers,
        pipeline=pipeline,
        trust=trust,
        quick=quick,
        no_cache=no_cache,
        at=at,
        notify=notify,
    )
    folder = Path(finished_run.place)
    for name in ("report.html", "metrics.json", "model"):
        if (folder / name).exists():
            click.echo(f"{name:<13} {short_path(folder / name)}")
