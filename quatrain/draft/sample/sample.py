"""A bounded sample of a table: some of its rows, evenly spread, and what is known of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa

from quatrain.components.specification.source import Source
from quatrain.components.table.block import REJECTED, Block
from quatrain.components.table.partitions import partition_keys, partition_values, with_partition
from quatrain.components.table.range import Range
from quatrain.components.wording import counted

PLACES = 16
PLACE_BYTES = 1 << 20
"""A CSV of up to 16 MB is read whole; a larger one in sixteen parts of 1 MB, evenly spread.

The head of a file alone would not do: rows are often sorted, and then the head has one month, one
customer or one class.
"""
STREAMED_BLOCKS = 4
"""A file that cannot be cut, such as a compressed one, is read from its start: 4 blocks of 4 MB."""
TOLERATED = 0.005
"""The share of cells that may fail to convert to a column's type; their rows are rejected."""


@dataclass(frozen=True)
class Sample:
    """A sample of a table.

    Attributes:
        source: The source as a spec describes it, without spellings of a missing value.
        names: The names in the header, in the order of the file, with duplicates.
        table: The columns that have a name of their own. Those of a CSV are text, null where a
            cell is empty; those of a Parquet file have their types there.
        unreadable: Why other columns are not in the table, by name.
        rows: The number of rows in the whole source, an estimate unless `whole`; 0: unknown.
        whole: Whether every row is in the sample.
        places: The number of places in the source that the rows come from.
        rejected: The number of rows that do not parse, by reason.
        headers: The rows of the sample that repeat the header; they are not in the table.
        rejected_rows: The rows that do not parse, with the schema `REJECTED`.
        remarks: What a reader of the spec should know about the file.
        footers: The column and the text that tell each row at the end which sums up the others, or
            is a note; they are not in the table.
    """

    source: Source
    names: tuple[str, ...]
    table: pa.Table
    unreadable: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    whole: bool = True
    places: int = 1
    rejected: Counter[str] = field(default_factory=Counter)
    headers: tuple[int, ...] = ()
    rejected_rows: pa.Table = field(default_factory=REJECTED.empty_table)
    remarks: tuple[str, ...] = ()
    footers: tuple[tuple[str, str], ...] = ()

    @property
    def sentence(self) -> str:
        """A description of the sampled rows, in words."""
        rows = counted(self.table.num_rows, "row")
        if self.whole:
            return f"all {rows}"
        if not self.is_spread:
            return f"the first {rows}, because the file cannot be cut"
        return f"{rows} in {counted(self.places, 'place')}, of about {self.rows:,}"

    @property
    def is_spread(self) -> bool:
        """Whether the rows come from all over the source, and not only from its start."""
        return self.whole or self.places > 1


def replace_source(source: Source, **changes: object) -> Source:
    """Returns a source with some of its settings changed."""
    return source.model_copy(update=changes)


def repeated_names(counts: Mapping[str, int]) -> Iterator[str]:
    """Yields a remark on the names that several columns of a file have, by name their number."""
    for name, n in counts.items():
        yield (
            f"{counted(n, 'column', 'are')} named {name!r}, and none of them is read; to use them, "
            f"give each a name of its own in the file"
        )


def spread(n: int, places: int) -> list[int]:
    """Returns up to `places` indices below `n`, evenly spread from the first to the last."""
    if n <= places:
        return list(range(n))
    return sorted({i * (n - 1) // (places - 1) for i in range(places)})


def estimate_rows(files: Sequence[tuple[str, int]], ranges: Sequence[Range], n_read: int) -> int:
    """Returns about how many rows files have, by those in some of their ranges; 0: unknown."""
    n_bytes = sum(span.stop - span.start for span in ranges if span.stop is not None)
    return round(sum(size for _, size in files) * n_read / n_bytes) if n_bytes else 0


def first_blocks(
    ranges: Sequence[Range],
    read: Callable[[Range], Iterator[Block]],
    names: Sequence[str],
    keys: Sequence[str],
) -> tuple[list[Block], bool]:
    """Returns the first blocks of each range, and whether they hold every row of the ranges.

    Args:
        ranges: Ranges of text files.
        read: Yields the blocks of a range.
        names: The columns of these blocks.
        keys: The columns that are in the paths of the files.
    """
    blocks: list[Block] = []
    is_all = True
    for span in ranges:
        stream = read(span)
        first = [block.without_faults() for block in islice(stream, STREAMED_BLOCKS)]
        values = in_path(span.path, keys)
        blocks += [with_partition(block, values, (*names, *keys)) for block in first]
        is_all &= next(stream, None) is None
    return blocks, is_all


def keys_beside(names: Sequence[str], files: list[tuple[str, int]]) -> tuple[str, ...]:
    """Returns the columns that are in the paths of all files, and not in the files."""
    return tuple(key for key in partition_keys(path for path, _ in files) if key not in names)


def in_path(path: str, keys: Sequence[str]) -> dict[str, pa.Scalar]:
    """Returns the texts of columns that are in a file's path."""
    return partition_values(path, keys, dict.fromkeys(keys, "string"), {})
