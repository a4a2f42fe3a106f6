"""A compiled file runs here, with its custom job as processes in Vertex's environment."""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from quatrain.components.errors import QuatrainError
from quatrain.components.specification.schema import ModelSpec
from quatrain.local import run as local
from quatrain.local.runs import RunFolder, _write_over, find_run
from quatrain.pipelines.compiled import PipelineError

ROOT = Path(__file__).parents[3]
run_toy = partial(local.run_pipeline, trust=True)
"""The toy pipeline is not what `quatrain compile` writes."""


def run(toy_path, spec, root, behaviour="ok", counts=(1,)):
    runner = "fail" if behaviour == "fail" else json.dumps([behaviour, counts])
    return run_toy(toy_path, spec, root, runner=runner, stream=io.StringIO())


def latest(root):
    started = (file.parent.resolve() for file in (root / "toy").glob("*/run.json"))
    return max(started, default=root / "toy/latest")


def record_of(root):
    return json.loads((latest(root) / "run.json").read_text())


def replicas_of(root):
    files = latest(root).glob("pipeline/*/plan/model/replicas/*.json")
    return {path.stem: json.loads(path.read_text()) for path in files}


@pytest.fixture(scope="module")
def alone(toy_path, spec, tmp_path_factory):
    """A run of one replica, from a folder whose modules raise, on a path that has that folder."""
    root = tmp_path_factory.mktemp("alone")
    (root / "queue.py").write_text("raise ImportError('queue.py was imported')")
    environ = {
        "TF_CONFIG": "{}",
        "CLOUD_ML_PROJECT_ID": "x",
        "AIP_MODEL_DIR": "elsewhere",
        "PYTHONPATH": os.pathsep,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, value in environ.items():
            patch.setenv(name, value)
        run(toy_path, spec, root)
    return root


@pytest.fixture(scope="module")
def three(toy_path, spec, tmp_path_factory):
    root = tmp_path_factory.mktemp("three")
    run(toy_path, spec, root, counts=(1, 2))
    return root


def test_one_replica_gets_vertex_s_environment_without_tf_config(alone):
    (replica,) = replicas_of(alone).values()
    env = replica["env"]
    assert sorted(env) == [
        "AIP_CHECKPOINT_DIR",
        "AIP_MODEL_DIR",
        "AIP_TENSORBOARD_LOG_DIR",
        "CLUSTER_SPEC",
    ]
    assert env["AIP_MODEL_DIR"].endswith("/plan/model/model/")
    assert env["AIP_CHECKPOINT_DIR"].endswith("/plan/model/checkpoints/")
    assert env["AIP_TENSORBOARD_LOG_DIR"].endswith("/plan/model/logs/")
    assert list(json.loads(env["CLUSTER_SPEC"])["cluster"]) == ["workerpool0"]
    assert replica["own"] == "mine"


def test_a_step_gets_the_times_at_which_the_run_was_scheduled_and_created(
    alone, toy_path, spec, tmp_path
):
    created = record_of(alone)["started"]
    manifest = json.loads((latest(alone) / "examples/manifest.json").read_text())
    times = {"at": "", "scheduled": "1970-01-01T00:00:00Z", "created": created}
    assert manifest["times"] == times
    stamps = {"at": "2013-07-01", "scheduled": "2013-07-02T00:00:00Z"}
    runner = json.dumps(["ok", [1]])
    run_toy(toy_path, spec, tmp_path, runner=runner, stream=io.StringIO(), **stamps)
    manifest = json.loads((latest(tmp_path) / "examples/manifest.json").read_text())
    assert manifest["times"].items() >= stamps.items()
    assert record_of(tmp_path)["arguments"]["at"] == "2013-07-01"


def test_several_replicas_get_a_cluster_with_a_chief_and_workers(three):
    replicas = replicas_of(three)
    assert sorted(replicas) == ["workerpool0-0", "workerpool1-0", "workerpool1-1"]
    configs = [json.loads(r["env"]["TF_CONFIG"]) for r in replicas.values()]
    clusters = [config["cluster"] for config in configs]
    assert clusters[0] == clusters[1] == clusters[2]
    assert {role: len(hosts) for role, hosts in clusters[0].items()} == {"chief": 1, "worker": 2}
    ports = {host for hosts in clusters[0].values() for host in hosts}
    assert len(ports) == 3
    tasks = {(c["task"]["type"], c["task"]["index"]) for c in configs}
    assert tasks == {("chief", 0), ("worker", 0), ("worker", 1)}


def test_the_run_s_folder_holds_what_ran_and_links_to_what_came_out(alone, toy_path):
    folder = latest(alone)
    assert (folder / "training.yaml").read_bytes() == toy_path.read_bytes()
    assert not Path(os.readlink(folder / "examples")).is_absolute()
    assert (folder / "examples" / "manifest.json").exists()
    assert (folder / "rejected").is_dir()
    assert {p.name for p in (folder / "logs").iterdir()} == {"kfp.log", "prepare.log", "train.log"}
    record = record_of(alone)
    assert (record["status"], record["error"]) == ("succeeded", "")
    assert [(s["name"], s["status"]) for s in record["steps"]] == [
        ("prepare", "succeeded"),
        ("train", "succeeded"),
    ]
    assert all(s["cpu_s"] > 0 and s["wall_s"] > 0 for s in record["steps"])
    assert all(5 < s["peak_mb"] < 2_000 for s in record["steps"]), record["steps"]


def test_an_artifact_without_its_manifest_is_not_linked(tmp_path):
    run = RunFolder(tmp_path, {})
    (tmp_path / "pipeline/examples/rejected").mkdir(parents=True)
    run.link({"examples": str(tmp_path / "pipeline/examples")})
    assert not (tmp_path / "examples").exists()
    (tmp_path / "pipeline/examples/manifest.json").write_text("{}")
    run.link({"examples": str(tmp_path / "pipeline/examples")})
    assert (tmp_path / "examples/manifest.json").exists()
    assert (tmp_path / "rejected").is_dir()


def test_whole_numbers_of_the_spec_survive_the_journey_as_numbers(alone):
    manifest = json.loads((latest(alone) / "examples" / "manifest.json").read_text())
    assert manifest["epochs"] == 20


def test_runs_sort_by_their_start_and_latest_is_the_last_that_was_measured(
    toy_path, spec, tmp_path
):
    first = run(toy_path, spec, tmp_path).folder.name
    with pytest.raises(local.StepFailed):
        run(toy_path, spec, tmp_path, behaviour="fail")
    names = sorted(p.name for p in (tmp_path / "toy").iterdir() if not p.is_symlink())
    assert names[0] == first
    assert latest(tmp_path).name == names[1]
    assert os.readlink(tmp_path / "toy/latest") == first
    assert find_run(tmp_path / "toy").resolve().name == first


def test_a_run_that_fails_its_gate_is_the_latest_and_no_champion(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        run = RunFolder(tmp_path / name, {})
        if name != "three":
            (run.folder / "pipeline/evaluation").mkdir(parents=True)
            (run.folder / "pipeline/evaluation/metrics.json").write_text("{}")
            run.link({"evaluation": str(run.folder / "pipeline/evaluation")})
        run.finish("" if name == "one" else "the gate failed")
    assert os.readlink(tmp_path / "latest") == "two"
    assert not (tmp_path / "champion").exists()  # the gate has recorded none


def test_where_no_run_was_measured_the_last_is_found(tmp_path):
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        RunFolder(tmp_path / name, {}).finish("no rows")
    assert not (tmp_path / "latest").exists()
    assert find_run(tmp_path) == tmp_path / "2"


def test_the_champion_is_the_run_that_the_record_names(tmp_path):
    record = tmp_path / "toy/statistics/champion.json"
    record.parent.mkdir(parents=True)
    fields = {"made": "2026-12-01", "split": {}, "statistics": {}}
    for name, champion in (("one", "one"), ("two", "one"), ("three", "three")):
        (tmp_path / "toy" / name).mkdir()
        record.write_text(json.dumps({"run": champion, **fields}))
        RunFolder(tmp_path / "toy" / name, {}).finish()
        assert os.readlink(tmp_path / "toy/champion") == champion


def test_a_file_in_the_way_of_latest_stops_the_run_before_it_has_a_folder(toy_path, spec, tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/latest").write_text("")
    with pytest.raises(QuatrainError, match="latest is in the way of a link"):
        run(toy_path, spec, tmp_path)
    assert os.listdir(tmp_path / "toy") == ["latest"]


def test_a_failed_step_names_its_reason_and_log_and_marks_the_run(toy_path, spec, tmp_path):
    with pytest.raises(local.StepFailed) as raised:
        run(toy_path, spec, tmp_path, behaviour="fail")
    lines = str(raised.value).splitlines()
    assert lines[:2] == ["step prepare failed: no rows", "in 2 files"]
    assert lines[2] == f"log: {latest(tmp_path).resolve() / 'logs' / 'prepare.log'}"
    record = record_of(tmp_path)
    assert record["status"] == "failed"
    assert record["error"] == str(raised.value)
    assert [s["status"] for s in record["steps"]] == ["failed"]


def test_a_retried_launcher_finds_its_failed_job_and_trains_no_second_time(
    toy_path, spec, tmp_path
):
    document = yaml.safe_load(toy_path.read_text())
    tasks = document["components"]["comp-train"]["dag"]["tasks"]
    tasks["custom-training-job"]["retryPolicy"] = {"maxRetryCount": 1, "backoffDuration": "0s"}
    path = tmp_path / "retried.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(local.StepFailed, match="workerpool0-0: the chief gives up"):
        run(path, spec, tmp_path, behaviour="chief-fails")
    (starts,) = latest(tmp_path).glob("pipeline/*/plan/model/replicas/starts")
    assert starts.read_text().split() == ["workerpool0-0"]
    log = (latest(tmp_path) / "logs" / "kfp.log").read_text()
    assert len(re.findall("Executing task .*custom-training-job", log)) == 2


def test_an_error_names_the_report_if_the_run_came_that_far(tmp_path):
    run = RunFolder(tmp_path, {})
    assert run.with_report("the gate failed") == "the gate failed"
    (tmp_path / "report.html").write_text("page")
    assert run.with_report("the gate failed") == f"the gate failed\nreport: {tmp_path}/report.html"


def test_a_worker_that_dies_stops_the_others_and_its_log_is_named(toy_path, spec, tmp_path):
    with pytest.raises(local.StepFailed) as raised:
        run(toy_path, spec, tmp_path, behaviour="worker-fails", counts=(1, 1))
    assert "workerpool1-0: ValueError: no gradient\nof 2 lines" in str(raised.value)
    assert str(raised.value).endswith("train-workerpool1-0.log")
    assert not is_alive(replicas_of(tmp_path)["workerpool0-0"]["pid"])


def test_the_chief_decides(toy_path, spec, tmp_path):
    with pytest.raises(local.StepFailed, match="workerpool0-0: the chief gives up"):
        run(toy_path, spec, tmp_path, behaviour="chief-fails", counts=(1, 1))


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [((1, 0, 1), "worker pool 1 is empty"), ((2,), r"worker pools of \[2\]"), ((1, 1, 1), "chief")],
)
def test_pools_that_would_change_roles_are_refused(toy_path, spec, tmp_path, counts, sentence):
    with pytest.raises(local.StepFailed, match=sentence):
        run(toy_path, spec, tmp_path, counts=counts)
    assert record_of(tmp_path)["status"] == "failed"


def is_alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children")
    pids = [int(p) for p in children.read_text().split()] if children.exists() else []
    return pids + [d for child in pids for d in descendants(child)]


def test_a_spec_of_1500_columns_reaches_the_steps_by_a_file(toy_path, spec, tmp_path):
    # In an argument, it would fail with "Argument list too long".
    wide = dict.fromkeys((f"column_{i}" for i in range(1_500)), "float")
    features = [{"name": f"f_{n}", "from": n, "transform": "standardize"} for n in wide]
    document = spec.as_document() | {"columns": {"y": "bool", "x": "float", **wide}}
    wide_spec = ModelSpec.model_validate(document | {"features": features})
    folder = run(toy_path, wide_spec, tmp_path).folder
    assert json.loads((folder / "examples/manifest.json").read_text())["epochs"] == 20
    (path,) = (tmp_path / "toy/specs").iterdir()
    assert path.name == f"{wide_spec.sha256}.json"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_command_line_leaves_no_process(toy_path, spec, tmp_path, number):
    code = (
        "import json, signal, sys; from pathlib import Path; from quatrain.local import run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background\n"
        "from quatrain.components.specification.parameter import read_parameter\n"
        "spec = read_parameter(sys.argv[2])\n"
        "run.run_pipeline(Path(sys.argv[1]), spec, Path(sys.argv[3]), runner=sys.argv[4], "
        "trust=True)\n"
    )
    arguments = [str(toy_path), spec.as_json(), str(tmp_path)]
    runner = json.dumps(["hang", [1, 1]])
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, runner], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: len(replicas_of(tmp_path)) == 2 and len(descendants(child.pid)) >= 6)
    family = descendants(child.pid)
    child.send_signal(number)
    child.wait(timeout=20)
    wait_for(lambda: not any(is_alive(pid) for pid in family))
    status = record_of(tmp_path)["status"]
    assert status == ("running" if number == signal.SIGKILL else "failed")


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_arguments_that_the_file_does_not_take_are_refused_before_anything_runs(toy_path):
    compiled = local.read_compiled(toy_path)
    with pytest.raises(PipelineError) as raised:
        compiled.check_arguments({"spec": {"name": "toy"}, "project": "p", "tiers": ""})
    assert str(raised.value).splitlines() == [
        "toy.yaml: has no parameter 'tiers'; did you mean 'tier'?",
        "toy.yaml: parameter 'location' is missing",
        "toy.yaml: parameter 'spec' takes str, not dict {'name': 'toy'}",
    ]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb"])
