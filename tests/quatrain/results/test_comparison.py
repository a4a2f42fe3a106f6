"""`quatrain compare`: what two runs are made of, their metrics, and their losses row by row."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from quatrain.cli import main
from quatrain.components import history
from quatrain.components.confidence import Z95
from quatrain.results.comparison import compare_runs
from tests.emulators import storage
from tests.quatrain.results.made_runs import record, run_document

N = 1000
DRAW = np.random.default_rng(7)
LABELS = DRAW.random(N) < 0.4
CHANCES = {"one": np.clip(LABELS * 0.4 + DRAW.random(N) * 0.6, 0.01, 0.99), "two": DRAW.random(N)}
ID = {"one": "20261123T060000-000001", "two": "20261130T060000-000002"}
DATA = {"uri": ["t.csv"], "files": 1, "digest": "d" * 64, "days": ""}
SPEC = {
    "name": "m",
    "columns": {"x": "float", "late": "bool"},
    "label": "late",
    "task": "binary",
    "split": {"by": "hash", "keys": ["x"]},
    "train": {"epochs": 10},
}


def predictions(task, name):
    """The predictions of a run's test rows."""
    chance = CHANCES[name].astype(np.float32)
    if task == "regression":
        labels = LABELS.astype(np.float32)
        return pa.table({"label": labels, "prediction": chance})
    labels = np.where(LABELS, "yes", "no")
    answers = {"probability_no": 1 - chance, "probability_yes": chance}
    return pa.table({"label": labels, **answers, "predicted_class": labels})


def put_run(
    root, name, task="binary", cuts=(), shards=None, data=DATA, table=None, model="m", **changed
):
    """Writes the folder of a measured run; `changed` is of its spec. Returns the folder."""
    folder = root / model / ID[name]
    evaluation, examples = folder / "pipeline/evaluation", folder / "pipeline/examples"
    for path in (evaluation, examples):
        path.mkdir(parents=True)
    table = predictions(task, name) if table is None else table
    ends = [*cuts, table.num_rows]
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        shard = f"{number:05d}-of-{len(ends):05d}.parquet"
        pq.write_table(table.slice(start, end - start), evaluation / f"predictions-{shard}")
    pq.write_table(
        pa.table({"weight": np.arange(N, dtype=np.float32)}), examples / "test-0.parquet"
    )
    rows = {"read": 9000, "test": table.num_rows}
    manifest = {"rows": rows, "files": {"test-0.parquet": "a"} if shards is None else shards}
    (examples / "manifest.json").write_text(json.dumps(manifest))
    auc = {"value": 0.8, "low": 0.78, "high": 0.82} if name == "one" else {"value": 0.5}
    metrics = {
        "version": 2,
        "name": model,
        "task": task,
        "label": "late",
        "rows": table.num_rows,
        "run": {"rows": rows, "data": data, "code": {"trainer": name * 30, "kfp": "2.17.0"}},
        "metrics": {"auc": auc, "rmse": auc},
        "gate": {"passed": name == "one", "checks": []},
        "warnings": [],
        "slices": [
            {"column": "c", "value": "red", "rows": 9, "metrics": {"auc": auc, "rmse": auc}}
        ],
    }
    (evaluation / "metrics.json").write_text(json.dumps(metrics))
    started = f"2026-11-{'23' if name == 'one' else '30'}T06:00:00+00:00"
    document = {**run_document(ID[name], started), "name": model}
    (folder / "run.json").write_text(json.dumps(document))
    spec = {**SPEC, "name": model, "task": task, **changed}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    (folder / "metrics.json").symlink_to("pipeline/evaluation/metrics.json")
    (folder / "examples").symlink_to("pipeline/examples")
    return folder


def losses(task, name):
    """The loss of each row, by hand."""
    chance = CHANCES[name].astype(np.float32).astype(np.float64)
    if task == "regression":
        return (chance - LABELS) ** 2
    return -np.log(np.where(LABELS, chance, (1 - CHANCES[name].astype(np.float32)).astype(float)))


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_losses_are_compared_row_by_row_however_the_shards_are_cut(tmp_path, task):
    before = put_run(tmp_path, "one", task, cuts=(3, 700))
    now = put_run(tmp_path, "two", task, cuts=(10,))
    paired = compare_runs(str(before), str(now))["paired"]
    theirs, ours = losses(task, "one"), losses(task, "two")
    ratio = (ours - theirs).mean() / theirs.mean()
    error = (ours - theirs).std() / np.sqrt(N - 1) / theirs.mean()
    power = 0.5 if task == "regression" else 1.0
    ends = [(1 + ratio + z * error) ** power - 1 for z in (0, -Z95, Z95)]
    assert list(paired["worse"].values()) == pytest.approx(ends, rel=1e-4)
    assert (paired["metric"], paired["rows"], paired["why"]) == (
        "rmse" if task == "regression" else "log_loss",
        N,
        "",
    )


