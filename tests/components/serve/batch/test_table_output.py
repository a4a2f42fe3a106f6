"""Predictions into a table of BigQuery: by one load job, complete or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import DataError, RunnerError, SourceError
from quatrain.components.serve import predict as prediction
from quatrain.components.serve.batch.choice import EngineChoice, Shards
from quatrain.components.serve.batch.run import predict_table
from tests.components.handmade import make_rows
from tests.emulators import bigquery as emulator
from tests.emulators import storage
from tests.emulators.bigquery_jobs import Dataset

predict = partial(prediction.predict, trust=True)
URI, PATH = "bq://p-1.d.answers", "projects/p-1/datasets/d/tables/answers"
DAY = {"type": "DAY"}


@pytest.fixture
def bigquery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[emulator.BigQuery]:
    with emulator.serving() as served:
        key = storage.write_credentials(tmp_path / "key.json", served.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.url)
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", served.address)
        served.datasets["p-1.d"] = Dataset()
        yield served


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    """Three CSVs of one table, the second with a row that cannot be read."""
    paths = [tmp_path / f"in/part{i}.csv" for i in range(3)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        rows = make_rows(30 + i, seed=i).to_pylist()
        lines = [f"{r['delay'] or ''},{r['carrier'] or ''},{i}-{n}" for n, r in enumerate(rows)]
        if i == 1:
            lines.insert(3, "soon,AA,x")
        path.write_text("\n".join(["delay,carrier,id", *lines, ""]))
    return [str(path) for path in paths]


def test_a_table_gets_the_rows_of_one_file_for_any_number_of_workers(
    bigquery: emulator.BigQuery, parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    aside = {"rejected": tmp_path / "bad", "keep": ["id"]}
    one = predict(
        models["binary"], parts, tmp_path / "o.parquet", keep=["id"], rejected=tmp_path / "b.csv"
    )
    expected = pq.read_table(one.path)
    for engine in (
        EngineChoice(workers=1),
        EngineChoice(workers=3),
        EngineChoice(options={"direct_num_workers": 2}),
    ):
        bigquery.tables.clear()
        done = predict(models["binary"], parts, URI, engine=engine, **aside)
        assert (done.path, done.rows, done.rejected, done.columns) == (
            *(URI, 93, 1),
            ("id", "probability_false", "probability_true", "predicted_class"),
        )
        assert bigquery.tables[PATH].rows == expected
    bad = [pq.read_table(path) for path in sorted((tmp_path / "bad").glob("*.parquet"))]
    assert pa.concat_tables(bad).column("row").to_pylist() == [b"soon,AA,x"]
    assert len({job.id.rpartition("-")[0] for job in bigquery.loads.jobs.values()}) == 1


def test_a_repeat_finds_the_job_and_loads_again_only_what_changed(
    bigquery: emulator.BigQuery, parts: list[str], models: dict[str, Path]
) -> None:
    again = partial(predict, models["binary"], parts[0], URI)
    loads = bigquery.loads
    loads.lost = 1  # the client sends the last chunk again
    again()
    again()
    [job] = loads.jobs.values()
    assert job.labels == {"quatrain": "predict"}
    del bigquery.tables[PATH]
    again()
    assert len(loads.jobs) == 2 and bigquery.tables[PATH].rows.num_rows == 30
    bigquery.tables[PATH].rows = bigquery.tables[PATH].rows.slice(3)
    bigquery.tables[PATH].modified_ms += 60_000
    again()
    assert len(loads.jobs) == 3 and bigquery.tables[PATH].rows.num_rows == 30


def test_a_job_that_still_runs_is_waited_for_and_not_begun_again(
    bigquery: emulator.BigQuery, parts: list[str], models: dict[str, Path]
) -> None:
    bigquery.loads.slow = 2
    predict(models["binary"], parts[0], URI)
    [job] = bigquery.loads.jobs.values()
    job.ended_ms, job.polls = 0, 0
    del bigquery.tables[PATH]
    assert predict(models["binary"], parts[0], URI).rows == 30
    assert len(bigquery.loads.jobs) == 1 and bigquery.tables[PATH].rows.num_rows == 30


def test_a_partition_is_replaced_and_the_others_stay(
    bigquery: emulator.BigQuery, parts: list[str], models: dict[str, Path]
) -> None:
    for day, part in (("20130701", 0), ("20130702", 2), ("20130702", 0)):
        predict(models["binary"], parts[part], f"{URI}${day}", keep=["id"])
    table = bigquery.tables[PATH]
    assert table.time_partitioning == DAY
    assert {day: rows.num_rows for day, rows in table.partitions.items()} == {
        "20130701": 30,
        "20130702": 30,
    }
    with pytest.raises(SourceError, match=r"is partitioned by day, and all its partitions would"):
        predict(models["binary"], parts[0], URI, keep=["id"])
    with pytest.raises(SourceError, match=r"is a partition by month, and the table is .* by day"):
        predict(models["binary"], parts[0], f"{URI}$201307", keep=["id"])
    with pytest.raises(SourceError, match=r"has a column 'id', which the predictions do not have"):
        predict(models["binary"], parts[0], f"{URI}$20130703")
    with pytest.raises(SourceError, match=r"has no column 'prediction', which the predictions"):
        predict(models["regression"], parts[0], f"{URI}$20130703")
    assert len(bigquery.loads.jobs) == 3


def test_shards_of_a_bucket_are_loaded_from_there(
    bigquery: emulator.BigQuery,
    served: storage.Storage,
    parts: list[str],
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
    bigquery.loads.storage = served
    shards = Shards("gs://b/day=2013-07-01", "gs://b/day=2013-07-01/rejected", table=URI)
    root = {"root": "runs", "trust": True}
    bigquery.loads.lost = 1  # the client sends the job again, which then exists
    manifest = predict_table(str(models["binary"]), parts, shards, **root)
    assert manifest == json.loads(served.get("gs://b/day=2013-07-01/manifest.json"))
    assert manifest["rows"] == {"read": 94, "answered": 93, "rejected": 1}
    [job] = bigquery.loads.jobs.values()
    assert manifest["table"] == {"uri": URI, "job": job.id, "rows": 93}
    assert job.load["sourceUris"] == ["gs://b/day=2013-07-01/predictions-*-of-00003.parquet"]
    served.buckets["b"].location = "us-west1"
    bigquery.tables.clear()
    with pytest.raises(SourceError, match=r"different locations: source: us-west1"):
        predict_table(str(models["binary"]), parts, shards, **root)
    assert not served.has("gs://b/day=2013-07-01/manifest.json")
    assert PATH not in bigquery.tables


@pytest.mark.parametrize(
    ("reason", "message", "sentence"),
    [
        (
            "quotaExceeded",
            "Quota exceeded: Your table exceeded quota for imports",
            "failed (quotaExceeded: Quota exceeded: Your table exceeded quota for imports); wait "
            "until the quota is renewed",
        ),
        ("invalid", "Provided Schema does not match Table p-1:d.answers.", "answers); mend that"),
        ("stopped", "Job cancelled.", "(stopped: Job cancelled); somebody cancelled it"),
    ],
)
def test_a_job_that_fails_leaves_the_table_and_no_rejected_rows(
    bigquery: emulator.BigQuery,
    parts: list[str],
    tmp_path: Path,
    models: dict[str, Path],
    reason: str,
    message: str,
    sentence: str,
) -> None:
    bigquery.tables[PATH] = before = emulator.Table(pa.table({"old": ["row"]}))
    bigquery.loads.failures = [(reason, message)]
    again = partial(predict, models["binary"], parts, URI, rejected=tmp_path / "bad")
    with pytest.raises(SourceError) as raised:
        again()
    assert str(raised.value).startswith(f"{URI} was not written: BigQuery's job quatrain-predict-")
    assert sentence in str(raised.value)
    assert bigquery.tables[PATH] is before and before.rows.column_names == ["old"]
    assert not list((tmp_path / "bad").glob("*"))
    assert again().rows == 93  # by a job of another id
    assert bigquery.tables[PATH].rows.num_rows == 93


@pytest.mark.parametrize(
    ("permission", "sentence"),
    [
        ("bigquery.datasets.get", "may not be written (403 GET "),
        ("bigquery.jobs.create", "may not be written (403 "),
        (
            "bigquery.tables.create",
            "bigquery.tables.create denied); whoever writes it needs roles/",
        ),
        (
            "bigquery.tables.updateData",
            "updateData denied); whoever writes it needs roles/bigquery",
        ),
    ],
)
def test_a_permission_that_is_lacking_is_named(
    bigquery: emulator.BigQuery,
    parts: list[str],
    models: dict[str, Path],
    permission: str,
    sentence: str,
) -> None:
    bigquery.loads.denied = {permission}
    with pytest.raises(SourceError) as raised:
        predict(models["binary"], parts[0], URI)
    assert sentence in str(raised.value)
    assert "needs roles/bigquery.dataEditor on the dataset" in str(raised.value)
    assert PATH not in bigquery.tables


def test_what_cannot_be_a_table_ends_before_a_row_is_predicted(
    bigquery: emulator.BigQuery, parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    bigquery.tables[PATH] = emulator.Table(pa.table({"s": ["x"]}), kind="VIEW")
    partitioned = {"type": "DAY", "field": "day"}
    columns = emulator.Table(pa.table({"day": ["x"]}), time_partitioning=partitioned)
    bigquery.tables[PATH.replace("answers", "by_day")] = columns
    odd = tmp_path / "odd.csv"
    odd.write_text("delay,carrier,ID,id,a.b\n1,AA,1,2,3\n")
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("bq://p-1.d", {}, r"bq://p-1\.d is no table to write to; write it as bq://project"),
        (f"{URI}$2013070", {}, r"answers\$2013070 is no table to write to"),
        (URI, {"form": "csv"}, "are loaded from parquet, not 'csv'"),
        (URI, {"rejected": tmp_path / "bad.csv"}, "name it without a suffix"),
        (URI, {}, r"bq://p-1\.d\.answers is a view, into which no rows are loaded"),
        ("bq://p-1.gone.t", {}, r"there is no dataset p-1\.gone; create it .* by bq mk"),
        ("bq://p-1.d.by_day$20130701", {}, "is partitioned by its column 'day'"),
        ("bq://p-1.d.t", {"keep": ["a.b"]}, r"cannot have the column 'a\.b', whose name BigQuery"),
        ("bq://p-1.d.t", {"keep": ["ID", "id"]}, "cannot have both 'ID' and 'id'"),
    ]
    for table, options, sentence in cases:
        with pytest.raises(SourceError, match=sentence):
            predict(models["binary"], odd, table, **options)
    with pytest.raises(DataError, match="--rejected DIR"):
        predict(models["binary"], parts, "bq://p-1.d.t")
    flink = EngineChoice("flink", {"flink_master": "localhost:1"})
    with pytest.raises(RunnerError, match=r"temp_location=gs://BUCKET/temp"):
        predict(models["binary"], parts, "bq://p-1.d.t", engine=flink)
    assert not bigquery.loads.jobs


def test_classes_and_columns_of_any_usual_name_become_columns(
    bigquery: emulator.BigQuery, tmp_path: Path, models: dict[str, Path]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("delay,carrier,share in %\n1,AA,3\n")
    predict(models["binary"], rows, URI, keep=["share in %"])
    assert bigquery.tables[PATH].rows.column("share in %").to_pylist() == ["3"]


def test_a_table_sorted_by_columns_stays_so_and_no_rows_empty_it(
    bigquery: emulator.BigQuery, tmp_path: Path, models: dict[str, Path]
) -> None:
    bigquery.tables[PATH] = emulator.Table(pa.table({"id": ["x"]}), clustering=["id"])
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"delay": [1.0], "carrier": ["AA"], "id": ["7"]}).slice(1), rows)
    assert predict(models["binary"], rows, URI, keep=["id"]).rows == 0
    assert bigquery.tables[PATH].rows.num_rows == 0
    assert bigquery.tables[PATH].clustering == ["id"]


def test_googles_client_is_refused_by_the_emulation_as_by_google(
    bigquery: emulator.BigQuery, tmp_path: Path
) -> None:
    from google.api_core import exceptions
    from google.cloud import bigquery as google

    client = google.Client(project="p-1", location="europe-west1")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "a.parquet")
    options: dict[str, Any] = {"source_format": "PARQUET", "write_disposition": "WRITE_TRUNCATE"}

    def load(table: str, kind: str = "STRING", job_id: str = "", **more: Any) -> Any:
        config = google.LoadJobConfig(schema=[google.SchemaField("a", kind)], **options, **more)
        with (tmp_path / "a.parquet").open("rb") as file:
            job = client.load_table_from_file(
                file, table, job_id=job_id or None, job_config=config, num_retries=0
            )
        return job.result()

    assert load("p-1.d.t", job_id="one").output_rows == 1
    with pytest.raises(exceptions.Conflict, match=r"Already Exists: Job p-1:europe-west1\.one"):
        load("p-1.d.t", job_id="one")
    with pytest.raises(exceptions.NotFound, match="Dataset p-1:x"):
        load("p-1.x.t")
    with pytest.raises(exceptions.BadRequest, match="Partitioning specification must be provided"):
        load("p-1.d.new$20130701")
    with pytest.raises(exceptions.BadRequest, match="Incompatible table partitioning"):
        load("p-1.d.t$20130701", time_partitioning=google.TimePartitioning(type_="DAY"))
    with pytest.raises(exceptions.BadRequest, match="Parquet column 'a' has type string"):
        load("p-1.d.t", kind="FLOAT")
    with pytest.raises(exceptions.NotFound, match="Not found: Job one"):
        client.get_job("one", location="US")
