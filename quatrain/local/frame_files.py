"""A table that was in memory, as a Parquet file below the root, named by its digest."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.specification.source import Source
from quatrain.components.table.frame import to_arrow
from quatrain.trainer.failure import full_disk
from quatrain.trainer.uris import named

FOLDER = "data"
"""The folder of these files, beside the runs of a model."""
GROUP_ROWS = 1 << 16
"""Some MB in most tables, so that a run cuts the file between them into its ranges of 10 MB."""
_NAME = re.compile(rf".*/{FOLDER}/(?P<sha256>[0-9a-f]{{64}})\.parquet")


def write_frame(frame: Any, folder: Path) -> Path:
    """Writes a table in memory to `<folder>/data/<sha256>.parquet`, and returns that path.

    The same rows give the same bytes, whatever the chunks of the table are.

    Args:
        frame: What `to_arrow` takes.
        folder: The folder of a model's runs.

    Raises:
        FrameError: It is no table, or has a column that no file could hold.
        QuatrainError: The disk is full.
    """
    table = _stored(to_arrow(frame))
    place = folder / FOLDER
    partial = place / f".{uuid4().hex}.tmp"
    try:
        with named(str(place)):
            place.mkdir(parents=True, exist_ok=True)
            with pq.ParquetWriter(partial, table.schema) as writer:
                for start in range(0, table.num_rows, GROUP_ROWS):
                    writer.write_table(table.slice(start, GROUP_ROWS).combine_chunks())
            digest = sha256_of(partial)
            path = place / f"{digest}.parquet"
            # A file that is rewritten would be a new one to the cache, and to a run that reads it.
            if not path.is_file() or sha256_of(path) != digest:
                os.replace(partial, path)
    except OSError as error:
        if full := full_disk(error, str(folder)):
            raise QuatrainError(
                f"the table cannot be written: {full}; make room there, or choose another --root"
            ) from error
        raise
    finally:
        partial.unlink(missing_ok=True)
    return path


def frame_digests(source: Source) -> dict[str, str]:
    """Returns the digest of each file of a source that `write_frame` wrote, by its path.

    Raises:
        ArtifactError: A file has another digest than its name says.
    """
    digests = {}
    for uri in source.uri:
        if (match := _NAME.fullmatch(uri)) and Path(uri).is_file():
            digests[uri] = sha256_of(uri)
            if digests[uri] != match["sha256"]:
                raise ArtifactError(
                    f"{uri} was altered since its table was written there; pass the table again"
                )
    return digests


def _stored(table: pa.Table) -> pa.Table:
    """Returns a table with the one type that texts of any length have in a file."""
    stored = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
    fields = [field.with_type(stored.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))
