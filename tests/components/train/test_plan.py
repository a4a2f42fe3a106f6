"""The plan writes what every replica runs."""

import datetime
import json

import pytest

from quatrain.components.errors import ArtifactError, SpecError, TierError
from quatrain.components.train import plan as planning
from quatrain.trainer.settings import search_space
from quatrain.trainer.task import parse_job
from quatrain.validation.load import validate

DAY = datetime.date(2026, 11, 20)
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
    return validate({**SPEC, "train": train})


@pytest.fixture
def package(tmp_path):
    published = {
        "version": 1,
        "file": "quatrain_trainer-0.1-ab.tar.gz",
        "sha256": "ab",
        "checks": [],
    }
    (tmp_path / "package.json").write_text(json.dumps(published))
    (tmp_path / "manifest.json").write_text(json.dumps({"rows": {"train": 500_000}}))
    return tmp_path


def planned(package, value, tier=""):
    return planning.plan(
        value.as_json(),
        str(package),
        str(package),
        model_uri="gs://b/model",
        tier=tier,
        image="img@sha256:1",
    )


def test_every_replica_boots_the_package_by_its_digest(package):
    plan = planned(package, spec())
    (pool,) = plan.worker_pool_specs
    container = pool["container_spec"]
    assert container["command"] == ["python", "-P", "-m", "quatrain.components.train.bootstrap"]
    assert container["args"][:5] == [
        "--package",
        f"{package}/quatrain_trainer-0.1-ab.tar.gz",
        "--sha256",
        "ab",
        "--",
    ]
    assert container["image_uri"] == "img@sha256:1"
    assert plan.base_output_directory == "gs://b/model"


def test_a_quick_run_trains_a_few_epochs_on_one_machine_without_tuning(package, capsys):
    manifest = {"rows": {"train": 20_000}, "sample": {"rows": 20_000, "of": 10**6}}
    (package / "manifest.json").write_text(json.dumps(manifest))
    plan = planned(package, spec(tune="auto", tier="STANDARD_1", replicas=3, epochs=50))
    assert plan.trials == 0
    assert arguments(plan)["--tier"] == "BASIC"
    assert len(plan.worker_pool_specs) == 1
    assert (settings(plan)["epochs"], settings(plan)["rounds"]) == (3, 50)
    assert capsys.readouterr().out.startswith("plan: quick run: tier BASIC, 3 epochs or 50 rounds")
    assert settings(planned(package, spec(epochs=2)))["epochs"] == 2


def arguments(plan):
    args = plan.worker_pool_specs[0]["container_spec"]["args"]
    return dict(zip(args[5::2], args[6::2], strict=True))


def settings(plan):
    return json.loads(arguments(plan)["--settings"])


def test_the_job_requests_the_scheduling_of_its_tier(package):
    scheduling = [planned(package, spec(), tier)[2:6] for tier in ("", "STANDARD_1", "A100_FLEX")]
    assert scheduling == [
        ("STANDARD", "604800s", False, "0s"),
        ("STANDARD", "604800s", True, "0s"),
        ("FLEX_START", "604800s", False, "86400s"),
    ]
    assert planned(package, spec(scheduling="SPOT"), "A100").strategy == "SPOT"


@pytest.mark.parametrize(
    ("max_seconds", "timeout"), [(0, "604800s"), (600, "2400s"), (0.5, "1801s"), (1e6, "604800s")]
)
def test_a_bound_on_the_training_is_a_timeout_of_the_job(package, max_seconds, timeout):
    assert planned(package, spec(max_seconds=max_seconds)).timeout == timeout


def test_eight_accelerators_take_the_largest_batch_that_keeps_100_steps(package, capsys):
    # 500 000 rows in batches of 1024 are 488 steps: 4 times the batch leaves 122, 8 times 61
    scaled = settings(planned(package, spec(batch_size=1024, learning_rate=0.001), "A100_8"))
    assert (scaled["batch_size"], scaled["learning_rate"]) == (4096, 0.002)
    assert "batch_size is 4096, learning_rate 0.002" in capsys.readouterr().out
    own = spec(batch_size=1024, batch_rule="constant")
    assert settings(planned(package, own, "A100_8"))["batch_size"] == 1024
    assert settings(planned(package, spec(batch_size=1024), "STANDARD_1"))["batch_size"] == 1024


