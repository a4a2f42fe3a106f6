"""Loads a spec and finds, by its source, on which side a wrong column name is misspelt."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from quatrain.components.errors import QuatrainError, SpecError
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.source import Source
from quatrain.components.wording import near
from quatrain.validation.load import validate
from quatrain.validation.problems import cross_problems, named_columns


def validate_with_source(document: dict[str, Any], where: str) -> ModelSpec:
    """Checks a document as `validate` does, and reads the header of a local source if that helps.

    If a feature names an unknown column, either the feature or the entry of `columns` is misspelt.
    The source's header shows which.

    Raises:
        SpecError: As `validate` raises, with the typos of `columns` first.
    """
    try:
        return validate(document, where)
    except SpecError as error:
        typos = column_typos(document)
        if not typos:
            absent = [f"{where}: {sentence}" for sentence in _absent_columns(document)]
            raise SpecError("\n".join([str(error), *absent])) from error
    columns = {
        typos[name][0] if name in typos else name: column
        for name, column in document["columns"].items()
    }
    sentences = [
        f"columns.{name}: the source has no such column; write {right!r}, which it has and "
        f"{place} names"
        for name, (right, place) in typos.items()
    ]
    return validate({**document, "columns": columns}, where, sentences)


def column_typos(document: Any) -> dict[str, tuple[str, str]]:
    """Returns the columns that a local source lacks and nothing in the spec names.

    Args:
        document: A spec as it was parsed, valid or not.

    Returns:
        By the name of such a column: the column that was meant, which the source has and the spec
        names elsewhere, and the first place that names it.
    """
    columns = document.get("columns") if isinstance(document, Mapping) else None
    if not isinstance(columns, Mapping):
        return {}
    if not any("unknown column" in problem for problem in cross_problems(document)):
        return {}
    places = {
        name: place for place, name in reversed([*named_columns(document), *_in_sql(document)])
    }
    undeclared = set(places) - set(columns)
    unused = [str(name) for name in columns if name not in places]
    header = _header(document.get("source")) if undeclared and unused else ()
    candidates = undeclared & set(header)
    typos = {}
    for name in unused:
        if name in header:
            continue
        if nearest := difflib.get_close_matches(name, sorted(candidates), n=1):
            typos[name] = (nearest[0], places[nearest[0]])
            candidates.discard(nearest[0])
    return typos


def _absent_columns(document: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each declared column that the first file of a local CSV lacks.

    A spec without other problems is compared with all of its files later.
    """
    columns, source = document.get("columns"), document.get("source")
    if not isinstance(columns, Mapping) or not (header := _header(source, "csv", "parquet")):
        return
    for name, column in columns.items():
        is_optional = isinstance(column, Mapping) and column.get("optional")
        if name not in header and not is_optional:
            yield f"columns.{name}: the source has no such column{near(name, header)}"


def _in_sql(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the words in the SQL of a spec, any of which may be a column, with their places."""
    clean = document.get("clean")
    for kind in ("reject", "derive"):
        rules = clean.get(kind) if isinstance(clean, Mapping) else None
        for name, sql in rules.items() if isinstance(rules, Mapping) else ():
            for quoted, word in re.findall(r'"([^"]+)"|(\w+)', str(sql)):
                yield f"clean.{kind}.{name}", quoted or word


def _header(source: Any, *formats: str) -> tuple[str, ...]:
    """Returns the columns of the first file of a local source, and those of its path.

    None are returned if it cannot be read, or is of another format than the given ones.
    """
    # Here, since a spec without a fault has no need of DuckDB.
    from quatrain.components.table.files import list_files
    from quatrain.components.table.header import read_footer, read_header, read_keys
    from quatrain.components.table.partitions import partition_keys

    try:
        read = Source.model_validate({"uri": source} if isinstance(source, str) else source)
        if any("://" in uri for uri in read.uri) or (formats and read.format not in formats):
            return ()
        path, n_bytes = list_files(read)[0]
        in_path = partition_keys([path])
        if read.format == "parquet":
            return (*read_footer(path, n_bytes)[1].names, *in_path)
        is_json = read.format == "jsonl"
        names = (read_keys(path, read.encoding) if is_json else read_header(path, read))[0]
        return (*names, *in_path)
    except (ValidationError, QuatrainError, IndexError):
        return ()
