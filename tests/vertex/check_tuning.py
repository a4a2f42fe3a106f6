"""A tuning study on two replicas: its trials, the choice, the final training, the evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vertex import table
from tests.vertex.driver import Driver, document
from tests.vertex.machine import Machine

TASKS = [
    *("find-files", "preprocess", "compare", "package", "plan"),
    *("hyperparameter-tuning-job", "hyperparameter-tuning-job"),
    *("choose", "choose", "custom-training-job", "measure", "gate"),
]
EPOCHS = 2
SPACE = {"learning_rate": {"min": 0.001, "max": 0.03, "scale": "log"}, "hidden_units": [[8], [16]]}


@pytest.fixture(scope="session")
def study(vertex: Machine, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A run with two trials, whose choice is stopped once."""
    folder = tmp_path_factory.mktemp("study")
    tune = {"trials": 2, "parallel": 1, "space": SPACE}
    train = {**table.SPEC["train"], "epochs": EPOCHS, "model": "tabm", "tune": tune}
    job = table.submitted(
        vertex,
        folder,
        {"train": train},
        set_cloud=[f"root={table.ROOT.replace('/root', '/study')}"],
        tier="STANDARD_1",
        overrides=["train.replicas=2"],
    )
    stops = {"choose": ["write .*/tuning.json"]}
    driver = Driver(vertex, job, "toys-6", tries=1, stops=stops)
    driver.run()
    return driver


def test_trials_choice_training_and_evaluation_pass(study: Driver) -> None:
    assert [a.task for a in study.attempts] == TASKS
    stopped = TASKS.index("choose")
    assert [a.code for a in study.attempts] == [143 if n == stopped else 0 for n in range(12)]
    assert not any(name.endswith("tuning.json") for name in study.attempts[stopped].left)


def test_only_the_chief_of_a_trial_reports_each_epoch_once(vertex: Machine, study: Driver) -> None:
    assert set(study.reports) == {1, 2}
    for number, lines in study.reports.items():
        assert [line["trial"] for line in lines] == [str(number)] * EPOCHS
        steps = [int(line["global_step"]) for line in lines]
        assert steps == sorted(set(steps)) and steps[0] > 0
    files = list(Path(vertex.environment["TMPDIR"]).glob("toys-6-*.metrics.workerpool1-0"))
    assert [file.read_text() for file in files] == [""]  # the first trial's; the second has no name


def test_the_final_training_has_the_settings_of_the_better_trial(
    vertex: Machine, study: Driver
) -> None:
    losses = {n: float(lines[-1]["validation_loss"]) for n, lines in study.reports.items()}
    tuning = document(vertex, study, "choose", "tuning/tuning.json")
    assert int(tuning["best"]) == min(losses, key=lambda n: losses[n])
    (best,) = [trial for trial in tuning["trials"] if trial["id"] == tuning["best"]]
    chosen = {p["parameterId"]: p["value"] for p in best["parameters"]}
    metadata = document(vertex, study, "plan", "model/model/metadata.json")
    assert metadata["hyperparameters"]["learning_rate"] == pytest.approx(chosen["learning_rate"])
    assert metadata["hyperparameters"]["hidden_units"] == [int(chosen["hidden_units"])]
    assert metadata["replicas"] == 2


def test_the_tuned_model_is_the_champion(vertex: Machine, study: Driver) -> None:
    root = table.ROOT.replace("/root", "/study")
    (name,) = [n for n in vertex.objects(root) if n.endswith("champion.json")]
    assert name
