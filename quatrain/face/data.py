"""The data of a call: the path, glob or uri of a table, or a table in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from quatrain.components.errors import QuatrainError
from quatrain.components.specification.source import is_table
from quatrain.components.storage import plain_name
from quatrain.local.frame_files import FOLDER

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


def is_frame(data: Data | None) -> TypeGuard[Frame]:
    """Returns whether the data of a call is a table in memory."""
    return data is not None and not isinstance(data, str | os.PathLike)


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
        if is_frame(data):
            roots = "|".join(re.escape(str(place)) for place in (root.absolute(), root))
            file = rf"(?:{roots})/[^/\n]+/{FOLDER}/\.?[0-9a-f]+\.parquet"
            error.args = (re.sub(file, "the frame", str(error)), *error.args[1:])
        raise


def replaced_source(former: Any, uri: str, of_frame: bool) -> dict[str, Any]:
    """Returns a source that takes its rows from other data.

    What a spec says about the text of its files holds for files of the same format. A table in
    memory has no text.

    Args:
        former: The section `source` of a spec.
        uri: The path, glob or uri of the other data.
        of_frame: Whether that is the file of a table in memory.
    """
    settings = dict(former) if isinstance(former, Mapping) else {}
    if is_table(uri):
        return {"uri": uri}
    of_former = settings.get("format", "csv")
    suffix = os.path.splitext(plain_name(uri))[1]
    format_ = "parquet" if of_frame else _FORMATS.get(suffix, of_former)
    same = settings if format_ == of_former and not of_frame else {}
    return {**same, "uri": uri, "format": format_}
