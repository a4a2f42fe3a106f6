"""The inputs of a model in rows without a label, compared with the champion's training data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from quatrain.components.preprocess.dictionary import encode
from quatrain.components.preprocess.drift.compare import compare_all
from quatrain.components.preprocess.summary import statistics_document
from quatrain.components.preprocess.summary.summary import RunningSummary, Summary
from quatrain.components.specification.schema import Limit
from quatrain.trainer.features.base import Input


class InputStatistics:
    """The statistics of some inputs, as far as a run's are compared with another's.

    Args:
        inputs: The raw inputs of the model.
    """

    def __init__(self, inputs: tuple[Input, ...]) -> None:
        self._inputs, self._running = inputs, RunningSummary()

    def add(self, rows: pa.RecordBatch) -> None:
        """Counts typed rows, which may have other columns, too."""
        if rows.num_rows:
            encoded = encode(rows.select([column.name for column in self._inputs]))
            sizes = np.array([rows.num_rows, 0, 0])
            self._running.add(Summary.of_kept_rows(encoded, sizes, self._inputs))

    def document(self) -> dict[str, Any]:
        """Returns the number of rows and the columns, which follow from the rows in any order."""
        table = self._running.total.splits["train"]
        columns = statistics_document.comparable_columns(table, self._inputs) if table.rows else {}
        return {"rows": table.rows, "columns": columns}


def compare_with_champion(
    record: Mapping[str, Any], now: Mapping[str, Any], limits: Mapping[str, Limit]
) -> dict[str, Any]:
    """Compares inputs with the champion's training data, as `compare_all` does.

    Neither the label is compared, which the rows lack, nor the number of rows, since they and those
    of a training are of different lengths of time.

    Args:
        record: The record of the champion.
        now: The document of the inputs, with rows.
        limits: The limits, by measure.
    """
    before = record["statistics"]
    kept = before["kept"]
    columns = {name: kept["columns"][name] for name in now["columns"] if name in kept["columns"]}
    theirs = {**record, "statistics": {**before, "kept": {**kept, "columns": columns}}}
    kept_now = {**now, "label": kept["label"]}
    document = {"version": statistics_document.VERSION, "kept": kept_now}
    return compare_all({"champion": theirs}, document, {**limits, "rows": Limit()})
