"""Trees beside the network: the shares by hand, and what is exported."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import tensorflow as tf

from quatrain.trainer.boosted import blend, boosting, folding
from quatrain.trainer.boosted.blend import SHARES, choose_share, fit_trees, losses_by_share
from quatrain.trainer.cluster import Cluster
from quatrain.trainer.examples import Split, read_examples
from quatrain.trainer.model import train
from quatrain.trainer.predictor import Fitting, Head
from quatrain.trainer.settings import TrainerError
from tests.trainer.exported import answers, metadata
from tests.trainer.small import job, write_examples

BINARY = Head("binary", ("no", "yes"))
REGRESSION = Head("regression", (), 0.0, 1.0)


def labelled(labels: list[float], weights: list[float]) -> Split:
    nothing = np.zeros((len(labels), 0), np.float32)
    kind = np.float32 if isinstance(labels[0], float) else np.int32
    return Split(
        nothing, nothing.astype(np.int32), np.array(labels, kind), np.array(weights, np.float32)
    )


def test_a_blend_averages_probabilities_and_weighs_rows() -> None:
    network = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
    trees = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    losses = losses_by_share(network, trees, BINARY, labelled([0, 1], [3.0, 1.0]))
    half = (3 * -np.log(0.5) - np.log(0.5)) / 4
    only = [(3 * -np.log(p) - np.log(0.5)) / 4 for p in (0.25, 0.75)]
    assert losses[[0, 10, 20]] == pytest.approx([only[0], half, only[1]])


def test_a_blend_of_regressions_averages_labels() -> None:
    network, trees = np.array([[2.0], [4.0]], np.float32), np.array([[0.0], [0.0]], np.float32)
    losses = losses_by_share(network, trees, REGRESSION, labelled([1.0, 2.0], [1.0, 1.0]))
    assert losses[[0, 10, 20]].tolist() == [2.5, 0.0, 2.5]


@pytest.mark.parametrize(
    ("head", "ends", "best", "frugal"),
    [
        (BINARY, (0.300, 0.310), 0.2990, 0.5),  # 0.3 % less than the better part
        (BINARY, (0.300, 0.310), 0.2997, 0.0),  # 0.1 %
        (BINARY, (0.310, 0.300), 0.2997, 1.0),
        (REGRESSION, (0.300, 0.310), 0.2990, 0.0),  # of squares: 0.17 % of the root
        (REGRESSION, (0.300, 0.310), 0.2980, 0.5),  # 0.3 % of the root
    ],
)
def test_frugally_a_blend_must_gain_a_fifth_of_a_percent(
    head: Head, ends: tuple[float, float], best: float, frugal: float
) -> None:
    losses = np.full(len(SHARES), 0.5)
    losses[0], losses[10], losses[20] = ends[0], best, ends[1]
    assert choose_share(losses, head, frugal=False) == 0.5
    assert choose_share(losses, head, frugal=True) == frugal


def test_a_blend_without_time_still_ends_with_a_model(examples: Path, tmp_path: Path) -> None:
    train(job(examples, tmp_path, model="blend", epochs=50, patience=50, max_seconds=1e-3))
    written = metadata(tmp_path)
    assert (written["stopped"], written["epochs"]) == ("max_seconds", 1)
    assert np.isfinite(answers(tmp_path, examples)).all()


def chosen(written: dict[str, Any]) -> dict[str, Any]:
    """Returns the candidate that was exported."""
    return next(c for c in written["model"]["candidates"] if c["chosen"])


def untimed(written: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the candidates without their seconds."""
    return [{**c, "seconds": 0.0} for c in written["model"]["candidates"]]


