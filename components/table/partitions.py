"""Hive partitions: columns whose value is in the path, as year=2013/month=7/rows.parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from urllib.parse import unquote

import pyarrow as pa

from quatrain.components.errors import SourceError
from quatrain.components.table.block import Block
from quatrain.components.table.values.conversion import USUAL, from_text
from quatrain.trainer.features.text_format import Spelling

MISSING = ("", "__HIVE_DEFAULT_PARTITION__")
"""How Hive and Spark write a missing value into a path."""


def partition_of(path: str, names: Iterable[str]) -> dict[str, str]:
    """Returns the text of each of the named columns that is in a file's path."""
    values = _partition(path)
    return {name: values[name] for name in names if name in values}


def partition_keys(paths: Iterable[str]) -> tuple[str, ...]:
    """Returns the names of the columns that the paths of all files have."""
    partitions = [_partition(path) for path in paths]
    return tuple(name for name in partitions[0] if name and all(name in p for p in partitions))


def _partition(path: str) -> dict[str, str]:
    folders = [folder.partition("=") for folder in path.split("/")[:-1]]
    return {unquote(key): unquote(value) for key, equals, value in folders if equals}


def partition_values(
    path: str,
    names: Iterable[str],
    columns: Mapping[str, str],
    spellings: Mapping[str, Spelling],
) -> dict[str, pa.Scalar]:
    """Returns the typed values of the columns that are in a file's path.

    Raises:
        SourceError: A value does not have its column's type.
    """
    values = {}
    for name, text in partition_of(path, names).items():
        value = pa.array([None if text in MISSING else text.encode()], pa.binary())
        typed, faults = from_text(name, value, columns[name], spellings.get(name, USUAL))
        for fault in faults:
            if len(fault.rows):
                raise SourceError(f"{path}: the folder {name}={text}: {fault.detail[0]}")
        values[name] = typed[0]
    return values


def with_partition(block: Block, values: Mapping[str, pa.Scalar], order: Iterable[str]) -> Block:
    """Returns a block with the columns of its file's path added, its columns sorted as `order`."""
    n = block.batch.num_rows
    columns = [
        pa.repeat(values[name], n) if name in values else block.batch.column(name) for name in order
    ]
    return replace(block, batch=pa.record_batch(columns, names=list(order)))
