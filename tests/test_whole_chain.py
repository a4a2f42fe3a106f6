"""The compiled file runs whole on this machine: three tables through one file, both gate sides."""

import csv
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import yaml

from quatrain.components.artifacts import sha256_of
from quatrain.components.table.versions import digest_versions, find_versions

pytestmark = pytest.mark.whole

QUATRAIN = [sys.executable, "-c", "from quatrain.cli import main; main()"]
ROOT = Path(__file__).parents[1]
RUNS = "runs ü%41#x?y[1]*"
"""The folder of all runs has a name that a uri would quote, and a glob would take otherwise."""
SERVING = (ROOT / "docs/serving.md").read_text()
RENAMES = """
import os, sys

def note(event, arguments, file=os.environ["RENAMED_FOLDERS"]):
    if event != "os.rename" or os.path.islink(arguments[0]):  # links to runs are replaced
        return
    if os.path.isdir(arguments[0]):
        with open(file, "a") as stream:
            print(os.path.abspath(arguments[0]), file=stream)

sys.addaudithook(note)
"""
"""Imported by every process but the trainer's, which sees its package alone."""

SPEC: dict[str, Any] = {
    "name": "toys",
    "source": {"uri": "toys.csv"},
    "columns": {
        "id": "string",
        "size": "float",
        "colour": "string",
        "sold": "timestamp",
        "weekend": "int",
    },
    "clean": {
        "reject": {"unsold": "sold IS NULL"},
        "derive": {"big": "coalesce(size, 0) + weekend * 2 > 5"},
    },
    "label": "big",
    "task": "binary",
    "split": {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2},
    "features": [
        {"name": "size", "from": "size", "transform": "standardize"},
        {"name": "size_bucket", "from": "size", "transform": "bucketize", "buckets": 8},
        {"name": "colour", "from": "colour", "transform": "vocabulary"},
        {"name": "weekday", "from": "sold", "transform": "cyclic", "part": "day_of_week"},
    ],
    "train": {"epochs": 4, "batch_size": 64, "learning_rate": 0.01},
    "evaluate": {"slices": ["colour"], "gate": {"auc": {"min": 0.9}}},
}


@dataclass(frozen=True)
class Outcome:
    """A finished command and the folder of its run."""

    completed: subprocess.CompletedProcess
    run: Path

    def json(self, name: str) -> Any:
        return json.loads((self.run / name).read_text())


def quatrain(*words: object, cwd: Path) -> subprocess.CompletedProcess:
    (cwd / "site").mkdir(exist_ok=True)
    (cwd / "site/sitecustomize.py").write_text(RENAMES)
    env = {**os.environ, "PYTHONPATH": f"{cwd}/site:{ROOT}"}
    env["RENAMED_FOLDERS"] = str(cwd / "site/renamed")
    command = [*QUATRAIN, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900)


