"""A range of a table: the part that one worker reads at a time.

The class has a module of its own since every pass takes ranges, and few modules plan them.
"""

from __future__ import annotations

from dataclasses import dataclass

from quatrain.components.errors import ErrorRecord


@dataclass(frozen=True)
class EvenPlaces:
    """Which rows of a range are read: the first `rows` of each of `places` equal parts.

    A shorter part is read as a whole. What can only be read from its start is read to its end, and
    places are cut by numbers of rows.
    """

    places: int
    rows: int


@dataclass(frozen=True)
class Range:
    """The part of a file that one worker reads: the rows that start in it.

    Attributes:
        index: The number of its shard.
        path: The file's path or uri.
        start: First byte (CSV, JSON Lines) or row group (Parquet), or the number of the stream.
        stop: The byte or row group after the last one; None is the end of the file.
        header: The columns of the file, in order; for JSON Lines, the keys of its first rows.
        dropped: The positions of rows to leave out, because another row has the same key.
        error: Why the range cannot be read, when an earlier pass has tried it.
        surplus: How many empty values beyond those of the header may end a row of a CSV.
        stream: The name of the stream in a read session of BigQuery; empty for a file.
        sample: The rows to read, if not all of them.
    """

    index: int
    path: str
    start: int
    stop: int | None
    header: tuple[str, ...]
    dropped: tuple[int, ...] = ()
    error: ErrorRecord | None = None
    stream: str = ""
    surplus: int = 0
    sample: EvenPlaces | None = None
