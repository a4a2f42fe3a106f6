"""The good rows of a range: read, cleaned, encoded and sorted by split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from quatrain.components.errors import SourceError
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.dictionary import EncodedBatch, encode
from quatrain.components.preprocess.splitting import assign, bad_split
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.split import SPLITS
from quatrain.components.table.block import Block, Fault
from quatrain.components.table.range import Range
from quatrain.components.table.read import read_range


@dataclass(frozen=True)
class KeptRows:
    """The good rows of a block, sorted by split: first train, then validation, then test.

    Attributes:
        columns: The columns of these rows, encoded.
        sizes: The number of rows of train, validation and test, `[3] int64`.
        indices: The index of each row in the block, `[N] int64`.
        block: The block, with every fault of its rows recorded.
    """

    columns: EncodedBatch
    sizes: np.ndarray
    indices: pa.Array
    block: Block

    @classmethod
    def of(cls, block: Block, encoded: EncodedBatch, split: np.ndarray) -> KeptRows:
        """Sorts the rows of a block that have no fault by their split.

        Args:
            block: The block, with the faults of its rows.
            encoded: The block's columns, encoded.
            split: The split of each row, `[N]`; -1 if it is unknown.
        """
        split = np.where(block.is_good, split, -1)
        parts = [np.flatnonzero(split == i) for i in range(len(SPLITS))]
        indices = pa.array(np.concatenate(parts))
        sizes = np.array([len(part) for part in parts])
        return cls(encoded.take(indices), sizes, indices, block)

    @property
    def positions(self) -> pa.Array:
        """The position of each row in its file, `[N] int64`."""
        return self.block.batch_positions.take(self.indices)

    @cached_property
    def rejected(self) -> pa.RecordBatch:
        """The other rows of the block, with the reasons why they are rejected."""
        return self.block.all_rejected


def read_kept_rows(spec: ModelSpec, span: Range, cleaner: Cleaner) -> Iterator[KeptRows]:
    """Yields the good rows of each block of a range.

    Raises:
        SourceError: The file cannot be read, or has changed: a row to drop is not at its position.
    """
    n_dropped = 0

    def clean_block(raw_block: Block) -> KeptRows:
        nonlocal n_dropped
        block = cleaner.clean(raw_block)
        encoded = encode(block.batch)
        split = assign(spec.split, encoded)
        faults = [bad_split(spec.split, split)]
        if span.dropped:
            is_duplicate = np.isin(block.batch_positions.to_numpy(), span.dropped)
            faults.append(Fault.where(is_duplicate, "duplicate", _duplicate_rule(spec)))
            n_dropped += int(is_duplicate.sum())
        return KeptRows.of(block.with_faults(faults), encoded, split)

    yield from map(
        clean_block, read_range(span, spec.source, spec.columns, spec.spellings, cleaner.suspects)
    )
    if n_dropped != len(span.dropped):
        raise SourceError(
            f"{span.path} changed while the run read it; run again when it is at rest"
        )


def _duplicate_rule(spec: ModelSpec) -> str:
    """Returns which of several duplicates is kept, as the detail of those that are rejected."""
    rule = spec.clean.deduplicate
    if rule is None:
        return ""
    which = f"the newest by {rule.keep_newest_by}" if rule.keep_newest_by else "the first"
    return f"of the rows with its {', '.join(rule.keys)}, {which} is kept"
