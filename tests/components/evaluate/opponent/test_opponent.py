"""The opponent in the evaluation: what it catches, and when there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate.answer_cache import AnswerCache
from quatrain.components.evaluate.opponent import boosting, opponent
from quatrain.components.evaluate.opponent.opponent import OpponentPlan, fit_opponent
from quatrain.components.evaluate.opponent.rows import Encoder, Rows, read_shards
from quatrain.components.evaluate.run import _opponent_plan, _shards, evaluate_model
from quatrain.components.evaluate.this_run import ThisRun
from quatrain.components.preprocess.raw_sample import PlainColumns, sampled_places
from quatrain.components.preprocess.run import preprocess
from quatrain.trainer.features import Input
from quatrain.trainer.features.transform import Transform
from quatrain.trainer.job import Job, Outputs
from quatrain.trainer.model import train
from quatrain.trainer.settings import Hyperparameters
from quatrain.validation.load import validate

SHOPS = 60


def spec_of(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "shops",
        "source": {"uri": str(folder / "rows.csv")},
        "columns": {"id": "int", "x": "float", "shop": "string", "w": "float", "y": "int"},
        "label": "y",
        "task": "binary",
        "split": {"by": "hash", "keys": ["id"], "train": 0.6, "validation": 0.2, "test": 0.2},
        "features": [
            {"name": "x", "from": "x", "transform": "standardize"},
            {"name": "shop", "from": "shop", "transform": "vocabulary", "min_count": 1000},
        ],
        "evaluate": {"gate": {"auc": {"min": 0.55}}, "opponent": {"fail": 0}},
        **changes,
    }


def write_rows(folder: Path, n: int, every: int = 1) -> None:
    """Rows whose label follows the shop, and a little x; one of `every` rows has a weight."""
    random = np.random.default_rng(0)
    shop = random.integers(0, SHOPS, n)
    x = random.normal(size=n)
    y = random.random(n) < 1 / (1 + np.exp(-x - np.where(shop % 2, 3.0, -3.0)))
    lines = [f"{i},{x[i]:.4f},s{shop[i]},{int(i % every == 0)},{int(y[i])}" for i in range(n)]
    (folder / "rows.csv").write_text("id,x,shop,w,y\n" + "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Examples of which the features merge all shops into one, and a model of them."""
    folder = tmp_path_factory.mktemp("shops")
    write_rows(folder, 3_000)
    spec = validate(spec_of(folder)).as_json()
    (folder / "spec.json").write_text(spec)
    preprocess(spec, runner="local", out=str(folder / "examples"))
    settings = Hyperparameters(model="linear", epochs=3)
    train(Job(str(folder / "examples"), Outputs.of(str(folder), {}), settings))
    return folder


def evaluated(folder: Path, out: str, root: str = "", run: str = "") -> dict[str, Any]:
    return evaluate_model(
        (folder / "spec.json").read_text(),
        folder / "examples",
        folder,
        folder / out,
        root=root,
        this_run=ThisRun(run),
    )


def plan_of(folder: Path) -> tuple[OpponentPlan, Transform]:
    examples = str(folder / "examples")
    manifest = json.loads((folder / "examples/manifest.json").read_text())
    transform = Transform.from_json((folder / "examples/transform.json").read_text())
    test = _shards(examples, "test", manifest)
    return _opponent_plan(examples, manifest, test, False), transform


def test_features_that_merge_what_matters_fail_by_the_opponent_and_by_no_other_check(
    shops: Path,
) -> None:
    metrics = evaluated(shops, "evaluation")
    failed = [c["metric"] for c in metrics["gate"]["checks"] if not c["passed"]]
    assert failed == ["opponent"]
    assert metrics["opponent"]["worse"]["low"] > 0.5
    assert "Boosted trees</th>" in (shops / "evaluation/report.html").read_text()


def test_class_weights_fail_no_gate_although_they_raise_the_log_loss(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=6_000)
    y = random.random(6_000) < 1 / (1 + np.exp(5 - 2 * x))  # 3 % of the rows
    lines = [f"{i},{x[i]:.4f},a,1,{int(y[i])}" for i in range(6_000)]
    (tmp_path / "rows.csv").write_text("id,x,shop,w,y\n" + "\n".join(lines) + "\n")
    train_section = {"class_weights": "balanced", "model": "linear", "epochs": 60}
    spec = validate(
        spec_of(tmp_path, features=spec_of(tmp_path)["features"][:1], train=train_section)
    )
    (tmp_path / "spec.json").write_text(spec.as_json())
    preprocess(spec.as_json(), runner="local", out=str(tmp_path / "examples"))
    outputs = Outputs.of(str(tmp_path), {})
    train(Job(str(tmp_path / "examples"), outputs, spec.train.settings))
    metrics = evaluated(tmp_path, "evaluation")
    share = y.mean()
    prior = -share * np.log(share) - (1 - share) * np.log(1 - share)
    # By the rows as they are, the shifted probabilities are worse than the share of each class.
    assert metrics["metrics"]["log_loss"]["value"] > prior
    assert metrics["gate"]["passed"]
    sentences = {c["metric"]: c["sentence"] for c in metrics["gate"]["checks"]}
    assert sentences["opponent"].startswith("class-weighted log_loss=")
    assert "is below 0.69" in sentences["class-weighted log_loss"]  # ln 2, that of even shares
    assert metrics["importance_basis"]["loss"] == "class-weighted log_loss"
    assert metrics["class_weights"] == pytest.approx(
        {"0": 0.5 / (1 - share), "1": 0.5 / share}, rel=0.2
    )
    assert "train rows were weighted by class" in (tmp_path / "evaluation/report.html").read_text()


