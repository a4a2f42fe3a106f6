"""How a sample is drawn: by the format of the files, and the lines around their header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source, is_table
from quatrain.components.storage import read_head
from quatrain.components.table.files import list_files
from quatrain.components.uris import check_uri
from quatrain.components.wording import counted
from quatrain.draft.sample.csv_rows import sample_csv, sniff_delimiter
from quatrain.draft.sample.json_rows import sample_json
from quatrain.draft.sample.parquet_rows import sample_parquet
from quatrain.draft.sample.sample import Sample, replace_source
from quatrain.draft.sample.text_head import Header, find_header, read_text_head

_PARQUET = b"PAR1"


def draw_sample(uri: str) -> Sample:
    """Reads a bounded sample of a file or glob; the same files give the same sample.

    Raises:
        SourceError: The file does not exist, or is not a table that can be read.
    """
    if is_table(uri):
        raise SourceError(
            f"{uri}: init reads files; export some rows to Parquet, run init on them, and then "
            f"write the table into source.uri of the spec"
        )
    check_uri(uri)
    files = list_files(Source(uri=(uri,)))
    first = files[0][0]
    if read_head(first, len(_PARQUET)) == _PARQUET:
        return sample_parquet(Source(uri=(uri,), format="parquet", nulls=()), files)
    head = read_text_head(first)
    source = Source(uri=(uri,), nulls=(), encoding=head.encoding)
    if re.match(r'\s*\{\s*["}]', head.text):
        return sample_json(replace_source(source, format="jsonl", optional_keys=True), files)
    header = find_header(head.lines)
    if header is None:
        return sample_csv(
            replace_source(source, delimiter=sniff_delimiter(head.lines)), files, head
        )
    source = replace_source(
        source,
        delimiter=header.delimiter,
        skip_rows=len(header.above),
        skip_rows_after_header=header.below,
    )
    sample = sample_csv(source, files, head)
    return replace(sample, remarks=(*sample.remarks, *_around(header)))


def _around(header: Header) -> Iterator[str]:
    """Yields what is left out around a header."""
    if header.above:
        shown = next((line for line in header.above if line.strip()), "")[:60]
        yield (
            f"the header is in line {len(header.above) + 1}; source.skip_rows leaves out what "
            f"stands above: {shown!r}"
        )
    if header.below:
        shown = ", ".join(cell for cell in header.rows[1] if cell.strip())[:60]
        yield (
            f"below the header, {counted(header.below, 'line')} of units or the like: {shown!r}; "
            f"source.skip_rows_after_header leaves out such lines"
        )