def test_a_tuning_is_a_job_that_vertex_accepts(package):
    from google.cloud import aiplatform_v1

    space = {"dropout": {"min": 0, "max": 0.5}, "hidden_units": [[8, 4], [16]]}
    plan = planned(package, spec(tune={"trials": 5, "parallel": 9, "space": space}))
    job = aiplatform_v1.HyperparameterTuningJob(
        display_name="toy",
        study_spec={"metrics": plan.study_metrics, "parameters": plan.study_parameters},
        max_trial_count=plan.trials,
        parallel_trial_count=plan.parallel_trials,
        max_failed_trial_count=plan.failed_trials,
        trial_job_spec={"worker_pool_specs": plan.worker_pool_specs},
    )
    assert [p.parameter_id for p in job.study_spec.parameters] == ["hidden_units", "dropout"]
    assert job.study_spec.metrics[0].goal.name == "MINIMIZE"
    assert (job.max_trial_count, job.parallel_trial_count, job.max_failed_trial_count) == (5, 5, 3)
    assert plan.tuning_directory == "gs://b/model/tuning"


def test_auto_tunes_the_trainer_s_own_space(package):
    tuned = planned(package, spec(tune="auto")).study_parameters
    assert [p["parameter_id"] for p in tuned] == list(search_space(500_000, "auto"))
    assert planned(package, spec()).trials == 0


def test_an_old_file_s_changes_are_reported(package, capsys):
    old = {"scaleTier": "CUSTOM", "masterType": "standard", "parameterServerCount": 2}
    planned(package, spec(tier="CUSTOM", config={"trainingInput": old}))
    assert "plan: 2 parameter servers without a type cannot be used" in capsys.readouterr().out


def test_arguments_are_strings_and_the_settings_are_one_of_them(package):
    model_spec = spec(epochs=3, hidden_units=[8, 4])
    options = arguments(planned(package, model_spec))
    assert all(isinstance(a, str) for a in options.values())
    job = parse_job([f"{name}={value}" for name, value in options.items()] + ["--job-dir", "out"])
    assert job.settings == model_spec.train.settings
    assert job.settings.hidden_units == (8, 4)
    assert options["--strategy"] == "one_device"
    assert options["--gpus"] == "0"
    assert "--tpus" not in options  # an older trainer of the user's own does not know it
    assert options["--tier"] == "BASIC"


def test_the_trainer_expects_the_cores_that_a_tpu_tier_pays_for(package):
    options = arguments(planned(package, spec(), tier="BASIC_TPU"))
    job = parse_job([f"{name}={value}" for name, value in options.items()] + ["--job-dir", "out"])
    assert (job.strategy, job.tpus, job.gpus) == ("tpu", 8, 0)


def test_the_pipeline_s_tier_takes_the_place_of_the_spec_s():
    toy = spec(tier="STANDARD_1", replicas=2)
    assert planning.resolve_tier(toy).replicas == 2
    assert planning.resolve_tier(toy, "BASIC_GPU", DAY).replicas == 1
    assert planning.resolve_tier(toy, "PREMIUM_1").replicas == 2


def test_a_bag_needs_a_tier_of_one_machine_and_no_tuning():
    toy = spec(quality="high")
    assert planning.resolve_tier(toy).replicas == 1
    with pytest.raises(TierError, match=r"tier STANDARD_1 has 5; choose a tier of one machine"):
        planning.resolve_tier(toy, "STANDARD_1")
    with pytest.raises(SpecError, match="quality high and tune do not go together"):
        spec(quality="high", tune="auto")
    assert planning.quick_train(toy.train).settings.quality == "standard"


def test_custom_pools_come_from_the_spec():
    pools = [{"machine_type": "e2-standard-8"}, {"machine_type": "e2-standard-8"}]
    toy = spec(tier="CUSTOM", pools=pools)
    assert planning.resolve_tier(toy).strategy == "multi_worker"
    with pytest.raises(TierError, match=r"needs train\.pools"):
        planning.resolve_tier(spec(), "CUSTOM")


def test_a_package_that_was_not_published_stops_the_plan(tmp_path):
    with pytest.raises(ArtifactError, match=r"package\.json"):
        planned(tmp_path, spec())