def test_a_root_that_would_break_a_job_s_json_is_refused(toy_path, spec, tmp_path, name):
    with pytest.raises(PipelineError, match="may hold no quote, backslash or control character"):
        run(toy_path, spec, tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "is not YAML"),
        ("name: flights", "is not a compiled KFP v2 pipeline"),
        ("", "is not a compiled KFP v2 pipeline"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_not_a_pipeline_is_refused(tmp_path, text, sentence):
    path = tmp_path / "x.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PipelineError, match=sentence):
        local.read_compiled(path)


@pytest.fixture
def full_disk():
    """Lets no file grow beyond 4 KB, which the system refuses otherwise than a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_run_on_a_full_disk_is_refused_with_the_folder_and_the_way_out(
    toy_path, spec, tmp_path, full_disk
):
    with pytest.raises(QuatrainError) as raised:
        run(toy_path, spec, tmp_path / "runs")
    sentence = str(raised.value)
    assert sentence.startswith("no run can be made: the disk of ")
    assert f"{tmp_path}/runs" in sentence
    assert sentence.endswith("make room there, or choose another --root")


def test_a_record_that_a_full_disk_does_not_take_hides_no_reason(tmp_path, full_disk):
    run = RunFolder(tmp_path, {})
    run.finish("step train failed: " + "x" * 5_000)
    assert json.loads((tmp_path / "run.json").read_text())["steps"] == []


def test_a_record_is_written_over_the_old_one_where_that_has_room(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"status": "running", "steps": []}\n')
    _write_over(path, b'{"status": "failed"}\n')
    assert json.loads(path.read_text()) == {"status": "failed"}
    _write_over(path, b'{"status": "failed", "error": "%s"}\n' % (b"x" * 100_000))
    assert json.loads(path.read_text()) == {"status": "failed"}
