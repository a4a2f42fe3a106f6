"""The data of a call: the path, glob or uri of a table, or a table in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from quatrain.components.specification.source import is_table
from quatrain.components.storage import plain_name
from quatrain.local.frame_files import write_frame

_FORMATS = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl"}
"""The format of a file by its suffix."""


class ArrowStream(Protocol):
    """What exports its rows by Arrow's C stream interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Returns a PyCapsule of the stream."""


Frame = ArrowStream | Sequence[Mapping[str, Any]]
"""A table in memory: a DataFrame of pandas or polars, an Arrow table or reader, a list of dicts."""
Data = str | os.PathLike[str] | Frame
"""The path, glob or uri of a table, or a table in memory."""


def uri_of(data: Data, folder: Path) -> tuple[str, bool]:
    """Returns the path or uri of data, and whether it is a table in memory, which is written.

    Args:
        data: The data of a call.
        folder: The folder of the model's runs, below which a table in memory is written.

    Raises:
        FrameError: The data is neither a path nor a table.
    """
    if isinstance(data, str | os.PathLike):
        return os.fspath(data), False
    return str(write_frame(data, folder)), True


def replaced_source(former: Any, data: Data, folder: Path) -> dict[str, Any]:
    """Returns a source that takes its rows from other data.

    What a spec says about the text of its files holds for files of the same format. A table in
    memory has no text.

    Args:
        former: The section `source` of a spec.
        data: The data of a call.
        folder: The absolute folder of the model's runs.
    """
    uri, is_frame = uri_of(data, folder)
    settings = dict(former) if isinstance(former, Mapping) else {}
    if is_table(uri):
        return {"uri": uri}
    of_former = settings.get("format", "csv")
    suffix = os.path.splitext(plain_name(uri))[1]
    format_ = "parquet" if is_frame else _FORMATS.get(suffix, of_former)
    same = settings if format_ == of_former and not is_frame else {}
    return {**same, "uri": uri, "format": format_}