def test_a_blend_is_exported_with_the_loss_that_it_says(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other form wins alone on these rows, and there would be no blend.
    monkeypatch.setattr(boosting, "FORMS", boosting.FORMS[:1])
    monkeypatch.setattr(folding, "MOST_ROWS", 0)  # other fits learn from the validation rows
    reported = []
    once = {"model": "blend", "rounds": 30, "refit": "never"}
    train(job(examples, tmp_path, **once), reported.append)
    written = metadata(tmp_path)
    model = written["model"]
    losses = {c["name"]: c["validation_loss"] for c in model["candidates"]}
    assert model["kind"] == "blend"
    assert set(model["shares"]) == {"tabm", "trees"}
    assert sum(model["shares"].values()) == pytest.approx(1.0)
    assert losses["blend"] <= min(losses["tabm"], losses["trees"])
    labels = read_examples(str(examples)).split("validation").labels
    probabilities = answers(tmp_path, examples)[np.arange(len(labels)), labels]
    assert -np.log(probabilities).mean() == pytest.approx(losses["blend"], rel=1e-5)
    assert reported[-1].validation_loss == losses["blend"]
    assert written["best_epoch"] <= written["epochs"] == 3  # the network's
    assert written["hyperparameters"]["model"] == "blend"

    train(job(examples, tmp_path, **once))  # resumes the network, fits the trees
    assert untimed(metadata(tmp_path)) == untimed(written)
    np.testing.assert_array_equal(
        answers(tmp_path, examples)[np.arange(len(labels)), labels], probabilities
    )


def test_trees_beside_the_network_are_those_that_follow_it(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for name, many_rows in (("beside", 100_000), ("after", 0)):
        monkeypatch.setattr(blend, "MANY_ROWS", many_rows)
        train(job(examples, tmp_path / name, model="blend", rounds=30))
        written.append(untimed(metadata(tmp_path / name)))
    assert written[0] == written[1]
    one, two = (answers(tmp_path / name, examples) for name in ("beside", "after"))
    np.testing.assert_array_equal(one, two)


def test_a_network_that_fails_takes_its_trees_along(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fail(fitting: Fitting) -> NoReturn:
        raise TrainerError("the loss of the network is nan")

    def boost(*splits: Split, is_unwanted: Callable[[], bool], **more: Any) -> NoReturn:
        while not is_unwanted():
            time.sleep(0.01)
        asked.append(True)
        raise CancelledError

    monkeypatch.setattr(blend, "boost", boost)
    monkeypatch.setattr(blend, "fit_network", fail)
    with pytest.raises(TrainerError, match="the loss of the network is nan"):
        train(job(examples, tmp_path, model="blend"))
    assert asked


def test_trees_alone_learn_a_regression_and_repeat_it(tmp_path: Path) -> None:
    folder = write_examples(tmp_path / "examples", "regression")
    for name in ("one", "two"):
        train(job(folder, tmp_path / name, model="trees", rounds=200, shrinkage=0.1))
    written = metadata(tmp_path / "one")
    assert (written["model"]["kind"], written["model"]["shares"]) == ("trees", {"trees": 1.0})
    one, two = (answers(tmp_path / name, folder) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)
    labels = read_examples(str(folder)).split("validation").labels
    loss = float(np.mean((one - labels) ** 2))
    assert chosen(written)["validation_loss"] < 0.5 * labels.var()
    # Four of the five fits have learned from the validation rows; their loss is that of the first.
    assert chosen(written)["members"] == 5
    assert loss < chosen(written)["validation_loss"]


def test_only_the_chief_fits_trees(examples: Path, tmp_path: Path) -> None:
    read = read_examples(str(examples))
    rows = [read.split(name) for name in ("train", "validation")]
    worker = Cluster(tf.distribute.get_strategy(), is_chief=False)
    small = job(examples, tmp_path, model="trees")
    assert fit_trees(Fitting(small, worker, read, BINARY, *rows, lambda epoch: None)) is None


def test_without_lightgbm_the_error_names_the_way_out(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(TrainerError, match=r"LightGBM.* use --model=tabm"):
        train(job(examples, tmp_path, model="trees"))


def test_a_network_alone_does_not_import_lightgbm() -> None:
    import subprocess

    code = "import sys, quatrain.trainer.model; sys.exit('lightgbm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
