"""Predictions into a folder of shards: the same on any engine, complete or absent."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError, DataError, RunnerError, SourceError
from quatrain.components.folder import read_manifest
from quatrain.components.serve import predict as prediction
from quatrain.components.serve.ahead import map_ahead
from quatrain.components.serve.batch.choice import EngineChoice
from quatrain.components.serve.batch.passes import PredictionPlan, load_model
from quatrain.components.serve.input_rows import InputRows
from quatrain.components.serve.served_model import read_transform
from tests.components.handmade import make_rows
from tests.emulators import bigquery, storage

predict = partial(prediction.predict, trust=True)
THREE = EngineChoice(workers=3)
BEAM = EngineChoice(options={"direct_num_workers": 2})


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    """Three CSVs of one table, the second with a row that cannot be read."""
    paths = [tmp_path / f"in/part{i}.csv" for i in range(3)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        rows = make_rows(300 + i, seed=i).to_pylist()
        lines = [f"{r['delay'] or ''},{r['carrier'] or ''},{i}-{n}" for n, r in enumerate(rows)]
        if i == 1:
            lines.insert(3, "soon,AA,\xff")
        path.write_bytes("\n".join(["delay,carrier,id", *lines, ""]).encode("latin-1"))
    return [str(path) for path in paths]


def good(parts: list[str]) -> list[str]:
    return [parts[0], parts[2]]


def shards(folder: Path, stem: str = "predictions") -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob(f"{stem}-*"))}


def test_shards_hold_the_rows_of_one_file_for_any_engine_and_number_of_workers(
    parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    model, keep = models["binary"], ["id"]
    aside = {"rejected": tmp_path / "bad.parquet", "keep": keep}
    one = predict(model, parts, tmp_path / "one.parquet", **aside)
    engines = {"one": EngineChoice(workers=1), "three": THREE, "beam": BEAM}
    for name, engine in engines.items():
        out = tmp_path / name
        done = predict(model, parts, out, rejected=out / "aside", keep=keep, engine=engine)
        assert (done.rows, done.rejected, done.columns) == (one.rows, one.rejected, one.columns)
    expected = shards(tmp_path / "one")
    assert list(expected) == [f"predictions-0000{i}-of-00003.parquet" for i in range(3)]
    assert shards(tmp_path / "three") == shards(tmp_path / "beam") == expected
    bad = [shards(tmp_path / name / "aside", "rejected") for name in engines]
    assert bad[0] == bad[1] == bad[2] and len(bad[0]) == 3
    read = [pq.read_table(tmp_path / "one" / name) for name in expected]
    assert pa.concat_tables(read) == pq.read_table(one.path)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_batches_of_one_range_give_the_same_bytes_for_any_number_of_threads(
    form: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    rows = make_rows(500, seed=3).to_pylist()
    column = [r["delay"] for r in rows] * 60  # 30,000 rows: three blocks of up to two batches
    table = {"delay": column, "carrier": [r["carrier"] for r in rows] * 60}
    table["id"] = list(range(len(column)))
    path = tmp_path / "in/rows.parquet"
    path.parent.mkdir()
    bad = {7, 20_003, 20_004}
    delays = ["soon" if i in bad else None if v is None else str(v) for i, v in enumerate(column)]
    pq.write_table(pa.table({**table, "delay": pa.array(delays)}), path, row_group_size=12_000)
    written = {}
    for n in (1, 2, 5):
        out = tmp_path / str(n)
        done = predict(
            models["binary"],
            [str(path)],
            out,
            form=form,
            rejected=out / "aside",
            keep=["id"],
            engine=EngineChoice(workers=n),
        )
        assert (done.rows, done.rejected) == (len(column) - 3, 3)
        written[n] = (shards(out), shards(out / "aside", "rejected"))
    assert len(written[1][0]) == 1
    assert written[1] == written[2] == written[5]


def test_the_manifest_counts_every_row_and_names_every_file(
    parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    out, aside = tmp_path / "out", tmp_path / "aside"
    predict(models["binary"], parts, out, rejected=aside, form="csv")
    manifest = read_manifest(out, "manifest.json", "predict")
    assert manifest["rows"] == {"read": 904, "answered": 903, "rejected": 1}
    lines = [len(data.splitlines()) - 1 for data in shards(out).values()]
    assert lines == [300, 301, 302]
    assert manifest["files"] == {name: sha256_of(out / name) for name in shards(out)}
    files = manifest["rejected"]["files"]
    assert files == {name: sha256_of(aside / name) for name in shards(aside, "rejected")}
    [row] = [d for d in shards(aside, "rejected").values() if len(d.splitlines()) > 1]
    assert b"soon,AA,\xff" in row
    assert manifest["inputs"] == parts


def test_a_bad_row_without_a_place_for_it_leaves_nothing(
    parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    out = tmp_path / "out"
    for engine in (THREE, BEAM):
        predict(models["binary"], good(parts), out)
        with pytest.raises(DataError, match=r"part1\.csv, line 5: .*--rejected DIR.* 1 of the 904"):
            predict(models["binary"], parts, out, engine=engine)
        assert not out.exists()


def test_a_file_that_cannot_be_read_leaves_nothing(
    parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    table = pa.table({"delay": [1.0] * 5000, "carrier": ["AA"] * 5000})
    paths = [tmp_path / f"{name}.parquet" for name in ("whole", "spoiled", "worse")]
    for path in paths:
        pq.write_table(table, path, compression="none", use_dictionary=False)
    for path in paths[1:]:
        data = bytearray(path.read_bytes())
        data[4:2000] = b"\xff" * 1996
        path.write_bytes(bytes(data))
    for engine in (THREE, BEAM):
        with pytest.raises(SourceError, match=r"spoiled\.parquet cannot be read"):
            predict(models["binary"], paths, tmp_path / "out", engine=engine)
        assert not (tmp_path / "out").exists()


KILLED = """
import sys
from quatrain.components.serve.batch.choice import EngineChoice
from quatrain.components.serve.predict import predict
model, out, *inputs = sys.argv[1:]
predict(model, inputs, out, trust=True, engine=EngineChoice(workers=1))
"""


@pytest.mark.slow
def test_a_killed_job_leaves_no_manifest_and_running_again_repairs_it(
    parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    many = [str(shutil.copy(parts[0], tmp_path / f"in/copy{i:03}.csv")) for i in range(400)]
    out = tmp_path / "out"
    predict(models["binary"], good(parts), out)
    words = [sys.executable, "-c", KILLED, str(models["binary"]), str(out), *many]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as job:
        while len(names := shards(out)) < 3 or "of-00400" not in min(names):
            assert job.poll() is None, "the job ended before it could be killed"
            time.sleep(0.01)
        job.kill()
    assert 3 <= len(shards(out)) < 400
    assert not (out / "manifest.json").exists()
    predict(models["binary"], good(parts), out)
    assert list(shards(out)) == list(read_manifest(out, "manifest.json", "predict")["files"])


def test_a_folder_with_other_files_is_refused_and_kept(
    parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    for places in (
        {"output": tmp_path / "mine"},
        {"output": tmp_path / "out", "rejected": tmp_path / "mine"},
        {"output": tmp_path / "mine/out", "rejected": tmp_path / "mine"},
    ):
        with pytest.raises(SourceError, match=r"mine holds notes\.txt, which no prediction wrote"):
            predict(models["binary"], good(parts), **places)
    assert (tmp_path / "mine/notes.txt").read_text() == "keep"
    assert not (tmp_path / "out").exists()


def test_neither_the_model_nor_a_file_to_predict_is_emptied(
    parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    out = tmp_path / "out"
    predict(models["regression"], good(parts), out, keep=["id"])
    first = next(out.glob("predictions-*"))
    table = pa.table({"delay": [1.0], "carrier": ["AA"]})
    pq.write_table(table, first)
    with pytest.raises(SourceError, match="is to be predicted and lies in"):
        predict(models["binary"], first, out)
    with pytest.raises(SourceError, match="is inside the model"):
        predict(models["binary"], good(parts), models["binary"] / "out")
    assert pq.read_table(first) == table


@pytest.mark.parametrize(
    ("output", "options", "why"),
    [
        ("out", {"rejected": "out"}, "the rejected rows cannot go to"),
        ("a/out", {"rejected": "a"}, "the rejected rows cannot go to"),
        ("out", {"form": "orc"}, r"choose one of \['parquet', 'csv'\]"),
        ("out.csv", {"form": "csv"}, "for shards in a folder"),
        ("out.csv", {"engine": EngineChoice("dataflow")}, "name it by -o, without a suffix"),
        (None, {}, "have no name of their own"),
        ("out", {"engine": EngineChoice("dataflow")}, "writes to a bucket"),
    ],
)
def test_places_and_options_that_do_not_go_together_are_refused(
    output: str | None,
    options: dict[str, Any],
    why: str,
    parts: list[str],
    tmp_path: Path,
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((SourceError, RunnerError), match=why):
        predict(models["binary"], parts, output, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_workers_belong_to_this_machine() -> None:
    with pytest.raises(RunnerError, match="--workers belongs to runner local"):
        EngineChoice("flink", workers=2)
    with pytest.raises(RunnerError, match="--workers is 0; write at least 1"):
        EngineChoice(workers=0)


def test_files_of_several_formats_are_refused(
    parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    with pytest.raises(SourceError, match=r"is csv and .* is parquet; run a command for each"):
        predict(models["binary"], [parts[0], "x.parquet"], tmp_path / "out")


def test_a_model_that_is_replaced_meanwhile_is_not_loaded(
    parts: list[str], tmp_path: Path, models: dict[str, Path]
) -> None:
    transform = read_transform(models["binary"])
    rows = InputRows.of(parts[0], transform, ())
    plan = PredictionPlan(str(models["binary"]), "0" * 64, rows, str(tmp_path), None, "csv", 1)
    with pytest.raises(ArtifactError, match="was replaced while its predictions were made"):
        load_model(plan)


def test_input_and_shards_may_be_in_a_bucket(
    served: storage.Storage,
    parts: list[str],
    tmp_path: Path,
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)  # for Google's own client
    for path in good(parts):
        served.put(f"gs://b/in/{Path(path).name}", Path(path).read_bytes())
    predict(models["binary"], good(parts), tmp_path / "out")
    served.put("gs://b/out/predictions-00000-of-00009.csv", b"of an earlier job")
    words = ["gs://b/in/*.csv", "-o", "gs://b/out/", "--rejected", "gs://b/bad", "--trust"]
    # A process of its own: Arrow asks for the size of an object without letting others run.
    command = [sys.executable, "-m", "quatrain", "predict", str(models["binary"]), *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "602 rows to gs://b/out: probability_false" in ended.stdout, ended.stderr
    written = shards(tmp_path / "out")
    assert {name: served.get(f"gs://b/out/{name}") for name in written} == written
    assert {n for n in served.buckets["b"].objects if "out/" in n} == {
        f"out/{name}" for name in (*written, "manifest.json")
    }
    manifest = json.loads(served.get("gs://b/out/manifest.json"))
    assert manifest["rows"] == {"read": 602, "answered": 602, "rejected": 0}
    assert manifest["inputs"] == ["gs://b/in/part0.csv", "gs://b/in/part2.csv"]


def test_a_table_of_bigquery_is_answered_as_a_file_of_its_rows(
    tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pa.table({"delay": [30.0, None, -4.5], "carrier": ["UA", None, "AA"], "id": [1, 2, 3]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    one = predict(models["binary"], tmp_path / "rows.parquet", tmp_path / "o.parquet", keep=["id"])
    with bigquery.serving() as served:
        key = storage.write_credentials(tmp_path / "key.json", served.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.url)
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", served.address)
        served.tables["projects/p-1/datasets/d/tables/t"] = bigquery.Table(rows)
        out = tmp_path / "out"
        done = predict(models["binary"], "bq://p-1.d.t", out, keep=["id"], engine=THREE)
        with pytest.raises(SourceError, match="no table; write it as bq://project"):
            predict(models["binary"], "bq://p-1.t", tmp_path / "other")
        with pytest.raises(SourceError, match=r"no column 'ident'"):
            predict(models["binary"], "bq://p-1.d.t", tmp_path / "other", keep=["ident"])
    assert done.rows == 3
    assert pa.concat_tables(map(pq.read_table, out.glob("*.parquet"))) == pq.read_table(one.path)


def test_results_come_in_order_and_few_elements_are_taken_ahead() -> None:
    taken: list[int] = []

    def elements() -> Any:
        for n in range(20):
            taken.append(n)
            yield n

    results = map_ahead(lambda n: time.sleep(0.002 * (n % 3)) or n, elements(), 3)
    first = next(results)
    assert (first, len(taken)) == (0, 4)
    assert [first, *results] == list(range(20))


def test_an_error_in_taking_an_element_comes_after_those_of_earlier_elements() -> None:
    def elements() -> Iterator[int]:
        yield from (1, 0)
        raise KeyError("taken later")

    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda n: 1 // n, elements(), 5))
    results = map_ahead(lambda n: n + 1, elements(), 5)
    assert [next(results), next(results)] == [2, 1]
    with pytest.raises(KeyError, match="taken later"):
        next(results)
