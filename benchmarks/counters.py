"""Measures what preprocessing moves, for docs/scale.md: `python -m benchmarks.counters [ROWS]`.

It calls the functions of the Beam steps range by range, without Beam, and adds up the bytes that
would be sent between workers (pickled, as by Beam's coder of Python objects) and those written.
ROWS is a size of benchmarks/preprocess.py, by default 10M.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.measuring import BUILD, ROOT, machine, table
from benchmarks.preprocess import table_of
from quatrain.components.preprocess import passes
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.job import PreprocessJob, rules_of
from quatrain.components.preprocess.output_folder import Folder
from quatrain.components.preprocess.summary.summary import RunningSummary
from quatrain.components.specification.split import SPLITS
from quatrain.components.table.ranges import plan_ranges
from quatrain.validation.load import load_spec


def count(source: Path, out: Path) -> list[tuple[str, str]]:
    """Runs the flights job on a file, and returns pairs of a counter's name and its value."""
    spec = load_spec(ROOT / "examples/flights/flights.yaml", [f"source.uri={source}"])
    ranges = plan_ranges(spec.source, spec.columns)
    job = PreprocessJob(spec, rules_of(spec), Folder(str(out)), len(ranges))
    cleaner, fold, cleaned, summaries = Cleaner(job.rules), RunningSummary(), [], []
    for span in ranges:
        one, summary = passes.clean_range(job, span, cleaner)
        cleaned.append(one)
        summaries.append(_sent_bytes(RunningSummary().add(summary)))
        fold = fold.add(summary)
    spilled = _size(out.rglob("*.arrow"))
    n_spilled = sum(1 for _ in out.rglob("*.arrow"))
    total = fold.total
    fitted = passes.fit(job, total)
    written = [passes.engineer_range(job, one, fitted) for one in cleaned]
    passes.write_documents(job, fitted, written)
    rejected = list(out.glob("rejected/*"))
    engineered = [p for split in SPLITS for p in out.glob(f"{split}-*")]
    return [
        ("rows", f"{total.read:,}"),
        ("source", _mb(source.stat().st_size)),
        ("ranges, so elements", f"{len(ranges):,}"),
        ("shuffled: a range, mean", f"{sum(map(_sent_bytes, ranges)) / len(ranges):,.0f} bytes"),
        ("shuffled: a summary, mean", _mb(sum(summaries) / len(summaries))),
        ("shuffled: all summaries", _mb(sum(summaries))),
        ("their sum, so memory of Fit", _mb(_sent_bytes(total))),
        ("sent to every worker: the transform", f"{_sent_bytes(fitted) / 1000:,.0f} KB"),
        ("shuffled: digests, all", f"{sum(map(_sent_bytes, [*cleaned, *written])) / 1000:,.0f} KB"),
        ("written between the passes", f"{_mb(spilled)} in {n_spilled:,} files"),
        ("shards", f"{_mb(_size(engineered))} in {len(engineered):,} files"),
        ("rejected rows, with their text", f"{_mb(_size(rejected))} in {len(rejected):,} files"),
    ]


def _sent_bytes(value: Any) -> int:
    """Returns the bytes of a value that Beam sends from one worker to another."""
    return len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def _size(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _mb(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def main() -> None:
    """Prints the counters."""
    source = table_of(sys.argv[1] if len(sys.argv) > 1 else "10M")
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        counters = count(source, Path(folder))
    print(f"On {machine()}.\n\n{table(['what', 'counted'], counters)}")


if __name__ == "__main__":
    main()
