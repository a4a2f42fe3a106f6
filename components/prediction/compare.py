"""Compares the rows to predict with those that the champion was trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from quatrain.components.errors import DriftFailed
from quatrain.components.folder import commit
from quatrain.components.prediction.inputs import statistics_of
from quatrain.components.preprocess.dictionary import encode
from quatrain.components.preprocess.drift.compare import VERSION, compare_all, sentences
from quatrain.components.preprocess.find_files import list_source
from quatrain.components.preprocess.summary import statistics_document
from quatrain.components.preprocess.summary.summary import RunningSummary, Summary
from quatrain.components.serve.input_rows import InputRows
from quatrain.components.serve.served_model import on_this_machine, read_transform
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.schema import Limit
from quatrain.components.table.range import Range
from quatrain.trainer.features.transform import Transform

MOST_RANGES = 64
"""The most ranges of about 10 MB that are compared, from even places. They hold some 3 million rows
of ten columns, of which chance alone moves a share by less than 0.2 %; so reading more costs time
and shows nothing new."""


NO_ROWS = "no row of the window is good, so there is nothing to compare"


def compare_inputs(
    spec: str, *, root: str, project: str, at: str, digest: str, champion: str, out: str
) -> None:
    """Compares rows with the champion's training data, by the limits of the spec's `drift`.

    Only the inputs of the champion are compared. The number of rows is not, since a window to
    predict and one to train on differ in length.

    Args:
        spec: The model spec as it travels: JSON text, or the uri of a file with its digest.
        root: The folder of all runs.
        project: The project of the job.
        at: The day of the job.
        digest: The digest of the files that the job found when it began.
        champion: The champion that it found, as JSON text.
        out: The artifact to write: drift.json.

    Raises:
        SourceError: A file cannot be read, lacks an input, or changed since the job began.
        ArtifactError: The champion was replaced, or its model cannot be read.
        DriftFailed: A measure is above its `fail`; drift.json is written all the same.
    """
    model, chosen = read_parameter(spec), json.loads(champion)
    record = statistics_of(root, model.name, chosen)
    limits: dict[str, Limit] = {n: getattr(model.drift, n) for n in type(model.drift).model_fields}
    files, _ = list_source(model, at, digest, project)
    with on_this_machine(f"{chosen['model']}/model") as folder:
        transform = read_transform(folder)
    rows = InputRows.of([path for path, _ in files.listing], transform, (), project)
    now = summarize(rows, rows.spans, transform)
    before = record["statistics"]
    kept = before["kept"]
    inputs = {name: kept["columns"][name] for name in now["columns"] if name in kept["columns"]}
    now["label"] = kept["label"]
    theirs = {**record, "statistics": {**before, "kept": {**kept, "columns": inputs}}}
    drift: dict[str, Any] = {"version": VERSION, "note": NO_ROWS, "comparisons": []}
    if now["rows"]:
        document = {"version": statistics_document.VERSION, "kept": now}
        drift = compare_all({"champion": theirs}, document, {**limits, "rows": Limit()})
    with commit(out, "drift.json") as target:
        target.write_json("drift.json", drift)
    for sentence in filter(None, [drift["note"], *sentences(drift, "warn")]):
        print(f"predict: drift: {sentence}", flush=True)
    if failed := sentences(drift, "fail"):
        lines = "\n".join(f"  {sentence}" for sentence in failed)
        raise DriftFailed(
            f"the rows to predict differ from those of training by more than the spec allows:\n"
            f"{lines}\nnothing was predicted, and {out}/drift.json has all of it; correct the "
            f"source, or accept the change once by --set drift.MEASURE.fail=null"
        )


def summarize(rows: InputRows, spans: Sequence[Range], transform: Transform) -> dict[str, Any]:
    """Returns the statistics of the inputs, as far as a run's are compared with another's."""
    columns, running = transform.inputs, RunningSummary()
    names = [column.name for column in columns]
    for i in sorted({round(i) for i in np.linspace(0, len(spans) - 1, MOST_RANGES)}):
        for block in rows.blocks_of(spans[i]):
            if block.batch.num_rows:
                sizes = np.array([block.batch.num_rows, 0, 0])
                encoded = encode(block.batch.select(names))
                running.add(Summary.of_kept_rows(encoded, sizes, columns))
    table = running.total.splits["train"]
    described = statistics_document.comparable_columns(table, columns) if table.rows else {}
    return {"rows": table.rows, "columns": described}
