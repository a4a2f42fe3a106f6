"""A task's outputs are taken from an earlier run, checked file by file, or else made again."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quatrain.components.artifacts import CACHE
from quatrain.local import task_cache
from quatrain.local.task_cache import cached_task

ROOT = Path(__file__).parents[3]
FILES = {"train.parquet": b"rows" * 1000, "rejected/part.parquet": b"bad rows", "t.json": b"{}"}


def command(root, run, inputs=None, source="def f(): ...", artifacts=None):
    folder = root / "toy" / run / "pipeline/preprocess"
    document = {
        "inputs": {"parameterValues": {"spec": "{}", "cache_key": "", **(inputs or {})}},
        "outputs": {
            "parameters": {"link": {"outputFile": str(folder / "link")}},
            "artifacts": {
                "examples": {"artifacts": [{"name": "examples", "uri": str(folder / "examples")}]}
            },
            "outputFile": str(folder / "executor_output.json"),
        },
    }
    if artifacts:
        document["inputs"]["artifacts"] = artifacts
    return ["sh", "-ec", "python3", source, "--executor_input", json.dumps(document), "-x", "f"]


def task(root, run, cache_key="", **changed):
    return cached_task(command(root, run, **changed), root, cache_key)


def make(root, run, **changed):
    """Makes a task's outputs, as the task would, and records them."""
    made = task(root, run, **changed)
    examples = made.artifacts["examples"]
    for name, data in FILES.items():
        (examples / name).parent.mkdir(parents=True, exist_ok=True)
        (examples / name).write_bytes(data)
    files = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    (examples / "manifest.json").write_text(json.dumps({"files": files, "rows": 7}))
    uri = {"name": "examples", "uri": str(examples), "metadata": {"rows": 7}}
    output = {"parameterValues": {"Output": 7}, "artifacts": {"examples": {"artifacts": [uri]}}}
    (examples.parent / "executor_output.json").write_text(json.dumps(output))
    (examples.parent / "link").write_text("{}")
    made.record(run)
    return examples


def take(root, run, **changed):
    """Returns which run's outputs were taken, the folder they are in, and what was reported."""
    taken, reports = task(root, run, **changed), []
    maker = taken.take(lambda: None, reports.append)
    return maker, taken.artifacts["examples"], reports


def content(folder):
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_the_same_inputs_take_the_outputs_of_the_run_before(tmp_path):
    first = make(tmp_path, "one")
    maker, second, reports = take(tmp_path, "two")
    assert (maker, reports) == ("one", [])
    assert content(second) == content(first) and len(content(second)) == 4
    output = json.loads((second.parent / "executor_output.json").read_text())
    assert output["parameterValues"] == {"Output": 7}
    [artifact] = output["artifacts"]["examples"]["artifacts"]
    assert artifact == {"name": "examples", "uri": str(second), "metadata": {"rows": 7}}
    assert (second.parent / "link").read_text() == "{}"


def test_the_run_that_made_the_outputs_is_named_however_often_they_were_taken(tmp_path):
    first = make(tmp_path, "one")
    take(tmp_path, "two")
    shutil.rmtree(first.parents[1])
    assert take(tmp_path, "three")[0] == "one"


def test_what_is_altered_in_one_run_alters_no_other(tmp_path):
    first = make(tmp_path, "one")
    second = take(tmp_path, "two")[1]
    (second / "t.json").write_text("[]")
    assert (first / "t.json").read_text() == "{}"


@pytest.mark.parametrize(
    "changed",
    [
        {"inputs": {"spec": '{"label": "y"}'}},
        {"inputs": {"digest": "of other files"}},
        {"inputs": {"cache_key": "gs://b/lost"}},
        {"source": "def f(): return 1"},
    ],
    ids=["spec", "files", "lost examples", "component"],
)
def test_other_inputs_take_nothing(tmp_path, changed):
    make(tmp_path, "one")
    maker, folder, reports = take(tmp_path, "two", **changed)
    assert (maker, folder.exists(), reports) == ("", False, [])


