"""The verbs that write and check a spec: init and check. Slow imports are inside them."""

from __future__ import annotations

from pathlib import Path

import click

from quatrain.cli.options import AT, PATH, SET, SPEC, TIER


@click.command()
@click.argument("data", metavar="DATA")
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="SPEC",
    help="Where to write the spec.  [default: rows.yaml for rows.csv, in this folder]",
)
def init(data: str, target: str, output: Path | None) -> None:
    """Write a spec for the table DATA, with comments on its columns.

    DATA is a CSV, JSON Lines or Parquet file, a glob of such files, or a gs:// uri. Only a sample
    of its rows is read. The spec is ready to run. It leaves out columns that look like the answer
    or like an identifier.

    \b
    Example:
      quatrain init taxi.csv --target tips -o taxi.yaml
    """  # noqa: D301
    from quatrain.draft.propose import propose
    from quatrain.terminal.printouts import proposal_lines

    for line in proposal_lines(propose(data, target, output)):
        click.echo(line)


@click.command()
@SPEC
@TIER
@SET
@AT
@click.option(
    "--cloud", type=PATH, metavar="FILE", help="Also check the run with these cloud settings."
)
def check(spec: Path, tier: str, overrides: tuple[str, ...], at: str, cloud: Path | None) -> None:
    """Check SPEC against a sample of its rows, without running it.

    \b
    Example:
      quatrain check examples/flights/flights.yaml --set clean.max_rejected=0.01
    """  # noqa: D301
    from quatrain.components.errors import SpecError
    from quatrain.components.package.publishing import check_trainer
    from quatrain.components.tiers import tiers
    from quatrain.components.times import window_end
    from quatrain.components.train.plan import resolve_tier
    from quatrain.components.wording import counted
    from quatrain.terminal.console import rows_in_words
    from quatrain.validation import sample
    from quatrain.validation.typos import load_with_source

    model_spec = load_with_source(spec, overrides)
    resolved = resolve_tier(model_spec, tier)
    doubts = []
    if cloud:
        from quatrain.vertex.checks.run import check_run, local_inputs
        from quatrain.vertex.cloud_file import load_cloud

        doubts = check_run(model_spec, load_cloud(cloud), resolved)
        doubts += local_inputs(model_spec)
    trainer = model_spec.train.trainer or ""
    if "://" in trainer:
        click.echo(f"warning: train.trainer: {trainer} is not checked here", err=True)
    else:
        check_trainer(trainer)
    result = sample.check(model_spec, window_end(model_spec.source.window, at))
    if result.sample:
        click.echo(f"sampled {rows_in_words(result.sample.rows)}")
    if result.problems:
        raise SpecError("\n".join(f"{spec.name}: {problem}" for problem in result.problems))
    for warning in [*doubts, *result.warnings, *tiers.warnings(resolved, kinds=tiers.HARDWARE)]:
        click.echo(f"warning: {warning}", err=True)
    for note in resolved.notes if resolved.name == "CUSTOM" else ():
        click.echo(f"train.tier CUSTOM: {note}")
    columns = counted(len(model_spec.columns), "column")
    features = counted(len(model_spec.features), "feature")
    click.echo(
        f"{spec.name} is valid and fits a sample of its rows: {columns}, {features}, "
        f"label {model_spec.label} ({model_spec.task}), tier {resolved.name}"
    )
