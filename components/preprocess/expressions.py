"""SQL expressions over one row: what a rule may hold, its type, and the columns that it uses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from quatrain.components.table.sql import connect
from quatrain.components.table.values.bounds import TYPES
from quatrain.components.wording import near

SQL_TYPES = {
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
}
_INTEGERS = "TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT"
_OUR_TYPES = {
    **dict.fromkeys(_INTEGERS.split(), "int"),
    **dict.fromkeys(("FLOAT", "DOUBLE", "DECIMAL"), "float"),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "timestamp"),
    "BOOLEAN": "bool",
    "VARCHAR": "string",
    "DATE": "date",
}
_CLOCKS = {"current_timestamp", "current_date", "current_time", "localtime", "localtimestamp"}
"""Keywords that macros use; DuckDB's parser turns those of a rule into functions."""
_ENVIRONMENT = re.compile(
    r"(current|inet|has|shobj|obj|col)_.*|.*_user|user|version|getenv|get_block_size|format_type"
    r"|pg_(?!typeof$|size_pretty$).*"
)
"""Names of functions that ask the moment, the connection or the machine, or wait.

DuckDB calls some of them consistent, such as current_localtime.
"""
_ONE_ROW = "a rule sees one row and nothing else"
_CHANGES = "whose answer changes from run to run"
_REFUSED_NODES = {
    "SUBQUERY": f"a subquery; {_ONE_ROW}",
    "WINDOW": f"a window function; {_ONE_ROW}",
    "STAR": "a star; name the columns",
    "PARAMETER": "a parameter; nothing fills it",
    "LAMBDA": "a lambda, which rules do not need",
}
_CLAUSES = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")

Tree = dict[str, Any]


class ExpressionError(Exception):
    """An expression is not allowed in a rule, or is not SQL."""


def types_of(expressions: Sequence[str], columns: Mapping[str, str]) -> list[str | ExpressionError]:
    """Returns the type of each expression over a row of `columns`, or its error."""
    folded = [name.casefold() for name in columns]
    if twins := sorted({n for n in columns if folded.count(n.casefold()) > 1}):
        error = ExpressionError(
            f"SQL cannot tell the columns {', '.join(twins)} apart; rename all but one in the "
            "source"
        )
        return [error for _ in expressions]
    with connect() as connection:
        schema = pa.schema([(name, TYPES[type_]) for name, type_ in columns.items()])
        connection.register("source_rows", pa.RecordBatch.from_pylist([], schema))
        return [_type_or_error(connection, sql, columns) for sql in expressions]


def columns_used(expression: str, columns: Mapping[str, str]) -> frozenset[str]:
    """Returns the columns that an expression refers to, in the spelling of `columns`.

    Raises:
        ExpressionError: The text is not SQL.
    """
    with connect() as connection:
        names = {_column(n) for n in _nodes(_parse(connection, expression)) if _is(n, "COLUMN_REF")}
    return frozenset(name for name in columns if name.casefold() in names)


def _type_or_error(
    connection: duckdb.DuckDBPyConnection, sql: str, columns: Mapping[str, str]
) -> str | ExpressionError:
    """Returns the type of an expression over one row, or why the expression is refused."""
    try:
        _check(_parse(connection, sql), columns)
        query = f"SELECT ({sql}\n) FROM source_rows"  # noqa: S608 - checked just above
        type_ = connection.sql(query).types[0]
    except ExpressionError as error:
        return error
    except duckdb.Error as error:
        return ExpressionError(f"DuckDB refuses it: {reason_of(error)}; correct it")
    known = _OUR_TYPES.get(str(type_).partition("(")[0])
    return known or ExpressionError(
        f"its type is {type_}; it must be one of {', '.join(SQL_TYPES)}"
    )


def reason_of(error: duckdb.Error) -> str:
    """Returns the first line of DuckDB's message, without the category that begins it."""
    line = str(error).strip().splitlines()[0].rstrip(".")
    return line.partition(" Error: ")[2] or line


