"""Measures how fast past runs are listed: `python -m benchmarks.listing [--write]`.

A folder of 1,000 runs with their records is written, and `quatrain list` reads all of them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import machine, median, write_section
from quatrain.results.listing import Root, list_runs
from tests.quatrain.results.made_runs import put_here

RUNS = 1_000
BOUND_S = 1.0
"""The most CPU-seconds that they may take."""


def measure(root: Path) -> float:
    """Returns the CPU-seconds in which all runs below a root are listed."""
    started = time.process_time()
    assert len(list_runs(Root(str(root)), "m").runs) == RUNS  # noqa: S101 - else it measures less
    return time.process_time() - started


def page(seconds: list[float]) -> str:
    """Returns the section of docs/benchmarks.md."""
    spread = f"{min(seconds):.2f} to {max(seconds):.2f} in {len(seconds)} repeats"
    return (
        f"## Past runs\n\n`quatrain list NAME --last 0` takes {median(seconds):.2f} CPU-seconds "
        f"for {RUNS:,} runs in a folder ({spread}; bound: at most {BOUND_S:g}). On {machine()}."
    )


def main() -> None:
    """Lists the runs several times, then prints or writes the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        for n in range(RUNS):
            put_here(Path(folder), f"20261123T060000-{n:06d}", "2026-11-23T06:00:00+00:00")
        measure(Path(folder))  # what is imported late is not counted
        text = page([measure(Path(folder)) for _ in range(options.repeats)])
    print(text)
    if options.write:
        write_section("listing", text)


if __name__ == "__main__":
    main()
