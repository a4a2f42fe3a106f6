"""A table that was in memory, as a Parquet file below the root, named by its digest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import pyarrow as pa

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.specification.source import Source
from quatrain.trainer.failure import full_disk
from quatrain.trainer.uris import named

FOLDER = "data"
"""The folder of these files, beside the runs of a model."""
GROUP_ROWS = 1 << 16
"""Some MB in most tables, so that a run cuts the file between them into its ranges of 10 MB."""
ATTEMPTS = 100
"""How often a file is created before its folder counts as one that cannot be made."""
_NAME = re.compile(rf".*/{FOLDER}/(?P<sha256>[0-9a-f]{{64}})\.parquet")


@dataclass(frozen=True)
class FrameFile:
    """A table in a file of its own, which is removed unless it is kept.

    Attributes:
        partial: Where its rows are now.
        path: Where they are once it is kept: `<folder>/data/<sha256>.parquet`.
    """

    partial: Path
    path: Path

    def keep(self) -> None:
        """Puts the file at its path, unless the same rows are there."""
        # A file that is rewritten would be a new one to the cache, and to a run that reads it. A
        # link replaces nothing, so that of two runs with the same rows, one takes the other's file.
        try:
            os.link(self.partial, self.path)
            self.partial.unlink()
        except OSError:  # the file is there, or the file system has no hard links
            if not self.path.is_file() or sha256_of(self.path) != self.path.stem:
                os.replace(self.partial, self.path)


def write_frame(frame: Any, folder: Path) -> Path:
    """Writes a table in memory to `<folder>/data/<sha256>.parquet`, and returns that path.

    Args:
        frame: What `to_arrow` takes.
        folder: The folder of a model's runs.

    Raises:
        FrameError: It is no table, or has a column that no file could hold.
        QuatrainError: The disk is full.
    """
    with frame_file(frame, folder) as file:
        file.keep()
    return file.path


@contextmanager
def frame_file(frame: Any, folder: Path) -> Iterator[FrameFile]:
    """Yields a file of a table in memory; unless the block keeps it, nothing is left.

    The same rows give the same bytes, whatever the chunks of the table are.

    Args:
        frame: What `to_arrow` takes.
        folder: The folder of a model's runs.

    Raises:
        FrameError: It is no table, or has a column that no file could hold.
        QuatrainError: The disk is full.
    """
    from quatrain.components.table.frame import to_arrow  # here, as most runs write no table

    table = _stored(to_arrow(frame))
    place = folder / FOLDER
    created = [path for path in (place, *place.parents) if not path.exists()]
    partial = place / f".{uuid4().hex}.parquet"
    try:
        _write(table, partial)
        yield FrameFile(partial, place / f"{sha256_of(partial)}.parquet")
    finally:
        partial.unlink(missing_ok=True)
        with suppress(OSError):  # one that is not empty stays, and so do those above it
            for path in created:
                path.rmdir()


def _write(table: pa.Table, partial: Path) -> None:
    import pyarrow.parquet as pq

    folder = partial.parent
    try:
        with named(str(folder)):
            stream = _create(partial)
            with stream, pq.ParquetWriter(stream, table.schema) as writer:
                for start in range(0, table.num_rows, GROUP_ROWS):
                    writer.write_table(table.slice(start, GROUP_ROWS).combine_chunks())
    except OSError as error:
        if full := full_disk(error, str(folder)):
            raise QuatrainError(
                f"the table cannot be written: {full}; make room there, or choose another --root"
            ) from error
        raise


def _create(partial: Path) -> BinaryIO:
    """Opens a new file, in a folder that a run which keeps nothing may be removing meanwhile."""
    for _ in range(ATTEMPTS):
        # mkdir raises FileExistsError if the folder vanishes between its failure and its look.
        with suppress(FileNotFoundError, FileExistsError):
            partial.parent.mkdir(parents=True, exist_ok=True)
            return partial.open("xb")
    return partial.open("xb")


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
