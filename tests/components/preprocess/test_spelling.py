"""Times, bools and texts that are written in ways of their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import SpecError
from quatrain.components.preprocess.cleaning import Cleaner
from quatrain.components.preprocess.job import rules_of
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.source import Source
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.read import read_range
from quatrain.trainer.features.text_format import Spelling
from tests.components.conftest import Read

Reader = Callable[..., Read]


def spelled(read: Reader, cells: list[str], type_: str, **spelling: Any) -> list[Any]:
    """Reads cells beside another column; a rejected one is its reason."""
    data = "a,b\n" + "".join(f'"{cell}",{i}\n' for i, cell in enumerate(cells))
    table = read(data, f"b int, a {type_}", spellings={"a": Spelling(**spelling)})
    good = dict(table.rows)
    places = [len("a,b\n") + sum(len(c) + 5 for c in cells[:i]) for i in range(len(cells))]
    reasons = dict(table.reasons)
    return [good[i] if i in good else reasons[places[i]] for i in range(len(cells))]


@pytest.mark.parametrize(
    ("form", "cell", "time"),
    [
        ("%d/%m/%Y %H:%M", "31/01/2013 10:05", datetime(2013, 1, 31, 10, 5)),
        ("%d/%m/%Y %H:%M", "1/2/2013 9:05", datetime(2013, 2, 1, 9, 5)),
        ("%m/%d/%Y", " 12/31/2013 ", datetime(2013, 12, 31)),
        ("%d.%m.%y", "1.2.69", datetime(1969, 2, 1)),
        ("%d.%m.%y", "1.2.68", datetime(2068, 2, 1)),
        ("%b %d %Y %I:%M %p", "Jan 5 2013 12:04 am", datetime(2013, 1, 5, 0, 4)),
        ("%Y%m%dT%H%M%S.%f", "20130105T101112.5", datetime(2013, 1, 5, 10, 11, 12, 500_000)),
        ("%Y-%m-%d %H:%M%z", "2013-01-05 10:00+0230", datetime(2013, 1, 5, 7, 30)),
        ("%Y-%m-%d %H:%M%z", "2013-01-05 10:00Z", datetime(2013, 1, 5, 10)),
    ],
)
def test_a_format_says_how_a_time_is_written(
    read: Reader, form: str, cell: str, time: datetime
) -> None:
    assert spelled(read, [cell, ""], "timestamp", format=form) == [time, None]


@pytest.mark.parametrize(
    "cell",
    [
        "31/02/2013",
        "00/01/2013",
        "1/13/2013",
        "01/02/13",
        "01/02/2013x",
        "01-02-2013",
        "1/2/2013 1",
    ],
)
def test_what_a_format_does_not_say_rejects_its_row(read: Reader, cell: str) -> None:
    assert spelled(read, ["1/2/2013", cell], "date", format="%d/%m/%Y") == [
        date(2013, 2, 1),
        "bad_value",
    ]


def test_the_sentence_of_a_bad_time_names_the_format(read: Reader) -> None:
    table = read("a\n2013-01-02\n", "a date", spellings={"a": Spelling(format="%d/%m/%Y")})
    assert table.rejected[0]["detail"] == "a: '2013-01-02' is not a date as %d/%m/%Y"


@pytest.mark.parametrize(
    ("unit", "cell", "time"),
    [
        ("s", "1357034400", datetime(2013, 1, 1, 10)),
        ("ms", "-1", datetime(1969, 12, 31, 23, 59, 59, 999_000)),
        ("us", "1357034400000001", datetime(2013, 1, 1, 10, 0, 0, 1)),
        ("ns", "1357034400000001999", datetime(2013, 1, 1, 10, 0, 0, 1)),
        ("s", "253402300799", datetime(9999, 12, 31, 23, 59, 59)),
        ("s", "253402300800", "bad_value"),
        ("s", "1357034400000", "bad_value"),
        ("ms", "1357034400000000", "bad_value"),
        ("s", "1.5", "bad_value"),
        ("s", "2013-01-01", "bad_value"),
    ],
)
def test_an_epoch_has_a_stated_unit_and_another_one_is_noticed(
    read: Reader, unit: str, cell: str, time: Any
) -> None:
    assert spelled(read, ["", cell], "timestamp", epoch=unit) == [None, time]


def test_the_sentence_of_another_unit_asks_for_it(read: Reader) -> None:
    table = read("a\n1357034400000\n", "a timestamp", spellings={"a": Spelling(epoch="s")})
    assert table.rejected[0]["detail"] == (
        "a: '1357034400000' s since 1970 is not in the years 1 to 9999; is the unit another one?"
    )


def test_a_bool_has_spellings_of_its_own_and_no_others(read: Reader) -> None:
    cells = ["ja", " nein", "JA", "true", "1", ""]
    own = {"true_values": ("ja", "j"), "false_values": ("nein",)}
    assert spelled(read, cells, "bool", **own) == [True, False, *["bad_value"] * 3, None]


@pytest.mark.parametrize(
    ("column", "type_", "spelling", "value"),
    [
        (pa.array([1357034400], pa.int32()), "timestamp", Spelling(epoch="s"), 10),
        (pa.array([1357034400.0]), "timestamp", Spelling(epoch="s"), 10),
        (pa.array([1357034400000000000]), "timestamp", Spelling(epoch="ns"), 10),
        (pa.array(["1.1.2013 10"]), "timestamp", Spelling(format="%d.%m.%Y %H"), 10),
    ],
)
def test_parquet_columns_are_spelled_too(
    tmp_path: Any, column: pa.Array, type_: str, spelling: Spelling, value: int
) -> None:
    pq.write_table(pa.table({"a": column}), tmp_path / "t.parquet")
    source = Source(uri=(str(tmp_path / "t.parquet"),), format="parquet")
    table = Read(source, {"a": type_}, None, {"a": spelling})
    assert table.rows == [(datetime(2013, 1, 1, value),)]


TIDY = {"type": "string", "trim": True, "case": "lower"}


def test_texts_are_tidied_before_the_rules_and_stay_as_read_in_rejected(
    delays_spec: Callable[..., ModelSpec],
) -> None:
    columns = {"day": "int", "delay": "int", "carrier": TIDY, "arrival": "float", "weight": "float"}
    spec = delays_spec(
        "day,delay,carrier,arrival,weight\n1,1, AA ,1,1\n2,2,b\t,2,1\n3,3,   ,3,1\n4,4,Ä,4,1\n",
        columns=columns,
        clean={"reject": {"b": "carrier = 'b'"}, "derive": {"late": "arrival >= 15"}},
    )
    [span] = plan_ranges(spec.source, spec.columns)
    [block] = read_range(span, spec.source, spec.columns, spec.spellings)
    cleaned = Cleaner(rules_of(spec)).clean(block).without_faults()
    assert cleaned.batch.column("carrier").to_pylist() == ["aa", None, "Ä"]
    assert cleaned.rejected.column("row").to_pylist() == [b"2,2,b\t,2,1"]
    assert [(i.name, i.trim, i.case) for i in spec.inputs] == [
        ("delay", False, None),
        ("carrier", True, "lower"),
    ]


def test_rules_and_the_weight_see_the_number_that_a_text_stands_for(
    delays_spec: Callable[..., ModelSpec],
) -> None:
    euro = {"type": "float", "decimal": ",", "thousands": ".", "unit": [" EUR", "€"]}
    columns = {"day": "int", "delay": "int", "carrier": TIDY, "arrival": euro, "weight": euro}
    spec = delays_spec(
        "day,delay,carrier,arrival,weight\n"
        '1,1,a,"1.234,50 EUR","0,5"\n2,2,a,-7 €,1\n3,3,a,1.5,1\n4,4,a,2,"-1"\n',
        columns=columns,
        clean={"reject": {"early": "arrival < 0"}, "derive": {"late": "arrival >= 15"}},
        weight="weight",
    )
    [span] = plan_ranges(spec.source, spec.columns)
    [block] = read_range(span, spec.source, spec.columns, spec.spellings)
    cleaned = Cleaner(rules_of(spec)).clean(block).without_faults()
    assert cleaned.batch.select(["arrival", "weight", "late"]).to_pylist() == [
        {"arrival": 1234.5, "weight": 0.5, "late": True}
    ]
    assert cleaned.rejected.column("reason").to_pylist() == ["early", "bad_value", "bad_weight"]


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ({"type": "timestamp", "format": "%H:%M"}, "must name the day, by %Y or %y"),
        ({"type": "date", "format": "%d.%m.%Y %Q"}, "holds %Q; it may hold %Y, %y, %m"),
        ({"type": "date", "format": "%d.%m.%Y %y"}, "says the year twice"),
        ({"type": "date", "format": "%d.%m.%Y %I"}, "must hold both %I and %p, or neither"),
        ({"type": "date", "format": "%d.%m.%Y %"}, "holds %; it may hold"),
        ({"type": "int", "format": "%d.%m.%Y"}, "format is a setting of timestamp and date"),
        ({"type": "date", "epoch": "s"}, "epoch is a setting of timestamp, not of date"),
        ({"type": "timestamp", "epoch": "h"}, "columns.day.epoch: unknown epoch 'h'"),
        ({"type": "bool", "true_values": ["x"]}, "give both true_values and false_values"),
        ({"type": "bool", "true_values": [True]}, "true_values[0]: must be text, not True"),
        ({"type": "int", "trim": True}, "trim is a setting of string, not of int"),
        ({"type": "string", "unit": "kg"}, "unit is a setting of int and float, not of string"),
        ({"type": "int", "decimal": ";"}, "columns.day.decimal: ';' is no decimal sign; write '.'"),
        ({"type": "int", "thousands": "_"}, "'_' does not separate thousands; write ',', '.'"),
        ({"type": "float", "decimal": ",", "thousands": ","}, "are both ','; change one of them"),
        ({"type": "float", "unit": "-"}, "columns.day.unit: '-' is no unit; write a text such as"),
        ({"type": "float", "unit": ["kg", "5x"]}, "'5x' starts like a number; write what stands"),
        ({"type": "in"}, "columns.day.type: unknown type 'in'; did you mean 'int'?"),
        ({"tpe": "int"}, "columns.day.tpe: unknown key; did you mean 'type'?"),
        ("in", "columns.day: unknown type 'in'; did you mean 'int'?"),
        (["int"], "columns.day: must be a mapping, not ['int']"),
    ],
)
def test_a_wrong_column_is_one_sentence(
    delays_spec: Callable[..., ModelSpec], column: Any, sentence: str
) -> None:
    columns = {"delay": "int", "carrier": "string", "arrival": "float", "day": column}
    with pytest.raises(SpecError) as refused:
        delays_spec(columns=columns)
    assert sentence in str(refused.value)
