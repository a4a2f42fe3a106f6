"""What is left of the rows of a range: read, cleaned, encoded, and those of a split together."""

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
    """What is left of a block: the rows that some split takes, those of a split together.

    Attributes:
        columns: Their columns, encoded.
        sizes: How many rows train, validation and test have, `[3] int64`.
        rows: Which rows of the block they are, `[N] int64`.
        block: It; all that is wrong with its rows is found.
    """

    columns: EncodedBatch
    sizes: np.ndarray
    rows: pa.Array
    block: Block

    @classmethod
    def of(cls, block: Block, encoded: EncodedBatch, split: np.ndarray) -> KeptRows:
        """Takes the good rows of a block, whose columns are encoded, by their `[N]` splits."""
        split = np.where(block.is_good, split, -1)
        parts = [np.flatnonzero(split == i) for i in range(len(SPLITS))]
        at = pa.array(np.concatenate(parts))
        sizes = np.array([len(part) for part in parts])
        return cls(encoded.take(at), sizes, at, block)

    @property
    def positions(self) -> pa.Array:
        """Where each row stands in the file, `[N] int64`."""
        return self.block.batch_positions.take(self.rows)

    @cached_property
    def rejected(self) -> pa.RecordBatch:
        """The other rows, as those of a `Block`."""
        return self.block.all_rejected


def read_kept_rows(spec: ModelSpec, span: Range, cleaner: Cleaner) -> Iterator[KeptRows]:
    """Yields what is left of the blocks of a range."""
    n_dropped = 0

    def kept(read: Block) -> KeptRows:
        nonlocal n_dropped
        block = cleaner.clean(read)
        encoded = encode(block.batch)
        split = assign(spec.split, encoded)
        faults = [bad_split(spec.split, split)]
        if span.dropped:
            again = np.isin(block.batch_positions.to_numpy(), span.dropped)
            faults.append(Fault.where(again, "duplicate", _kept_instead(spec)))
            n_dropped += int(again.sum())
        return KeptRows.of(block.with_faults(faults), encoded, split)

    yield from map(
        kept, read_range(span, spec.source, spec.columns, spec.spellings, cleaner.suspects)
    )
    if n_dropped != len(span.dropped):
        raise SourceError(
            f"{span.path} changed while the run read it; run again when it is at rest"
        )


def _kept_instead(spec: ModelSpec) -> str:
    """Says which row stays where another one is a duplicate."""
    rule = spec.clean.deduplicate
    if rule is None:
        return ""
    which = f"the newest by {rule.keep_newest_by}" if rule.keep_newest_by else "the first"
    return f"of the rows with its {', '.join(rule.keys)}, {which} is kept"
