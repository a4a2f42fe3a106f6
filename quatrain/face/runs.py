"""Lists past runs, on this machine, in a bucket, or with their jobs on Vertex AI."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from quatrain.calls import public
from quatrain.components.wording import counted
from quatrain.results.listing import list_last_runs, list_runs, open_root
from quatrain.results.measured import html_table
from quatrain.results.summary import RunSummary
from quatrain.terminal.run_table import footnotes, run_cells, run_table

WIDTH = 100
"""The columns of the table of runs where no terminal says how many it has."""


class Runs(list[RunSummary]):
    """Some runs, the newest first; in a notebook, a table of them.

    Attributes:
        problems: A sentence for each record that could not be read.
        more: How many earlier runs there are; 0 also where that is not known.
        by_model: Whether it is the last run of each model, by name.
    """

    def __init__(
        self, runs: Iterable[RunSummary], problems: list[str], more: int, by_model: bool
    ) -> None:
        super().__init__(runs)
        self.problems, self.more, self.by_model = problems, more, by_model

    def __repr__(self) -> str:
        warnings = (f"warning: {problem}" for problem in self.problems)
        return "\n".join([*self.lines(WIDTH), *warnings])

    def _repr_html_(self) -> str:
        from quatrain.vertex.past_jobs import COUNTED

        documents = [run.as_document() for run in self]
        titles, rows = run_cells(documents, by_model=self.by_model)
        notes = [*footnotes(documents, self.more, COUNTED)] if documents else []
        notes += [f"warning: {problem}" for problem in self.problems]
        what = "the last run of each model" if self.by_model else counted(len(self), "run")
        table = html_table([[row[key] for key in titles] for row in rows], what, [*titles.values()])
        return table + "".join(f"<div>{escape(note)}</div>" for note in notes)

    def lines(self, width: int) -> Iterator[str]:
        """Yields a table of the runs, with its notes; nothing without runs."""
        from quatrain.vertex.past_jobs import COUNTED

        documents = [run.as_document() for run in self]
        if documents:
            yield from run_table(documents, width, by_model=self.by_model)
            yield from footnotes(documents, self.more, COUNTED)


@public
def runs(
    root: str | os.PathLike[str] = "",
    name: str = "",
    *,
    cloud: str | os.PathLike[str] = "",
    last: int = 20,
    prices: str | os.PathLike[str] | None = None,
) -> Runs:
    """Lists the runs of a model, or each model with its last run.

    A root in a bucket has the runs that were measured. With cloud settings, the jobs on Vertex AI
    are listed too, with what each cost, as estimated. `Run(run.place)` opens one of them.

    Args:
        root: The folder of all runs, a path or a gs:// uri; if empty, that of the cloud settings,
            or `runs`.
        name: The model; if empty, the last run of each.
        cloud: A file of cloud settings.
        last: How many runs; 0 for all.
        prices: Your prices, in the form of components/tiers/prices.yaml.

    Raises:
        QuatrainError: There are no runs, or the root or the service cannot be read.
    """
    table = Path(prices) if prices else None
    place = open_root(os.fspath(root), os.fspath(cloud), table)
    found = list_runs(place, name, last) if name else list_last_runs(place)
    return Runs(found.runs, found.problems, found.more, not name)
