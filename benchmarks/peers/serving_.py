"""Times an exported model on the first rows of a CSV file: `serving_.py MODEL CSV OUT`.

It calls `serving_default` with one row and with `ROWS` rows, in turns, and reports the medians.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import tensorflow as tf

from benchmarks.measuring import measured
from quatrain.components.serve.served_model import read_metadata

ROWS, TURNS, SINGLES = 10_000, 25, 50


def tensors(folder: Path, rows: pa.Table) -> dict[str, tf.Tensor]:
    """Returns the raw inputs of rows by argument of the signature."""
    return {
        i["argument"]: tf.constant(_values(rows[i["name"]].combine_chunks(), i["type"]))
        for i in read_metadata(folder)["inputs"]
    }


def _values(column: pa.Array, type_: str) -> np.ndarray:
    if type_ == "string":
        return np.asarray(column.fill_null("").cast(pa.binary()).to_numpy(zero_copy_only=False))
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def seconds(call: Callable[[], Any], times: int) -> float:
    """Returns the mean seconds of `times` calls."""
    started = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - started) / times


def main(folder: Path, csv: str) -> None:
    """Measures a model."""
    model = tf.saved_model.load(str(folder))
    answer = model.signatures["serving_default"]
    many = tensors(folder, pacsv.read_csv(csv).slice(0, ROWS))
    one = {name: column[:1] for name, column in many.items()}
    durations: dict[str, list[float]] = {"one": [], "many": []}

    def work() -> None:
        for _ in range(TURNS):
            durations["one"].append(seconds(lambda: answer(**one), SINGLES))
            durations["many"].append(seconds(lambda: answer(**many), 2))

    seconds(lambda: (answer(**one), answer(**many)), 5)  # traces and warms up
    measured(
        work,
        lambda: {
            "one_row_ms": 1000 * statistics.median(durations["one"]),
            "rows_a_second": ROWS / statistics.median(durations["many"]),
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
