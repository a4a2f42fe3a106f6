"""One cell at every door: the same text gives the same value, or the same sentence."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from quatrain.components.errors import DataError
from quatrain.components.serve.online.instances import read_rows
from quatrain.components.specification.source import Source
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.read import read_range
from quatrain.components.table.values.conversion import USUAL, from_json, from_text
from quatrain.components.table.values.typed import from_typed
from quatrain.trainer.features import Input
from quatrain.trainer.features.text_format import Spelling
from tests.fuzz.door import Door, refusal
from tests.fuzz.tables import SPELLINGS, TYPES

_PLAIN = [
    *("0", "1", "-1", "1.0", "1.", ".5", "1e3", "1E-2", "+5", "007", " 7 ", "\t7", "7\t", "1_000"),
    *("9007199254740992", "9007199254740993", "1" * 30, "1e400", "-1e-400", "nan", "NaN", "-inf"),
    *("infinity", "0x1F", "1,5", "1 000", "50%", "\u22125", "\u0661", "1e", "--1", "-", "+", "e5"),
    *("true", "True", "TRUE", "tRue", "yes", "J", "N", "no", "0.0", "1.00", "t", "on"),
    *("2013-01-31", "2013-02-29", "2013-1-31", "20130131", "31.01.2013 10:00", "1/31/13"),
    *("2013-01-31T10:00:00Z", "2013-01-31 10:00", "2013-01-31T24:00:00", "2013-01-31T10:00:60Z"),
    *("2013-01-31 10:00:00.123456789", "2013-01-31T10:00:00,5+02:00", "2013-01-31T10:00:00-1200"),
    *("0001-01-01", "0000-01-01", "9999-12-31T23:59:59.999999Z", "10000-01-01", "-001-01-01"),
    *("2013-01-31 00:00:00", "31 Jan 2013", "1 jan 2013", "1370000000000", "-62135596800000"),
    *("x", "NULL", "None", "null", "é", "\U0001f600", "a b", "\u2028", "\u00a0", "\x00", "'", "\\"),
]


_WAY_OUT = "; send null if it is missing"
"""What the server says besides."""


_REST = "plain text " * 20
"""The rest of a row: one control character in a few bytes would make the file a binary one."""


@dataclass(frozen=True)
class Cell:
    """A text of a column."""

    text: str
    type: str
    spelling: Spelling


@st.composite
def _cells(draw: Any) -> Cell:
    type_ = draw(st.sampled_from(TYPES))
    spelling = draw(st.sampled_from([USUAL, *SPELLINGS.get(type_, [])]))
    text = draw(st.sampled_from(_PLAIN) | st.text(max_size=6) | st.text("0123456789-+.eE:TZ /,"))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from([*" 0-.:TZ9e\t", "\u00a0", "00"])) + text[at:]
    return Cell(text, type_, spelling)


Answer = tuple[Any, str]
"""The value, or the sentence about a text that has none."""


def _answer(column: pa.Array, faults: list[Any]) -> Answer:
    found = [f for f in faults if len(f.rows)]
    if not found:
        return repr(column[0].as_py()), ""
    detail = found[0].detail
    return None, detail if isinstance(detail, str) else detail[0].as_py()


def _make_check(folder: Path) -> Callable[[Cell], str]:
    path = folder / "t.csv"

    def of_file(cell: Cell, form: str) -> Answer:
        if form == "csv":
            stream = io.StringIO(newline="")
            writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
            writer.writerows([["x", "y"], [cell.text, _REST]])
            data = stream.getvalue()
        else:
            data = json.dumps({"x": cell.text, "y": _REST}, ensure_ascii=False) + "\n"
        path.write_text(data, encoding="utf-8", newline="")
        source = Source(uri=(str(path),), format=form, nulls=(), quoted_newlines=True)
        columns, spellings = {"x": cell.type}, {"x": cell.spelling}
        spellings = {} if cell.spelling == USUAL else spellings
        [span] = plan_ranges(source, columns, spellings=spellings)
        [block] = read_range(span, source, columns, spellings)
        if block.faults or block.rejected.num_rows:
            [row] = block.without_faults().rejected.to_pylist()
            return None, row["detail"]
        return repr(block.batch.column("x")[0].as_py()), ""

    def of_server(cell: Cell) -> Answer:
        spellings = {} if cell.spelling == USUAL else {"x": cell.spelling}
        try:
            batch = read_rows([{"x": cell.text}], (Input("x", cell.type),), spellings)
        except DataError as error:
            refusal(error)
            return None, str(error).removeprefix("instances[0].").removesuffix(_WAY_OUT)
        return repr(batch.column("x")[0].as_py()), ""

    def check(cell: Cell) -> str:
        binary = pa.array([cell.text.encode() or None], pa.binary())
        expected = _answer(*from_text("x", binary, cell.type, cell.spelling))
        fragment = pa.array([json.dumps(cell.text)], pa.string())
        answers = {
            "from_json": _answer(*from_json("x", fragment, cell.type, cell.spelling)),
            "from_typed": _answer(
                *from_typed("x", pa.array([cell.text], pa.string()), cell.type, cell.spelling)
            ),
            # A row of text with a NUL byte is no row of a CSV.
            "a CSV": expected if "\0" in cell.text else of_file(cell, "csv"),
            "JSON Lines": of_file(cell, "jsonl"),
            "the server": of_server(cell),
        }
        for door, answer in answers.items():
            assert answer == expected, f"{door}: {answer}; from_text: {expected}"
        return "a fault" if expected[1] else "a value"

    return check


DOORS = (Door("cells", _cells(), _make_check, 500),)
