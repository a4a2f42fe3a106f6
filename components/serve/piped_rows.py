"""Rows that come as text, from a pipe or the command line, and not in a file with a name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from quatrain.components.errors import QuatrainError, SourceError

_SUFFIXES = ((b"PAR1", "parquet"), (b"{", "jsonl"))
"""How a Parquet file and JSON Lines begin; anything else is a CSV."""


@contextmanager
def file_of(stream: BinaryIO, name: str) -> Iterator[Path]:
    """Yields a temporary file with the bytes of a stream, named by their format.

    So its rows are read and refused as those of any file, in bounded memory. An error in the block
    names the stream in place of the file.

    Args:
        stream: A CSV with a header, JSON Lines or a Parquet file.
        name: The name of the stream in errors.

    Raises:
        SourceError: The stream cannot be read, or the disk is full.
    """
    with TemporaryDirectory(prefix="quatrain-predict-") as folder:
        copy = Path(folder, "rows")
        try:
            with copy.open("wb") as file:
                shutil.copyfileobj(stream, file)
        except OSError as error:  # a folder as standard input, or a full disk
            raise SourceError(
                f"{name} cannot be copied to {folder}: {error.strerror}; put its rows into a file "
                f"and name that"
            ) from error
        with copy.open("rb") as file:
            head = file.read(256).lstrip(b"\xef\xbb\xbf \t\r\n")
        suffix = next((s for magic, s in _SUFFIXES if head.startswith(magic)), "csv")
        path = copy.rename(copy.with_suffix(f".{suffix}"))
        try:
            yield path
        except QuatrainError as error:
            raise type(error)(str(error).replace(str(path), name)) from error
