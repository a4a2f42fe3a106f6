"""A sample of a CSV, as text, whose rows may have more than one line and any encoding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import SourceError
from quatrain.components.specification.encodings import UTF_8
from quatrain.components.specification.source import Source
from quatrain.components.table.block import REJECTED
from quatrain.components.table.csv_blocks import read_blocks
from quatrain.components.table.header import DELIMITERS, read_header, values_of
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.text_pieces import BLOCK_BYTES
from quatrain.components.wording import counted
from quatrain.draft.sample.sample import (
    PLACE_BYTES,
    PLACES,
    Sample,
    estimate_rows,
    first_blocks,
    keys_beside,
    repeated_names,
    replace_source,
    spread,
)
from quatrain.draft.sample.text_head import ALIKE, LEAST_LINES, LINES, TextHead, guess_encoding

MOST_FOOTERS = 5
"""The most rows at the end of a table that are no rows like the others."""
SUMS = re.compile(
    r"\W*(?:(?:grand|sub)[ -]?)?(?:totals?|sum|average|mean|gesamt|summe|insgesamt|totale|somme"
    r"|suma)(?: general| général)?\W*",
    re.IGNORECASE,
)
"""Words for a row that sums up the others."""
_SURPLUS = (
    "rows end with up to {} more than the header has names for; the empty values there are not read"
)


def sample_csv(source: Source, files: list[tuple[str, int]], head: TextHead) -> Sample:
    """Samples a CSV by lines, or by rows of more lines if fewer rows are rejected so.

    Raises:
        SourceError: It cannot be read, or its quotes are escaped by backslashes.
    """
    try:
        by_line = _in_its_encoding(source, files)
    except SourceError:
        joined = _joined(source, files) if '"' in head.text else None
        if joined is None:
            raise
        return joined
    is_escaped = by_line.rejected["escaped_quote"] > 0
    if not is_escaped and not by_line.rejected["unclosed_quote"]:
        return by_line
    joined = _joined(source, files)
    if joined and joined.rejected.total() < (1 if is_escaped else by_line.rejected.total()):
        return joined
    if is_escaped:
        is_it = pc.equal(by_line.rejected_rows.column("reason"), "escaped_quote")
        row = by_line.rejected_rows.filter(is_it).slice(0, 1).to_pylist()[0]
        shown = row["row"][:60].decode(errors="replace")
        raise SourceError(f"{row['source']}: in the row {shown!r}, {row['detail']}")
    return by_line


def _joined(source: Source, files: list[tuple[str, int]]) -> Sample | None:
    """Samples a CSV whose values, or names, may go on in the next line; None if it cannot be."""
    try:
        return _in_its_encoding(replace_source(source, quoted_newlines=True), files)
    except SourceError:
        return None


def _in_its_encoding(source: Source, files: list[tuple[str, int]]) -> Sample:
    """Samples a CSV; if all text beyond ASCII is not UTF-8, once more in another encoding."""
    sample = _of_csv(source, files)
    if source.encoding != UTF_8 or not sample.rejected["bad_encoding"]:
        return sample
    texts = [name for name in sample.names if not name.isascii()]
    for column in sample.table.columns:
        texts += column.filter(pc.invert(pc.string_is_ascii(column))).slice(0, 1).to_pylist()
    if texts:
        return sample
    is_bad = pc.equal(sample.rejected_rows.column("reason"), "bad_encoding")
    rows = sample.rejected_rows.filter(is_bad).column("row").slice(0, LINES).to_pylist()
    encoding = guess_encoding(b"\n".join(rows), files[0][0])
    return (
        sample if encoding == UTF_8 else _of_csv(replace_source(source, encoding=encoding), files)
    )


def sniff_delimiter(lines: Sequence[str]) -> str:
    """Returns the delimiter that cuts the first lines into the most columns.

    It must cut four of five lines into as many values as the header; if none does, returns a comma.
    """
    best, columns = ",", 1
    for delimiter in DELIMITERS:
        widths = [len(row) for row in values_of(lines[:LINES], delimiter)]
        n_like_header = sum(w == widths[0] for w in widths) if widths else 0
        if n_like_header >= ALIKE * len(widths) and widths[:1] > [columns]:
            best, columns = delimiter, widths[0]
    return best


def _of_csv(source: Source, files: list[tuple[str, int]]) -> Sample:
    """Samples a CSV as text; an empty cell is null."""
    names, _, surplus = read_header(files[0][0], source)
    counts = Counter(names)
    unreadable = {
        name: "it has no name" if not name else f"{counted(count, 'column', 'have')} this name"
        for name, count in counts.items()
        if count > 1 or not name
    }
    columns = {name: "string" for name in names if name not in unreadable}
    if not columns:
        raise SourceError(
            f"{files[0][0]}: no column of the header {list(names)} has a name of its own; give "
            "each column one"
        )
    ranges = plan_ranges(source, columns, PLACE_BYTES, files)
    chosen = [ranges[i] for i in spread(len(ranges), PLACES)]
    keys = keys_beside(names, files)
    blocks, exhausted = first_blocks(
        chosen, lambda span: read_blocks(span, source, columns, BLOCK_BYTES), list(columns), keys
    )
    batches = [block.batch for block in blocks]
    rejected = pa.Table.from_batches([block.rejected for block in blocks], REJECTED)
    reasons = Counter(rejected.column("reason").to_pylist())
    schema = pa.schema([(name, pa.string()) for name in (*columns, *keys)])
    table, headers = _without_headers(pa.Table.from_batches(batches, schema), list(columns))
    table, footers = _without_footers(table, list(columns)) if exhausted else (table, ())
    whole = exhausted and len(chosen) == len(ranges)
    n_read = table.num_rows + len(headers) + len(footers) + reasons.total()
    return Sample(
        source,
        (*names, *keys),
        table,
        unreadable,
        n_read if whole else estimate_rows(files, chosen, n_read),
        whole,
        len(chosen) if exhausted else 1,
        reasons,
        headers,
        rejected,
        (
            *repeated_names({name: n for name, n in counts.items() if name and n > 1}),
            *((_SURPLUS.format(counted(surplus, "delimiter")),) if surplus else ()),
        ),
        footers,
    )


def _without_headers(table: pa.Table, names: list[str]) -> tuple[pa.Table, tuple[int, ...]]:
    """Returns a table without the rows that hold the names of its columns, and these rows.

    Such a row stands where one export was appended to another.

    Args:
        table: The rows.
        names: The columns that are in the file, and not in its path.
    """
    rows = np.arange(table.num_rows)
    for name in names if len(names) > 1 else []:
        cells = table.column(name).take(pa.array(rows))
        same = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(cells), name.strip()), False)
        rows = rows[same.to_numpy()]
        if not len(rows):
            return table, ()
    if not len(rows) or len(names) < 2:
        return table, ()
    kept = np.ones(table.num_rows, bool)
    kept[rows] = False
    return table.filter(pa.array(kept)), tuple(rows.tolist())


def _without_footers(
    table: pa.Table, names: list[str]
) -> tuple[pa.Table, tuple[tuple[str, str], ...]]:
    """Returns a table without rows at its end that sum up the others or are notes, and these rows.

    Such a row has a word for a sum, which stands nowhere else in its column, or a text of several
    words in its first column alone.
    """
    footers: list[tuple[str, str]] = []
    while table.num_rows > LEAST_LINES and len(footers) < MOST_FOOTERS and len(names) > 2:
        cells = table.slice(table.num_rows - 1).select(names).to_pylist()[0]
        texts = {name: cell for name, cell in cells.items() if cell is not None}
        sums = [name for name, cell in texts.items() if SUMS.fullmatch(cell)]
        if list(texts) == names[:1] and re.search(r"\A\W|\s", texts[names[0]]):
            sums = names[:1]
        if not sums or pc.sum(pc.equal(table.column(sums[0]), texts[sums[0]])).as_py() > 1:
            break
        footers.insert(0, (sums[0], texts[sums[0]]))
        table = table.slice(0, table.num_rows - 1)
    return table, tuple(footers)