def _parse(connection: duckdb.DuckDBPyConnection, expression: str) -> Tree:
    """Returns DuckDB's syntax tree of `SELECT expression`."""
    query = "SELECT json_serialize_sql(?)"
    text = connection.execute(query, [f"SELECT {expression}\n"]).fetchall()[0][0]
    tree: Tree = json.loads(text)
    if tree["error"]:
        raise ExpressionError(
            "it holds more than one statement; write one expression"
            if tree["error_type"] == "not implemented"
            else f"it is not SQL: {tree['error_message']}; correct it"
        )
    return tree


def _check(tree: Tree, columns: Mapping[str, str]) -> None:
    """Refuses all but a single expression over one row, whose value must not change with time.

    Raises:
        ExpressionError: The expression is refused; the message says why.
    """
    _check_shape(tree)
    folded = {name.casefold() for name in columns}
    refused = _refused_functions()
    for node in _nodes(tree["statements"][0]["node"]["select_list"]):
        if word := _REFUSED_NODES.get(node.get("class", "")):
            raise ExpressionError(f"it holds {word}; leave that out")
        if _is(node, "FUNCTION"):
            name = node["function_name"].casefold()
            if word := refused.get(name):
                raise ExpressionError(f"it calls {name}(), {word}; leave that out")
            if name == "age" and len(node.get("arguments") or node.get("children", ())) == 1:
                raise ExpressionError(f"it calls age() of one time, {_CHANGES}; give it two")
        if _is(node, "COLUMN_REF") and (name := _column(node)) not in folded:
            if name in refused or name.startswith(("current_", "local")):
                raise ExpressionError(f"it holds {name}, {_CHANGES}; leave that out")
            raise ExpressionError(f"there is no column {name!r}{near(name, columns)}")


def _check_shape(tree: Tree) -> None:
    """Refuses all but one expression without a FROM or any other clause."""
    node = tree["statements"][0]["node"]
    selected = node.get("select_list", [])
    if (
        len(tree["statements"]) != 1
        or len(selected) != 1
        or node["from_table"]["type"] != "EMPTY"
        or any(node[clause] for clause in _CLAUSES)
        or node["cte_map"]["map"]
    ):
        raise ExpressionError("it is more than one expression; write what stands after SELECT")
    if selected[0]["alias"]:
        raise ExpressionError(
            "it names its result; leave out AS, since the key in the spec is the name"
        )


@cache
def _refused_functions() -> dict[str, str]:
    """Returns the refused functions: they look beyond the row, or their value changes with time."""
    # DuckDB lists its functions itself, so the list also fits a new version.
    with connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name, function_type, stability, macro_definition "
            "FROM duckdb_functions()"
        ).fetchall()
    plain = {name for name, kind, _, _ in rows if kind in ("scalar", "macro")}
    beyond = {name for name, kind, _, _ in rows if kind in ("aggregate", "table")} - plain
    changing = {
        name
        for name, kind, stability, _ in rows
        if (kind == "scalar" and stability != "CONSISTENT") or _ENVIRONMENT.fullmatch(name)
    } - {"error"}
    macros = [
        (name, set(re.findall(r"\w+", text or "")))
        for name, kind, _, text in rows
        if kind == "macro"
    ]
    while more := {name for name, words in macros if words & (changing | _CLOCKS)} - changing:
        changing |= more  # a macro may call a macro
    return {
        **dict.fromkeys(beyond, f"which is not a function of a value; {_ONE_ROW}"),
        **dict.fromkeys(changing, _CHANGES),
    }


def _nodes(tree: Any) -> Iterator[Tree]:
    """Yields every node of a syntax tree."""
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)


def _is(node: Tree, class_: str) -> bool:
    return node.get("class") == class_


def _column(node: Tree) -> str:
    return ".".join(node["column_names"]).casefold().removeprefix("source_rows.")
