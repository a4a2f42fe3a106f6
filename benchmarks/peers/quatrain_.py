"""The flights job by Quatrain: `quatrain_.py INPUT OUT beam|kernels [key=value ...]`.

`kernels` does the same work without Beam: it calls the functions of the steps, range by range. The
name of this file ends in an underscore, since a script's folder comes first in the path.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.measuring import ROOT, measured
from benchmarks.peers import job
from quatrain.components.preprocess import passes
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.job import PreprocessJob, rules_of
from quatrain.components.preprocess.output_folder import Folder
from quatrain.components.preprocess.run import preprocess
from quatrain.components.preprocess.summary.summary import Summary
from quatrain.components.table.ranges import plan_ranges
from quatrain.validation.load import load_spec


def kernels(spec: Any, out: Path) -> None:
    """Does both passes in a loop, in this process and thread."""
    pa.set_memory_pool(pa.system_memory_pool())
    ranges = plan_ranges(spec.source, spec.columns)
    flights = PreprocessJob(spec, rules_of(spec), Folder(str(out)), len(ranges))
    cleaner = Cleaner(flights.rules)
    cleaned, total = [], Summary()
    for span in ranges:
        one, counted = passes.clean_range(flights, span, cleaner)
        cleaned.append(one)
        total += counted
    fitted = passes.fit(flights, total)
    written = [passes.engineer_range(flights, one, fitted) for one in cleaned]
    passes.write_documents(flights, fitted, written)


def run(source: str, out: Path, how: str, options: dict[str, Any]) -> None:
    """Does the whole job."""
    spec = load_spec(ROOT / "examples/flights/flights.yaml", [f"source.uri={source}"])
    if how == "kernels":
        kernels(spec, out)
    else:
        preprocess(spec.as_json(), runner="local", out=str(out), runner_options=options or None)


if __name__ == "__main__":
    path, target, which, *pairs = sys.argv[1:]
    options = dict(pair.split("=", 1) for pair in pairs)
    folder = Path(target)
    measured(lambda: run(path, folder, which, options), lambda: job.outcome(folder))
