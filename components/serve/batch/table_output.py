"""The rows of all shards in a table of BigQuery, by one load job."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq

from quatrain.components.artifacts import canonical_json
from quatrain.components.engine.names import LOCAL
from quatrain.components.errors import ArtifactError, RunnerError, SourceError
from quatrain.components.serve.batch.choice import EngineChoice
from quatrain.components.serve.batch.passes import WrittenRange
from quatrain.components.storage import is_remote, remove_folder
from quatrain.components.table.load_job import Destination, load
from quatrain.components.wording import counted


def load_shards(destination: Destination, folder: str, total: WrittenRange) -> dict[str, Any]:
    """Replaces the rows of a table by those of all shards, and returns what the manifest says.

    Args:
        destination: The table.
        folder: The folder of the shards, by its path or gs:// uri.
        total: The sum of all ranges.

    Raises:
        SourceError: BigQuery refuses the job, or it failed; the table is as it was.
        ArtifactError: The table has not as many rows as the shards.
    """
    n_rows = total.read - total.rejected
    content = hashlib.sha256(canonical_json(dict(total.files)).encode()).hexdigest()
    with _files(destination, folder, list(total.files)) as files:
        job, n_loaded = load(destination, files, content)
    if n_loaded != n_rows:
        raise ArtifactError(
            f"{destination.uri} got {counted(n_loaded, 'row')} by BigQuery's job {job}, and the "
            f"shards have {n_rows:,}; run again, and report this if it stays so"
        )
    return {"uri": destination.uri, "job": job, "rows": n_loaded}


@contextmanager
def _files(destination: Destination, folder: str, names: Sequence[str]) -> Iterator[str]:
    """Yields the files for the job: all shards of a bucket, or one that has the rows of all.

    A job takes any number of objects, but only one file of this machine.
    """
    if is_remote(folder) and names:
        yield f"{folder}/{re.sub('[0-9]+', '*', names[0], count=1)}"
        return
    if len(names) == 1:
        yield str(Path(folder, names[0]))
        return
    with TemporaryDirectory(prefix="quatrain-load-") as place:
        path = Path(place, "predictions.parquet")
        with pq.ParquetWriter(path, destination.schema) as writer:
            for name in names:
                with pq.ParquetFile(Path(folder, name)) as shard:
                    for batch in shard.iter_batches():
                        writer.write_batch(batch)
        yield str(path)


@contextmanager
def temporary_shards(engine: EngineChoice, table: str) -> Iterator[str]:
    """Yields a folder for shards that are only loaded into a table, and removes it in the end.

    Args:
        engine: Where the prediction runs. If it is on other machines, the folder is in its bucket.
        table: The table, for the message.

    Raises:
        RunnerError: The engine has no `temp_location` in a bucket.
    """
    if engine.runner == LOCAL:
        with TemporaryDirectory(prefix="quatrain-predict-") as place:
            yield str(Path(place, "shards"))
        return
    bucket = str(engine.options.get("temp_location", "")).rstrip("/")
    if not is_remote(bucket):
        raise RunnerError(
            f"runner {engine.runner!r} writes shards to a bucket before they are loaded into "
            f"{table}; name a folder of it by --runner-option temp_location=gs://BUCKET/temp"
        )
    folder = f"{bucket}/quatrain-predict-{uuid4().hex}"
    try:
        yield folder
    finally:
        remove_folder(folder)


def check_form(form: str, table: str) -> None:
    """Checks the format of shards that are to be loaded.

    Raises:
        SourceError: They would not be Parquet.
    """
    if form not in ("", "parquet"):
        raise SourceError(
            f"the rows of {table} are loaded from parquet, not {form!r}; leave it out"
        )
