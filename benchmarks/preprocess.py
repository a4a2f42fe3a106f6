"""Measures preprocessing against its peers: `python -m benchmarks.preprocess [--write]`.

Every case does the flights job (examples/flights/flights.yaml) from one CSV file to Parquet shards
(tf.Example for tensorflow-transform): reject, label, split, statistics, fit, engineer, write.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import preprocess_page
from benchmarks.measuring import BUILD, ROOT, Case, Results, interleave
from benchmarks.rows import write_rows

SIZES = {"0.34M": 1, "3.4M": 10, "10M": 30}
"""Number of copies of the 336 776 flights, by name of the size."""
PEERS = "benchmarks/peers/"
ARROW = ("pyarrow==25.0.1", "numpy==2.4.6")
FRAMES_LEAVE_OUT = (
    "bad cells become missing and short rows are filled; rejected rows lack their position and "
    "text; crosses use another hash"
)


def _ours(name: str, *arguments: str, pinned: bool = True) -> Case:
    script = PEERS + "quatrain_.py"
    return Case(name, script, ("components", "trainer", script), arguments, pinned=pinned)


def _peer(
    name: str,
    script: str,
    requirements: Sequence[str],
    out: str,
    *arguments: str,
    pinned: bool = True,
) -> Case:
    script = PEERS + script
    sources = (script, PEERS + "job.py")
    return Case(name, script, sources, arguments, (*requirements, *ARROW), out, pinned)


CASES = (
    _ours("quatrain", "beam"),
    _ours("quatrain, no Beam", "kernels"),
    _peer("polars, eager", "polars_.py", ["polars==2.1.0"], FRAMES_LEAVE_OUT, "eager"),
    _peer("polars, streaming", "polars_.py", ["polars==2.1.0"], FRAMES_LEAVE_OUT, "streaming"),
    _peer("pandas", "pandas_.py", ["pandas==3.1.1"], FRAMES_LEAVE_OUT),
    _peer(
        "tensorflow-transform",
        "tft.py",
        ["tensorflow-transform==1.21.0", "tensorflow==2.21.0", "apache-beam==2.77.0"],
        "no rejected rows, no raw columns, and statistics for the features only; quantiles are "
        "approximate",
    ),
    _peer(
        "Beam, a dict a row",
        "dict_rows.py",
        ["apache-beam==2.77.0"],
        "statistics are moments only, and rejected rows have no reason; quantiles are approximate",
    ),
)
NOT_PINNED = (
    _ours("quatrain, 1 worker, not pinned", "beam", "direct_num_workers=1", pinned=False),
    _ours("quatrain, all cores, not pinned", "beam", pinned=False),
    _peer(
        "polars, eager, not pinned",
        "polars_.py",
        ["polars==2.1.0"],
        FRAMES_LEAVE_OUT,
        "eager",
        pinned=False,
    ),
)
"""Cases that may use every core: one worker beside one for each core, and a peer."""
EXTRAS = (
    (_ours("quatrain, clean file", "beam"), "3.4M", "-clean"),
    *((case, size, "") for size in ("3.4M", "10M") for case in NOT_PINNED),
    (_ours("quatrain, 40 rows", "beam"), "40", ""),
    (_ours("quatrain, no Beam, 40 rows", "kernels"), "40", ""),
)
"""Cases for one size only, with the suffix of their file."""
LARGE = {"10M": ("tensorflow-transform", "Beam, a dict a row")}
"""Cases that a size leaves out, since they would take a quarter of an hour."""


def table_of(size: str, kind: str = "") -> Path:
    """Returns the CSV file of a size, which is written if it does not exist."""
    flights = ROOT / "examples/flights/data/flights.csv"
    target = BUILD / f"data/flights-{size}{kind}.csv"
    if size == "40":
        lines = flights.read_bytes().split(b"\n")[: 400 * 41]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"\n".join([lines[0], *lines[1::400]]) + b"\n")
        return target
    return write_rows(flights, target, SIZES[size], dirty=not kind)


def selected(sizes: Sequence[str], only: str) -> list[tuple[Case, str, list[str]]]:
    """Returns the cases to run, each with its size and the arguments of its process."""
    of_all = [(c, s, "") for s in sizes for c in CASES if c.name not in LARGE.get(s, ())]
    extras = [extra for extra in EXTRAS if extra[1] in (*sizes, "40")]
    chosen = [(c, s, kind) for c, s, kind in [*of_all, *extras] if only in c.name]
    return [(c, s, [str(table_of(s, kind))]) for c, s, kind in chosen]


def main() -> None:
    """Runs each case until it has its number of runs, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(SIZES), help="sizes, such as 0.34M,3.4M")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--core", type=int, default=0, help="the core to pin processes to")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    results = Results("preprocess")
    if options.repeats:
        runs = selected(options.rows.split(","), options.only)
        interleave(results, runs, options.repeats, options.core)
    if options.write:
        preprocess_page.write(results, CASES, EXTRAS, list(SIZES))


if __name__ == "__main__":
    main()
