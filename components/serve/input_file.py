"""How the file to predict is written: as the training table was, or as its first bytes show."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from itertools import product
from pathlib import Path

from quatrain.components.errors import SourceError
from quatrain.components.specification.encodings import UTF_8, is_utf8
from quatrain.components.specification.source import TABLE, Source, is_table
from quatrain.components.storage import compression_of, read_head
from quatrain.components.table.encoded_text import encoding_of
from quatrain.components.table.files import list_files
from quatrain.components.table.header import (
    DELIMITERS,
    lines_above_header,
    read_header,
    without_lines_above,
)
from quatrain.components.table.range import Range
from quatrain.components.table.read import read_range
from quatrain.components.uris import check_uri
from quatrain.components.wording import counted
from quatrain.trainer.features.transform import Transform

_FORMATS = ("parquet", "jsonl")
"""Suffixes that name their format; a file with any other suffix is a CSV."""
_HEAD_BYTES = 1 << 16


def source_of(paths: str | Sequence[str], transform: Transform) -> Source:
    """Returns the files to predict as a source: the format by their name, all else as in training.

    Rows to predict may come from another program. So a CSV has the delimiter under which its header
    has all inputs, lines above the header only if the header stands below them, and an encoding
    that its first bytes allow. Of several files, the first shows this for all.

    Args:
        paths: Paths, globs or gs:// uris of files; or bq:// uris of tables.
        transform: The model's.

    Raises:
        SourceError: A file cannot be read, or they are of several formats.
    """
    uris = (paths,) if isinstance(paths, str) else tuple(paths)
    forms = {_format_of(uri): uri for uri in uris}
    if len(forms) > 1:
        (one, first), (other, second) = list(forms.items())[:2]
        raise SourceError(
            f"{first} is {one} and {second} is {other}; run a command for each format"
        )
    [form] = forms
    if form == "bigquery":
        if wrong := next((uri for uri in uris if not re.fullmatch(TABLE, uri)), None):
            raise SourceError(f"{wrong} is no table; write it as bq://project.dataset.table")
        return Source.model_validate({"uri": uris, "nulls": transform.text.nulls})
    text = transform.text
    settings = {f.name: getattr(text, f.name) for f in fields(text) if f.name != "columns"}
    around_header = {"skip_rows": 0, "skip_rows_after_header": 0} if form != "csv" else {}
    source = Source.model_validate({"uri": uris, **settings, **around_header})
    first = list_files(source)[0][0]
    encoding = UTF_8 if form == "parquet" else _encoding(first, source.encoding)
    source = source.model_copy(update={"format": form, "encoding": encoding})
    if form != "csv":
        return source
    return _with_its_first_row(_with_its_header(source, first, transform), first, transform)


def _format_of(uri: str) -> str:
    """Returns the format that a name stands for."""
    if is_table(uri):
        return "bigquery"
    check_uri(uri)
    suffixes = Path(uri).name.split(".")[1:]
    return next((form for form in _FORMATS if form in suffixes), "csv")


def _encoding(path: str, of_training: str) -> str:
    """Returns the encoding that a file's first bytes tell, or else that of training."""
    head = read_head(path, _HEAD_BYTES, compression_of(path))
    if (known := encoding_of(head)) or is_utf8(of_training):
        return known or of_training
    with suppress(UnicodeDecodeError):
        text = codecs.getincrementaldecoder(UTF_8)().decode(head)
        # Text of another encoding is hardly ever valid UTF-8, except where it is ASCII; and text
        # whose characters are wide has zeros.
        if not text.isascii() or b"\0" in "a".encode(of_training):
            return UTF_8
    return of_training


def _with_its_header(source: Source, path: str, transform: Transform) -> Source:
    """Returns a CSV with the delimiter and the lines above the header that show all inputs.

    Those of training come first.

    Raises:
        SourceError: The header stands below other lines than in training.
    """
    inputs = {i.name for i in transform.inputs}
    above = dict.fromkeys((source.skip_rows, 0))
    for skip_rows, delimiter in product(above, (source.delimiter, *DELIMITERS)):
        candidate = source.model_copy(update={"delimiter": delimiter, "skip_rows": skip_rows})
        with suppress(SourceError):  # quotes that this delimiter does not explain
            if inputs <= set(read_header(path, candidate)[0]):
                return candidate
    if n_lines := lines_above_header(path, source, inputs)[0]:
        raise SourceError(
            f"{path}: the header stands in line {n_lines + 1}, and in the table of training it "
            f"stood in line {source.skip_rows + 1}; {counted(n_lines, 'line', 'stand')} above it: "
            f"{without_lines_above(path, source, n_lines)}"
        )
    return source


def _with_its_first_row(source: Source, path: str, transform: Transform) -> Source:
    """Returns a CSV that skips what stood below the header in training, unless it is rows here."""
    if not source.skip_rows_after_header:
        return source
    whole = source.model_copy(update={"skip_rows_after_header": 0})
    with suppress(SourceError):  # the caller reads the header again, and says what is wrong
        names, start, _ = read_header(path, whole)
        try:
            stop = read_header(path, source)[1]
        except SourceError:  # there are fewer lines
            return whole
        if _are_rows(Range(0, path, start, stop, names), whole, transform):
            return whole
    return source


def _are_rows(span: Range, source: Source, transform: Transform) -> bool:
    """Whether the lines of a range are rows, whose numbers convert, and not units or the like."""
    types: Mapping[str, str] = {i.name: i.type for i in transform.inputs}
    if set(types.values()) == {"string"}:
        return False
    blocks = read_range(span, source, types, transform.text.columns)
    positions = next(blocks).all_rejected.column("position").to_pylist()
    return not any(position < (span.stop or 0) for position in positions)
