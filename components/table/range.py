"""A range of a table: the part that one worker reads at a time."""

from __future__ import annotations

from dataclasses import dataclass

from quatrain.components.errors import ErrorRecord


@dataclass(frozen=True)
class Range:
    """A part of a file that one worker reads: the rows that start in it.

    Attributes:
        index: The number of its shard.
        path: The file's path or uri.
        start: First byte (CSV, JSON Lines) or row group (Parquet), or the stream's number.
        stop: The one after the last; None is the end of the file.
        header: The columns of the file, in its order; of JSON Lines the keys of its first rows.
        dropped: Where the rows stand that are left out, since another row has their keys.
        error: Why the range cannot be read, when an earlier pass has tried it.
        stream: The stream of a read session, of a table of BigQuery.
    """

    index: int
    path: str
    start: int
    stop: int | None
    header: tuple[str, ...]
    dropped: tuple[int, ...] = ()
    error: ErrorRecord | None = None
    stream: str = ""
