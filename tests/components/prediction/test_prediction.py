"""The prediction pipeline: the champion answers a window, complete or absent, by one file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from quatrain.cli import main
from quatrain.components import history
from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError, DataError, DriftFailed, SourceError
from quatrain.components.folder import read_manifest
from quatrain.components.prediction import compare, run
from quatrain.components.prediction.inputs import find, partition_of
from quatrain.components.serve.input_rows import InputRows
from quatrain.components.serve.served_model import read_transform
from quatrain.pipelines.compiled import compile_pipeline, read_compiled
from quatrain.validation.load import validate
from tests.components.handmade import make_rows, make_spec, write_examples
from tests.emulators import bigquery, storage
from tests.emulators.bigquery_jobs import Dataset
from tests.emulators.notices import notices_server

DAY, RUN = "2026-11-12", "20261101T000000-000001"


def write_day(
    folder: Path, day: str, n: int, seed: int = 0, bad: int = 0, shift: float = 0
) -> Path:
    """Writes the rows of a day, without a label; the last `bad` of them cannot be read."""
    rows = make_rows(n, seed=seed).to_pylist()
    lines = [
        f"{'' if r['delay'] is None else round(r['delay'] + shift, 1)},{r['carrier'] or ''},{i}"
        for i, r in enumerate(rows)
    ]
    lines += ["soon,AA,-1"] * bad
    path = folder / f"rows-{day}.csv"
    path.write_text("\n".join(["delay,carrier,day", *lines, ""]))
    return path


class Prediction:
    """A champion below a root, and the steps of the pipeline on it."""

    def __init__(self, folder: Path, model: Path, **drift: Any) -> None:
        self.folder, self.root = folder, str(folder / "runs")
        document = json.loads(make_spec())
        document |= {"drift": drift} if drift else {}
        document["source"] = {"uri": f"{folder}/rows-{{date}}.csv", "window": "1d"}
        self.document = document
        self.spec = validate(document).as_json()
        place = folder / "runs/hand-made" / RUN / "pipeline/job/plan/model"
        shutil.copytree(model, place / "model")
        write_day(folder, "2026-10-01", 2000, seed=9)
        transform = read_transform(place / "model")
        rows = InputRows.of(str(folder / "rows-2026-10-01.csv"), transform, ())
        kept = compare.summarize(rows, rows.spans, transform) | {"label": {"column": "late"}}
        examples = write_examples(folder / "examples", {"train": make_rows(9)}, kept=kept)
        metadata = sha256_of(place / "model/metadata.json")
        record = (str(place), {"by": "hash"}, metadata)
        history.record_run(self.root, "hand-made", RUN, "2026-11-01", examples, *record)

    def find(self) -> dict[str, Any]:
        """Runs the first step."""
        clocks = (f"{DAY}T03:00:00Z",)
        inputs = find(self.spec, project="", root=self.root, at="", clocks=clocks)
        return {key: getattr(inputs, key) for key in ("at", "digest", "champion")}

    def compare(self, found: dict[str, Any]) -> dict[str, Any]:
        """Runs the second step, and returns drift.json."""
        out = str(self.folder / "drift")
        compare.compare_inputs(self.spec, root=self.root, project="", out=out, **found)
        return read_manifest(out, "drift.json", "compare")

    def predict(self, found: dict[str, Any], **options: Any) -> Path:
        """Runs the last step, and returns the partition."""
        where = {"root": self.root, "runner": "local", "project": "", "location": "local"}
        return Path(run.predict(self.spec, **where, **found, **options))


@pytest.fixture
def prediction(tmp_path: Path, models: dict[str, Path]) -> Prediction:
    return Prediction(tmp_path, models["binary"])


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_champion_answers_the_day_before_into_a_partition(
    prediction: Prediction,
) -> None:
    write_day(prediction.folder, "2026-11-11", 300, bad=2)
    write_day(prediction.folder, "2026-11-12", 7)  # of the day itself, which has not ended
    out = prediction.predict(prediction.find())
    assert str(out) == partition_of(prediction.root, "hand-made", DAY)
    manifest = read_manifest(out, "manifest.json", "predict")
    assert manifest["rows"] == {"read": 302, "answered": 300, "rejected": 2}
    assert (manifest["champion"]["run"], manifest["day"]) == (RUN, DAY)
    assert manifest["window"]["last"] == "2026-11-11"
    table = pq.read_table(out / "predictions-00000-of-00001.parquet")
    assert table.column("day").to_pylist() == [str(i) for i in range(300)]  # the key of the split
    assert "probability_true" in table.column_names


def test_a_repeated_day_has_the_same_bytes_and_another_one_replaces_it(
    prediction: Prediction,
) -> None:
    write_day(prediction.folder, "2026-11-11", 300, bad=1)
    first = bytes_of(prediction.predict(prediction.find()))
    assert bytes_of(prediction.predict(prediction.find())) == first
    write_day(prediction.folder, "2026-11-11", 20, seed=3)
    out = prediction.predict(prediction.find(), keep=["carrier"])
    assert read_manifest(out, "manifest.json", "predict")["rows"]["answered"] == 20
    assert sorted(bytes_of(out)) == sorted(first)
    shard = pq.read_table(out / "predictions-00000-of-00001.parquet")
    assert (shard.num_rows, shard.column_names[0]) == (20, "carrier")


def predict_table(words: list[str]) -> Any:
    """Runs the pipeline with a table, and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "-o", "bq://p-1.d.answers"])
    return ended.value.code


