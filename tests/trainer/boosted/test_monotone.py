"""Monotone columns: the trees keep the order, and models that cannot are left out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from quatrain.components.preprocess.run import preprocess
from quatrain.trainer.boosted.boosting import boost
from quatrain.trainer.examples import Split, read_examples
from quatrain.trainer.features import FEATURES, Ordered
from quatrain.trainer.features.statistics import Distribution
from quatrain.trainer.features.transform import Transform
from quatrain.trainer.job import Job, Outputs
from quatrain.trainer.model import train
from quatrain.trainer.predictor import Head
from quatrain.trainer.settings import Hyperparameters, TrainerError
from quatrain.validation.load import validate

FLIGHTS = Path(__file__).parents[3] / "examples/flights/data/flights.csv"
SWEPT = 200
"""Rows of which a number is swept."""
ROUNDING = 1e-6
"""Sums of leaves keep the order exactly; a sigmoid may err in its last bit."""


def wavy(n: int, seed: int, task: str) -> Split:
    """Returns rows whose label follows no number in one direction, with two categories."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 4)).astype(np.float32)
    x[:, 2] = np.round(x[:, 2])
    levels = np.stack([random.integers(0, 60, n), random.integers(0, 3, n)], axis=1)
    score = np.sin(3 * x[:, 0]) + x[:, 1] * np.sin(levels[:, 0]) + x[:, 2] * (levels[:, 1] - 1)
    score += x[:, 3] * x[:, 0] + 0.3 * random.normal(size=n)
    labels = score > 0 if task == "binary" else score
    dtype = np.int32 if task == "binary" else np.float32
    weights = random.uniform(0.2, 3, n).astype(np.float32)
    return Split(x, levels.astype(np.int32), labels.astype(dtype), weights)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_no_sum_of_trees_breaks_the_order_for_any_number_of_threads(task: str) -> None:
    rows, validation = wavy(2500, 0, task), wavy(800, 1, task)
    head = Head(task, ("no", "yes") if task == "binary" else ())  # type: ignore[arg-type]
    settings = Hyperparameters(rounds=150, shrinkage=0.1)
    signs = [1, -1, 0, -1]
    one, three = (
        boost(rows, validation, [60, 3], head, settings, threads=n, monotone=signs).trees
        for n in (1, 3)
    )
    np.testing.assert_array_equal(one.leaves, three.leaves)
    np.testing.assert_array_equal(one.words, three.words)
    breaks = []
    for column, sign in enumerate(signs):
        numbers, answers = validation.numbers[:SWEPT].copy(), []
        for value in np.linspace(-4, 4, 80):
            numbers[:, column] = value
            answers.append(one.numpy(numbers, validation.indices[:SWEPT])[:, 0])
        breaks.append((np.diff(answers, axis=0) * (sign or 1) < 0).any())
    assert breaks == [False, False, True, False]  # the column without a constraint goes both ways


@pytest.mark.parametrize("name", [n for n, c in FEATURES.items() if issubclass(c, Ordered)])
def test_an_ordered_transform_never_falls_where_its_number_rises(name: str) -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(size=500), np.exp(random.normal(size=500) * 3), [0.0]])
    more: Mapping[str, Any] = {"quantiles": [0.05, 0.9]} if name == "clip" else {}
    feature = FEATURES[name](name="x", columns=("x",), types=("float",), **more)
    fitted = feature.fit({"x": Distribution.of(values)})
    line = np.sort(np.concatenate([random.normal(size=5000) * 5, values, -values, values + 1e-9]))
    for column in fitted.numpy({"x": line}).values():
        assert (np.diff(column) >= 0).all()


def features(**monotone: str) -> list[dict[str, Any]]:
    """Returns the features of flights, with a transform of each kind for the number of minutes."""
    numbers = {"sched_dep_time": "standardize", "dep_delay": "quantile_normal", "distance": "log"}
    listed: list[dict[str, Any]] = [
        {"name": n, "from": n, "transform": t} for n, t in numbers.items()
    ]
    listed += [{"name": "minutes", "from": "dep_delay", "transform": "piecewise_linear", "bins": 8}]
    for feature in listed:
        if feature["from"] in monotone:
            feature["monotone"] = monotone[feature["from"]]
    texts = ("carrier", "origin", "dest")
    return [*listed, *({"name": n, "from": n, "transform": "vocabulary"} for n in texts)]