@pytest.mark.parametrize("package", ["components", "trainer"])
def test_changed_code_takes_nothing(tmp_path, monkeypatch, package):
    copy = tmp_path / package
    shutil.copytree(ROOT / package, copy)
    monkeypatch.setattr(getattr(task_cache, package), "__path__", [str(copy)])
    root = tmp_path / "runs"
    make(root, "one")
    assert take(root, "two")[0] == "one"
    with (copy / "uris.py").open("a") as stream:
        stream.write("# changed\n")
    assert take(root, "three")[0] == ""


def test_another_version_of_a_library_takes_nothing(tmp_path, monkeypatch):
    make(tmp_path, "one")
    version = task_cache.metadata.version
    other = {"pyarrow": "0.0"}
    monkeypatch.setattr(task_cache.metadata, "version", lambda n: other.get(n) or version(n))
    assert take(tmp_path, "two")[0] == ""


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["flipped", "removed"])
def test_an_altered_artifact_is_reported_and_not_taken(tmp_path, name, damage):
    damage(make(tmp_path, "one") / name)
    maker, folder, reports = take(tmp_path, "two")
    assert maker == ""
    what = "is gone" if damage is Path.unlink else "was altered after it was written"
    assert len(reports) == 1 and reports[0].endswith(f"{name} {what}")
    assert not folder.exists()
    assert take(tmp_path, "three")[2] == []  # it is known now


def test_a_manifest_that_was_altered_with_its_file_is_not_taken(tmp_path):
    examples = make(tmp_path, "one")
    (examples / "t.json").write_text("[]")
    manifest = json.loads((examples / "manifest.json").read_text())
    manifest["files"]["t.json"] = hashlib.sha256(b"[]").hexdigest()
    (examples / "manifest.json").write_text(json.dumps(manifest))
    assert take(tmp_path, "two")[0] == ""


@pytest.mark.parametrize("is_absolute", [False, True])
def test_a_manifest_never_leads_a_copy_out_of_its_folder(tmp_path, is_absolute):
    examples = make(tmp_path, "one")
    secret = examples.parents[4] / "secret"
    secret.write_bytes(b"mine")
    outside = str(secret) if is_absolute else "../../../../../secret"
    manifest = json.dumps({"files": {outside: hashlib.sha256(b"mine").hexdigest()}})
    (examples / "manifest.json").write_text(manifest)
    [record] = (tmp_path / CACHE / "tasks").iterdir()
    document = json.loads(record.read_text())
    document["artifacts"]["examples"]["manifest"] = hashlib.sha256(manifest.encode()).hexdigest()
    record.write_text(json.dumps(document))
    maker, folder, reports = take(tmp_path, "two")
    assert maker == "" and reports[0].endswith(f"names {outside!r}, outside of the folder")
    assert not folder.exists() and secret.read_bytes() == b"mine"


def test_a_record_never_names_a_folder_that_is_not_below_the_root(tmp_path):
    examples = make(tmp_path / "other", "one")
    make(tmp_path / "runs", "one")
    [record] = (tmp_path / "runs" / CACHE / "tasks").iterdir()
    document = json.loads(record.read_text())
    document["artifacts"]["examples"]["folder"] = str(examples)
    record.write_text(json.dumps(document))
    maker, _, reports = take(tmp_path / "runs", "two")
    assert maker == "" and "is altered" in reports[0]


@pytest.mark.parametrize("text", ["", "null", "[1]", "{}", '{"artifacts": {"examples": 1}}'])
def test_an_altered_record_is_reported_and_removed(tmp_path, text):
    make(tmp_path, "one")
    [record] = (tmp_path / CACHE / "tasks").iterdir()
    record.write_text(text)
    maker, _, reports = take(tmp_path, "two")
    assert maker == "" and str(record) in reports[0]
    assert not record.exists()


def test_a_run_that_was_removed_is_no_longer_taken_from(tmp_path):
    shutil.rmtree(make(tmp_path, "one").parents[1])
    assert take(tmp_path, "two")[::2] == ("", [])