def test_the_partition_of_a_table_gets_the_rows_of_the_day(
    prediction: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_day(prediction.folder, "2026-11-11", 30, bad=1)
    words = ["predict", f"{prediction.folder}/spec.yaml", "--root", prediction.root, "--at", DAY]
    document = {**prediction.document, "predict": {"keep": ["carrier", "day"]}}
    Path(words[1]).write_text(yaml.safe_dump(document))
    with bigquery.serving() as served:
        key = storage.write_credentials(prediction.folder / "key.json", served.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", served.url)
        served.datasets["p-1.d"] = Dataset()
        assert predict_table(words) == 0
        path.write_text("delay,carrier,day\n1,AA,7\n")
        assert predict_table(words) == 0
        served.loads.failures = [("quotaExceeded", "Quota exceeded: imports per table")]
        path.write_text("delay,carrier,day\n2,AA,8\n")
        assert predict_table(words) == 1
    table = served.tables["projects/p-1/datasets/d/tables/answers"]
    [(day, rows)] = table.partitions.items()
    assert (day, rows.column_names[:2]) == ("20261112", ["carrier", "day"])
    assert rows.column("day").to_pylist() == ["7"]  # of the last load that succeeded
    # The folder is absent where the table could not be written.
    assert not Path(partition_of(prediction.root, "hand-made", DAY)).exists()


def test_files_that_changed_since_the_job_began_leave_no_partition(prediction: Prediction) -> None:
    path = write_day(prediction.folder, "2026-11-11", 30)
    found = prediction.find()
    path.write_text(path.read_text() + "1.0,AA,31\n")
    with pytest.raises(SourceError, match="are not those that the run found when it began"):
        prediction.predict(found)
    with pytest.raises(SourceError, match="are not those that the run found when it began"):
        prediction.compare(found)
    assert not Path(partition_of(prediction.root, "hand-made", DAY)).exists()


def test_too_many_rejected_rows_leave_no_partition(prediction: Prediction) -> None:
    write_day(prediction.folder, "2026-11-11", 8, bad=2)
    with pytest.raises(DataError, match=r"10 rows, 2 rows were rejected, more than .*=0\.1"):
        prediction.predict(prediction.find())
    assert not Path(partition_of(prediction.root, "hand-made", DAY), "manifest.json").exists()


def test_rows_as_those_of_training_do_not_warn_and_moved_ones_do(prediction: Prediction) -> None:
    write_day(prediction.folder, "2026-11-11", 1000, seed=4)
    [comparison] = prediction.compare(prediction.find())["comparisons"]
    assert comparison["rows"] == {"before": 2000, "now": 1000}
    assert [column["column"] for column in comparison["columns"]] == ["delay", "carrier"]
    verdicts = {c["verdict"] for column in comparison["columns"] for c in column["checks"]}
    assert verdicts == {"passed"}
    assert {c["verdict"] for c in comparison["checks"]} == {"passed"}  # half as many rows
    write_day(prediction.folder, "2026-11-11", 1000, seed=4, shift=40)
    [comparison] = prediction.compare(prediction.find())["comparisons"]
    moved = [c["measure"] for c in comparison["columns"][0]["checks"] if c["verdict"] == "warn"]
    assert "psi" in moved


def log_requests(prediction: Prediction, n: int, shift: float, day: str = "2026-11-11") -> None:
    """Writes a log of requests, and names it in the spec."""
    log = prediction.folder / "requests.jsonl"
    rows = make_rows(n, seed=5).select(["delay", "carrier"]).to_pylist()
    lines = [
        {
            "endpoint": "hand-made",
            "deployed_model_id": RUN,
            "logging_time": f"{day}T05:00:00Z",
            "request_id": i,
            "request_payload": [json.dumps({**r, "delay": (r["delay"] or 0) + shift})],
            "response_payload": [],
        }
        for i, r in enumerate(rows)
    ]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    prediction.document["release"] = {"log": str(log)}
    prediction.spec = validate(prediction.document).as_json()


def test_the_requests_of_the_window_are_compared_beside_its_rows(prediction: Prediction) -> None:
    write_day(prediction.folder, "2026-11-11", 1000, seed=4)
    log_requests(prediction, 500, shift=40)
    drift = prediction.compare(prediction.find())
    rows, requests = drift["comparisons"]
    assert (rows["rows"]["now"], requests["rows"]["now"]) == (1000, 500)
    assert "served" not in rows and requests["served"]
    moved = [c["measure"] for c in requests["columns"][0]["checks"] if c["verdict"] == "warn"]
    assert {"psi", "mean"} <= set(moved)
    assert drift["served"]["sentence"].startswith("500 requests served from 2026-11-11")
    log_requests(prediction, 500, shift=40, day=DAY)  # the day of the job has not ended
    drift = prediction.compare(prediction.find())
    assert "has none to hand-made from 2026-11-11 to 2026-11-11" in drift["served"]["sentence"]


def test_drift_above_its_fail_predicts_nothing(tmp_path: Path, models: dict[str, Path]) -> None:
    moved = Prediction(tmp_path, models["binary"], mean={"warn": 0.5, "fail": 1})
    write_day(tmp_path, "2026-11-11", 1000, shift=40)
    with pytest.raises(DriftFailed, match=r"delay: mean=.* is above drift\.mean\.fail 1"):
        moved.compare(moved.find())
    assert (tmp_path / "drift/drift.json").exists()


def test_without_a_champion_nothing_is_predicted(prediction: Prediction) -> None:
    write_day(prediction.folder, "2026-11-11", 9)
    shutil.rmtree(Path(prediction.root, "hand-made/statistics"))
    with pytest.raises(ArtifactError, match="hand-made has no champion below"):
        prediction.find()


def test_a_champion_replaced_while_the_job_runs_is_not_compared_with(
    prediction: Prediction,
) -> None:
    write_day(prediction.folder, "2026-11-11", 9)
    found = prediction.find()
    examples = prediction.folder / "examples"
    history.record_run(prediction.root, "hand-made", "run-8", "2026-11-12", examples, "m", {}, "0")
    with pytest.raises(ArtifactError, match="is not any more; start the job again"):
        prediction.compare(found)


def test_the_command_runs_the_very_file_that_vertex_gets(
    prediction: Prediction, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_day(prediction.folder, "2026-11-11", 50, bad=1)
    log_requests(prediction, 300, shift=40)
    monkeypatch.chdir(prediction.folder)
    Path("spec.yaml").write_text(yaml.safe_dump(prediction.document))
    image = "europe-west1-docker.pkg.dev/my-project/r/quatrain@sha256:" + "0a" * 32
    sent = read_compiled(compile_pipeline(Path("prediction.yaml"), image, predicts=True))
    with pytest.raises(SystemExit) as ended:
        main(["predict", "spec.yaml", "--at", DAY, "--pipeline", "prediction.yaml", "--json"])
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    document = json.loads(printed.out)
    assert document["rows"] == {"read": 51, "answered": 50, "rejected": 1}
    assert Path(document["path"]) == Path("runs/hand-made/predictions", f"day={DAY}")
    record = Path("runs/.predictions/hand-made/latest/run.json")
    executed = json.loads(record.read_text())
    assert executed["pipeline"] == {"file": "prediction.yaml", "sha256": sent.sha256}
    assert [step["name"] for step in executed["steps"]] == list(sent.steps)
    [drift] = {path.resolve() for path in Path("runs/.predictions").rglob("drift.json")}
    assert json.loads(drift.read_text())["served"]["rows"] == 300
    assert sha256_of(record.with_name("prediction.yaml")) == sent.sha256
    assert not Path("runs/hand-made/latest").exists()  # it is no run that trains


@pytest.mark.parametrize(
    ("day", "drift", "event", "step"),
    [
        ({}, {}, "predicted", ""),
        ({"shift": 40}, {"mean": {"warn": 0.5}}, "predicted", ""),
        ({"shift": 40}, {"mean": {"warn": 0.5, "fail": 1}}, "drift", "compare-inputs"),
        ({"bad": 900}, {}, "failed", "predict"),
        (None, {}, "failed", "find-inputs"),
    ],
)
def test_a_prediction_s_end_is_heard_of_with_the_drift_of_its_inputs(
    tmp_path: Path,
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    day: dict[str, Any] | None,
    drift: dict[str, Any],
    event: str,
    step: str,
) -> None:
    prediction = Prediction(tmp_path, models["binary"], **drift)
    if day is not None:
        write_day(tmp_path, "2026-11-11", 1000, seed=4, **day)
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(yaml.safe_dump(prediction.document))
    with notices_server() as server:
        call = ["predict", "spec.yaml", "--at", DAY, "--notify", f"{server.url}/hook?key=T0K3N"]
        with pytest.raises(SystemExit) as ended:
            main(call)
        [post] = server.posts("/hook?key=T0K3N")
    fields = post["quatrain"]
    assert (fields["event"], fields["step"], fields["model"]) == (event, step, "hand-made")
    assert bool(fields["drift"]) == bool(drift)
    assert bool(ended.value.code) == bool(step) == bool(fields["reason"])
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    assert not [path for path in files if b"T0K3N" in path.read_bytes()]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["spec.yaml", "rows.csv"], "is a spec, whose window is predicted; leave out an INPUT"),
        (["spec.yaml", "-o", "x.csv"], "leave out -o"),
        (["runs/x", "rows.csv", "--at", DAY], "--at, --set, --pipeline and --notify are"),
    ],
)
def test_a_mixture_of_both_forms_of_the_verb_is_refused(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", *arguments])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
