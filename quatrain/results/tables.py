"""The Parquet shards of an artifact as one Arrow table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from quatrain.components.artifacts import run_again
from quatrain.components.errors import ArtifactError
from quatrain.components.storage import read_file
from quatrain.components.wording import first_line, near
from quatrain.trainer.failure import Failure


def read_shards(
    folder: str,
    names: Sequence[str],
    step: str,
    *,
    digests: Mapping[str, str] | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Reads shards in the order of their names.

    Args:
        folder: The artifact, by its path or uri.
        names: The files in it, at least one.
        step: The step that wrote them, for the errors.
        digests: The sha256 of each file, which is checked; None where no manifest has them.
        columns: The columns to read; by default all.

    Raises:
        ArtifactError: A file is absent or not the one that was written, or lacks a column.
    """
    tables = []
    for name in sorted(names):
        uri = f"{folder}/{name}"
        data = _read(uri, step)
        digest = hashlib.sha256(data).hexdigest()
        if digests is not None and digest != digests[name]:
            raise ArtifactError(
                f"{uri} is not the file that was written: its sha256 is {digest[:12]}..., the "
                f"manifest says {digests[name][:12]}...; {run_again(step)}"
            )
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
            absent = [c for c in columns or () if c not in file.schema_arrow.names]
            if absent:
                known = near(absent[0], file.schema_arrow.names)
                raise ArtifactError(f"{uri} has no column {absent[0]!r}{known}")
            tables.append(file.read(columns=None if columns is None else list(columns)))
        except pa.ArrowInvalid as error:
            raise ArtifactError(
                f"{uri} is cut short or altered ({first_line(error)}); {run_again(step)}"
            ) from error
    return pa.concat_tables(tables)


def _read(uri: str, step: str) -> bytes:
    try:
        return read_file(uri)
    except FileNotFoundError as error:
        raise ArtifactError(f"{uri} is absent; {run_again(step)}") from error
    except OSError as error:
        raise ArtifactError(str(Failure.of(error))) from error
