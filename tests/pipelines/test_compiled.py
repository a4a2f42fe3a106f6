"""The compiled file has the same bytes each time, and the wiring that Vertex needs."""

import copy
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from quatrain.components.image import LAUNCHER_IMAGE
from quatrain.pipelines.compiled import (
    LAUNCHER,
    TUNING_LAUNCHER,
    PipelineError,
    compile_pipeline,
    read_compiled,
    tasks_of,
)
from quatrain.pipelines.origin import check_origin

ROOT = Path(__file__).parents[2]
IMAGE = "region-docker.pkg.dev/p/r/quatrain@sha256:0a"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    path = tmp_path_factory.mktemp("compiled") / "training.yaml"
    return read_compiled(compile_pipeline(path, IMAGE))


def test_another_process_compiles_the_same_bytes(compiled, tmp_path):
    code = "import sys, pathlib; from quatrain.pipelines.compiled import compile_pipeline as c\n"
    code += "c(pathlib.Path(sys.argv[1]), sys.argv[2])"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "other.yaml"), IMAGE],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
    )
    other = (tmp_path / "other.yaml").read_bytes()
    assert hashlib.sha256(other).hexdigest() == compiled.sha256


def test_four_steps_in_their_order(compiled):
    assert compiled.steps == ("preprocess", "package", "train", "evaluate")
    assert compiled.executors == {
        "find_files": "preprocess",
        "preprocess": "preprocess",
        "compare": "preprocess",
        "package": "package",
        "plan": "train",
        TUNING_LAUNCHER: "train",
        "choose": "train",
        LAUNCHER: "train",
        "measure": "evaluate",
        "gate": "evaluate",
        "release": "release",
    }


def test_the_release_is_no_step_and_starts_nothing_unless_the_gate_says_so(compiled):
    released = tasks_of(compiled.spec)["release"]
    assert released["dependentTasks"] == ["evaluate"]
    assert released["inputs"]["parameters"]["decision"] == {
        "taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "evaluate"}
    }
    body = compiled.spec["components"][released["componentRef"]["name"]]
    [branch] = body["dag"]["tasks"].values()
    assert branch["triggerPolicy"]["condition"] == (
        "inputs.parameter_values['pipelinechannel--decision'] == 'release'"
    )


def test_a_copy_of_the_launchers_image_takes_the_place_of_google_s(compiled, tmp_path):
    assert compiled.launcher_images == {LAUNCHER_IMAGE}
    copy_of = "region-docker.pkg.dev/p/r/launcher@sha256:0b"
    other = compile_pipeline(tmp_path / "training.yaml", IMAGE, launcher_image=copy_of)
    assert read_compiled(other).launcher_images == {copy_of}
    assert other.read_text().replace(copy_of, LAUNCHER_IMAGE) == compiled.path.read_text()


def test_every_step_of_ours_may_have_its_own_memory_and_cpus(tmp_path):
    path = compile_pipeline(tmp_path / "training.yaml", IMAGE, memory="32G", cpu="8")
    executors = read_compiled(path).spec["deploymentSpec"]["executors"].values()
    containers = [e["container"] for e in executors]
    ours = [c["resources"] for c in containers if c["image"] == IMAGE]
    assert [(r["memoryLimit"], r["cpuLimit"]) for r in ours] == [(32.0, 8.0)] * 10
    assert not any("resources" in c for c in containers if c["image"] != IMAGE)


def test_the_report_has_the_type_that_the_console_shows(compiled):
    outputs = compiled.spec["components"]["comp-measure"]["outputDefinitions"]["artifacts"]
    assert outputs["report"]["artifactType"]["schemaTitle"] == "system.HTML"


def test_every_component_takes_the_place_of_its_shell(compiled):
    containers = [e["container"] for e in compiled.spec["deploymentSpec"]["executors"].values()]
    scripts = [c["command"][2] for c in containers if c["image"] == IMAGE]
    assert [script.count("exec env _KFP_RUNTIME=true python3 -m ") for script in scripts] == [
        1
    ] * 10
    assert not any("executor_main" in script for script in scripts)


