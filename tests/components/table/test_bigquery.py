"""Tables of BigQuery: Google's own clients against strict servers on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from pydantic import ValidationError

from quatrain.components.errors import SourceDenied, SourceError
from quatrain.components.preprocess.find_files import find
from quatrain.components.preprocess.run import preprocess
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.source import Source
from quatrain.components.table.files import find_files
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.table.versions import find_versions
from quatrain.trainer.features.text_format import Spelling
from tests.components.conftest import Read, delays
from tests.emulators import bigquery as emulator
from tests.emulators.storage import write_credentials

URI = "bq://p-1.flights.delays"
PATH = "projects/p-1/datasets/flights/tables/delays"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key file, whose token server is set by each test's environment."""
    return tmp_path_factory.mktemp("key") / "key.json"


@pytest.fixture
def bigquery(key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[emulator.BigQuery]:
    with emulator.serving() as served:
        if not key.exists():
            write_credentials(key, served.url)
        account = {**json.loads(key.read_text()), "token_uri": f"{served.url}/token"}
        key.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.url)
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", served.address)
        yield served


ROWS = pa.table(
    {
        "i": pa.array([1, 2, 2**60, None]),
        "f": pa.array([0.5, float("nan"), 1.0, 2.0]),
        "secret": ["x"] * 4,
        "s": ["a", "", "c", None],
        "b": [True, False, None, True],
        "d": pa.array([date(2013, 1, 31)] * 4),
        "t": pa.array([datetime(2013, 1, 1, 10)] * 4, pa.timestamp("us", "UTC")),
        "dt": pa.array([datetime(2013, 1, 1, 10)] * 4, pa.timestamp("us")),
        "n": pa.array([Decimal("1.5")] * 4, pa.decimal128(38, 9)),
        "e": pa.array([1357034400] * 4),
        "l": pa.array([[1]] * 4),
    }
)
COLUMNS = {
    "n": "float",
    "i": "int",
    "f": "float",
    "s": "string",
    "b": "bool",
    "d": "date",
    "t": "timestamp",
    "dt": "timestamp",
    "e": "timestamp",
}


def test_every_type_is_read_and_no_other_column_leaves_the_table(
    bigquery: emulator.BigQuery,
) -> None:
    bigquery.tables[PATH] = emulator.Table(ROWS)
    result = Read(Source(uri=(URI,)), COLUMNS, 1 << 20, {"e": Spelling(epoch="s")})
    at = datetime(2013, 1, 1, 10)
    day = date(2013, 1, 31)
    assert result.rows == [
        (1.5, 1, 0.5, "a", True, day, at, at, at),
        (1.5, 2, None, None, False, day, at, at, at),
        (1.5, None, 2.0, None, True, day, at, at, at),
    ]
    [rejected] = result.rejected
    assert (rejected["source"], rejected["position"]) == (f"{URI} stream 0", 2)
    assert "beyond 2**53" in rejected["detail"]
    assert json.loads(rejected["row"])["i"] == 2**60
    assert set(json.loads(rejected["row"])) == set(COLUMNS)
    [session] = bigquery.sessions
    assert set(session.read_session.read_options.selected_fields) == set(COLUMNS)
    assert session.parent == "projects/p-1"


def test_each_stream_is_a_range_and_the_payer_is_the_jobs_project(
    bigquery: emulator.BigQuery,
) -> None:
    bigquery.tables[PATH] = emulator.Table(pa.table({"i": list(range(10))}))
    source = Source(uri=(URI,))
    ranges = plan_ranges(source, {"i": "int"}, 32, project="payer")
    assert [(r.index, r.path, r.start) for r in ranges] == [(i, URI, i) for i in range(3)]
    assert bigquery.sessions[0].parent == "projects/payer"
    assert bigquery.sessions[0].max_stream_count == 3
    result = Read(source, {"i": "int"}, 32)
    assert sorted(result.rows) == [(i,) for i in range(10)]


def test_a_connection_that_breaks_goes_on_at_its_row(bigquery: emulator.BigQuery) -> None:
    bigquery.tables[PATH] = emulator.Table(pa.table({"i": list(range(10))}))
    bigquery.breaks = 2
    assert Read(Source(uri=(URI,)), {"i": "int"}).rows == [(i,) for i in range(10)]
    assert [offset for _, offset in bigquery.reads] == [0, 3, 6]


def test_a_table_without_rows_has_no_ranges(bigquery: emulator.BigQuery) -> None:
    bigquery.tables[PATH] = emulator.Table(pa.table({"i": pa.array([], pa.int64())}))
    assert plan_ranges(Source(uri=(URI,)), {"i": "int"}) == []