def run_spec(spec: dict[str, Any], folder: Path, *options: object) -> Outcome:
    path = folder / f"{spec['name']}.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    completed = quatrain("run", path, "--root", folder / RUNS, *options, cwd=folder)
    runs = (folder / RUNS / spec["name"]).glob("*/run.json")
    return Outcome(completed, max(file.parent.resolve() for file in runs))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small table: 900 rows, of which 30 are unsold and one is torn."""
    folder = tmp_path_factory.mktemp("toys")
    draw = random.Random(7)  # noqa: S311 - test data
    with (folder / "toys.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "size", "colour", "sold", "weekend", "note"])
        for i in range(900):
            day = draw.randrange(1, 29)
            sold = "" if i % 30 == 0 else f"2013-07-{day:02d} 10:00:00"
            size = "" if i % 17 == 1 else f"{draw.uniform(0, 10):.3f}"
            colour = draw.choice(["red", "green", "blue, dark", "NA"])
            writer.writerow([f"t{i}", size, colour, sold, int(day % 7 in (6, 0)), "x"])
        file.write("t900,3.5\n")
    return folder


@pytest.fixture(scope="module")
def passed(folder: Path) -> Outcome:
    return run_spec(SPEC, folder)


@pytest.fixture(scope="module")
def failed(folder: Path, passed: Outcome) -> Outcome:
    """The same table on two synchronous replicas, with a gate that no model passes."""
    evaluate = {"slices": ["colour"], "gate": {"log_loss": {"max": 0}}}
    spec = {**SPEC, "evaluate": evaluate}
    options = ["--tier", "STANDARD_1", "--set", "train.replicas=2", "--no-cache"]
    return run_spec(spec, folder, *options)


@pytest.fixture(scope="module")
def drifted(folder: Path, failed: Outcome) -> Outcome:
    """The table without its small toys, under limits that this breaks."""
    clean = {"reject": {"unsold": "sold IS NULL", "small": "size < 5"}, "max_rejected": 0.9}
    clean["derive"] = SPEC["clean"]["derive"]
    spec = {**SPEC, "clean": clean, "drift": {"mean": {"warn": 0.2, "fail": 0.5}}}
    return run_spec(spec, folder)


@pytest.fixture(scope="module")
def regression(folder: Path, passed: Outcome) -> Outcome:
    """Another table, task, format and a tuned model of its own through the file of the first."""
    pq.write_table(
        pacsv.read_csv(folder / "toys.csv", parse_options=LENIENT), folder / "toys.parquet"
    )
    spec = {
        **SPEC,
        "name": "sizes",
        "source": {"uri": "toys.parquet", "format": "parquet"},
        "columns": {"id": "string", "size": "float", "colour": "string", "weekend": "int"},
        "clean": {},
        "label": "size",
        "task": "regression",
        "features": [
            {"name": "route", "from": ["colour", "weekend"], "transform": "cross", "buckets": 20},
            {"name": "weekend", "from": "weekend", "transform": "clip", "min": 0, "max": 1},
        ],
        "train": {**SPEC["train"], "trainer": str(ROOT / "examples/own-model/model.py")},
        "evaluate": {"skew_tolerance": 0.001},
    }
    tune = "{trials: 2, parallel: 2, space: {learning_rate: [0.01, 0.02], bins: [4, 8]}}"
    options = ["--pipeline", passed.run / "training.yaml", "--set", f"train.tune={tune}"]
    return run_spec(spec, folder, *options)


LENIENT = pacsv.ParseOptions(invalid_row_handler=lambda row: "skip")


def test_no_step_renames_a_folder(folder: Path, passed: Outcome, regression: Outcome) -> None:
    renamed = folder / "site/renamed"
    paths = renamed.read_text().splitlines() if renamed.exists() else []
    assert [path for path in paths if path.startswith(str(folder))] == []


def test_a_run_ends_with_a_passed_gate_and_every_artifact(passed: Outcome) -> None:
    assert passed.completed.returncode == 0, passed.completed.stderr
    assert passed.json("run.json")["status"] == "succeeded"
    assert [s["name"] for s in passed.json("run.json")["steps"]] == [
        "preprocess",
        "package",
        "train",
        "evaluate",
    ]
    assert passed.json("metrics.json")["gate"]["passed"] is True
    assert (passed.run / "report.html").stat().st_size > 10_000


def test_the_metrics_of_classes_are_those_of_the_predictions(passed: Outcome) -> None:
    predictions = pq.read_table(next(passed.run.rglob("predictions-*.parquet")))
    truth = np.array(predictions.column("label").to_pylist()) == "true"
    chance = predictions.column("probability_true").to_numpy().astype(np.float64)
    higher = chance[truth][:, None] - chance[~truth][None, :]
    expected = {
        "auc": np.mean((higher > 0) + 0.5 * (higher == 0)),
        "log_loss": -np.mean(np.log(np.where(truth, chance, 1 - chance))),
        "brier": np.mean((chance - truth) ** 2),
        "accuracy": np.mean((chance >= 0.5) == truth),
    }
    measured = passed.json("metrics.json")
    assert measured["rows"] == len(truth) == passed.json("examples/manifest.json")["rows"]["test"]
    values = {name: measured["metrics"][name]["value"] for name in expected}
    assert values == pytest.approx(expected, abs=1e-5)
    assert values["auc"] > 0.9


def test_the_metrics_of_numbers_are_those_of_the_predictions(regression: Outcome) -> None:
    predictions = pq.read_table(next(regression.run.rglob("predictions-*.parquet")))
    truth, answer = (predictions.column(n).to_numpy() for n in ("label", "prediction"))
    error = answer.astype(np.float64) - truth
    expected = {
        "rmse": np.sqrt(np.mean(error**2)),
        "mae": np.mean(np.abs(error)),
        "r2": 1 - np.mean(error**2) / np.var(truth),
    }
    values = {n: regression.json("metrics.json")["metrics"][n]["value"] for n in expected}
    assert values == pytest.approx(expected, abs=1e-5)


def test_the_file_that_ran_is_the_file_that_compile_writes(passed: Outcome, folder: Path) -> None:
    completed = quatrain("compile", "-o", folder / "again.yaml", cwd=folder)
    assert completed.returncode == 0, completed.stderr
    assert (folder / "again.yaml").read_bytes() == (passed.run / "training.yaml").read_bytes()


def test_every_row_of_the_table_is_accounted_for(passed: Outcome) -> None:
    manifest = passed.json("examples/manifest.json")
    rows = manifest["rows"]
    assert rows["read"] == 901
    assert rows["train"] + rows["validation"] + rows["test"] + rows["rejected"] == 901
    assert {n: r["rows"] for n, r in manifest["reasons"].items()} == {"unsold": 30, "short_row": 1}
    torn = pq.read_table(passed.run / "rejected").filter(pa.compute.field("reason") == "short_row")
    assert torn.column("row").to_pylist() == [b"t900,3.5"]


def test_the_lineage_names_the_files_and_digests_of_the_run(passed: Outcome) -> None:
    lineage, made_by = passed.json("lineage.json"), passed.json("metrics.json")["made_by"]
    versions = {f["uri"]: f["version"] for f in lineage["source"]["files"]}
    assert versions and versions == find_versions(versions)
    assert lineage["source"]["digest"] == digest_versions(versions)
    assert lineage["spec"] == passed.json("run.json")["spec"]
    assert lineage["pipeline"] == passed.json("run.json")["pipeline"]["sha256"]
    assert lineage["trainer"] == made_by["package"]
    assert lineage["model"] == sha256_of(passed.run / "model/metadata.json")
    assert lineage["examples"]["transform"] == sha256_of(passed.run / "examples/transform.json")
    assert lineage["image"] == {"steps": "", "training": ""}
    assert made_by["lineage"] == sha256_of(passed.run / "lineage.json")


def test_the_model_says_which_package_trained_it(passed: Outcome) -> None:
    metadata = passed.json("model/metadata.json")
    (package,) = passed.run.rglob("quatrain_trainer-*.tar.gz")
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    assert metadata["package_sha256"] == digest
    assert digest in package.name


def test_predict_answers_what_evaluate_saw(passed: Outcome, folder: Path) -> None:
    (shard,) = passed.run.rglob("test-00000-of-*.parquet")
    (predictions_path,) = passed.run.rglob("predictions-*.parquet")
    raw = pq.read_table(shard).select(["raw_size", "raw_colour", "raw_sold"])
    pacsv.write_csv(raw.rename_columns(["size", "colour", "sold"]), folder / "raw.csv")
    shutil.copytree(passed.run / "model", folder / "a copy")  # the record names it by its digest
    words = ("predict", "a copy", "raw.csv", "-o", "out.csv", "--root", RUNS)
    completed = quatrain(*words, cwd=folder)
    assert completed.returncode == 0, completed.stderr
    ours = pacsv.read_csv(folder / "out.csv").column("probability_true").to_pylist()
    theirs = pq.read_table(predictions_path).column("probability_true").to_pylist()
    assert ours == pytest.approx(theirs, abs=1e-7)


def test_the_serving_page_calls_the_model_as_predict_does(passed: Outcome, folder: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", SERVING, re.S)
    print_answers = "print(json.dumps([probabilities.tolist(), predicted, same.tolist()]))\n"
    (folder / "runs").symlink_to(RUNS)  # TensorFlow itself would take the name for a glob
    command = [sys.executable, "-c", block + print_answers]
    completed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    probabilities, predicted, same = json.loads(completed.stdout.splitlines()[-1])

    rows = "size,colour,sold\n7.5,red,2013-07-06 10:00:00\n,,2013-07-06 10:00:00\n1,never seen,\n"
    (folder / "served.csv").write_text(rows)
    model = f"{RUNS}/toys/latest/model"
    words = ("predict", model, "served.csv", "-o", "s.parquet", "--root", RUNS)
    run = quatrain(*words, cwd=folder)
    assert run.returncode == 0, run.stderr
    written = pq.read_table(folder / "s.parquet").to_pydict()
    assert list(written) == ["probability_false", "probability_true", "predicted_class"]
    assert predicted == written["predicted_class"]
    assert [p[1] for p in probabilities] == pytest.approx(written["probability_true"], abs=1e-6)
    assert same[0] == pytest.approx(probabilities[0], abs=1e-6)


@pytest.mark.parametrize("name", ["metadata.json", "transform.json"])
def test_the_serving_page_tells_every_key_of_the_model(passed: Outcome, name: str) -> None:
    section = re.split(rf"^## {name}$", SERVING, flags=re.M)[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, flags=re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == set(passed.json(f"model/{name}"))


def test_the_serving_page_tells_the_columns_of_rejected_rows(passed: Outcome) -> None:
    section = SERVING.split("## rejected/")[1]
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \|", section, flags=re.M)
    written = pq.read_table(passed.run / "rejected").schema
    assert documented == [(f.name, str(f.type)) for f in written]


def test_report_prints_how_a_run_went(passed: Outcome, folder: Path) -> None:
    completed = quatrain("report", passed.run, cwd=folder)
    assert completed.returncode == 0, completed.stderr
    auc = passed.json("metrics.json")["metrics"]["auc"]["value"]
    assert f"{auc:.4f}" in next(x for x in completed.stdout.splitlines() if "auc" in x)
    page = passed.run.relative_to(folder) / "report.html"
    assert completed.stdout.splitlines()[-1] == f"page: {page}"


def test_a_missed_gate_fails_the_run_with_the_number_and_keeps_the_report(failed: Outcome) -> None:
    assert failed.completed.returncode == 1
    assert "is above the gate 0.0000" in failed.completed.stderr
    assert "not promoted" in failed.completed.stderr
    assert failed.completed.stderr.endswith(f"\nreport: {failed.run}/report.html\n")
    assert "Traceback" not in failed.completed.stderr
    assert failed.json("run.json")["status"] == "failed"
    assert failed.json("metrics.json")["gate"]["passed"] is False
    assert "not promoted" in (failed.run / "report.html").read_text()


def test_a_first_run_has_nothing_to_compare_with(passed: Outcome) -> None:
    assert passed.json("drift.json")["comparisons"] == []
    assert "There is nothing to compare with" in (passed.run / "report.html").read_text()


def test_a_run_is_compared_with_the_last_that_passed_its_gate(
    passed: Outcome, failed: Outcome
) -> None:
    (recorded,) = failed.json("drift.json")["comparisons"]
    assert (recorded["run"], recorded["against"]) == (passed.run.name, ["previous", "champion"])
    checks = [check for column in recorded["columns"] for check in column["checks"]]
    assert {check["verdict"] for check in checks} == {"passed"}
    assert max(check["value"] for check in checks) == 0
    assert passed.run.name in (failed.run / "report.html").read_text()


def test_a_model_is_compared_with_the_champion_on_the_same_rows(
    passed: Outcome, failed: Outcome
) -> None:
    assert passed.json("metrics.json")["champion"] is None
    assert passed.json("lineage.json")["champion"] is None
    assert failed.json("lineage.json")["champion"] == {
        "run": passed.run.name,
        "metadata": passed.json("lineage.json")["model"],
        "why": "",
    }
    recorded = failed.json("metrics.json")
    champion, theirs = recorded["champion"], passed.json("metrics.json")["metrics"]
    assert (champion["run"], champion["why"]) == (passed.run.name, "")
    assert champion["metrics"]["log_loss"] == theirs["log_loss"]
    assert abs(champion["worse"]["value"]) < 0.01  # two replicas learn what one learns
    (check,) = [c for c in recorded["gate"]["checks"] if c["metric"] == "champion"]
    assert check["passed"]


def test_too_much_drift_stops_the_run_before_it_trains(passed: Outcome, drifted: Outcome) -> None:
    assert drifted.completed.returncode == 1
    assert "step preprocess failed" in drifted.completed.stderr
    assert "size: mean=" in drifted.completed.stderr
    assert "is above drift.mean.fail 0.5" in drifted.completed.stderr
    assert "Traceback" not in drifted.completed.stderr
    assert [s["name"] for s in drifted.json("run.json")["steps"]] == ["preprocess"]
    (recorded,) = drifted.json("drift.json")["comparisons"]
    assert recorded["run"] == passed.run.name  # the run that failed its gate left no statistics


def test_two_replicas_train_the_job_together(failed: Outcome) -> None:
    metadata = failed.json("model/metadata.json")
    assert (metadata["tier"], metadata["replicas"]) == ("STANDARD_1", 2)
    assert metadata["strategy"] == "multi_worker"


def test_two_replicas_learn_what_one_learns(passed: Outcome, failed: Outcome) -> None:
    one, two = (o.json("model/metadata.json")["history"] for o in (passed, failed))
    losses = [[e["validation_loss"] for e in history] for history in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_two_runs_give_the_same_bytes(passed: Outcome, failed: Outcome) -> None:
    one, two = digests(passed.run / "examples"), digests(failed.run / "examples")
    assert one == two
    assert failed.json("run.json")["steps"][0]["cached"] == {}
    names = [next(o.run.rglob("quatrain_trainer-*.tar.gz")).name for o in (passed, failed)]
    assert names[0] == names[1]


def test_the_same_file_trains_another_table(passed: Outcome, regression: Outcome) -> None:
    assert regression.completed.returncode in (0, 1), regression.completed.stderr
    assert (
        "step evaluate failed" in regression.completed.stderr
        or regression.completed.returncode == 0
    )
    digest = [o.json("run.json")["pipeline"]["sha256"] for o in (passed, regression)]
    assert digest[0] == digest[1]
    assert regression.json("metrics.json")["task"] == "regression"
    assert regression.json("examples/manifest.json")["reasons"]["label_missing"]["rows"] > 0


def test_the_best_trial_s_settings_train_the_model(regression: Outcome) -> None:
    tuning = regression.json("tuning.json")
    values = [t["finalMeasurement"]["metrics"][0]["value"] for t in tuning["trials"]]
    best = tuning["trials"][values.index(min(values))]
    assert [t["state"] for t in tuning["trials"]] == ["SUCCEEDED"] * 2
    assert tuning["best"] == best["id"]
    settings = regression.json("model/metadata.json")["hyperparameters"]
    assert {p["parameterId"]: settings[p["parameterId"]] for p in best["parameters"]} == {
        p["parameterId"]: p["value"] for p in best["parameters"]
    }
    assert settings["batch_size"] == 64
    progress = regression.completed.stderr
    assert "tuning: 2 trials, 2 at once" in progress
    assert [s["name"] for s in regression.json("run.json")["steps"]][2] == "train"


def test_a_run_that_does_not_tune_has_no_trials(passed: Outcome) -> None:
    assert not list(passed.run.rglob("*tuning*"))


def test_a_model_of_one_s_own_takes_the_place_of_ours(passed: Outcome, regression: Outcome) -> None:
    ours, own = (o.json("model/metadata.json") for o in (passed, regression))
    assert ours["package_sha256"] != own["package_sha256"]
    assert (own["stopped"], own["epochs"]) == ("epochs", 4)
    assert "golden.json" in own["files"]
