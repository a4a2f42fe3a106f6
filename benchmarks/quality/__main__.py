"""Measures what is missing: `python -m benchmarks.quality [--write]`."""

from __future__ import annotations

import argparse
import time

from benchmarks.quality.comparisons import Intervals, comparisons
from benchmarks.quality.measure import cells_of, measure
from benchmarks.quality.page import Page
from benchmarks.quality.places import INTERVALS, PAGE, RESULTS
from benchmarks.quality.results import Results
from benchmarks.quality.systems import OURS, SYSTEMS
from benchmarks.quality.tables import LISTS, N_SPLITS, all_tables


def main() -> None:
    """Measures the chosen cells that have no current result, then writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--list", choices=LISTS, help="only the tables of a list")
    parser.add_argument("--tables", help="only these tables, separated by commas")
    parser.add_argument("--systems", help="only these systems or families, separated by commas")
    parser.add_argument("--splits", type=int, default=N_SPLITS, help="only so many splits")
    parser.add_argument("--stale", action="store_true", help="measure ours again if changed")
    parser.add_argument("--absent", action="store_true",
                        help="measure again what failed or has no losses here")  # fmt: skip
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="SECONDS",
                        help="begin no further cell after this time")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write docs/quality.md")
    options = parser.parse_args()
    tables = [t for t in all_tables() if options.list in (None, t.purpose)]
    if options.tables:
        tables = [t for t in tables if t.name in options.tables.split(",")]
    systems = list(SYSTEMS)
    if options.systems:
        chosen = options.systems.split(",")
        systems = [s for s in SYSTEMS if s.name in chosen or s.family in chosen]
    results = Results(RESULTS)
    until = time.monotonic() + options.budget
    cells = list(cells_of(tables, systems, options.splits))
    measure(cells, results, stale=options.stale, absent=options.absent, until=until)
    if options.write:
        write_page(results)


def write_page(results: Results) -> None:
    """Computes the intervals that are missing, and writes the page of all tables."""
    intervals, latest = Intervals(INTERVALS), results.latest()
    others = [s.name for s in SYSTEMS if s != OURS]
    intervals.complete(list(comparisons(all_tables(), others, latest)))
    PAGE.write_text(Page(all_tables(), latest, intervals).text(), encoding="utf-8")


if __name__ == "__main__":
    main()