def flights_spec(folder: Path, task: str = "binary", **changes: Any) -> dict[str, Any]:
    return {
        "name": "flights",
        "source": {"uri": str(folder / "rows.csv")},
        "columns": {
            **dict.fromkeys(("flight", "sched_dep_time", "dep_delay", "arr_delay"), "int"),
            **dict.fromkeys(("carrier", "origin", "dest"), "string"),
            "distance": "int",
        },
        "clean": {
            "reject": {"cancelled": "arr_delay IS NULL"},
            "derive": {"late": "arr_delay >= 15"},
            "max_rejected": 0.2,
        },
        "label": "late" if task == "binary" else "arr_delay",
        "task": task,
        "split": {"by": "hash", "keys": ["flight"]},
        "features": features(dep_delay="increasing", distance="decreasing"),
        **changes,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every 20th flight, of which every 7th misses the delay that the model must follow."""
    assert FLIGHTS.exists(), "run `make data`, which fetches the table"
    header, *lines = FLIGHTS.read_text().splitlines()
    place, drawn = header.split(",").index("dep_delay"), []
    for number, line in enumerate(lines[::20]):
        cells = line.split(",")
        if number % 7 == 0:
            cells[place] = ""
        drawn.append(",".join(cells))
    made = tmp_path_factory.mktemp("flights")
    (made / "rows.csv").write_text("\n".join([header, *drawn]) + "\n")
    return made


def trained(folder: Path, out: Path, task: str = "binary", **settings: Any) -> dict[str, Any]:
    """Preprocesses and trains; returns metadata.json."""
    spec = validate(flights_spec(folder, task))
    preprocess(spec.as_json(), runner="local", out=str(out / "examples"))
    chosen = replace(spec.train.settings, **settings)
    train(Job(str(out / "examples"), Outputs.of(str(out), {}), chosen))
    return json.loads((out / "model/metadata.json").read_text())


def swept(out: Path, name: str, values: Sequence[float]) -> np.ndarray:
    """Returns the served answers to raw test rows whose number `name` is each of the values.

    Returns:
        `[len(values), SWEPT] float32`.
    """
    read = read_examples(str(out / "examples"))
    raw, _ = read.first_rows("validation", SWEPT)
    signature = tf.saved_model.load(str(out / "model")).signatures["serving_default"]
    answers = []
    for value in values:
        changed = {**raw, name: np.full(SWEPT, value, np.float64)}
        tensors = {n: tf.constant(np.asarray(v)) for n, v in changed.items()}
        answer = signature(**tensors)
        answers.append(
            answer["probabilities"][:, 1] if "probabilities" in answer else answer["prediction"]
        )
    return np.array(answers)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_served_model_keeps_the_order_over_the_whole_range(
    folder: Path, tmp_path: Path, task: str
) -> None:
    metadata = trained(folder, tmp_path, task)
    delays = np.unique(np.concatenate([np.arange(-60, 200), np.geomspace(200, 2000, 20)]))
    by_delay = np.diff(swept(tmp_path, "dep_delay", delays), axis=0)
    assert by_delay.min() >= -ROUNDING and by_delay.max() > ROUNDING
    by_distance = np.diff(swept(tmp_path, "distance", np.geomspace(10, 6000, 200)), axis=0)
    assert by_distance.min() < -ROUNDING and by_distance.max() <= ROUNDING
    by_time = np.diff(swept(tmp_path, "sched_dep_time", np.arange(0, 2400, 20)), axis=0)
    assert by_time.min() < 0 < by_time.max()  # without a constraint, it goes both ways
    model = metadata["model"]
    assert model["kind"] == "trees"
    why = "it cannot keep monotone dep_delay, distance, minutes"
    assert model["left_out"] == [{"name": "tabm", "why": why}]
    assert not [c for c in model["candidates"] if c["name"] == "tabm"]
    # The learning curve is that of the trees: a step is a round, ten of which are an epoch.
    assert [e["step"] for e in metadata["history"][:2]] == [10, 20]
    assert metadata["steps"] == next(c["steps"] for c in model["candidates"] if c["chosen"])


def test_a_missing_number_has_no_place_in_the_order(folder: Path, tmp_path: Path) -> None:
    trained(folder, tmp_path, rounds=50)
    transform = read_examples(str(tmp_path / "examples")).transform
    signs = dict(zip(transform.numbers, transform.signs, strict=True))
    assert (signs["dep_delay_missing"], signs["dep_delay"], signs["minutes_7"]) == (0, 1, 1)
    assert (signs["distance"], signs["sched_dep_time"]) == (-1, 0)
    assert np.isfinite(swept(tmp_path, "dep_delay", [np.nan])).all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "tabm"}, "model tabm cannot keep monotone dep_delay, .*; choose model auto or"),
        ({"model": "blend"}, "model blend cannot keep monotone"),
        ({"model": "linear"}, "model linear cannot keep monotone"),
        ({"resident_mb": 0}, "model trees needs all rows in memory.* and no `monotone`"),
    ],
)
def test_a_training_that_cannot_keep_the_order_is_refused(
    settings: dict[str, Any], sentence: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainerError, match=sentence):
        trained(folder, tmp_path, **settings)


def test_a_transform_without_the_key_is_written_as_it_was(folder: Path, tmp_path: Path) -> None:
    spec = validate(flights_spec(folder, features=features()))
    preprocess(spec.as_json(), runner="local", out=str(tmp_path / "examples"))
    text = (tmp_path / "examples/transform.json").read_text()
    assert "monotone" not in text
    assert Transform.from_json(text).to_json() == text
