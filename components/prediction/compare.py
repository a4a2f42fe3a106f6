"""Compares the rows to predict with those that the champion was trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from quatrain.components.buckets import HERE
from quatrain.components.errors import DriftFailed
from quatrain.components.folder import commit
from quatrain.components.prediction.inputs import statistics_of
from quatrain.components.preprocess.drift.compare import VERSION, notes_and_warnings, sentences
from quatrain.components.preprocess.drift.inputs import InputStatistics, compare_with_champion
from quatrain.components.preprocess.drift.served import add_served
from quatrain.components.preprocess.find_files import list_source
from quatrain.components.serve.input_rows import InputRows
from quatrain.components.serve.served_model import on_this_machine, read_transform
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.schema import Limit
from quatrain.components.table.range import Range
from quatrain.components.times import run_time
from quatrain.trainer.features.transform import Transform

MOST_RANGES = 64
"""The most ranges of about 10 MB that are compared, from even places. They hold some 3 million rows
of ten columns, of which chance alone moves a share by less than 0.2 %; so reading more costs time
and shows nothing new."""


NO_ROWS = "no row of the window is good, so there is nothing to compare"


def compare_inputs(
    spec: str,
    *,
    root: str,
    project: str,
    location: str = HERE,
    at: str,
    digest: str,
    champion: str,
    out: str,
) -> None:
    """Compares rows with the champion's training data, by the limits of the spec's `drift`.

    If the spec names a request log, its newest requests are compared, too.

    Only the inputs of the champion are compared. The number of rows is not, since a window to
    predict and one to train on differ in length.

    Args:
        spec: The model spec as it travels: JSON text, or the uri of a file with its digest.
        root: The folder of all runs.
        project: The project of the job.
        location: The region of the job.
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
    drift: dict[str, Any] = {"version": VERSION, "note": NO_ROWS, "comparisons": []}
    if now["rows"]:
        drift = compare_with_champion(record, now, limits)
    day = run_time(at).date()
    add_served(drift, model, record, root=root, project=project, location=location, day=day)
    with commit(out, "drift.json") as target:
        target.write_json("drift.json", drift)
    for sentence in notes_and_warnings(drift):
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
    statistics = InputStatistics(transform.inputs)
    for i in sorted({round(i) for i in np.linspace(0, len(spans) - 1, MOST_RANGES)}):
        for block in rows.blocks_of(spans[i]):
            statistics.add(block.batch)
    return statistics.document()