def test_what_a_run_without_the_cache_makes_is_taken_by_later_runs(tmp_path):
    make(tmp_path, "one", inputs={"cache_key": "mine"}, cache_key="mine")
    assert take(tmp_path, "two")[0] == "one"


def test_a_task_that_reads_artifacts_or_writes_none_is_not_cached(tmp_path):
    assert task(tmp_path, "one", artifacts={"examples": {}}) is None
    words = command(tmp_path, "one")
    words[5] = json.dumps({"outputs": {"outputFile": "x"}})
    assert cached_task(words, tmp_path, "") is None


def test_an_artifact_whose_manifest_lists_no_files_is_not_recorded(tmp_path):
    made = task(tmp_path, "one")
    made.artifacts["examples"].mkdir(parents=True)
    (made.artifacts["examples"] / "manifest.json").write_text('{"rows": 7}')
    Path(made.outputs["outputFile"]).write_text("{}")
    made.record("one")
    assert not (tmp_path / CACHE).exists()


def test_the_cache_is_no_model_s_folder(tmp_path):
    from quatrain.local.runs import models_below

    make(tmp_path, "one")
    (tmp_path / "toy/one/run.json").write_text("{}")
    assert models_below(tmp_path) == [tmp_path / "toy"]


def test_taken_outputs_count_as_used(tmp_path):
    make(tmp_path, "one")
    [record] = (tmp_path / CACHE / "tasks").iterdir()
    os.utime(record, ns=(1, 1))
    take(tmp_path, "two")
    assert record.stat().st_mtime_ns > 1


def python(code, *words, **kwargs):
    prelude = "import os, signal, sys; from pathlib import Path\n"
    prelude += "from tests.quatrain.local.test_task_cache import make, take, task\n"
    prelude += "root, run = Path(sys.argv[1]), sys.argv[2]\n"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", prelude + code, *map(str, words)]
    return subprocess.Popen(arguments, env=env, **kwargs)


KILLED_COPYING = """
task(root, run).take(lambda: os.kill(os.getpid(), signal.SIGKILL), print)
"""
KILLED_RECORDING = """
def kill(event, _):
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
make(root, run)
"""


def test_a_run_killed_while_it_copies_leaves_nothing_that_looks_whole(tmp_path):
    first = make(tmp_path, "one")
    assert python(KILLED_COPYING, tmp_path, "two").wait() == -signal.SIGKILL
    folder = tmp_path / "toy/two/pipeline/preprocess"
    assert (folder / "examples").exists()
    assert not (folder / "examples/manifest.json").exists()
    assert not (folder / "executor_output.json").exists()
    maker, third, _ = take(tmp_path, "three")
    assert maker == "one" and content(third) == content(first)


def test_a_run_killed_while_it_records_leaves_the_record_as_it_was(tmp_path):
    assert python(KILLED_RECORDING, tmp_path, "one").wait() == -signal.SIGKILL
    assert take(tmp_path, "two")[::2] == ("", [])
    make(tmp_path, "three")
    assert python(KILLED_RECORDING, tmp_path, "four").wait() == -signal.SIGKILL
    assert take(tmp_path, "five")[0] == "three"


AT_ONCE = """
for number in range(5):
    make(root, f"{run}-{number}")
    maker, folder, reports = take(root, f"{run}-{number}-taken")
    assert maker and not reports, reports
    assert (folder / "manifest.json").exists()
"""


def test_runs_at_once_each_take_whole_outputs(tmp_path):
    runs = [python(AT_ONCE, tmp_path, run, stderr=subprocess.PIPE) for run in ("a", "b", "c")]
    errors = [run.communicate()[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], errors
    taken = [content(f) for f in tmp_path.glob("toy/*-taken/pipeline/preprocess/examples")]
    assert len(taken) == 15
    assert all({n: f[n] for n in FILES} == FILES for f in taken)
    assert len(list((tmp_path / CACHE / "tasks").iterdir())) == 1