@pytest.mark.parametrize(
    ("table", "columns", "sentence"),
    [
        (None, {"i": "int"}, r"bq://p-1\.flights\.delays does not exist"),
        ({"kind": "VIEW"}, {"i": "int"}, r"is a view, and the storage API reads tables only"),
        ({"forbidden": True}, {"i": "int"}, r"may not be read .*roles/bigquery\.dataViewer on it"),
        ({}, {"j": "int"}, r"delays: there is no column 'j'; did you mean|choose one of i, f"),
        ({}, {"l": "int"}, r"column 'l' is list<.*int64> and cannot be read as int"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(
    bigquery: emulator.BigQuery, table: Any, columns: dict[str, str], sentence: str
) -> None:
    if table is not None:
        bigquery.tables[PATH] = emulator.Table(ROWS, **table)
    with pytest.raises(SourceError, match=sentence):
        plan_ranges(Source(uri=(URI,)), columns)


def test_a_session_that_has_ended_is_one_sentence(bigquery: emulator.BigQuery) -> None:
    bigquery.tables[PATH] = emulator.Table(ROWS)
    [span] = plan_ranges(Source(uri=(URI,)), {"i": "int"}, 1 << 20)
    bigquery._streams.clear()
    from quatrain.components.table.typed_blocks import read_stream

    with pytest.raises(SourceError, match=r"delays cannot be read: 404 .*Session expired"):
        list(read_stream(span, {"i": "int"}))


def test_the_last_change_of_a_table_is_its_version(bigquery: emulator.BigQuery) -> None:
    bigquery.tables[PATH] = emulator.Table(ROWS)
    assert find_versions([URI]) == {URI: "1700000000000"}
    bigquery.tables[PATH].modified_ms += 1
    assert find_versions([URI]) == {URI: "1700000000001"}
    bigquery.tables[PATH].forbidden = True
    with pytest.raises(SourceDenied, match="may not be read"):
        find_versions([URI])
    del bigquery.tables[PATH]
    with pytest.raises(SourceError, match="was there a moment ago"):
        find_versions([URI])


def test_a_window_lists_the_dated_tables_of_its_days(bigquery: emulator.BigQuery) -> None:
    for day in ("20130628", "20130630", "20130701"):
        bigquery.tables[f"{PATH}_{day}"] = emulator.Table(ROWS)
    source = Source(uri=(URI + "_{date:%Y%m%d}",), window="3d")
    files = find_files(source, datetime.fromisoformat("2013-07-01T03:00:00+00:00"))
    assert [uri for uri, _ in files.listing] == [f"{URI}_20130628", f"{URI}_20130630"]


def _delays() -> pa.Table:
    """The small table, as BigQuery would hold it: its malformed row is not there."""
    lines = [line for line in delays().splitlines() if "x" not in line]
    rows = pacsv.read_csv(pa.BufferReader("\n".join(lines).encode()))
    return rows.set_column(3, "arrival", rows.column("arrival").cast(pa.float64()))


def test_a_run_reads_a_table_and_goes_on_though_it_changes_meanwhile(
    bigquery: emulator.BigQuery,
    delays_spec: Callable[..., ModelSpec],
    tmp_path: Path,
) -> None:
    bigquery.tables[PATH] = emulator.Table(_delays())
    spec = delays_spec(source={"uri": URI})
    result = find(spec.as_json(), project="p-1", at="", clocks=())

    def change() -> None:
        bigquery.tables[PATH] = emulator.Table(_delays().slice(9), modified_ms=1)

    bigquery.on_read = change
    out = tmp_path / "examples"
    options: dict[str, Any] = {"range_bytes": 4000, "digest": result.digest}
    assert preprocess(spec.as_json(), runner="local", out=str(out), **options) == 399
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["rows"]["read"] == 399
    assert {name: r["rows"] for name, r in manifest["reasons"].items()} == {"cancelled": 8}
    with pytest.raises(SourceError, match="not those that the run found when it began"):
        preprocess(spec.as_json(), runner="local", out=str(tmp_path / "b"), **options)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"uri": "bq://p.d"}, "is no table; write it as bq://project.dataset.table"),
        ({"uri": ["bq://p.d.t", "x.csv"]}, "cannot stand beside files"),
        ({"uri": "x.csv", "format": "bigquery"}, "tables (bq://) must be of format bigquery"),
        ({"uri": "bq://p.d.t", "format": "csv"}, "tables (bq://) must be of format bigquery"),
    ],
)
def test_a_wrong_table_is_one_sentence(source: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Source.model_validate(source)
    assert sentence in str(refused.value)


def test_a_table_needs_no_format_beside_it() -> None:
    assert Source(uri=("bq://example.com:p.d.t",)).format == "bigquery"
