"""What is known to fail before a run starts is a sentence of check, submit and doctor."""

import pytest

from quatrain.components.errors import SpecError, TierError
from quatrain.components.tiers import tiers
from quatrain.validation.load import validate

SPEC = {
    "name": "toy",
    "source": {"uri": ["/data/toy.csv"]},
    "columns": {"x": "float", "y": "bool"},
    "label": "y",
    "task": "binary",
    "split": {"by": "hash", "keys": ["x"]},
    "features": [{"name": "x", "from": "x", "transform": "standardize"}],
}
TUNING = {"goal": "MAXIMIZE", "maxTrials": 4, "maxParallelTrials": 2}
MACHINES = {"scaleTier": "CUSTOM", "masterType": "standard"}


def old(**keys):
    return {"tier": "CUSTOM", "config": {"trainingInput": keys}}


@pytest.mark.parametrize("metric", ["auc", "accuracy", "loss", "val_loss"])
def test_a_metric_that_no_trial_will_report_is_refused(metric):
    train = {"tune": {"metric": metric, "goal": "maximize"}}
    with pytest.raises(SpecError, match=rf"train\.tune\.metric: no trial reports '{metric}'"):
        validate({**SPEC, "train": train})
    validate({**SPEC, "train": {**train, "trainer": "/mine"}})


def test_a_loss_is_not_maximized():
    with pytest.raises(SpecError, match=r"train\.tune\.goal: validation_loss is a loss"):
        validate({**SPEC, "train": {"tune": {"goal": "maximize"}}})
    validate({**SPEC, "train": {"tune": {"metric": "validation_loss", "goal": "minimize"}}})


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        (old(hyperparameters=TUNING), "no machines in it: leave out train.config; its hyperparam"),
        (old(region="us-central1"), "no machines in it: leave out train.config$"),
        (
            old(**MACHINES, hyperparameters=TUNING),
            "nothing runs them; add train.tune: {trials: 4, parallel: 2} beside train.config",
        ),
        (old(**MACHINES, hyperparameters={}), "nothing runs them; add train.tune: auto beside"),
        (
            old(**MACHINES, hyperparameters={"maxTrails": 4}),
            "hyperparameters.maxTrails: unknown key; did you mean 'maxTrials'",
        ),
        (old(**MACHINES, maxTrials=4), "maxTrials must stand below hyperparameters"),
        (
            old(**MACHINES, acceleratorConfig={}),
            "acceleratorConfig must stand below masterConfig or",
        ),
        (old(masterType="standard"), "scaleTier is missing; write scaleTier: CUSTOM"),
        (
            old(scaleTier="custom", masterType="standard"),
            "unknown scaleTier 'custom'; did you",
        ),
        (old(scaletier="CUSTOM"), "unknown key 'scaletier'; did you mean 'scaleTier'"),
        ({"config": MACHINES}, "scaleTier, masterType stand below trainingInput"),
        ({"config": "config.yaml"}, "write the content of the file here, not its name"),
        ({"trainingInput": MACHINES}, "trainingInput must stand below config"),
    ],
)
def test_what_an_old_config_loses_or_misplaces_is_a_sentence(train, sentence):
    with pytest.raises(SpecError) as raised:
        validate({**SPEC, "train": train})
    lines = str(raised.value).splitlines()
    assert len(lines) == 1
    assert sentence.removesuffix("$") in lines[0]
    assert not sentence.endswith("$") or lines[0].endswith(sentence[:-1])


def test_an_old_config_of_a_tier_with_its_own_machines_says_where_its_tuning_went():
    config = old(scaleTier="PREMIUM_1", hyperparameters=TUNING)["config"]
    spec = validate({**SPEC, "train": {"tier": "PREMIUM_1", "config": config}})
    with pytest.raises(TierError, match=r"leave it out; its hyperparameters are train\.tune now"):
        tiers.resolve("PREMIUM_1", config=spec.train.config)
    with pytest.raises(TierError, match=r"leave out train\.config; its hyperparameters are train"):
        tiers.resolve("CUSTOM", config=spec.train.config)


def test_a_whole_job_of_the_old_service_is_taken_beside_a_tuning_of_today():
    config = {
        **old(**MACHINES, hyperparameters=TUNING)["config"],
        "jobId": "a",
        "labels": {"b": "c"},
    }
    spec = validate({**SPEC, "train": {"tier": "CUSTOM", "config": config, "tune": {"trials": 4}}})
    assert str(tiers.resolve("CUSTOM", config=spec.train.config).pools[0]) == "1 x n1-standard-4"
