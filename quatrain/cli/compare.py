"""The verb that shows two runs side by side: compare."""

from __future__ import annotations

import click

from quatrain.cli import completion
from quatrain.cli.options import JSON, ROOT, with_options


@click.command()
@click.argument("before", metavar="[RUN]", required=False, shell_complete=completion.runs)
@click.argument("now", metavar="[RUN]", required=False, shell_complete=completion.runs)
@with_options(*ROOT)
@JSON
def compare(before: str | None, now: str | None, root: str, cloud: str, as_json: bool) -> None:
    """Show how the second RUN differs from the first.

    RUN is a folder, gs://ROOT/NAME/RUN, or an id below the root: a part of it, NAME/ID, latest or
    champion. Without a second RUN, it is the last one that was measured; without the first, that is
    compared with the champion, or if it is the champion, with the run before.

    Where both have the same test rows, their predictions are compared row by row.

    \b
    Example:
      quatrain compare champion latest
    """  # noqa: D301
    from quatrain.results.comparison import compare_runs
    from quatrain.results.find import find_place, last_pair
    from quatrain.results.listing import open_root
    from quatrain.terminal.comparison_text import comparison_lines
    from quatrain.terminal.json_text import json_text

    place = open_root(root, cloud, check=False)
    if before and now:
        pair = find_place(before, place), find_place(now, place)
    else:
        pair = last_pair(place, find_place(before, place) if before else "")
    compared = compare_runs(*pair)
    lines = [json_text(compared)] if as_json else comparison_lines(compared)
    for line in lines:
        click.echo(line)
