"""The files of a prediction: they are written apart, and either all of them appear or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TypeAlias
from uuid import uuid4

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from quatrain.components.errors import ArtifactError, SourceError
from quatrain.components.serve.rejected_rows import REJECTED_SCHEMA, BytesWriter
from quatrain.components.storage import (
    create_stream,
    is_remote,
    mounted,
    plain_name,
    remove_file,
)
from quatrain.trainer.failure import Failure, full_disk

FileWriter: TypeAlias = "pq.ParquetWriter | pacsv.CSVWriter | BytesWriter"


def targets_of(
    source: str, output: Path | str | None, rejected: Path | str | None
) -> tuple[str, str | None]:
    """Returns the files for predictions and rejected rows.

    Raises:
        SourceError: One of them cannot be written.
    """
    if output is None:
        name = PurePosixPath(source)
        suffix = ".parquet" if name.suffix == ".parquet" else ".csv"
        target = f"{PurePosixPath(plain_name(name.name)).stem}.predictions{suffix}"
    else:
        target = _target(source, str(output), "predictions")
    if rejected is None:
        return target, None
    other = _target(source, str(rejected), "rejected rows")
    if is_same(other, target):
        raise SourceError(f"{other} is where the predictions go; name another file for the rows")
    return target, other


def _target(source: str, output: str, what: str) -> str:
    """Checks that a file can be written, and is not the input itself."""
    if PurePosixPath(output).suffix not in {".csv", ".parquet"}:
        raise SourceError(f"{output}: {what} are written as .csv or .parquet; name one")
    if "://" in output and not is_remote(output):
        raise SourceError(f"{output}: {what} are written to a path or a gs:// uri; name one")
    parent = Path(output).parent
    if not is_remote(output) and not parent.is_dir():
        raise SourceError(f"{output}: the folder {parent} does not exist; create it first")
    if not is_remote(output) and Path(output).is_dir():
        raise SourceError(f"{output} is a folder; name a file for the {what}")
    if is_same(output, source):
        raise SourceError(f"{output} is the input itself; name another output")
    return output


def check_outside(target: str, model: str) -> None:
    """Checks that an output is not put into the model, which would then be another one."""
    paths = [Path(mounted(place)).resolve() for place in (target, model)]
    if paths[0].is_relative_to(paths[1]):
        raise SourceError(f"{target} is inside the model {model}; name another output")


def is_same(one: str, other: str) -> bool:
    """Returns whether two paths or uris name one file."""
    paths = Path(mounted(one)), Path(mounted(other))
    return paths[0].resolve() == paths[1].resolve() or (
        all(path.exists() for path in paths) and paths[0].samefile(paths[1])
    )


@contextmanager
def writers_of(schemas: Mapping[str, pa.Schema]) -> Iterator[dict[str, FileWriter]]:
    """Opens a writer for each file; on leaving, either all of the files exist or none does."""
    with TemporaryDirectory(prefix="quatrain-predictions-") as folder:
        partial = {target: _partial(target, Path(folder)) for target in schemas}
        try:
            with ExitStack() as stack:
                yield {
                    target: stack.enter_context(_writer_type(target, schema)(path, schema))
                    for (target, schema), path in zip(
                        schemas.items(), partial.values(), strict=True
                    )
                }
            # If a file cannot be put in its place, those before it are removed.
            with ExitStack() as undo:
                for target, path in partial.items():
                    _put(path, target)
                    undo.callback(remove_file, target)
                undo.pop_all()
        except OSError as error:
            target = next(iter(schemas))
            place = folder if is_remote(target) else os.path.dirname(os.path.abspath(target))
            if full := full_disk(error, place):
                raise ArtifactError(
                    f"{target} cannot be written: {full}; make room, or write to a larger disk"
                ) from error
            raise
        finally:
            for path in partial.values():
                path.unlink(missing_ok=True)


def _partial(target: str, folder: Path) -> Path:
    """Returns the file that is written first: beside a local one, in the folder for a bucket."""
    path = folder / target.rpartition("/")[2] if is_remote(target) else Path(target)
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp")


def _put(path: Path, target: str) -> None:
    """Renames a file, or uploads it; an object appears when it is complete."""
    if not is_remote(target):
        os.replace(path, target)
        return
    try:
        with path.open("rb") as file, create_stream(target) as stream:
            shutil.copyfileobj(file, stream, 1 << 20)
    except OSError as error:
        raise SourceError(f"{target} cannot be written: {Failure.of(error)}") from error


def _writer_type(target: str, schema: pa.Schema) -> type[FileWriter]:
    if target.endswith(".parquet"):
        return pq.ParquetWriter
    return BytesWriter if schema == REJECTED_SCHEMA else pacsv.CSVWriter
