"""A sample of JSON Lines, as text, key by key."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table.block import REJECTED
from quatrain.components.table.header import read_keys
from quatrain.components.table.json_blocks import fragments_of, keys_of, read_objects
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.values.conversion import from_json, text_of_json
from quatrain.draft.sample.sample import (
    PLACE_BYTES,
    PLACES,
    TOLERATED,
    Sample,
    estimate_rows,
    first_blocks,
    keys_beside,
    replace_source,
    spread,
)


def sample_json(source: Source, files: list[tuple[str, int]]) -> Sample:
    """Samples JSON Lines as text, as the pipeline reads them; a key that a row lacks is null."""
    names, _ = read_keys(files[0][0], source.encoding)
    ranges = plan_ranges(source, dict.fromkeys(names, "string"), PLACE_BYTES, files)
    chosen = [ranges[i] for i in spread(len(ranges), PLACES)]
    keys = keys_beside(names, files)
    blocks, exhausted = first_blocks(
        chosen, lambda span: read_objects(span, source.encoding), ["text"], keys
    )
    if not blocks:
        raise SourceError(f"{files[0][0]}: there are no rows; add some")
    rejected = pa.Table.from_batches([block.rejected for block in blocks], REJECTED)
    reasons = Counter(rejected.column("reason").to_pylist())
    objects = pa.Table.from_batches([block.batch for block in blocks]).combine_chunks()
    text = objects.column("text").combine_chunks()
    names = tuple(dict.fromkeys((*names, *keys_of(text))))
    fragments = fragments_of(text, list(names))
    unreadable = {n: why for n, column in fragments.items() if (why := _no_column(column))}
    columns = {n: _text_of(c) for n, c in fragments.items() if n not in unreadable}
    keys = tuple(key for key in keys if key not in names)  # a later row may have the key itself
    columns |= {key: objects.column(key).combine_chunks() for key in keys}
    whole = exhausted and len(chosen) == len(ranges)
    n_read = len(text) + reasons.total()
    return Sample(
        replace_source(source, optional_keys=any(c.null_count for c in fragments.values())),
        (*names, *keys),
        pa.table(columns) if columns else pa.table({}),
        unreadable,
        n_read if whole else estimate_rows(files, chosen, n_read),
        whole,
        len(chosen) if exhausted else 1,
        reasons,
        rejected_rows=rejected,
    )


def _no_column(fragments: pa.Array) -> str:
    """Returns why no type reads the values of a key; empty if one does."""
    n_bad = [
        sum(len(f.rows) for f in from_json("", fragments, type_)[1])
        for type_ in ("string", "float", "bool")
    ]
    if min(n_bad) <= TOLERATED * pc.sum(pc.not_equal(fragments, "null"), min_count=0).as_py():
        return ""
    kinds = {"{": "an object", "[": "an array"}
    starts = pc.utf8_slice_codeunits(fragments, 0, 1).unique().to_pylist()
    if nested := [kind for start, kind in kinds.items() if start in starts]:
        return f"it is {nested[0]}"
    return "it has values of several kinds, such as texts beside fractions"


def _text_of(fragments: pa.Array) -> pa.Array:
    """Returns the values of a key as texts; the few objects and arrays are null, and rejected."""
    is_nested = pc.match_substring_regex(fragments, pattern=r"\A[\[{]")
    return text_of_json(pc.if_else(is_nested, None, fragments))
