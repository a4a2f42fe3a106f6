"""The tables of the measure: two lists in `tables.toml`, and how their rows are read."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.quality.archives import Member
from benchmarks.quality.formats import read_table
from benchmarks.quality.places import TABLES

LISTS = ("choosing", "reporting")
N_SPLITS = 3
ONE_SPLIT_FROM = 100_000
"""From this many rows on, a single split tells enough."""


@dataclass(frozen=True)
class QualityTable:
    """A table of the measure; `tables.toml` explains its keys.

    Attributes:
        name: Its name, which is also the model's.
        purpose: Its list: choosing or reporting.
        by: The column of the time or the group; '' if the split is random.
        tabarena: The metric and the published losses by their model, if there are any.
    """

    name: str
    purpose: str
    sources: tuple[str, ...]
    task: str
    target: str
    split: str
    query: str = ""
    by: str = ""
    tabarena: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> pa.Table:
        """Returns all rows in their order, with the label and the column `by`."""
        connection = duckdb.connect(config={"threads": 1})  # so that rows keep their order
        connection.execute("SET TimeZone = 'UTC'")
        for name, member in _members(self.sources).items():
            connection.register(name, read_table(member.member, member.read()))
        for name, view in _document()["views"].items():
            if name in self.sources:
                connection.execute(f"CREATE VIEW {name} AS {view['query']}")
        query = self.query or f"SELECT * FROM {self.sources[0]}"  # noqa: S608, of tables.toml
        return connection.sql(query).to_arrow_table()

    def n_splits(self, rows: int) -> int:
        """Returns how often the table is split, with its number of rows."""
        return N_SPLITS if self.split == "random" and rows < ONE_SPLIT_FROM else 1


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(TABLES.read_text(encoding="utf-8"))


def members(table: QualityTable) -> list[Member]:
    """Returns the files that a table is read from."""
    return list(_members(table.sources).values())


def _members(sources: tuple[str, ...]) -> dict[str, Member]:
    views = _document()["views"]
    names = [n for s in sources for n in (views[s]["from"] if s in views else [s])]
    return {name: Member(**_document()["files"][name]) for name in names}


def all_tables() -> tuple[QualityTable, ...]:
    """Returns the tables for choosing, then those for reporting, in the order of their file."""
    return tuple(
        QualityTable(
            name, purpose, tuple(keys["from"]), **{k: keys[k] for k in keys if k != "from"}
        )
        for purpose in LISTS
        for name, keys in _document()[purpose].items()
    )
