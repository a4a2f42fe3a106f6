"""The verbs about the champions: models lists them, promote and rollback change who it is."""

from __future__ import annotations

from typing import Any

import click

from quatrain.cli import completion
from quatrain.cli.options import JSON, NOTIFY, PLAN, ROOT, with_options

WHY: Any = {"metavar": "TEXT", "help": "Say why; it is recorded with your name."}


@click.command()
@click.argument("name", required=False, default="", shell_complete=completion.models)
@with_options(*ROOT)
@JSON
def models(name: str, root: str, cloud: str, as_json: bool) -> None:
    """List who has held the champion's place of model NAME, or each model's champion.

    
    Example:
      quatrain models flights
    """
    from quatrain.face.champions import models
    from quatrain.terminal.json_text import json_text
    from quatrain.terminal.run_table import champion_table

    found = models(name, root=root, cloud=cloud)
    for line in [json_text(found)] if as_json else champion_table(found):
        click.echo(line)


@click.command()
@click.argument("run", metavar="RUN", shell_complete=completion.runs)
@click.option("--reason", default="", **WHY)
@click.option("--to", default="", metavar="FILE", help="Copy it to the root of this cloud.yaml.")
@with_options(*ROOT)
@NOTIFY
@JSON
def promote(
    run: str, reason: str, to: str, root: str, cloud: str, notify: str, as_json: bool
) -> None:
    """Make the model of a measured RUN the champion, whatever its gate decided.

    RUN is a folder, gs://ROOT/NAME/RUN, or an id below the root: a part of it, NAME/ID or latest.
    The model must have the digest that was measured. With --to, it is copied with its proof to
    another project, where it becomes the champion; one that was promoted needs no --reason then.

    \b
    Example:
      quatrain promote flights/latest --reason "new label, not comparable"
      quatrain promote flights/champion --cloud dev.yaml --to prod.yaml
    """  # noqa: D301
    from quatrain.face.champions import promote

    if not reason and not to:
        raise click.UsageError(f"no reason for run {run}; add --reason TEXT, which says why")
    _print(promote(run, reason, to=to, root=root, cloud=cloud, notify=notify), as_json)
    if to:
        click.echo(
            f"no image was copied: `quatrain deploy SPEC --cloud {to}` serves it in the image that "
            f"{to} names",
            err=True,
        )


@click.command()
@click.argument("name", metavar="NAME", shell_complete=completion.models)
@click.option("--to", default="", metavar="ID", help="The run to go back to. [default: the last]")
@click.option("--reason", required=True, **WHY)
@with_options(*ROOT)
@NOTIFY
@PLAN
@JSON
def rollback(
    name: str,
    to: str,
    reason: str,
    root: str,
    cloud: str,
    notify: str,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Give the place of model NAME's champion back to the one before.

    With --cloud, it gets all traffic of the endpoints that releases gave to NAME, too: by one call
    if it is still deployed, else after it was deployed beside what serves. Repeat a call that was
    cut off: what is done is not done twice.

    \b
    Example:
      quatrain rollback flights --reason "late labels" --cloud cloud.yaml
    """  # noqa: D301
    from quatrain.face.champions import plan_rollback, rollback

    if only_plan:
        planned = plan_rollback(name, to=to, root=root, cloud=cloud)
        for words in planned:
            click.echo(f"would {words}")
        if not planned:
            click.echo("nothing would change")
        return
    move = rollback(name, reason, to=to, root=root, cloud=cloud, notify=notify)
    _print(move, as_json)
    for sentence in move["traffic"]:
        click.echo(sentence, err=as_json)
    if root.startswith("gs://") and not cloud:
        click.echo(
            "an endpoint serves on as it did: the same call with --cloud FILE moves its traffic",
            err=True,
        )


def _print(move: dict[str, Any], as_json: bool) -> None:
    from quatrain.terminal.json_text import json_text

    before = f", in place of run {move['before']}" if move["before"] else ", the first"
    now = "" if move.get("changed", True) else " already"
    click.echo(json_text(move) if as_json else f"run {move['run']} is the champion{now}{before}")
