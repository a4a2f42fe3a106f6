"""The plan writes what every replica runs."""

import json

import pytest

from components.errors import ArtifactError, TierError
from components.spec.reading import read_parameter
from components.train import plan as planning

SPEC = {
    "name": "toy",
    "source": {"uri": ["/data/toy.csv"]},
    "columns": {"x": "float", "y": "bool"},
    "label": "y",
    "task": "binary",
    "split": {"by": "hash", "keys": ["x"]},
    "features": [{"name": "x", "from": "x", "transform": "standardize"}],
}


def spec(**train):
    return {**SPEC, "train": train}


@pytest.fixture
def package(tmp_path):
    published = {
        "version": 1,
        "file": "quatrain_trainer-0.1-ab.tar.gz",
        "sha256": "ab",
        "checks": [],
    }
    (tmp_path / "package.json").write_text(json.dumps(published))
    return tmp_path


def planned(package, value, tier=""):
    return planning.plan(
        value,
        package_uri="gs://b/package",
        package_path=str(package),
        examples_uri="gs://b/examples",
        model_uri="gs://b/model",
        tier=tier,
        image="img@sha256:1",
    )


def test_every_replica_boots_the_package_by_its_digest(package):
    plan = planned(package, spec())
    (pool,) = plan.worker_pool_specs
    container = pool["container_spec"]
    assert container["command"] == ["python", "-m", "components.train.bootstrap"]
    assert container["args"][:5] == [
        "--package",
        "gs://b/package/quatrain_trainer-0.1-ab.tar.gz",
        "--sha256",
        "ab",
        "--",
    ]
    assert container["image_uri"] == "img@sha256:1"
    assert plan.base_output_directory == "gs://b/model"


def test_arguments_are_strings_and_cover_every_setting(package):
    args = planned(package, spec(epochs=3.0, hidden_units=[8, 4])).worker_pool_specs[0][
        "container_spec"
    ]["args"]
    assert all(isinstance(a, str) for a in args)
    given = dict(zip(args[5::2], args[6::2], strict=True))
    assert given["--epochs"] == "3"
    assert given["--hidden-units"] == "8,4"
    assert given["--strategy"] == "one_device"
    assert given["--tier"] == "BASIC"
    assert {"--examples", "--batch-size", "--learning-rate", "--max-steps", "--seed"} <= set(given)


def test_the_pipeline_s_tier_takes_the_place_of_the_spec_s():
    toy = read_parameter(spec(tier="STANDARD_1", replicas=2))
    assert planning.resolve_tier(toy).replicas == 2
    assert planning.resolve_tier(toy, "BASIC_GPU").replicas == 1
    assert planning.resolve_tier(toy, "PREMIUM_1").replicas == 2


def test_custom_pools_come_from_the_spec():
    pools = [{"machine_type": "e2-standard-8"}, {"machine_type": "e2-standard-8"}]
    toy = read_parameter(spec(tier="CUSTOM", pools=pools))
    assert planning.resolve_tier(toy).strategy == "multi_worker"
    with pytest.raises(TierError, match=r"needs train\.pools"):
        planning.resolve_tier(read_parameter(spec()), "CUSTOM")


def test_a_package_that_was_not_published_stops_the_plan(tmp_path):
    with pytest.raises(ArtifactError, match=r"package\.json"):
        planned(tmp_path, spec())
