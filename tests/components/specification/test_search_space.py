"""A search space becomes the parameters of a study that Vertex accepts."""

import pytest
from google.cloud import aiplatform_v1

from quatrain.components.specification.search_space import (
    read_search,
    study_parameters,
    write_search,
)
from quatrain.trainer.settings import MODELS, Hyperparameters, Search, search_space
from quatrain.trainer.task import parse_job

SPACE = {
    "learning_rate": {"min": 0.0001, "max": 0.01, "scale": "log"},
    "dropout": {"min": 0, "max": 0.5},
    "batch_size": [512, 256],
    "hidden_units": [[128, 64], [256]],
    "patience": {"min": 2, "max": 9},
}


def parameters(space):
    return study_parameters({n: read_search(n, s) for n, s in space.items()}, 0, "auto")


def test_each_setting_has_the_kind_of_its_type():
    assert parameters(SPACE) == [
        {"parameter_id": "batch_size", "discrete_value_spec": {"values": [256.0, 512.0]}},
        {
            "parameter_id": "learning_rate",
            "double_value_spec": {"min_value": 0.0001, "max_value": 0.01},
            "scale_type": "UNIT_LOG_SCALE",
        },
        {"parameter_id": "hidden_units", "categorical_value_spec": {"values": ["128,64", "256"]}},
        {
            "parameter_id": "dropout",
            "double_value_spec": {"min_value": 0.0, "max_value": 0.5},
            "scale_type": "UNIT_LINEAR_SCALE",
        },
        {
            "parameter_id": "patience",
            "integer_value_spec": {"min_value": 2, "max_value": 9},
            "scale_type": "UNIT_LINEAR_SCALE",
        },
    ]


@pytest.mark.parametrize("rows", [1_000, 1_000_000])
@pytest.mark.parametrize("model", MODELS)
def test_the_trainer_s_own_space_is_a_study_that_vertex_accepts(rows, model):
    spec = aiplatform_v1.StudySpec({"parameters": study_parameters(None, rows, model)})
    assert [p.parameter_id for p in spec.parameters] == list(search_space(rows, model))


def test_the_trainer_s_own_space_is_that_of_its_kind_of_model():
    assert list(search_space(1_000, "trees")) == ["shrinkage"]
    assert list(search_space(1_000, "linear")) == ["learning_rate", "weight_decay"]
    both = {*search_space(1_000, "tabm"), *search_space(1_000, "trees")}
    assert set(search_space(1_000, "auto")) == set(search_space(1_000, "blend")) == both


def test_the_default_of_a_setting_lies_in_its_own_space():
    for name, search in search_space(1_000_000, "auto").items():
        default = getattr(Hyperparameters(), name)
        assert default in search.choices or search.min <= default <= search.max


def test_the_trainer_reads_every_value_that_a_study_may_give():
    options = ["--learning_rate=0.002", "--batch_size=256.0", "--hidden_units=128,64"]
    read = parse_job(["--examples", "e", "--job-dir", "j", *options]).settings
    assert (read.learning_rate, read.batch_size, read.hidden_units) == (0.002, 256, (128, 64))
    with pytest.raises(SystemExit):
        parse_job(["--examples", "e", "--job-dir", "j", "--batch_size=256.5"])


def test_a_space_is_written_as_it_is_read():
    for name, written in SPACE.items():
        reread = read_search(name, write_search(read_search(name, written)))
        assert reread == read_search(name, written)
    assert read_search("dropout", SPACE["dropout"]) == Search(min=0.0, max=0.5)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("learning_rat", [1], "no setting to tune; did you mean 'learning_rate'"),
        ("epochs", [1, 2], "no setting to tune"),
        ("dropout", {"min": 0, "max": 1.5}, "dropout is 1.5; it must be"),
        ("dropout", {"min": 0.3, "max": 0.1}, "min 0.3 must be below max 0.1"),
        ("weight_decay", {"min": 0, "max": 1, "scale": "log"}, "must be above 0 and below max"),
        ("dropout", {"min": 0, "max": 0.1, "scale": "lin"}, "did you mean 'linear'"),
        ("dropout", {"low": 0}, "write {min: x, max: y, scale: log}, or a list"),
        ("hidden_units", {"min": 1, "max": 2}, "give a list of choices"),
        ("batch_size", [256, "many"], "'many' cannot be tried: must be a whole number"),
    ],
)
def test_a_setting_that_cannot_be_searched_is_refused(name, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_search(name, value)