def test_rows_count_by_their_weights(tmp_path):
    before = put_run(tmp_path, "one", weight="w")
    now = put_run(tmp_path, "two", weight="w")
    worse = compare_runs(str(before), str(now))["paired"]["worse"]
    w = np.arange(N)
    theirs, ours = (np.average(losses("binary", name), weights=w) for name in ("one", "two"))
    assert worse["value"] == pytest.approx(ours / theirs - 1, rel=1e-4)


def test_other_features_of_the_same_rows_are_compared_row_by_row(tmp_path):
    before = put_run(tmp_path, "one", features=[{"name": "x", "from": "x", "transform": "clip"}])
    now = put_run(tmp_path, "two", shards={"test-0.parquet": "b"})
    compared = compare_runs(str(before), str(now))
    assert compared["paired"]["worse"]["value"] > 0.5
    assert [change["what"] for change in compared["spec"]] == ["features"]


FLIPPED = predictions("binary", "two").set_column(0, "label", pa.array(["yes"] * N))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"data": {**DATA, "digest": "e" * 64}}, "their rows are from other files"),
        ({"data": {**DATA, "days": "2013"}}, "their rows are from other files"),
        ({"data": {}}, "it was not recorded from which files their test rows are"),
        ({"split": {"by": "hash", "keys": ["y"]}}, "split of their specs differs"),
        ({"clean": {"max_rejected": 0.5}}, "clean of their specs differs"),
        ({"columns": {"x": "int"}}, "a column of both is read in another way"),
        ({"table": predictions("binary", "two").slice(1)}, "their numbers of rows differ"),
        ({"table": FLIPPED}, "the labels of their test rows differ"),
    ],
)
def test_other_test_rows_are_not_compared_row_by_row(tmp_path, changed, why):
    before = put_run(tmp_path, "one")
    now = put_run(tmp_path, "two", shards={"test-0.parquet": "b"}, **changed)
    paired = compare_runs(str(before), str(now))["paired"]
    assert paired["worse"] is None
    assert paired["why"].startswith(why)


def test_predictions_that_are_gone_leave_the_rest_of_the_comparison(tmp_path):
    before, now = put_run(tmp_path, "one"), put_run(tmp_path, "two")
    for path in now.rglob("predictions-*"):
        path.unlink()
    compared = compare_runs(str(before), str(now))
    assert compared["paired"]["why"] == "one of them has predictions of more rows"
    assert compared["metrics"][0]["difference"] == pytest.approx(-0.3)
    for path in before.rglob("predictions-*"):
        path.unlink()
    compared = compare_runs(str(before), str(now))
    assert compared["paired"]["why"] == "neither of them has predictions any more"


def put_last_run(bucket, name):
    """Records which run of the model in a bucket was measured last."""
    parts: dict[str, object] = {key: {} for key in history._MEASURED}
    last = {**parts, "run": ID[name], "made": "2026-11-30"}
    bucket.put("gs://b/q/m/statistics/last.json", json.dumps(last).encode())


@pytest.fixture
def printed(capsys):
    """Calls `quatrain compare`, and returns its exit code, output and errors."""

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(["compare", *map(str, words)])
        out = capsys.readouterr()
        return ended.value.code or 0, out.out, out.err

    return call


