"""Answers the rows of a window by the champion, and writes the partition of their day."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from quatrain.components.engine.gcp_resources import write_resources
from quatrain.components.engine.names import LOCAL
from quatrain.components.image import IMAGE
from quatrain.components.prediction.inputs import partition_of
from quatrain.components.preprocess.find_files import list_source
from quatrain.components.serve.batch.choice import EngineChoice, Shards
from quatrain.components.serve.batch.run import predict_table
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.specification.predict import Predict
from quatrain.components.wording import counted

REJECTED = "rejected"
"""The folder in a partition of the rows that cannot be read."""


def predict(
    spec: str,
    *,
    root: str,
    runner: str,
    project: str,
    location: str,
    at: str,
    digest: str,
    champion: str,
    keep: Sequence[str] = (),
    runner_options: Mapping[str, Any] | None = None,
    image: str = IMAGE,
    gcp_resources: str = "",
) -> str:
    """Predicts the rows of a window, and returns the folder of their partition.

    The partition is `<root>/<name>/predictions/day=<at>`. It counts once its manifest.json, the
    last file, is there. Repeating a day replaces it as a whole; the same files and the same
    champion give the same bytes. If the spec names a table of BigQuery, its partition of the day
    gets the same rows before the manifest is written.

    Args:
        spec: The model spec as it travels: JSON text, or the uri of a file with its digest.
        root: The folder of all runs.
        runner: Where Beam runs: local, prism, portable, dataflow, flink, spark, ...
        project: The project of the job.
        location: The region of the job; `local` on a laptop.
        at: The day of the job.
        digest: The digest of the files that the job found when it began.
        champion: The champion that it found, as JSON text.
        keep: Columns of the input to copy, as text, to the left of the answers; if there are none,
            those of the spec, or else the columns that identify a row, by which the labels find
            their answers later.
        runner_options: Beam's options for the runner.
        image: The image of this step, as of its workers on other machines.
        gcp_resources: The file through which the page of Vertex AI links to a Dataflow job.

    Raises:
        SourceError: A file cannot be read, lacks a column, or changed since the job began; or the
            table cannot be written.
        DataError: More rows than `clean.max_rejected` cannot be read; no partition is left.
        ArtifactError: The champion's model is gone, incomplete or altered.
        RunnerError: The engine is refused, has a wrong option, or failed.
    """
    model, chosen = read_parameter(spec), json.loads(champion)
    files, _ = list_source(model, at, digest, project)
    out, wanted = partition_of(root, model.name, at), model.predict or Predict()
    options = dict(runner_options or {})
    if runner == LOCAL and not options:
        write_resources(gcp_resources)
    manifest = predict_table(
        f"{chosen['model']}/model",
        [path for path, _ in files.listing],
        Shards(out, f"{out}/{REJECTED}", table=wanted.partition(at)),
        keep=keep or wanted.keep or model.row_keys,
        root=root,
        engine=EngineChoice(runner, options),
        project=project,
        location=location,
        image=image,
        gcp_resources=gcp_resources,
        about={
            "name": model.name,
            "day": at,
            "window": files.as_json() if files.days else None,
            "champion": {key: chosen[key] for key in ("run", "made", "metadata")},
        },
        most_rejected=model.clean.max_rejected,
    )
    rows = manifest["rows"]
    answered = counted(rows["answered"], "row")
    places = " and ".join(filter(None, (out, wanted.partition(at))))
    print(f"predict: {answered} to {places}, {rows['rejected']:,} rejected", flush=True)
    return out