def test_trials_run_where_the_plan_has_any(compiled):
    branches = inner(compiled, "train")["condition-branches-1"]["componentRef"]["name"]
    tasks = compiled.spec["components"][branches]["dag"]["tasks"]
    conditions = [task["triggerPolicy"]["condition"] for task in tasks.values()]
    trials = "int(inputs.parameter_values['pipelinechannel--plan-trials']) > 0"
    assert [" ".join(condition.split()) for condition in conditions] == [trials, f"!({trials})"]


def test_both_jobs_are_defined_by_the_plan(compiled):
    with_trials, without = (branch(compiled, n) for n in (2, 3))
    jobs = [with_trials["custom-training-job"], without["custom-training-job-2"]]
    for name in (
        *("worker_pool_specs", "base_output_directory", "strategy", "timeout"),
        *("restart_job_on_worker_restart", "max_wait_duration"),
    ):
        channel = {"componentInputParameter": f"pipelinechannel--plan-{name}"}
        assert jobs[1]["inputs"]["parameters"][name] == channel
    for parameters in (job["inputs"]["parameters"] for job in jobs):
        for name in ("project", "location", "service_account", "network", "reserved_ip_ranges"):
            channel = {"componentInputParameter": f"pipelinechannel--{name}"}
            assert parameters[name] == channel
        assert "psc_interface" in str(parameters["psc_interface_config"])
        assert "encryption_key" in str(parameters["encryption_spec_key_name"])
        assert parameters["persistent_resource_id"] == {"runtimeValue": {"constant": ""}}