def test_the_lines_show_spec_rows_code_metrics_and_slices(tmp_path, printed):
    put_run(tmp_path, "one")
    put_run(tmp_path, "two", train={"epochs": 20})
    code, out, err = printed("060000-000001", "m/20261130T06", "--root", tmp_path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split() == ["run", ID["one"], ID["two"]]
    assert "gate       passed                  failed" in lines
    assert "spec    train.epochs: 10 -> 20" in lines
    assert "code    trainer: oneoneoneone -> twotwotwotwo" in lines
    assert "auc     0.8000 (0.7800 to 0.8200)  0.5000  -0.3000" in lines
    assert any(line.startswith("on the same 1,000 test rows, log_loss is ") for line in lines)
    assert "c = red  9     0.8000 (0.7800 to 0.8200)  0.5000" in lines
    assert json.loads(printed(ID["one"], ID["two"], "--root", tmp_path, "--json")[1]).keys() == {
        *("before", "now", "spec", "rows", "data", "code", "metrics", "paired", "slices"),
    }


def test_runs_are_named_by_folders_links_ids_and_parts_of_ids(tmp_path, printed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put_run(tmp_path / "runs", "one")
    put_run(tmp_path / "runs", "two")
    (tmp_path / "runs/m/latest").symlink_to(ID["two"])
    (tmp_path / "runs/m/statistics").mkdir()
    (tmp_path / "runs/m/statistics/champion.json").write_text(json.dumps({"run": ID["one"]}))
    for words in (
        ["champion", "latest"],
        ["m/champion", "m/latest"],
        ["runs/m/" + ID["one"], "runs/m"],
        ["champion", "m"],
        [ID["one"], "000002"],
    ):
        code, out, err = printed(*words)
        assert (code, err) == (0, "")
        assert out.splitlines()[1].split() == ["run", ID["one"], ID["two"]]


def test_without_names_the_last_run_is_compared_with_the_champion_or_with_the_one_before(
    tmp_path, printed, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    put_run(tmp_path / "runs", "one")
    assert "has no run before it to be compared with; name two runs" in printed()[2]
    put_run(tmp_path / "runs", "two")
    champion = tmp_path / "runs/m/statistics/champion.json"
    champion.parent.mkdir(exist_ok=True)
    for run in ("one", "two"):
        champion.write_text(json.dumps({"run": ID[run]}))
        for words in ([], ["000001"]):
            code, out, err = printed(*words)
            assert (code, err) == (0, "")
            assert out.splitlines()[1].split() == ["run", ID["one"], ID["two"]]
    (tmp_path / "runs/m/latest").symlink_to(ID["two"])
    for word in ("000002", "latest", "m/latest", "m", "runs/m", "runs/m/latest"):
        assert "is the last run that was measured; name two runs" in printed(word)[2]


def test_the_runs_of_two_models_are_compared(tmp_path, printed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put_run(tmp_path / "runs", "one")
    put_run(tmp_path / "runs", "two", model="n")
    code, out, err = printed("m/latest", "n/latest")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split() == ["run", ID["one"], ID["two"]]
    assert lines[2].split() == ["model", "m", "n"]
    assert any(line.startswith("on the same 1,000 test rows, log_loss is ") for line in lines)


def test_a_quick_run_is_marked_beside_one_of_all_rows(tmp_path, printed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = put_run(tmp_path / "runs", "one")
    put_run(tmp_path / "runs", "two")
    assert "quick" not in printed("000001", "000002")[1]
    document = json.loads((one / "run.json").read_text())
    (one / "run.json").write_text(json.dumps({**document, "quick": True}))
    lines = printed("000001", "000002")[1].splitlines()
    assert ["quick", "run", "yes", "no"] in [line.split() for line in lines]
    assert "one was a quick run: a sample of the rows, and a few epochs" in lines


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["2026", "latest"], "'2026' is a part of 2 ids of runs: m/20261130T060000-000002, m/2026"),
        (["1999", "latest"], "'1999' is no folder here and no run of runs"),
        (["champion", "latest"], "runs/m has no champion, since no run passed its gate"),
        (["n/latest", "latest"], "runs/n is no folder; name a run"),
        (["gs://b", "latest"], "gs://b is no run; name one as gs://BUCKET/ROOT/NAME/RUN"),
    ],
)
def test_a_run_that_is_not_there_is_a_sentence(tmp_path, printed, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        put_run(tmp_path / "runs", name)
    code, out, err = printed(*words)
    assert (code, out) == (1, "")
    assert sentence in err


def test_a_run_that_was_not_measured_says_how_far_it_got(tmp_path, printed):
    put_run(tmp_path, "one")
    folder = tmp_path / "m" / ID["two"]
    folder.mkdir()
    document = run_document(ID["two"], "", status="failed", error="step train failed: no memory")
    (folder / "run.json").write_text(json.dumps(document))
    code, _, err = printed("000001", "000002", "--root", tmp_path)
    assert code == 1
    assert "failed before the end of evaluate: step train failed: no memory" in err


def test_runs_of_other_labels_are_not_compared(tmp_path, printed):
    put_run(tmp_path, "one")
    put_run(tmp_path, "two", "regression")
    code, _, err = printed("000001", "000002", "--root", tmp_path)
    assert code == 1
    assert "has the task 'binary'" in err


def test_runs_of_a_bucket_are_compared_as_those_of_folders(tmp_path, printed, monkeypatch):
    with storage.serving() as bucket:
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", bucket.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.url)
        key = storage.write_credentials(tmp_path / "key.json", bucket.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        bucket.add_bucket("b")
        here = []
        for name in ("one", "two"):
            folder = put_run(tmp_path, name)
            here.append(folder)
            job = f"gs://b/q/123/{ID[name]}"
            for path in (folder / "pipeline").rglob("*.*"):
                bucket.put(f"{job}/{path.relative_to(folder / 'pipeline')}", path.read_bytes())
            places = {a: f"{job}/{a}" for a in ("examples", "evaluation", "model")}
            document = record(ID[name], "2026-11-23T06:00:00+00:00", spec=SPEC, artifacts=places)
            uri = f"gs://b/q/m/statistics/runs/{ID[name]}.json"
            bucket.put(uri, json.dumps(document).encode())
        compared = compare_runs(*map(str, here))
        words = ([f"gs://b/q/m/{ID['one']}", f"gs://b/q/m/{ID['two']}"], ["000001", "m/000002"])
        for run in words:
            code, out, err = printed(*run, "--root", "gs://b/q", "--json")
            assert code == 0, err
            found = json.loads(out)
            assert found["now"]["place"] == f"gs://b/q/m/{ID['two']}"
            for key in ("spec", "rows", "metrics", "paired", "slices"):
                assert found[key] == compared[key]
        put_last_run(bucket, "two")
        for word in ("m/latest", "gs://b/q/m/latest", f"gs://b/q/m/{ID['two']}"):
            _, _, err = printed(word, "--root", "gs://b/q")
            assert "is the last run that was measured; name two runs" in err
