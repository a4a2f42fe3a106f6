"""Which entries of `columns` are misspelt: the source has not them, but what the spec names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from quatrain.components.errors import QuatrainError
from quatrain.components.specification.schema import Source
from quatrain.components.storage import open_filesystem
from quatrain.components.table.files import list_files
from quatrain.components.table.header import read_header, read_keys
from quatrain.validation.problems import named_columns


def column_typos(value: Any) -> dict[str, tuple[str, str]]:
    """Returns declared columns that a local source lacks and nothing names, as a typo leaves them.

    Args:
        value: A spec as it was parsed, be it right or not.

    Returns:
        For each the column that is meant, which the source has and the spec names elsewhere, and
        the first place that does.
    """
    columns = value.get("columns") if isinstance(value, Mapping) else None
    if not isinstance(columns, Mapping):
        return {}
    places = {name: place for place, name in reversed([*named_columns(value), *_in_sql(value)])}
    unknown = set(places) - set(columns)
    idle = [str(name) for name in columns if name not in places]
    if not unknown or not idle:
        return {}
    header = _header(value.get("source"))
    found = {}
    for name in idle:
        meant = sorted(unknown & set(header))
        close = difflib.get_close_matches(name, meant, n=1) if name not in header else []
        if close:
            found[name] = (close[0], places[close[0]])
            unknown.discard(close[0])
    return found


def _in_sql(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the words of the SQL of a spec, any of which may be a column."""
    clean = value.get("clean")
    for kind in ("reject", "derive"):
        rules = clean.get(kind) if isinstance(clean, Mapping) else None
        for name, sql in rules.items() if isinstance(rules, Mapping) else ():
            for quoted, word in re.findall(r'"([^"]+)"|(\w+)', str(sql)):
                yield f"clean.{kind}.{name}", quoted or word


def _header(source: Any) -> tuple[str, ...]:
    """Returns the columns of the first file of a local source; none where it cannot be read."""
    try:
        read = Source.model_validate({"uri": source} if isinstance(source, str) else source)
        if any("://" in uri for uri in read.uri):
            return ()
        path = list_files(read)[0][0]
        if read.format == "parquet":
            filesystem, inner = open_filesystem(path)
            return tuple(pq.read_schema(filesystem.open_input_file(inner)).names)
        return (read_keys(path) if read.format == "jsonl" else read_header(path, read))[0]
    except (ValidationError, QuatrainError, OSError, pa.ArrowInvalid, IndexError):
        return ()