def test_the_final_training_takes_its_pools_from_the_best_trial(compiled):
    tasks = branch(compiled, 2)
    best = {"taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "choose"}}
    assert tasks["custom-training-job"]["inputs"]["parameters"]["worker_pool_specs"] == best
    study = tasks["choose"]["inputs"]["parameters"]["gcp_resources"]["taskOutputParameter"]
    assert study["producerTask"] == "hyperparameter-tuning-job"
    constants = [
        name
        for name, value in tasks["hyperparameter-tuning-job"]["inputs"]["parameters"].items()
        if "runtimeValue" in value
    ]
    assert constants == ["display_name"]


def branch(compiled, number):
    return compiled.spec["components"][f"comp-condition-{number}"]["dag"]["tasks"]


def inner(compiled, step):
    name = tasks_of(compiled.spec)[step]["componentRef"]["name"]
    return compiled.spec["components"][name].get("dag", {}).get("tasks", {})


def test_the_time_of_the_run_decides_what_files_are_found(compiled):
    inputs = inner(compiled, "preprocess")["find-files"]["inputs"]["parameters"]
    for name in ("spec", "project", "at"):
        assert inputs[name] == {"componentInputParameter": name}
    constants = {n: p["runtimeValue"]["constant"] for n, p in inputs.items() if "runtimeValue" in p}
    assert constants == {
        "scheduled": "{{$.pipeline_job_schedule_time_utc}}",
        "created": "{{$.pipeline_job_create_time_utc}}",
    }


def test_only_preprocess_is_cached_and_it_knows_the_files_but_not_the_time(compiled):
    dags = [compiled.spec["root"], *compiled.spec["components"].values()]
    every = [task for dag in dags for task in dag.get("dag", {}).get("tasks", {}).items()]
    groups = ("condition", "exit-handler")
    options = [t["cachingOptions"] for name, t in every if not name.startswith(groups)]
    cached = [task for _, task in every if task.get("cachingOptions", {}).get("enableCache")]
    assert len(options) == 17
    assert cached == [inner(compiled, "preprocess")["preprocess"]]
    parameters = cached[0]["inputs"]["parameters"]
    from_tasks = {n for n, p in parameters.items() if "taskOutputParameter" in p}
    assert from_tasks == {"spec", "at", "digest", "cache_key"}
    assert compiled.cached == {"preprocess"}
    assert {n for n, p in parameters.items() if "runtimeValue" in p} == {"image"}


def test_evaluate_takes_the_model_of_the_nested_pipeline(compiled):
    tasks = tasks_of(compiled.spec)
    model = tasks["evaluate"]["inputs"]["artifacts"]["model"]
    assert model["taskOutputArtifact"]["producerTask"] == "train"
    outputs = compiled.spec["components"]["comp-train"]["dag"]["outputs"]["artifacts"]
    (selected,) = outputs["Output"]["artifactSelectors"]
    assert selected == {"outputArtifactKey": "model", "producerSubtask": "plan"}


def test_components_run_one_image_and_replicas_that_one_unless_the_run_names_another(compiled):
    executors = compiled.spec["deploymentSpec"]["executors"]
    images = {name: e["container"]["image"] for name, e in executors.items()}
    for job in ("custom-training-job", "custom-training-job-2", "hyperparameter-tuning-job"):
        assert "google-cloud-pipeline-components:2.22" in images.pop(f"exec-{job}")
    assert set(images.values()) == {IMAGE}
    plan = compiled.spec["components"]["comp-train"]["dag"]["tasks"]["plan"]
    assert plan["inputs"]["parameters"]["image"] == {"componentInputParameter": "image"}
    train = tasks_of(compiled.spec)["train"]["inputs"]["parameters"]
    assert train["image"] == {"componentInputParameter": "pipelinechannel--train_image"}
    parameters = compiled.spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["train_image"]["defaultValue"] == IMAGE


def test_nothing_is_installed_at_run_time(compiled):
    text = compiled.path.read_text()
    assert "pip install" not in text


def test_project_and_location_have_no_default(compiled):
    parameters = compiled.spec["root"]["inputDefinitions"]["parameters"]
    required = {name for name, p in parameters.items() if not p.get("isOptional")}
    assert required == {"spec", "project", "location"}


def test_components_and_launchers_are_retried_after_a_minute_but_no_verdict_is(tmp_path):
    compiled = read_compiled(compile_pipeline(tmp_path / "training.yaml", IMAGE, retries=2))
    dags = [compiled.spec["root"], *compiled.spec["components"].values()]
    tasks = {n: t for d in dags for n, t in d.get("dag", {}).get("tasks", {}).items()}
    repeated = {n for n, t in tasks.items() if t.get("retryPolicy", {}).get("maxRetryCount") == 2}
    components = {"find-files", "preprocess", "package", "plan", "choose", "measure"}
    jobs = {"custom-training-job", "custom-training-job-2", "hyperparameter-tuning-job"}
    assert repeated == components | jobs
    policies = [tasks[name]["retryPolicy"] for name in repeated]
    waits = {(p["backoffDuration"], p["backoffFactor"]) for p in policies}
    assert waits == {("60s", 2.0)}
    assert "retryPolicy" not in str([tasks[name] for name in ("gate", "compare")])


def test_a_file_of_the_first_version_asks_to_be_compiled_anew(compiled):
    old = copy.deepcopy(compiled.spec)
    old["root"]["inputDefinitions"]["parameters"]["spec"]["parameterType"] = "STRUCT"
    arguments = {"spec": "x" * 1_000, "project": "p", "location": "l"}
    compiled.check_arguments(arguments)
    with pytest.raises(PipelineError) as refused:
        replace(compiled, documents=[old]).check_arguments(arguments)
    assert (
        "'spec' takes dict, not str 'xxxxxxxxxxxx...xxxxxxxxxxxxx'; the file was compiled by"
        in (str(refused.value))
    )


def test_the_prediction_pipeline_is_another_file_with_the_same_rules(tmp_path):
    """The same bytes each time, nothing cached, and an origin that can be checked."""
    paths = [tmp_path / name for name in ("a.yaml", "b.yaml")]
    first, second = (
        read_compiled(compile_pipeline(path, IMAGE, 2, memory="8G", cpu="4", predicts=True))
        for path in paths
    )
    assert first.sha256 == second.sha256
    assert first.predicts
    assert first.steps == ("find-inputs", "compare-inputs", "predict")
    assert not first.cached
    assert first.images == {IMAGE}
    check_origin(first)
    assert first.exit_executor == "notify"
    tasks = tasks_of(first.spec)
    retried = {
        name: task.get("retryPolicy", {}).get("maxRetryCount") for name, task in tasks.items()
    }
    assert retried == {"find-inputs": 2, "compare-inputs": None, "predict": 2}


def test_one_exit_task_hears_how_all_steps_have_ended(compiled):
    assert compiled.exit_executor == "notify"
    task = compiled.spec["root"]["dag"]["tasks"]["notify"]
    assert task["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert task["dependentTasks"] == ["exit-handler-1"]
    assert task["inputs"]["parameters"]["status"] == {
        "taskFinalStatus": {"producerTask": "exit-handler-1"}
    }
