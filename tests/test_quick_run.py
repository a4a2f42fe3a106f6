"""A quick run, by the command: it answers, says what it is, and counts for nothing later."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components.conftest import delays

pytestmark = pytest.mark.whole

SPEC = """
name: delays
source: {uri: delays.csv}
columns: {day: int, delay: int, carrier: string, arrival: float}
clean: {reject: {cancelled: delay IS NULL}, derive: {late: arrival >= 15}}
label: late
task: binary
split: {by: hash, keys: [day], train: 0.6, validation: 0.2, test: 0.2}
features:
  - {name: delay, from: delay, transform: standardize}
  - {name: carrier, from: carrier, transform: vocabulary}
train: {model: linear}
evaluate: {gate: {auc: {min: 1.0}, log_loss: {max: 0.000001}}}
"""


def quatrain(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "quatrain", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> "tuple[Path, subprocess.CompletedProcess[str]]":
    """A quick run whose model misses its gate, of a table with more rows than it reads."""
    folder = tmp_path_factory.mktemp("quick")
    (folder / "delays.csv").write_text(delays(30_000))
    (folder / "delays.yaml").write_text(SPEC)
    return folder, quatrain(folder, "run", "delays.yaml", "--quick")


def run_of(folder: Path) -> Path:
    [run] = (path.parent for path in folder.glob("runs/delays/*/run.json"))
    return run


def test_a_quick_run_says_what_it_is_and_which_bounds_it_missed(quick):
    _, done = quick
    assert done.returncode == 0, done.stderr
    assert "quick run: 20,000 of about 30,000 rows; not a result to rely on" in done.stderr
    assert "gate failed" in done.stderr
    assert "  MISS log_loss=" in done.stderr
    assert ", not proved" in done.stderr


def test_a_quick_run_promotes_nothing_and_leaves_no_record_for_later_runs(quick):
    folder, _ = quick
    assert [path.name for path in (folder / "runs/delays").iterdir()] == [run_of(folder).name]
    predicted = quatrain(folder, "predict", "runs/delays", "delays.csv", "-o", "p.csv")
    assert predicted.returncode != 0
    assert "is no model" in predicted.stderr


def test_the_files_of_a_quick_run_say_that_it_is_one(quick):
    folder, _ = quick
    run = run_of(folder)
    assert json.loads((run / "run.json").read_text())["quick"] is True
    sample = {"rows": 20_000, "of": pytest.approx(30_000, rel=0.01)}
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["sample"] == sample
    assert metrics["changes"]["why"] == "a quick run is not compared with others"
    manifest = json.loads((run / "examples/manifest.json").read_text())
    assert manifest["sample"] == sample
    assert manifest["rows"]["read"] == 20_000
    assert json.loads((run / "drift.json").read_text())["comparisons"] == []
    [package] = run.glob("pipeline/*/package/package/package.json")
    record = json.loads(package.read_text())
    assert (record["proved"], record["checks"]) == (False, [])
    page = (run / "report.html").read_text()
    assert "Quick run: 20,000 of about 30,000 rows; not a result to rely on" in page
    assert "It trained for a few epochs with a package that was not proved" in page


def test_report_and_predict_warn_that_a_model_is_of_a_quick_run(quick):
    folder, _ = quick
    run = str(run_of(folder))
    assert "quick run: 20,000 of about 30,000 rows" in quatrain(folder, "report", run).stdout
    predicted = quatrain(folder, "predict", run, "delays.csv", "-o", "p.csv", "--rejected", "r.csv")
    assert "warning: this model is of a quick run: 20,000 of about 30,000" in predicted.stderr
