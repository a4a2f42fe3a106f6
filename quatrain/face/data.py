"""The data of a call: the path, glob or uri of a table, or a table in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from quatrain.components.errors import QuatrainError
from quatrain.components.specification.source import is_table
from quatrain.components.storage import plain_name
from quatrain.local.frame_files import FOLDER, write_frame

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


@contextmanager
def frame_not_its_file(data: Data | None, root: Path) -> Iterator[None]:
    """Lets errors say `the frame` where they name the file of one, which its owner never wrote.

    Args:
        data: The data of a call; nothing is changed unless it is a table in memory.
        root: The folder of all runs.
    """
    try:
        yield
    except QuatrainError as error:
        if data is not None and not isinstance(data, str | os.PathLike):
            roots = "|".join(re.escape(str(place)) for place in (root.absolute(), root))
            file = rf"(?:{roots})/[^/\n]+/{FOLDER}/\.?[0-9a-f]+\.parquet"
            error.args = (re.sub(file, "the frame", str(error)), *error.args[1:])
        raise


def replaced_source(former: Any, data: Data, folder: Path) -> dict[str, Any]:
    """Returns a source that takes its rows from other data.

    What a spec says about the text of its files holds for files of the same format. A table in
    memory has no text.

    Args:
        former: The section `source` of a spec.
        data: The data of a call.
        folder: The absolute folder of the model's runs.
    """
    if isinstance(data, str | os.PathLike):
        uri, is_frame = os.fspath(data), False
    else:
        uri, is_frame = str(write_frame(data, folder)), True
    settings = dict(former) if isinstance(former, Mapping) else {}
    if is_table(uri):
        return {"uri": uri}
    of_former = settings.get("format", "csv")
    suffix = os.path.splitext(plain_name(uri))[1]
    format_ = "parquet" if is_frame else _FORMATS.get(suffix, of_former)
    same = settings if format_ == of_former and not is_frame else {}
    return {**same, "uri": uri, "format": format_}
