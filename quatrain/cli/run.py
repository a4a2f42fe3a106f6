"""The verb that runs the pipeline on this machine: run. Slow imports are inside it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import click

from quatrain.cli.options import AT, PATH, RUNNER_OPTION, SET, SPEC, TIER, TRUST, runner_options_of
from quatrain.vertex.checks import engine


@click.command()
@SPEC
@TIER
@click.option(
    "--root",
    default="runs",
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
    help="Where Beam runs: local, prism, portable, flink, spark, ...",
)
@RUNNER_OPTION
@click.option(
    "--workers", type=int, metavar="N", help="Processes of the local runner; 0 means one per core."
)
@click.option(
    "--pipeline",
    type=PATH,
    metavar="FILE",
    help="Run this compiled file instead of compiling one.",
)
@TRUST
@click.option("--no-cache", is_flag=True, help="Do all again, even what has not changed.")
@AT
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
    no_cache: bool,
    at: str,
) -> None:
    """Run the whole pipeline for SPEC on this machine.

    The results are in ROOT/<name>/<run id>. ROOT/<name>/latest points to the last run that was
    measured.

    \b
    Example:
      quatrain run examples/flights/flights.yaml --tier STANDARD_1 --set train.replicas=2
    """  # noqa: D301
    from quatrain.components.login import check_login
    from quatrain.components.package.publishing import check_trainer
    from quatrain.components.times import window_end
    from quatrain.components.train.plan import resolve_tier
    from quatrain.validation.typos import load_with_source

    options = runner_options_of(runner, runner_options, workers)
    if pipeline is None:
        engine.check(runner, options)
        engine.check_here(runner)
    model_spec = load_with_source(spec, overrides)
    resolve_tier(model_spec, tier)  # a wrong tier should not cost the minutes of preprocessing
    check_trainer(model_spec.train.trainer or "")
    for uri in model_spec.source.uri:
        check_login(uri)
    window_end(model_spec.source.window, at)
    from quatrain.local.run import run_pipeline
    from quatrain.pipelines.compiled import compile_pipeline
    from quatrain.terminal.printouts import short_path

    with tempfile.TemporaryDirectory(prefix="quatrain-compile-") as folder:
        path = pipeline or compile_pipeline(Path(folder) / "training.yaml")
        finished_run = run_pipeline(
            path,
            model_spec,
            root,
            tier=tier,
            runner=runner,
            runner_options=options,
            at=at,
            cached=not no_cache,
            trust=trust or pipeline is None,
            copied=lambda: shutil.rmtree(folder),  # a killed run would leave it
        )
    for name in ("report.html", "metrics.json", "model"):
        if (finished_run.folder / name).exists():
            click.echo(f"{name:<13} {short_path(finished_run.folder / name)}")
