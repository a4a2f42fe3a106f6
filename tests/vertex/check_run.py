"""A whole run on gs:// uris, as Vertex AI runs it: undisturbed, again, and killed at each step.

Not collected by `make test`: `make vertex-test` names the files of this folder, and brings gcsfuse.
"""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.storage import mounted
from quatrain.trainer.failure import LOST
from tests.vertex import table
from tests.vertex.driver import KILLED, Driver, document
from tests.vertex.machine import Machine, end

STEPS = ("find-files", "preprocess", "compare", "package", "plan", "custom-training-job-2")
EVALUATED = ("measure", "gate")
MANIFESTS = {
    "preprocess": "examples/manifest.json",
    "compare": "drift/drift.json",
    "package": "package/package.json",
    "custom-training-job-2": "model/model/metadata.json",
    "measure": "evaluation/metrics.json",
    "gate": "statistics/champion.json",
}
"""What each step writes last, and is killed at."""
MOST_CALLS = {
    "find-files": 25,
    "preprocess": 47,
    "compare": 19,
    "package": 32,
    "plan": 10,
    "custom-training-job-2": 50,
    "measure": 59,
    "gate": 50,
}
"""The requests of a step, as each takes 50 to 100 ms at Google. Those of the training allow for a
further checkpoint, which is due after a minute, and those of package and measure for the records of
the proof and of the answers, which the next run takes. The raw rows of the opponent cost preprocess
one more, and measure eight: the rows themselves, and the record of the opponent's answers. One of
measure writes lineage.json, and two look for predictions that were kept. The gate copies a model
that it promotes: a call for each of its nine files, three for each of the proof's, one for each of
five folders, and five to look for an earlier copy and to complete this one."""
EQUAL = re.compile(r"parquet$|tar.gz$|variables|golden.json|transform.json|drift.json")
"""Files without a time, a name that TensorFlow draws, or a digest of such a file."""


