"""The verb that cleans up: gc."""

from __future__ import annotations

import click

from quatrain.cli import completion
from quatrain.cli.options import JSON, ROOT, with_options


@click.command()
@click.argument("name", required=False, default="", shell_complete=completion.models)
@click.option("--apply", "applies", is_flag=True, help="Delete what may go.")
@click.option(
    "--keep-runs",
    default=10,
    metavar="N",
    show_default=True,
    type=click.IntRange(min=1),
    help="Keep the newest N runs of each model.",
)
@click.option(
    "--keep-versions",
    default=3,
    metavar="N",
    show_default=True,
    type=click.IntRange(min=1),
    help="Keep the N champions before the present one.",
)
@click.option(
    "--older-than",
    default=7.0,
    metavar="DAYS",
    show_default=True,
    type=click.FloatRange(min=0),
    help="Keep runs that are younger.",
)
@with_options(*ROOT)
@JSON
def gc(
    name: str,
    applies: bool,
    keep_runs: int,
    keep_versions: int,
    older_than: float,
    root: str,
    cloud: str,
    as_json: bool,
) -> None:
    """List the runs, versions and records of the cache that may go, and delete them with --apply.

    What the champion and its lineage name stays, as do runs that are going, and what an endpoint
    serves, which --cloud looks up. Images are not deleted.

    \b
    Example:
      quatrain gc flights --keep-runs 20 --apply
    """  # noqa: D301
    from quatrain.cleanup.collect import collect
    from quatrain.cleanup.plan import Limits
    from quatrain.terminal.json_text import json_text
    from quatrain.terminal.run_table import collected_lines

    limits = Limits(keep_runs, keep_versions, older_than)
    items = collect(name, limits, root=root, cloud=cloud, applies=applies)
    documents = [item.as_json() for item in items]
    for line in [json_text(documents)] if as_json else collected_lines(documents, applies):
        click.echo(line)
