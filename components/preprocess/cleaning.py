"""Cleaning: texts are tidied, then SQL rules over one row reject rows and derive columns.

DuckDB returns only the index of the first true rule and the derived columns; Arrow filters the
rows. That costs 0.02 CPU-s a million rows and 2 ms a call, so blocks should be large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import DataError, SpecError
from quatrain.components.preprocess.expressions import (
    SQL_TYPES,
    ExpressionError,
    reason_of,
    types_of,
)
from quatrain.components.specification.columns import Column
from quatrain.components.table.block import Block, Fault
from quatrain.components.table.sql import connect, one_batch
from quatrain.components.table.values.bounds import finish_column
from quatrain.trainer.features.text_format import tidy_numpy

_BROKEN = "index of the broken rule"  # derived columns are identifiers: none has this name


@dataclass(frozen=True)
class Rules:
    """The cleaning rules of a table.

    Attributes:
        columns: The declared columns and their types.
        reject: The SQL of each rejection rule, by name; a row's reason is the first true one.
        derive: The SQL of each derived column, by name.
        label: The label, which no row may lack.
        weight: The column of weights, which must be finite numbers of at least 0; or None.
        tidied: The columns that are trimmed or folded before the rules see them.
    """

    columns: Mapping[str, str]
    reject: Mapping[str, str]
    derive: Mapping[str, str]
    label: str
    weight: str | None = None
    tidied: Mapping[str, Column] = field(default_factory=dict)

    @cached_property
    def _types(self) -> dict[tuple[str, str], str | ExpressionError]:
        """The type of each expression, or its error, by its section and name in the spec."""
        places = [("reject", n) for n in self.reject] + [("derive", n) for n in self.derive]
        types = types_of([*self.reject.values(), *self.derive.values()], self.columns)
        return dict(zip(places, types, strict=True))

    @property
    def problems(self) -> list[str]:
        """A sentence for each wrong expression, with its place in the spec."""
        sentences = []
        for (kind, name), type_ in self._types.items():
            sql = getattr(self, kind)[name]
            if isinstance(type_, ExpressionError):
                sentences.append(f"clean.{kind}.{name}: {sql!r}: {type_}")
            elif kind == "reject" and type_ != "bool":
                sentences.append(
                    f"clean.{kind}.{name}: {sql!r}: it is {type_}; a rule is true or false"
                )
        return sentences

    @property
    def derived(self) -> dict[str, str]:
        """The types of the derived columns.

        Raises:
            SpecError: An expression is wrong; the message lists all problems.
        """
        if problems := self.problems:
            raise SpecError("\n".join(problems))
        return {n: str(type_) for (kind, n), type_ in self._types.items() if kind == "derive"}

    @property
    def query(self) -> str | None:
        """The one query over `source_rows`, or None without rules.

        The query returns few columns: with whole rows it would take 0.2 to 0.3 CPU-s a million.
        """
        cases = " ".join(f"WHEN ({sql}\n) THEN {i}" for i, sql in enumerate(self.reject.values()))
        selected = [f'CAST(CASE {cases} END AS SMALLINT) AS "{_BROKEN}"'] if cases else []
        for name, type_ in self.derived.items():
            value = f"CAST(({self.derive[name]}\n) AS {SQL_TYPES[type_]})"
            value = f"NULLIF({value}, '')" if type_ == "string" else value
            selected.append(f'{value} AS "{name}"')
        # `expressions` has parsed each one by itself and refused all but one value of one row.
        return f"SELECT {', '.join(selected)} FROM source_rows" if selected else None  # noqa: S608


class Cleaner:
    """Applies cleaning rules to blocks, through one DuckDB connection.

    Attributes:
        suspects: The columns in which this worker has read a bad value. The reader adds to them,
            and reads such a column as text from then on.
    """

    def __init__(self, rules: Rules) -> None:
        self.suspects: set[str] = set()
        self._rules = rules
        self._query = rules.query
        self._connection = connect()

    def clean(self, block: Block) -> Block:
        """Tidies texts, adds the derived columns, and records the faults of rows.

        A rule that gives NULL does not reject. After the rules come `label_missing`, `bad_label`
        (too large for float32), `weight_missing` and `bad_weight` (negative or too large).

        Raises:
            DataError: An expression fails on a value.
        """
        block = _tidied(block, self._rules.tidied)
        try:
            block, faults = self._derived(block)
        except DataError:
            if not block.faults:
                raise
            # An expression need not work on a row that is rejected anyway.
            block, faults = self._derived(block.without_faults())
        label = self._rules.label
        values = block.batch.column(label)
        faults.append(Fault.where(pc.is_null(values), "label_missing", f"{label} is missing"))
        if pa.types.is_floating(values.type):
            bad = pc.invert(_fits_float32(values))
            faults.append(Fault.where(bad, "bad_label", f"{label} is too large for float32"))
        if self._rules.weight is not None:
            faults += _weight_faults(self._rules.weight, block.batch.column(self._rules.weight))
        return block.with_faults(faults)

    def _derived(self, block: Block) -> tuple[Block, list[Fault]]:
        """Returns the block with its derived columns, and the faults that the rules find."""
        faults: list[Fault] = []
        if self._query is None:
            return block, faults
        result = self._run(self._query, block)
        if self._rules.reject:
            broken = pc.fill_null(result.column(_BROKEN), -1).to_numpy(zero_copy_only=False)
            rules = enumerate(self._rules.reject.items())
            faults = [Fault.where(broken == i, name, sql) for i, (name, sql) in rules]
        batch = block.batch
        for name in self._rules.derive:
            column, column_faults = finish_column(name, result.column(name))
            batch = batch.append_column(name, column)
            faults += column_faults
        return replace(block, batch=batch), faults

    def _run(self, query: str, block: Block) -> pa.RecordBatch:
        """Returns the result of a query over a block's rows.

        Raises:
            DataError: An expression fails on a value.
        """
        self._connection.register("source_rows", block.batch)
        try:
            return one_batch(self._connection.sql(query).to_arrow_table())
        except duckdb.Error as error:
            raise DataError(
                f"{block.source}: an expression under `clean` failed on a row: {reason_of(error)}; "
                f"write TRY_CAST(x AS type) or TRY(x), which give NULL instead"
            ) from error
        finally:
            self._connection.unregister("source_rows")


def _tidied(block: Block, columns: Mapping[str, Column]) -> Block:
    """Trims and folds texts as the exported model will; a text that is empty then is missing."""
    batch = block.batch
    for name, column in columns.items():
        text = tidy_numpy(batch.column(name), column.trim, column.case)
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, name, pc.if_else(pc.equal(text, ""), None, text))
    return replace(block, batch=batch)


def _fits_float32(values: pa.Array) -> pa.Array:
    return pc.is_finite(values.cast(pa.float32(), safe=False))


def _weight_faults(name: str, weight: pa.Array) -> list[Fault]:
    """Returns the faults of rows whose weight is missing, negative, or infinite as a float32."""
    values = weight.cast(pa.float64(), safe=False)
    bad = pc.or_(pc.less(values, 0), pc.invert(_fits_float32(values)))
    return [
        Fault.where(pc.is_null(values), "weight_missing", f"{name} is missing"),
        Fault.where(bad, "bad_weight", f"{name} is not a finite number of at least 0"),
    ]
