"""A run in Python shows what its folder or its record holds, and how far it got."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.results.run import Run

FIRST, LAST = "20261201T143351-850951", "20261201T143511-251852"
ROWS = {"read": 400, "train": 249, "validation": 84, "test": 67, "rejected": 0}
SUMMARY = """\
toys 20261201T143511-251852: succeeded after 120.6 s
400 rows: 249 train, 84 validation, 67 test, 0 rejected
67 test rows, with 95 % intervals
auc                0.7585  0.6444 to 0.8725
log_loss           0.5931  0.5237 to 0.6626
accuracy           0.6716  0.5526 to 0.7721
brier              0.2034  0.1712 to 0.2355
ece                0.1922
average_precision  0.7832
precision          0.6667  0.4961 to 0.8025
recall             0.6667  0.4961 to 0.8025
f1                 0.6667
gate passed
"""


@pytest.fixture
def run(root: Path) -> Run:
    return Run(root / "toys" / LAST, root=root)


def change(file: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    document = json.loads(file.read_text())
    edit(document)
    file.write_text(json.dumps(document))


def cut(root: Path, *links: str, **record: object) -> Run:
    """The last run as if it had ended before some of its links were made."""
    folder = root / "toys" / LAST
    for link in links:
        (folder / link).unlink()
    change(folder / "run.json", lambda document: document.update(record))
    return Run(folder, root=root)


def test_a_run_is_summarized_as_far_as_it_got(run: Run, root: Path) -> None:
    assert repr(run) == f"{SUMMARY}{root}/toys/{LAST}"


def test_a_run_has_its_record(run: Run) -> None:
    assert (run.id, run.name, run.status, run.error) == (LAST, "toys", "succeeded", "")
    assert run.started == datetime(2026, 12, 1, 14, 35, 11, tzinfo=UTC)
    assert run.seconds == 120.563
    assert run.rows == ROWS
    assert run.spec["label"] == "is_sold"


def test_the_folder_of_a_model_is_its_last_run_and_stays_it(root: Path) -> None:
    run = Run(root / "toys", root=root)
    assert run.place == str(root / "toys" / LAST)
    (root / "toys/latest").unlink()
    (root / "toys/latest").symlink_to(FIRST)
    assert run.id == LAST
    assert Run(root / "toys/latest", root=root).id == FIRST


def test_metrics_have_their_intervals(run: Run) -> None:
    auc = run.metrics["auc"]
    assert (auc.value, auc.low, auc.high) == pytest.approx((0.75847, 0.64441, 0.87253), abs=1e-5)
    assert run.metrics["ece"].low != run.metrics["ece"].low
    assert list(run.metrics)[:2] == ["auc", "log_loss"]
    assert run.metrics.rows == 67
    assert "<td" in run.metrics._repr_html_()


def test_a_gate_has_its_checks_and_warnings(run: Run) -> None:
    assert run.gate.passed
    assert [check.metric for check in run.gate.checks] == ["auc", "champion", "log_loss", "skew"]
    assert run.gate.warnings == ()
    assert repr(run.gate).splitlines()[:2] == [
        "gate passed",
        "✓  auc=0.7585 on 67 test rows reaches the gate 0.5000",
    ]


def test_a_failed_check_and_warnings_come_first(run: Run, root: Path) -> None:
    def fail(document: dict[str, Any]) -> None:
        document["gate"]["passed"] = document["gate"]["checks"][3]["passed"] = False
        document["warnings"] = [{"sentence": "size <leaks>"}]

    change((root / "toys" / LAST / "metrics.json").resolve(), fail)
    assert [line[0] for line in repr(run.gate).splitlines()] == ["g", "✕", "!", "✓", "✓", "✓"]
    assert "failed, with 1 warning" in repr(run)
    assert "size &lt;leaks&gt;" in run.gate._repr_html_()


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_examples_of_a_split_are_those_of_its_shards(run: Run, split: Any) -> None:
    table = run.examples(split)
    assert table.num_rows == ROWS[split]
    assert table.equals(pq.read_table(f"{run.place}/examples/{split}-00000-of-00001.parquet"))
    assert run.examples(split, ["label"]).column_names == ["label"]
    assert pl.from_arrow(table).height == ROWS[split]


def test_predictions_stand_in_the_order_of_the_test_rows(run: Run) -> None:
    predictions = run.predictions()
    assert predictions.num_rows == 67
    labels = [str(bool(label)).lower() for label in run.examples("test")["label"].to_pylist()]
    assert predictions["label"].to_pylist() == labels


def test_rejected_rows_come_with_their_place_and_reason(run: Run) -> None:
    assert run.rejected().num_rows == 0
    assert run.rejected().column_names == ["source", "position", "reason", "detail", "row"]


def test_a_table_that_was_altered_is_refused(run: Run) -> None:
    with Path(run.place, "examples/train-00000-of-00001.parquet").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match=r"train-.* is not the file that was written: its sha"):
        run.examples("train")


def test_predictions_that_do_not_add_up_are_refused(run: Run) -> None:
    (file,) = Path(run.place).glob("pipeline/*/measure/evaluation/predictions-*.parquet")
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(ArtifactError, match=r"has predictions of 66 test rows, and not of 67"):
        run.predictions()
    file.unlink()
    with pytest.raises(ArtifactError, match=r"has predictions of 0 test rows, and not of 67"):
        run.predictions()


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda run: run.examples("tran"), QuatrainError, "no split 'tran'; did you mean 'train'"),
        (
            lambda run: run.examples("test", ["lable"]),
            ArtifactError,
            "has no column 'lable'; did you mean 'label'",
        ),
    ],
)
def test_a_misspelt_name_gets_the_right_one(
    run: Run, call: Callable[[Run], object], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        call(run)


def test_the_report_shows_itself_in_a_frame_of_its_own(run: Run) -> None:
    assert run.report.path == f"{run.place}/report.html"
    assert run.report.html == Path(run.report.path).read_text()
    page = run.report._repr_html_()
    assert page.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert "sandbox" in page
    assert page.count("<") == 2  # all of the report's own tags are in the attribute


def test_the_report_opens_in_a_browser(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    run.report.open()
    assert opened == [Path(run.report.path).resolve().as_uri()]


def test_a_run_shows_itself_in_a_notebook(run: Run) -> None:
    page = run._repr_html_()
    assert "toys 20261201T143511-251852: succeeded after 120.6 s" in page
    assert "400 rows: 249 train" in page
    assert "0.6444 to 0.8725" in page


MEASURED = ("metrics.json", "report.html")


@pytest.mark.parametrize(
    ("links", "record", "sentence"),
    [
        (
            MEASURED,
            {"status": "failed", "error": "step evaluate failed: no\nlog: x"},
            "failed before the end of evaluate: step evaluate failed: no; start another run",
        ),
        (
            MEASURED,
            {"status": "running", "pid": 2**22 + 1},
            "was killed before the end of evaluate; s",
        ),
        (MEASURED, {"status": "running", "pid": 1}, "is still running, and evaluate has not ended"),
    ],
)
def test_a_run_that_ended_early_says_how_far_it_got(
    root: Path, links: tuple[str, ...], record: dict[str, object], sentence: str
) -> None:
    run = cut(root, *links, **record)
    for call in (lambda: run.metrics, lambda: run.gate, lambda: run.report, run.predictions):
        with pytest.raises(ArtifactError) as refusal:
            call()
        assert sentence in str(refusal.value)
    assert run.rows == ROWS
    assert "auc" not in repr(run)
    assert "<table" in run._repr_html_()


def test_a_run_that_read_no_rows_has_only_its_record(root: Path) -> None:
    links = ("examples", "rejected", "model", *MEASURED)
    run = cut(root, *links, status="failed", error="step preprocess failed: no rows")
    for call in (lambda: run.rows, run.rejected, lambda: run.examples("train"), lambda: run.model):
        with pytest.raises(ArtifactError, match=r"failed before the end of (preprocess|train): st"):
            call()
    assert repr(run).splitlines()[1] == "error: step preprocess failed: no rows"


def test_what_is_no_run_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(QuatrainError, match=r"holds no run .*start one by `quatrain run`"):
        Run(tmp_path / "runs/toys/statistics")
    with pytest.raises(QuatrainError, match="gone is no folder; name a run"):
        Run(tmp_path / "gone")
    with pytest.raises(QuatrainError, match=f"is the folder of all runs; name one: {root}/toys"):
        Run(root)


def test_a_metric_that_the_run_lacks_is_an_error_that_names_those_it_has(run: Run) -> None:
    with pytest.raises(KeyError) as refusal:
        run.metrics["acc"]
    assert isinstance(refusal.value, QuatrainError)
    assert str(refusal.value).startswith("no metric 'acc'; choose one of auc, log_loss, accuracy, ")
    assert run.metrics.get("acc") is None and "acc" not in run.metrics


def test_a_run_in_a_bucket_is_read_by_its_record(remote: str, run: Run) -> None:
    for place in ("toys/job-7", "toys", "toys/latest/"):
        there = Run(f"{remote}/{place}", root=remote)
        assert there.place == "gs://b/q/toys/job-7"
    assert (there.id, there.name, there.status, there.seconds) == (
        "job-7",
        "toys",
        "succeeded",
        120.0,
    )
    assert there.started == run.started
    assert there.spec == {"name": "toys"}
    assert there.rows == ROWS
    assert repr(there.metrics) == repr(run.metrics)
    assert there.examples("train").equals(run.examples("train"))
    assert there.predictions().equals(run.predictions())
    assert there.report.html == run.report.html
    assert "gs://b/q/toys/job-7" in repr(there)


def test_what_is_no_run_in_a_bucket_is_refused(remote: str) -> None:
    with pytest.raises(ArtifactError, match="gs://b/q/toys/job-8 is no run that was measured"):
        _ = Run(f"{remote}/toys/job-8").status
    with pytest.raises(QuatrainError, match="gs://b is no run; name one as gs://"):
        Run("gs://b")