def test_a_later_run_takes_the_recorded_answers_and_fits_nothing(
    shops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluated(shops, "first", str(tmp_path), "one")

    def refuse(*_: Any) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(opponent, "fit_trees", refuse)
    again = evaluated(shops, "again", str(tmp_path), "two")
    assert again["opponent"] == first["opponent"]
    assert again["cached"] == {"opponent's answers": "one"}


def test_two_fits_give_the_same_trees(shops: Path) -> None:
    plan, transform = plan_of(shops)
    one, two = (fit_opponent(plan, transform, AnswerCache()) for _ in range(2))
    assert one.fitted and two.fitted
    assert one.fitted.trees == two.fitted.trees and one.digest == two.digest


def test_an_altered_shard_of_the_sample_stops_the_evaluation(shops: Path) -> None:
    plan, transform = plan_of(shops)
    altered = replace(plan, sample=((plan.sample[0][0], "0" * 64),))
    with pytest.raises(ArtifactError, match="is not the file that was written"):
        fit_opponent(altered, transform, AnswerCache())


def test_examples_without_a_sample_have_no_opponent(shops: Path) -> None:
    plan, transform = plan_of(shops)
    assert fit_opponent(replace(plan, sample=()), transform, AnswerCache()).why.startswith(
        "the examples hold no sample"
    )


@pytest.mark.parametrize(("n", "every"), [(60, 1), (300, 10)])
def test_few_rows_and_many_weights_of_zero_get_trees(n: int, every: int, tmp_path: Path) -> None:
    write_rows(tmp_path, n, every)
    spec = validate(spec_of(tmp_path, weight="w")).as_json()
    preprocess(spec, runner="local", out=str(tmp_path / "examples"))
    fitted = fit_opponent(*plan_of(tmp_path), AnswerCache())
    assert fitted.fitted and not fitted.why


def test_validation_rows_are_drawn_by_a_hash_of_their_place_in_a_shard(tmp_path: Path) -> None:
    shards, n, share = [], 5_000, 0.2
    for index in range(2):
        path = tmp_path / f"validation-{index}.parquet"
        table = pa.table({"x": np.arange(n) + index * n, "label": np.zeros(n)})
        pq.write_table(table, path, row_group_size=700)
        shards.append((str(path), sha256_of(path)))
    drawn = read_shards(shards, ["x"], share)
    places = [sampled_places(index, 0, n, share) + index * n for index in range(2)]
    assert drawn["x"].to_pylist() == np.concatenate(places).tolist()
    assert 0.18 < drawn.num_rows / (2 * n) < 0.22
    assert read_shards(shards, ["x", "label"]).num_rows == 2 * n


def test_a_split_larger_than_the_bound_is_drawn_from(
    shops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, transform = plan_of(shops)
    validation_rows: list[int] = []
    fit = opponent.fit_trees

    def fit_and_count(train: Rows, validation: Rows, *more: Any) -> Any:
        validation_rows.append(len(validation.labels))
        return fit(train, validation, *more)

    monkeypatch.setattr(opponent, "fit_trees", fit_and_count)
    monkeypatch.setattr(opponent, "MOST_VALIDATION_ROWS", 200)
    fit_opponent(plan, transform, AnswerCache())
    assert plan.validation_rows > 400 and 100 < validation_rows[0] <= 200


def test_rows_of_weight_zero_are_left_out() -> None:
    encoder = Encoder(PlainColumns((Input("x", "float"),), (), ()), {})
    table = pa.table({"raw_x": [1.0, 2.0], "label": [0, 1], "weight": [0.0, 3.0]})
    rows = encoder.rows(table)
    assert (rows.columns.tolist(), rows.labels.tolist()) == ([[2.0]], [1])
    assert rows.weights is not None and rows.weights.tolist() == [3.0]
    why = opponent._unusable(encoder.rows(table.slice(0, 1)), "validation")
    assert why == "there is no validation row with a weight above 0"


def test_an_image_without_lightgbm_has_no_opponent(
    shops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise ImportError("No module named 'lightgbm'")

    monkeypatch.setattr(boosting, "_lightgbm", absent)
    why = fit_opponent(*plan_of(shops), AnswerCache()).why
    assert why == "LightGBM cannot be imported (No module named 'lightgbm')"