@pytest.fixture(scope="session")
def second(vertex: Machine, first: Driver, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A run on the first one's history, on two replicas, whose chief is killed in its export."""
    folder = tmp_path_factory.mktemp("second")
    request = {"tier": "STANDARD_1", "overrides": ["train.replicas=2"]}
    driver = Driver(vertex, table.submitted(vertex, folder, **request), "toys-2")
    vertex.storage.lose(r"toys-2/.*/model/model/metadata.json", lambda: driver.kill(0))
    driver.run()
    return driver


@pytest.fixture(scope="session")
def killed(vertex: Machine, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A run without a history, each step of which is killed once where its manifest would be."""
    folder = tmp_path_factory.mktemp("killed")
    root = table.ROOT.replace("/root", "/killed")
    job = table.submitted(vertex, folder, set_cloud=[f"root={root}"])
    driver = Driver(vertex, job, "toys-3", tries=1)
    for manifest in MANIFESTS.values():
        vertex.storage.lose(f"/killed/.*/{manifest}$", driver.kill)
    driver.run()
    return driver


def test_every_step_passes_from_find_files_to_gate(vertex: Machine, first: Driver) -> None:
    assert [(a.task, a.code) for a in first.attempts] == [(s, 0) for s in (*STEPS, *EVALUATED)]
    metrics = document(vertex, first, "measure", "evaluation/metrics.json")
    assert metrics["gate"]["passed"]
    rows = document(vertex, first, "preprocess", "examples/manifest.json")["rows"]
    assert rows["read"] == table.ROWS + 1 and rows["rejected"] == 1


def test_every_file_is_where_its_manifest_says_and_none_is_left(
    vertex: Machine, first: Driver
) -> None:
    left = set(vertex.objects(first.root))
    assert [name for name in left if re.search(r"tmp|partial|spill|/\.", name)] == []
    for task, folder, manifest in (
        ("preprocess", "examples", "manifest.json"),
        ("plan", "model/model", "metadata.json"),
    ):
        named = document(vertex, first, task, f"{folder}/{manifest}")["files"]
        stored = set(vertex.objects(f"{first.folders[task]}/{folder}"))
        assert set(named) == stored - {manifest}


def test_the_report_is_a_page_that_the_console_and_a_browser_show(
    vertex: Machine, first: Driver
) -> None:
    folder = first.folders["measure"].removeprefix("gs://")
    bucket, _, below = folder.partition("/")
    names = ("report", "evaluation/report.html")
    pages = [vertex.storage.object(bucket, f"{below}/{name}", {}) for name in names]
    assert {page.content_type for page in pages} == {"text/html; charset=utf-8"}
    assert pages[0].data == pages[1].data
    assert pages[0].data.startswith(b"<!doctype html>")


def test_a_step_makes_few_calls(first: Driver) -> None:
    calls = {a.task: len(a.requests) for a in first.attempts}
    assert calls.keys() == MOST_CALLS.keys()
    assert {task: calls[task] for task, most in MOST_CALLS.items() if calls[task] > most} == {}


def test_tensorboard_finds_every_epoch_in_the_bucket(vertex: Machine, first: Driver) -> None:
    (events,) = vertex.objects(f"{first.folders['plan']}/model/logs").values()
    assert events.count(b"validation_loss") == table.SPEC["train"]["epochs"]


def test_nobody_creates_a_bucket_or_is_refused_a_name(vertex: Machine, first: Driver) -> None:
    lines = {line for attempt in first.attempts for line in attempt.requests}
    assert "POST /storage/v1/b" not in lines


def test_a_second_run_is_compared_with_the_first(vertex: Machine, second: Driver) -> None:
    (found,) = document(vertex, second, "compare", "drift/drift.json")["comparisons"]
    assert found["run"] == "toys-1"
    champion = document(vertex, second, "measure", "evaluation/metrics.json")["champion"]
    assert champion["run"] == "toys-1" and not champion["why"]


def test_lineage_names_generations_images_and_the_champion(
    vertex: Machine, first: Driver, second: Driver
) -> None:
    one, two = (document(vertex, d, "measure", "evaluation/lineage.json") for d in (first, second))
    (file,) = one["source"]["files"]
    bucket, _, name = file["uri"].removeprefix("gs://").partition("/")
    assert file["version"] == str(vertex.storage.object(bucket, name, {}).generation)
    assert one["image"]["steps"] and one["image"]["training"]
    assert (one["champion"], two["champion"]["run"]) == (None, "toys-1")
    assert two["champion"]["metadata"] == one["model"]
    assert two["spec"] != one["spec"] and two["source"] == one["source"]


def test_a_second_run_takes_the_proof_and_the_champions_answers_of_the_first(
    vertex: Machine, second: Driver
) -> None:
    answers = {"champion's answers": "toys-1", "opponent's answers": "toys-1"}
    for task, name, cached in (
        ("package", "package/package.json", {"proof": "toys-1"}),
        ("measure", "evaluation/metrics.json", answers),
    ):
        assert document(vertex, second, task, name)["cached"] == cached
    (attempt,) = (a for a in second.attempts if a.task == "package")
    assert [line for line in attempt.requests if "/train-" in line] == []  # it reads no row


def test_two_replicas_go_on_from_the_checkpoint_in_the_bucket(
    vertex: Machine, second: Driver
) -> None:
    attempts = [a for a in second.attempts if a.task == "custom-training-job-2"]
    assert [a.code in KILLED for a in attempts] == [True, False]
    assert attempts[0].codes[1] == LOST  # of the survivor, which the service starts again
    assert attempts[1].log.count("resumed after epoch 4") == 2  # both read the same checkpoint
    metadata = document(vertex, second, "plan", "model/model/metadata.json")
    assert (metadata["replicas"], metadata["epochs"]) == (2, 4)


def test_a_killed_step_leaves_nothing_that_looks_whole(killed: Driver) -> None:
    ended = [a for a in killed.attempts if a.code]
    assert [a.task for a in ended] == list(MANIFESTS)
    for attempt in ended:
        assert attempt.code in KILLED
        manifest = MANIFESTS[attempt.task]
        assert [name for name in attempt.left if name.endswith(manifest)] == []


def test_the_rerun_of_a_killed_step_equals_an_undisturbed_run(
    vertex: Machine, first: Driver, killed: Driver
) -> None:
    ours, theirs = vertex.objects(first.root), vertex.objects(killed.root)
    names = [{n for n in objects if "/logs/" not in n} for objects in (ours, theirs)]
    assert names[0] == names[1]
    assert [n for n in names[0] if EQUAL.search(n) and ours[n] != theirs[n]] == []
    metrics = [document(vertex, d, "measure", "evaluation/metrics.json") for d in (first, killed)]
    assert metrics[0]["metrics"] == metrics[1]["metrics"]


def test_the_rerun_of_a_killed_package_step_takes_the_proof_of_the_first_try(
    killed: Driver,
) -> None:
    first_try, rerun = (a for a in killed.attempts if a.task == "package")
    assert "proved by run" not in first_try.log
    assert "package: proved by run toys-3 of 20" in rerun.log


def test_the_model_answers_from_its_bucket(vertex: Machine, first: Driver, tmp_path: Path) -> None:
    model = f"{first.folders['plan']}/model/model/"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"AIP_STORAGE_URI": model, "AIP_HTTP_PORT": str(port)}
    log = tmp_path / "server.log"
    server = vertex.start(["python3", "-m", "quatrain.components.serve.server"], log, given)
    try:
        instances = [{"size": 9.9, "colour": "green"}]
        body = json.dumps({"instances": instances}).encode()
        answer = ask(f"http://127.0.0.1:{port}/predict", body, log)
    finally:
        end(server)
    assert answer["predictions"][0]["predicted_class"] == "true"


def test_a_model_that_is_not_there_is_named_by_the_server(vertex: Machine, tmp_path: Path) -> None:
    uri, log = f"{table.ROOT}/nowhere", tmp_path / "server.log"
    words = ["python3", "-m", "quatrain.components.serve.server", uri]
    assert vertex.start(words, log).wait(timeout=120) == 1
    assert f"error: {uri} holds no complete model" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_predict_reads_the_model_and_the_rows_through_the_mount(
    vertex: Machine, first: Driver, tmp_path: Path
) -> None:
    model, out, log = mounted(first.folders["plan"]), tmp_path / "out.csv", tmp_path / "log"
    words = [
        "python3",
        "-m",
        "quatrain",
        "predict",
        f"{model}/model",
        mounted(table.SOURCE),
        "-o",
        str(out),
        "--root",
        mounted(table.ROOT),
    ]
    words += ["--rejected", str(tmp_path / "rejected.csv")]
    assert vertex.start(words, log).wait(timeout=300) == 0, log.read_text()
    assert len(out.read_text().splitlines()) == 1 + table.ROWS


def ask(url: str, body: bytes, log: Path) -> Any:
    """Asks until somebody answers."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, body, timeout=10) as answer:  # noqa: S310
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError) as error:
            loads = isinstance(error, urllib.error.HTTPError) and error.code == 503
            refused = isinstance(error, urllib.error.HTTPError) and not loads
            if time.monotonic() > deadline or refused:
                pytest.fail(f"nobody answers at {url}: {error}\n{log.read_text()}")
            time.sleep(0.2)
