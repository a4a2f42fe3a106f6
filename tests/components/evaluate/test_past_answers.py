"""Kept answers meet their labels by the keys of the rows, and are scored as they were given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components import history
from quatrain.components.artifacts import sha256_of
from quatrain.components.evaluate.passes import Shard
from quatrain.components.evaluate.past_answers import score_past_answers, sentence_of
from quatrain.components.evaluate.run import evaluate_model
from quatrain.components.prediction.inputs import partition_of
from quatrain.components.serve.batch.choice import Shards
from quatrain.components.serve.batch.run import predict_table
from quatrain.components.specification.parameter import read_parameter
from tests.components.handmade import make_rows, make_spec, make_transform, write_examples

N = 400


class Served:
    """A champion that answered days, and test rows with the labels of some of them."""

    def __init__(self, folder: Path, models: dict[str, Path], task: str = "binary") -> None:
        self.folder, self.task, self.model = folder, task, models[task]
        self.root = str(folder / "runs")
        self.rows = make_rows(N, task, seed=1)

    def predict(
        self, day: str, ids: list[int], run: str = "run-7", keep: str = "day", model: str = ""
    ) -> Path:
        """Answers the rows with these ids, as the prediction pipeline does."""
        rows = self.rows.take(pa.array([i % N for i in ids])).to_pylist()
        lines = [
            f"{'' if r['delay'] is None else r['delay']},{r['carrier'] or ''},{i}"
            for i, r in zip(ids, rows, strict=True)
        ]
        path = self.folder / f"{day}.csv"
        path.write_text("\n".join(["delay,carrier,day", *lines, ""]))
        out = partition_of(self.root, "hand-made", day)
        about = {"champion": {"run": run}}
        shards = Shards(out)
        predict_table(
            *(model or str(self.model), [str(path)], shards),
            keep=[keep],
            root=self.root,
            trust=True,
            about=about,
        )
        return Path(out)

    def test_shards(self, ids: list[int], cuts: int = 2) -> list[Shard]:
        """Writes test shards as preprocess does: labels, and keys as they were read."""
        shards = []
        for k in range(cuts):
            part = ids[k::cuts]
            table = pa.table(
                {
                    "label": self.rows["label"].take(pa.array([i % N for i in part])),
                    "raw_day": pa.array(part, pa.int64()),
                }
            )
            path = self.folder / f"test-{k:05}-of-{cuts:05}.parquet"
            pq.write_table(table, path)
            shards.append(Shard(str(path), 0, ""))
        return shards

    def score(self, ids: list[int], **options: Any) -> dict[str, Any]:
        spec = read_parameter(make_spec(self.task, **options))
        found = score_past_answers(spec, self.root, self.test_shards(ids), self.transform)
        assert found is not None
        return found

    @property
    def transform(self) -> Any:
        return make_transform(self.task)

    def losses(self, ids: list[int], shift: float = 0.0) -> np.ndarray:
        """The losses of the hand-made model, by hand."""
        rows = self.rows.take(pa.array(ids))
        delay = (rows["delay"].fill_null(0.0).to_numpy() - 10) / 20
        offset = {None: 0.0, "B6": 0.1, "AA": -0.4, "UA": 0.6}
        score = delay + np.array([offset[c] for c in rows["carrier"].to_pylist()]) + shift
        label = rows["label"].to_numpy()
        if self.task == "regression":
            return (score - label) ** 2
        return np.log1p(np.exp(np.where(label == 1, -score, score)))


@pytest.fixture
def served(tmp_path: Path, models: dict[str, Path]) -> Served:
    return Served(tmp_path, models)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_loss_is_that_of_the_answers_on_the_rows_that_match(
    task: str, tmp_path: Path, models: dict[str, Path]
) -> None:
    served = Served(tmp_path, models, task)
    served.predict("2026-11-11", list(range(250)))
    found = served.score(list(range(200, 400)))
    assert (found["rows"], found["test_rows"], found["why"]) == (50, 200, "")
    [run] = found["runs"]
    assert (run["run"], run["rows"], run["first"], run["last"]) == (
        *("run-7", 50),
        *("2026-11-11", "2026-11-11"),
    )
    assert run["now"]["low"] < run["now"]["value"] < run["now"]["high"]
    if task != "multiclass":
        mean = served.losses(list(range(200, 250))).mean()
        expected = mean**0.5 if task == "regression" else mean
        assert run["now"]["value"] == pytest.approx(expected, rel=1e-5)


def test_the_loss_at_the_gate_stands_beside_it(served: Served) -> None:
    served.predict("2026-11-11", list(range(50)))
    sections = {key: {} for key in ("spec", "rows", "data", "code", "artifacts")}
    metrics = {"log_loss": {"value": 0.5, "low": 0.4, "high": 0.6}}
    record = {"run": "run-7", "made": "2026-11-01", **sections, "metrics": metrics, "gate": {}}
    history.record_measured(served.root, "hand-made", record)
    found = served.score(list(range(50)))
    assert found["runs"][0]["then"] == 0.5
    assert "0.5 at its gate" in sentence_of(found)


def test_of_several_days_the_newest_answer_counts_and_runs_stand_apart(
    served: Served, tmp_path: Path
) -> None:
    served.predict("2026-11-10", list(range(100)), run="run-6")
    served.predict("2026-11-11", list(range(80, 200)), run="run-7")
    found = served.score(list(range(200)))
    assert [(r["run"], r["rows"]) for r in found["runs"]] == [("run-7", 120), ("run-6", 80)]
    assert found["runs"][1]["now"]["value"] == pytest.approx(
        served.losses(list(range(80))).mean(), rel=1e-5
    )


def test_a_key_that_repeats_matches_no_row(served: Served) -> None:
    served.predict("2026-11-11", [1, 2, 3, 3])
    found = served.score([1, 2, 2, 3])
    assert (found["rows"], found["repeated"], found["test_rows"]) == (1, 2, 4)
    why = served.score([5, 5])["why"]
    assert why.startswith("each key (day) is that of several test rows; name those that do")


def test_nothing_that_matches_is_said_with_the_way_out(served: Served) -> None:
    served.predict("2026-11-11", [1, 2])
    found = served.score([8, 9])
    assert found["rows"] == 0
    assert "no row of those days has the day of one of 2 test rows" in sentence_of(found)
    served.predict("2026-11-11", [8, 9], keep="carrier")
    assert "`--keep` left a key out" in served.score([8, 9])["why"]


def test_a_partition_without_its_manifest_does_not_count(served: Served) -> None:
    out = served.predict("2026-11-11", [1, 2])
    served.predict("2026-11-10", [1])
    (out / "manifest.json").unlink()
    assert (served.score([1, 2])["rows"], served.score([1, 2])["days"]) == (1, 1)


def test_a_shard_that_is_gone_fails_no_run(served: Served) -> None:
    out = served.predict("2026-11-11", [1, 2])
    (out / "predictions-00000-of-00001.parquet").unlink()
    assert "the kept predictions cannot be read" in served.score([1, 2])["why"]


def test_without_kept_answers_there_is_nothing(served: Served) -> None:
    spec = read_parameter(make_spec())
    for root in (served.root, ""):
        assert score_past_answers(spec, root, [], served.transform) is None


def test_the_metrics_and_the_report_show_it(served: Served, tmp_path: Path) -> None:
    served.predict("2026-11-11", list(range(N)))
    rows = {"train": make_rows(300), "test": served.rows}
    examples = write_examples(tmp_path / "examples", rows)
    first = 0
    manifest = json.loads((examples / "manifest.json").read_text())
    for path in sorted(examples.glob("test-*.parquet")):
        table = pq.read_table(path)
        ids = pa.array(range(first, first + table.num_rows), pa.int64())
        pq.write_table(table.append_column("raw_day", ids), path)
        manifest["files"][path.name] = sha256_of(path)
        first += table.num_rows
    (examples / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "evaluation"
    shutil.rmtree(out, ignore_errors=True)
    metrics = evaluate_model(make_spec(), examples, served.model.parent, out, root=served.root)
    [run] = metrics["answers"]["runs"]
    # The same model, on the same rows.
    assert run["now"]["value"] == pytest.approx(metrics["metrics"]["log_loss"]["value"], rel=1e-6)
    page = (out / "report.html").read_text()
    assert "What was served." in page
    assert "400 of 400 test rows were answered before their labels were known" in page
