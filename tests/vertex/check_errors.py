"""Each step ends in one sentence when what it reads is absent, forbidden, cut short or altered."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.vertex import table
from tests.vertex.driver import Driver
from tests.vertex.machine import BUCKET, Machine, end

JOB = "custom-training-job-2"
ABSENT, FORBIDDEN, CUT, ALTERED = "absent", "forbidden", "cut short", "altered"
UNREADABLE = "listed, but not to be read"


@dataclass(frozen=True)
class Reading:
    """An input of a step, one file of it, and what is wrong with that."""

    step: str
    input: str
    file: str
    faults: tuple[str, ...]


READINGS = (
    Reading("find-files", "source", "", (ABSENT, FORBIDDEN)),
    Reading("find-files", "spec", "", (ABSENT, FORBIDDEN, CUT, ALTERED)),
    Reading("preprocess", "source", "", (ABSENT, FORBIDDEN, ALTERED)),
    Reading("compare", "examples", "manifest.json", (ABSENT, FORBIDDEN, CUT)),
    Reading("compare", "examples", "statistics.json", (ABSENT, FORBIDDEN, CUT, ALTERED)),
    Reading("compare", "root", "toys/statistics/champion.json", (FORBIDDEN, CUT)),
    Reading("package", "examples", "train-00000-of-00001.parquet", (FORBIDDEN, ALTERED)),
    Reading("plan", "package", "package.json", (ABSENT, FORBIDDEN, CUT)),
    Reading("job", "package", "quatrain_trainer.*", (ABSENT, FORBIDDEN, CUT)),
    Reading("job", "examples", "manifest.json", (CUT,)),
    Reading("job", "examples", "train-00000-of-00001.parquet", (ABSENT, FORBIDDEN)),
    Reading("job", "examples", "transform.json", (ALTERED,)),
    Reading("measure", "examples", "test-00000-of-00001.parquet", (ABSENT, FORBIDDEN, CUT)),
    Reading("measure", "examples", "transform.json", (FORBIDDEN, ALTERED)),
    Reading("measure", "model", "model/saved_model.pb", (ABSENT, FORBIDDEN, CUT)),
    Reading("measure", "root", "toys/statistics/champion.json", (FORBIDDEN,)),
    Reading("gate", "evaluation", "metrics.json", (ABSENT, FORBIDDEN, CUT)),
    Reading("gate", "examples", "statistics.json", (FORBIDDEN, ALTERED)),
    Reading("server", "model", "metadata.json", (ABSENT, FORBIDDEN, CUT)),
    Reading("server", "model", "saved_model.pb", (ABSENT, FORBIDDEN, ALTERED)),
)
PROVED_AGAIN = {"cache_key": "again"}
"""What keeps the package step from taking the proof that the first run has recorded."""
CASES = [(reading, fault) for reading in READINGS for fault in reading.faults]


def damaged(data: bytes, fault: str) -> bytes:
    if fault == CUT:
        return data[: len(data) // 2]
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def original(machine: Machine, first: Driver, name: str) -> dict[str, bytes]:
    """Returns the files of an input by their names; that of a single file is empty."""
    match name:
        case "source":
            return {"": machine.storage.get(table.SOURCE)}
        case "spec":
            return {"": str(first.job["runtimeConfig"]["parameterValues"]["spec"]).encode()}
        case "root":
            records = machine.objects(f"{table.ROOT}/toys/statistics")
            return {f"toys/statistics/{path}": data for path, data in records.items()}
    outputs = {
        "examples": ("preprocess", "examples"),
        "package": ("package", "package"),
        "model": ("plan", "model"),
        "evaluation": ("measure", "evaluation"),
    }
    task, output = outputs[name]
    return machine.objects(f"{first.folders[task]}/{output}")


@contextmanager
def copied(
    machine: Machine, files: dict[str, bytes], folder: str, file: str, fault: str
) -> Iterator[str]:
    """Copies an input to a folder, with a fault in one of its files; yields the uri of that file.

    A copy, because the mount would answer for a minute from what it knows.
    """
    (name,) = [path for path in files if re.fullmatch(file, path)]
    for path, data in files.items():
        if path == name and fault == ABSENT:
            continue
        written = damaged(data, fault) if path == name and fault in (CUT, ALTERED) else data
        machine.storage.put(f"{folder}/{path}".rstrip("/"), written)
    uri = f"{folder}/{name}".rstrip("/")
    rule = re.escape(uri.removeprefix(f"gs://{BUCKET}/")) if fault == FORBIDDEN else "(?!)"
    with machine.storage.forbid(rule):
        yield uri


def ended(
    machine: Machine, first: Driver, reading: Reading, folder: str, log: Path
) -> tuple[int, str]:
    """Runs a step on an input in another folder; returns its exit code and its log."""
    step, name = reading.step, reading.input
    parameters: dict[str, Any] = dict(PROVED_AGAIN if step == "package" else {})
    artifacts: dict[str, str] = {}
    spec = str(first.job["runtimeConfig"]["parameterValues"]["spec"])
    match name:
        case "source":
            parameters["spec"] = spec.replace(table.SOURCE, folder)
        case "spec":
            reference = {"uri": folder, "sha256": hashlib.sha256(spec.encode()).hexdigest()}
            parameters["spec"] = json.dumps(reference)
        case "root":
            parameters["root"] = folder
        case _:
            artifacts[name] = folder
    if step == "server":
        return served(machine, folder, log)
    if step == "job":
        attempt = first.run_job(changed_job(first, name, folder, f"{folder}-job"))
    else:
        attempt = first.again(step, artifacts, parameters)
    return attempt.code, attempt.log


def served(
    machine: Machine, model: str, log: Path, env: dict[str, str] | None = None
) -> tuple[int, str]:
    """Starts the server on a model that it cannot serve; returns its exit code and its log."""
    words = ["python3", "-m", "quatrain.components.serve.server", model]
    server = machine.start(words, log, env)
    try:
        return server.wait(timeout=120), log.read_text()
    finally:
        end(server)


def changed_job(first: Driver, name: str, folder: str, out: str) -> dict[str, Any]:
    """Returns the training job with another input, and a folder of its own for its outputs."""
    job = copy.deepcopy(first.jobs[JOB])
    job["job_spec"]["base_output_directory"]["output_uri_prefix"] = out
    (pool,) = job["job_spec"]["worker_pool_specs"]
    container = pool["container_spec"]
    former = first.folders["preprocess" if name == "examples" else name] + f"/{name}"
    for key in ("command", "args"):
        container[key] = [word.replace(former, folder) for word in container.get(key, [])]
    return job


@pytest.mark.parametrize(
    ("reading", "fault"), CASES, ids=[f"{r.step}-{r.input}-{r.file}-{f}" for r, f in CASES]
)
def test_a_step_ends_in_a_sentence_about_what_it_cannot_read(
    vertex: Machine, first: Driver, tmp_path: Path, reading: Reading, fault: str
) -> None:
    folder = f"gs://{BUCKET}/faults/{CASES.index((reading, fault))}/{reading.input}"
    files = original(vertex, first, reading.input)
    if reading.step == "server":
        files = {p.removeprefix("model/"): data for p, data in files.items()}
        files = {p: data for p, data in files.items() if not p.startswith(("logs/", "checkpoints"))}
    with copied(vertex, files, folder, reading.file, fault) as uri:
        code, log = ended(vertex, first, reading, folder, tmp_path / "log")
    assert code not in (0, None) and "Traceback" not in log, log[-3000:]
    line = re.search(r"^error: .*", log, re.MULTILINE)
    assert line, log[-3000:]
    assert (uri if fault == FORBIDDEN else folder) in line[0]


@pytest.mark.parametrize("kind", ["version", "model of an old record"])
def test_a_champion_in_a_forbidden_bucket_is_named(
    vertex: Machine, first: Driver, kind: str
) -> None:
    """The copy of a champion, or the model of a run that a record without a copy names."""
    vertex.storage.add_bucket("closed", forbidden=True)
    record = json.loads(vertex.storage.get(f"{table.ROOT}/toys/statistics/champion.json"))
    version = f"versions/{record['run']}"
    assert record["model"] == f"{table.ROOT}/toys/{version}"
    root, rule, uri = f"gs://{BUCKET}/faults/old", "(?!)", "gs://closed/toys/model/model"
    if kind == "version":
        root = f"gs://{BUCKET}/faults/version"
        uri = f"{root}/toys/{version}/model"
        rule = re.escape(uri.removeprefix(f"gs://{BUCKET}/"))
        for name, data in vertex.objects(f"{table.ROOT}/toys/{version}").items():
            vertex.storage.put(f"{root}/toys/{version}/{name}", data)
    else:
        record["model"] = "gs://closed/toys/model"
    for role in ("previous", "champion"):
        data = json.dumps(record).encode()
        vertex.storage.put(f"{root}/toys/statistics/{role}.json", data)
    with vertex.storage.forbid(rule):
        attempt = first.again("measure", parameters={"root": root})
    assert attempt.code and "Traceback" not in attempt.log, attempt.log[-3000:]
    line = re.search(r"^error: .*", attempt.log, re.MULTILINE)
    assert line and uri in line[0] and "may not be " in line[0]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[dict[str, str]]:
    """Yields the variable that names a disk of this size for temporary files."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield {"TMPDIR": str(folder)}
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607 - wherever it is


@pytest.mark.parametrize(
    ("step", "size"),
    [
        ("preprocess", "24k"),
        ("package", "600k"),
        ("job", "100k"),
        ("job", "1m"),
        ("server", "60k"),
    ],
)
def test_a_full_disk_of_temporary_files_is_named(
    vertex: Machine, first: Driver, tmp_path: Path, step: str, size: str
) -> None:
    model, log = f"{first.folders['plan']}/model/model", tmp_path / "log"
    with small_disk(tmp_path / "small", size) as env:
        if step == "server":
            code, text = served(vertex, model, log, env)
        elif step == "job":
            package = f"{first.folders['package']}/package"
            out = f"gs://{BUCKET}/faults/full-{size}"
            attempt = first.run_job(changed_job(first, "package", package, out), env)
            code, text = attempt.code, attempt.log
        else:
            parameters = PROVED_AGAIN if step == "package" else {}
            attempt = first.again(step, parameters=parameters, env=env)
            code, text = attempt.code, attempt.log
    assert code and "Traceback" not in text, text[-3000:]
    line = re.search(r"^error: .*", text, re.MULTILINE)
    assert line and f"the disk of {env['TMPDIR']}" in line[0] and "is full" in line[0]
