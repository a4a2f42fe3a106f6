"""One table of conversions: a cell gives the same value or the same sentence at every door."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quatrain.components.errors import DataError, SourceError
from quatrain.components.serve.online.instances import read_instances, read_rows
from quatrain.components.specification.source import Source
from quatrain.components.table.partitions import partition_values
from quatrain.components.table.values.bounds import TYPES
from quatrain.components.table.values.conversion import USUAL, from_text
from quatrain.components.table.values.typed import from_typed
from quatrain.trainer.features import Input
from quatrain.trainer.features.text_format import Spelling
from tests.components.conftest import Read

BEYOND = "is beyond 2**53, where float64 no longer holds every integer; declare it as string"
BOOL, NUMBER = "is not a bool (true, false, 1 or 0)", "is not a finite number"
ISO, DAY = "is not an ISO 8601 timestamp", "is not an ISO date (2013-01-31)"
TEN = datetime(2013, 1, 31, 10)

TEXTS: list[tuple[str, str, Any]] = [
    ("int", "7", 7),
    ("int", " -7\t", -7),
    ("int", "007", 7),
    ("int", "7.0", 7),
    ("int", "7.", 7),
    ("int", "1e3", 1000),
    ("int", "\N{MINUS SIGN}7", -7),
    ("int", "+7", 7),
    ("int", "9007199254740992", 2**53),
    ("int", "9007199254740992.0", 2**53),
    ("int", "2.5", "is not an int"),
    ("int", "9007199254740993", BEYOND),
    ("int", "9223372036854775808", BEYOND),
    ("int", "1" + "0" * 400, BEYOND),
    ("int", "1e300", BEYOND),
    ("int", "1,000", "is not an int"),
    ("int", "NaN", "is not an int"),
    ("int", "true", "is not an int"),
    ("float", "2.5", 2.5),
    ("float", " .5 ", 0.5),
    ("float", "\N{MINUS SIGN}2.5", -2.5),
    ("float", "+2.5", 2.5),
    ("float", "(2.5)", NUMBER),
    ("float", "2.5-", NUMBER),
    ("float", "1e3", 1000.0),
    ("float", "NaN", None),
    ("float", "-inf", NUMBER),
    ("float", "1e400", NUMBER),
    ("float", "1,5", NUMBER),
    ("float", "1_000", NUMBER),
    ("bool", "True", True),
    ("bool", " FALSE ", False),
    ("bool", "1.0", True),
    ("bool", "0", False),
    ("bool", "2", BOOL),
    ("bool", "2.5", BOOL),
    ("bool", "yes", BOOL),
    ("string", " a ", " a "),
    ("string", "7", "7"),
    ("string", "é", "é"),
    ("date", "2013-01-31", date(2013, 1, 31)),
    ("date", " 2013-01-31 ", date(2013, 1, 31)),
    ("date", "2013-01-31 00:00:00", date(2013, 1, 31)),
    ("date", "2013-01-31T00:00:00.000Z", date(2013, 1, 31)),
    ("date", "2013-01-31 10:00", DAY),
    ("date", "2013-02-29", DAY),
    ("date", "31.1.2013", DAY),
    ("timestamp", "2013-01-31", datetime(2013, 1, 31)),
    ("timestamp", "2013-01-31T10", TEN),
    ("timestamp", " 2013-01-31 10:00 ", TEN),
    ("timestamp", "2013-01-31T10:00:00Z", TEN),
    ("timestamp", "2013-01-31 12:00:00+02:00", TEN),
    ("timestamp", "2013-01-31 04:30:00-0530", TEN),
    ("timestamp", "2013-01-31 10:00:00.5", TEN.replace(microsecond=500_000)),
    ("timestamp", "2013-01-31 10:00:00,123", TEN.replace(microsecond=123_000)),
    ("timestamp", "2013-01-31 10:00:00.123456789Z", TEN.replace(microsecond=123_456)),
    ("timestamp", "20130131T100000Z", ISO),
    ("timestamp", "yesterday", ISO),
]
"""The rows of the table for text: type, spelling, and the value or the end of the sentence."""


def _server(type_: str, value: Any, spelling: Spelling) -> Any:
    body = json.dumps({"instances": [{"a": value}]}).encode()
    try:
        batch = read_rows(read_instances(body), (Input("a", type_),), {"a": spelling})  # type: ignore[arg-type]
    except DataError as error:
        return (
            str(error).removeprefix("instances[0].a: ").removesuffix("; send null if it is missing")
        )
    return batch.column("a")[0].as_py()


def _read(folder: Path, form: str, type_: str, spelling: Spelling) -> Any:
    source = Source(uri=(str(folder / "t"),), format=form, nulls=("",))
    result = Read(source, {"a": type_}, spellings={"a": spelling})
    if result.rejected:
        return result.rejected[0]["detail"].removeprefix("a: ")
    return result.rows[0][0]


def _csv(folder: Path, type_: str, text: str, spelling: Spelling) -> Any:
    quoted = text.replace('"', '""')
    (folder / "t").write_bytes(f'b,a\n1,"{quoted}"\n'.encode())
    return _read(folder, "csv", type_, spelling)


def _path(type_: str, text: str, spelling: Spelling) -> Any:
    path = f"a={quote(text, safe='')}/t.csv"
    try:
        return partition_values(path, ["a"], {"a": type_}, {"a": spelling})["a"].as_py()
    except SourceError as error:
        return str(error).removeprefix(f"{path}: the folder a={text}: a: ")


def _jsonl(folder: Path, type_: str, value: Any, spelling: Spelling) -> Any:
    (folder / "t").write_text(json.dumps({"a": value}) + "\n")
    return _read(folder, "jsonl", type_, spelling)


def _parquet(folder: Path, type_: str, column: pa.Array, spelling: Spelling) -> Any:
    pq.write_table(pa.table({"a": column}), folder / "t")
    return _read(folder, "parquet", type_, spelling)


def _typed(type_: str, column: pa.Array, spelling: Spelling = USUAL) -> Any:
    """Converts a column as a stream of BigQuery does."""
    return _outcome(from_typed("a", column, type_, spelling))


def _outcome(converted: tuple[pa.Array, list[Any]]) -> Any:
    values, faults = converted
    for fault in faults:
        if len(fault.rows):
            detail = fault.detail if isinstance(fault.detail, str) else fault.detail[0].as_py()
            return detail.removeprefix("a: ")
    return values[0].as_py()


def _at_text_doors(
    folder: Path, type_: str, text: str, spelling: Spelling = USUAL
) -> dict[str, Any]:
    """Reads a text through every door that takes text."""
    outcomes = {
        "CSV": _csv(folder, type_, text, spelling),
        "JSON Lines": _jsonl(folder, type_, text, spelling),
        "Parquet": _parquet(folder, type_, pa.array([text]), spelling),
        "dictionary": _parquet(folder, type_, pa.array([text]).dictionary_encode(), spelling),
        "BigQuery": _typed(type_, pa.array([text]), spelling),
        "path": _path(type_, text, spelling),
        "server": _server(type_, text, spelling),
        "init": _outcome(from_text("a", pa.array([text.encode() or None]), type_, spelling)),
    }
    return {door: _comparable(outcome) for door, outcome in outcomes.items()}


def _comparable(outcome: Any) -> Any:
    return outcome.replace(tzinfo=UTC) if isinstance(outcome, datetime) else outcome


@pytest.mark.parametrize(("type_", "text", "expected"), TEXTS)
def test_a_text_is_the_same_value_or_fault_at_every_door(
    tmp_path: Path, type_: str, text: str, expected: Any
) -> None:
    if isinstance(expected, str) and type_ != "string":
        expected = f"'{text[:60]}' {expected}"
    outcomes = _at_text_doors(tmp_path, type_, text)
    if expected is NUMBER or text in ("-inf", "1e400"):  # shown as it was parsed
        outcomes = {door: re.sub(r"'-?inf'", f"'{text}'", o) for door, o in outcomes.items()}
    assert outcomes == dict.fromkeys(outcomes, _comparable(expected))


@pytest.mark.parametrize(
    ("type_", "text", "start"),
    [
        ("int", "9007199254740993.0", f"'9007199254740993' {BEYOND}"),
        ("date", "0000-12-31", "'"),
        ("timestamp", "0000-12-31 10:00", "'"),
        ("timestamp", "9999-12-31T23:00:00-12:00", "'"),
        ("timestamp", "0001-01-01T00:00:00+12:00", "'"),
    ],
)
def test_what_is_out_of_bounds_is_quoted_as_it_was_understood(
    tmp_path: Path, type_: str, text: str, start: str
) -> None:
    outcomes = _at_text_doors(tmp_path, type_, text)
    assert outcomes == dict.fromkeys(outcomes, outcomes["CSV"])
    assert outcomes["CSV"].startswith(start)
    assert type_ == "int" or outcomes["CSV"].endswith("is not in the years 1 to 9999")


@pytest.mark.parametrize("type_", sorted(TYPES))
def test_an_empty_text_and_null_are_missing_at_every_door(tmp_path: Path, type_: str) -> None:
    outcomes = _at_text_doors(tmp_path, type_, "")
    outcomes["null of JSON"] = _jsonl(tmp_path, type_, None, USUAL)
    outcomes["null of the server"] = _server(type_, None, USUAL)
    outcomes["null of Parquet"] = _parquet(tmp_path, type_, pa.array([None], TYPES[type_]), USUAL)
    assert outcomes == dict.fromkeys(outcomes)


NUMBERS: list[tuple[str, Any, Any]] = [
    ("int", 2.0, 2),
    ("int", 2.5, "'2.5' is not an int"),
    ("int", True, "'true' is not an int"),
    ("int", 10**400, f"'{'1' + '0' * 59}' {BEYOND}"),
    ("int", 1e20, f"'100000000000000000000.0' {BEYOND}"),
    ("float", 2, 2.0),
    ("float", False, f"'false' {NUMBER}"),
    ("bool", True, True),
    ("bool", 1.0, True),
    ("bool", 2.5, f"'2.5' {BOOL}"),
    ("string", 7, "7"),
    ("string", 7.5, "7.5 is no JSON value of a column of type string"),
    ("string", True, "true is no JSON value of a column of type string"),
    ("date", True, f"'true' {DAY}"),
    *((t, [1], f"[1] is no JSON value of a column of type {t}") for t in sorted(TYPES)),
    *((t, {"b": 1}, f'{{"b": 1}} is no JSON value of a column of type {t}') for t in sorted(TYPES)),
]
"""JSON values that are no text."""


@pytest.mark.parametrize(("type_", "value", "expected"), NUMBERS)
def test_a_json_value_is_the_same_in_a_file_and_in_a_request(
    tmp_path: Path, type_: str, value: Any, expected: Any
) -> None:
    in_file = _jsonl(tmp_path, type_, value, USUAL)
    in_file = in_file.replace('{"b":1}', '{"b": 1}') if isinstance(in_file, str) else in_file
    assert [in_file, _server(type_, value, USUAL)] == [expected, expected]


TYPED: list[tuple[str, pa.Array, Any]] = [
    ("int", pa.array([2.0]), 2),
    ("int", pa.array([2.5]), "'2.5' is not an int"),
    ("int", pa.array([float("nan")]), None),
    ("int", pa.array([1e20]), f"'1e+20' {BEYOND}"),
    ("int", pa.array([2**53 + 1]), f"'9007199254740993' {BEYOND}"),
    ("int", pa.array([2**63], pa.uint64()), f"'9223372036854775808' {BEYOND}"),
    ("int", pa.array(["2.5"]).cast(pa.decimal128(3, 1)), "'2.5' is not an int"),
    ("float", pa.array([float("inf")]), f"'inf' {NUMBER}"),
    ("bool", pa.array([1.0]), True),
    ("bool", pa.array([2.5]), f"'2.5' {BOOL}"),
    ("bool", pa.array([2]), f"'2' {BOOL}"),
    ("string", pa.array([7]), "7"),
    ("date", pa.array([TEN], pa.timestamp("ns")), date(2013, 1, 31)),
    ("timestamp", pa.array([TEN], pa.timestamp("ms", "Asia/Tokyo")), TEN),
    ("timestamp", pa.array([date(2013, 1, 31)]), datetime(2013, 1, 31)),
    ("timestamp", pa.array([date(2013, 1, 31)], pa.date64()), datetime(2013, 1, 31)),
    ("timestamp", pa.array([10**11 * 3], pa.timestamp("s")), "is not in the years 1 to 9999"),
    ("timestamp", pa.array([2**62], pa.timestamp("s")), "is not in the years 1 to 9999"),
    ("date", pa.array([2**31 - 1], pa.date32()), "is not in the years 1 to 9999"),
]
"""The rows of the table for columns that have types."""


@pytest.mark.parametrize(("type_", "column", "expected"), TYPED)
def test_a_typed_value_is_the_same_in_parquet_and_bigquery(
    tmp_path: Path, type_: str, column: pa.Array, expected: Any
) -> None:
    outcomes = [_typed(type_, column)]
    if column.type not in (pa.timestamp("s"), pa.date64()):  # Parquet cannot store these
        outcomes.append(_parquet(tmp_path, type_, column, USUAL))
    for outcome in outcomes:
        if isinstance(expected, str) and expected.startswith("is "):
            assert outcome.endswith(expected)
        else:
            assert _comparable(outcome) == _comparable(expected)


YES_NO = Spelling(true_values=("yes",), false_values=("no",))
RFC_2822 = Spelling("%a, %d %b %Y %H:%M:%S %z")
SPELLED: list[tuple[str, Spelling, Any, Any]] = [
    ("date", Spelling("%d/%m/%Y"), "31/1/2013", date(2013, 1, 31)),
    ("date", Spelling("%d/%m/%Y"), "2013-01-31", "'2013-01-31' is not a date as %d/%m/%Y"),
    ("date", Spelling("%Y%m%d"), 20130131, date(2013, 1, 31)),
    ("date", Spelling("%d-%b-%y"), "31-JAN-13", date(2013, 1, 31)),
    ("date", Spelling("%d-%b-%y"), "31-Jan-2013", "'31-Jan-2013' is not a date as %d-%b-%y"),
    ("timestamp", Spelling("%Y%m%d%H%M%S"), 20130131100000, TEN),
    ("timestamp", Spelling("%Y-%m-%d %H:%M:%S UTC"), "2013-01-31 10:00:00 UTC", TEN),
    ("timestamp", RFC_2822, "Thu, 31 Jan 2013 05:00:00 -0500", TEN),
    ("timestamp", Spelling("%a, %d %b %Y %H:%M %Z"), "Thu, 31 Jan 2013 05:00 EST", TEN),
    ("timestamp", Spelling("%d %b %Y %H:%M %Z"), "31 Jan 2013 11:00 CET", TEN),
    ("timestamp", Spelling("%d %b %Y %H:%M %Z"), "31 Jan 2013 11:00 XYZ",
     "'31 Jan 2013 11:00 XYZ' is not a timestamp as %d %b %Y %H:%M %Z"),
    ("timestamp", Spelling("%d.%m.%Y %H:%M%z"), "31.1.2013 12:00+02", TEN),
    ("timestamp", Spelling("%Y/%m/%d %H:%M:%S.%f"), "2013/01/31 10:00:00.123456789",
     TEN.replace(microsecond=123_456)),
    ("timestamp", Spelling("%Y/%m/%d %H:%M:%S,%f"), "2013/01/31 10:00:00,5",
     TEN.replace(microsecond=500_000)),
    ("timestamp", Spelling("%m/%d/%Y %I:%M %p"), "1/31/2013 12:00 am", datetime(2013, 1, 31)),
    ("timestamp", Spelling("%a %b %d %H:%M:%S %Y"), "Fri Feb  1 10:00:00 2013",
     datetime(2013, 2, 1, 10)),
    ("timestamp", Spelling(epoch="ms"), 1359626400000, TEN),
    ("timestamp", Spelling(epoch="ms"), "1359626400000", TEN),
    ("timestamp", Spelling(epoch="ms"), "1359626400000.0", TEN),
    ("timestamp", Spelling(epoch="ns"), 1359626400000000000, TEN),
    ("timestamp", Spelling(epoch="s"), 0.5, "'0.5' is not a whole number of s since 1970"),
    ("bool", YES_NO, "no", False),
    ("bool", YES_NO, "true", "'true' is not a bool (yes, no)"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "spelling", "value", "expected"), SPELLED)
def test_a_declared_notation_holds_at_every_door(
    tmp_path: Path, type_: str, spelling: Spelling, value: Any, expected: Any
) -> None:
    outcomes = _at_text_doors(tmp_path, type_, str(value), spelling)
    outcomes["value of JSON"] = _jsonl(tmp_path, type_, value, spelling)
    outcomes["value of the server"] = _server(type_, value, spelling)
    if isinstance(value, int):
        outcomes["value of Parquet"] = _parquet(tmp_path, type_, pa.array([value]), spelling)
    outcomes = {door: _comparable(outcome) for door, outcome in outcomes.items()}
    assert outcomes == dict.fromkeys(outcomes, _comparable(expected))


GERMAN = Spelling(decimal=",", thousands=".", unit=("EUR", "€"))
ENGLISH = Spelling(thousands=",", unit=("$", "USD"))
FRENCH = Spelling(decimal=",", thousands=" ", unit=("€", "per cent"))
SWISS = Spelling(thousands="'", unit=("Fr.", "CHF", ".-"))
COMMAS, COMMA, DOTS = Spelling(thousands=","), Spelling(decimal=","), Spelling(thousands=".")
PERCENT, MASS = Spelling(unit=("%",)), Spelling(unit=("kg", "m2"))
IN_GERMAN = "is not a finite number with decimal ',', thousands '.' and unit 'EUR' or '€'"
IN_ENGLISH = "is not a finite number with thousands ',' and unit '$' or 'USD'"
IN_COMMAS, IN_COMMA = "with thousands ','", "is not a finite number with decimal ','"
AMOUNTS: list[tuple[str, Spelling, str, Any]] = [
    ("float", GERMAN, "1.234,50 EUR", 1234.5),
    ("float", GERMAN, "€1.234.567", 1234567.0),
    ("float", GERMAN, " \N{MINUS SIGN}0,5\N{NO-BREAK SPACE}€ ", -0.5),
    ("float", GERMAN, "1234,5", 1234.5),
    ("float", GERMAN, "1,5e3", 1500.0),
    ("float", GERMAN, "NaN", None),
    ("float", GERMAN, "1.234.56", IN_GERMAN),
    ("float", GERMAN, "1.5", IN_GERMAN),
    ("float", GERMAN, "0.500", IN_GERMAN),
    ("float", GERMAN, "1234.567", IN_GERMAN),
    ("float", GERMAN, "1.234,50 USD", IN_GERMAN),
    ("float", GERMAN, "EUR", IN_GERMAN),
    ("float", GERMAN, "5 EUR EUR", IN_GERMAN),
    ("float", GERMAN, "12,-", IN_GERMAN),
    ("float", GERMAN, "12,", IN_GERMAN),
    ("float", ENGLISH, "$1,234.50", 1234.5),
    ("float", ENGLISH, "-$.99", -0.99),
    ("float", ENGLISH, "$ -5", -5.0),
    ("float", ENGLISH, "USD 1,200", 1200.0),
    ("float", ENGLISH, "USD .5", 0.5),
    ("float", ENGLISH, "USD.500", IN_ENGLISH),
    ("float", ENGLISH, "$12 USD", 12.0),
    ("float", ENGLISH, "(1,234.00)", -1234.0),
    ("float", ENGLISH, "($5)", -5.0),
    ("float", ENGLISH, "$ (5.25) ", -5.25),
    ("float", ENGLISH, "(5", IN_ENGLISH),
    ("float", ENGLISH, "(-5)", IN_ENGLISH),
    ("float", ENGLISH, "-5-", IN_ENGLISH),
    ("float", ENGLISH, "12-", -12.0),
    ("float", ENGLISH, "3-4", IN_ENGLISH),
    ("float", ENGLISH, "<5", IN_ENGLISH),
    ("float", ENGLISH, "1.5k", IN_ENGLISH),
    ("float", FRENCH, "1\N{NARROW NO-BREAK SPACE}234,5 €", 1234.5),
    ("float", FRENCH, "1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567", 1234567.0),
    ("float", FRENCH, "45 per\N{NO-BREAK SPACE}cent", 45.0),
    ("float", FRENCH, "1 23",
     "is not a finite number with decimal ',', thousands ' ' and unit '€' or 'per cent'"),
    ("float", SWISS, "Fr.1\N{RIGHT SINGLE QUOTATION MARK}234.50", 1234.5),
    ("float", SWISS, "CHF 12'000.-", 12000.0),
    ("float", COMMAS, "12,34,567.5", 1234567.5),
    ("float", COMMAS, "+1,234", 1234.0),
    ("float", COMMAS, "1,5", f"is not a finite number {IN_COMMAS}"),
    ("float", COMMAS, "0,123", f"is not a finite number {IN_COMMAS}"),
    ("float", COMMAS, "1,2345", f"is not a finite number {IN_COMMAS}"),
    ("float", COMMAS, "12,3456,789", f"is not a finite number {IN_COMMAS}"),
    ("float", COMMAS, "1,234.5.6", f"is not a finite number {IN_COMMAS}"),
    ("int", COMMAS, "1,234", 1234),
    ("int", COMMAS, "1,234.0", 1234),
    ("int", COMMAS, "12,", f"is not an int {IN_COMMAS}"),
    ("int", COMMAS, "NaN", f"is not an int {IN_COMMAS}"),
    ("int", COMMAS, "1,234.5", "is not an int"),
    ("int", DOTS, "1.234.567", 1234567),
    ("int", DOTS, "-1.234,0", -1234),
    ("int", DOTS, "1.5", "is not an int with thousands '.'"),
    ("float", COMMA, "1,5", 1.5),
    ("float", COMMA, ",5", 0.5),
    ("float", COMMA, "1.5", IN_COMMA),
    ("float", COMMA, "1.234,5", IN_COMMA),
    ("float", COMMA, "1,234,5", IN_COMMA),
    ("float", PERCENT, "45 %", 45.0),
    ("float", PERCENT, "(4.5%)", -4.5),
    ("float", PERCENT, "0.45", 0.45),
    ("int", PERCENT, "7%", 7),
    ("float", MASS, "12 kg", 12.0),
    ("float", MASS, "12m2", 12.0),
    ("float", MASS, "m2 12", "is not a finite number with unit 'kg' or 'm2'"),
    ("float", MASS, "12 g", "is not a finite number with unit 'kg' or 'm2'"),
]  # fmt: skip
"""Numbers as people write them: type, spelling, text, and the value or the end of the sentence."""


@pytest.mark.parametrize(("type_", "spelling", "text", "expected"), AMOUNTS)
def test_a_number_is_read_at_every_door_as_its_column_says(
    tmp_path: Path, type_: str, spelling: Spelling, text: str, expected: Any
) -> None:
    expected = f"'{text}' {expected}" if isinstance(expected, str) else expected
    outcomes = _at_text_doors(tmp_path, type_, text, spelling)
    assert outcomes == dict.fromkeys(outcomes, expected)


@pytest.mark.parametrize("spelling", [GERMAN, ENGLISH, FRENCH, SWISS, DOTS, PERCENT])
def test_a_typed_number_is_itself_however_texts_are_written(
    tmp_path: Path, spelling: Spelling
) -> None:
    doors = (_jsonl(tmp_path, "float", 1.234, spelling), _server("float", 1.234, spelling))
    typed = _typed("float", pa.array([1.234]), spelling)
    assert [*doors, typed, _parquet(tmp_path, "float", pa.array([1.234]), spelling)] == [1.234] * 4


def test_the_bools_of_json_and_parquet_need_no_spelling(tmp_path: Path) -> None:
    doors = (_jsonl(tmp_path, "bool", True, YES_NO), _server("bool", True, YES_NO))
    assert [*doors, _typed("bool", pa.array([True]), YES_NO)] == [True] * 3


def test_nulls_hold_for_files_only(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("b,a\n1,NA\n")
    source = Source(uri=(str(tmp_path / "t"),), nulls=("NA",))
    assert Read(source, {"a": "string"}).rows == [(None,)]
    assert _server("string", "NA", USUAL) == "NA"


ANY_TEXT = st.text(max_size=12).filter(lambda t: not re.search(r"[\r\n\0]", t)) | st.from_regex(
    "\\A *[-+\N{MINUS SIGN}]?[0-9]{0,20}" r"(\.[0-9]{0,12})?([eE][-+]?[0-9]{1,3})? *\Z"
)
ANY_TIME = st.from_regex(
    r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]"
    r"([T ][0-2][0-9](:[0-5][0-9]){0,2}([.,][0-9]{1,9})?(Z|[+-]0[0-9]:?00)?)?\Z"
)
WORDS = st.sampled_from(["true", "FALSE", "nan", "inf", "-Infinity", "0x1F", "1.0", "00", "NA"])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doors")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=ANY_TEXT | ANY_TIME | WORDS, type_=st.sampled_from(sorted(TYPES)))
def test_any_text_is_the_same_at_every_door(scratch: Path, text: str, type_: str) -> None:
    outcomes = _at_text_doors(scratch, type_, text)
    assert outcomes == dict.fromkeys(outcomes, outcomes["CSV"])


ANY_AMOUNT = st.from_regex(
    r"\A *(\$|EUR)?[-+(]?[0-9]{0,4}([.,' ]?[0-9]{1,3}){0,3}[-)]?( ?(EUR|\$|%))? *\Z"
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=ANY_AMOUNT | ANY_TEXT,
    type_=st.sampled_from(["int", "float"]),
    spelling=st.sampled_from([GERMAN, ENGLISH, FRENCH, SWISS, COMMAS, COMMA, DOTS, PERCENT]),
)
def test_any_amount_is_the_same_at_every_door_and_has_no_digits_but_its_own(
    scratch: Path, text: str, type_: str, spelling: Spelling
) -> None:
    outcomes = _at_text_doors(scratch, type_, text, spelling)
    assert outcomes == dict.fromkeys(outcomes, outcomes["CSV"])
    value = outcomes["CSV"]
    if isinstance(value, int | float) and not re.search(r"[eE][-+]?\d", text):
        for unit in spelling.unit:
            text = text.replace(unit, "")
        decimal = spelling.decimal or ("," if spelling.thousands == "." else ".")
        assert abs(value) == float(re.sub(rf"[^0-9{decimal}]", "", text).replace(",", "."))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    value=st.integers() | st.floats(width=32) | st.booleans() | st.none() | st.text(max_size=5),
    type_=st.sampled_from(sorted(TYPES)),
)
def test_any_json_value_is_the_same_in_a_file_and_in_a_request(
    scratch: Path, value: Any, type_: str
) -> None:
    in_file, asked = (door(type_, value) for door in (
        lambda t, v: _jsonl(scratch, t, v, USUAL), lambda t, v: _server(t, v, USUAL)
    ))  # fmt: skip
    if type_ in ("date", "timestamp") and type(value) in (int, float):
        return  # a request has times in seconds, too, as the model's signature has
    if isinstance(in_file, str) and isinstance(asked, str):  # 1e-07 and 1e-7 are one number
        in_file, asked = (re.sub(r"[-+.0-9e]+", "#", text) for text in (in_file, asked))
    assert in_file == asked
