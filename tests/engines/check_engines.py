"""The same bytes on every engine that runs on one machine, and a sentence when one fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.engine import trial
from quatrain.components.errors import RunnerError
from quatrain.components.preprocess import passes
from quatrain.components.preprocess.run import preprocess
from quatrain.components.specification.schema import ModelSpec
from tests.components.conftest import delays, model_of
from tests.emulators import storage
from tests.engines import servers
from tests.engines.conftest import ENGINES, PRISM
from tests.engines.servers import STARTED, Server

Launch = Callable[[str], dict[str, Any]]
SENTENCE_S = 60.0
"""The time within which a fault ends a run."""


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """The small table, with rejected rows and with every row twice, a range or more apart."""
    path = tmp_path_factory.mktemp("table") / "delays.csv"
    header, _, rows = delays().partition("\n")
    path.write_text(f"{header}\n{rows}{rows}")
    clean = {
        "reject": {"cancelled": "delay IS NULL"},
        "derive": {"late": "arrival >= 15"},
        "deduplicate": {"keys": ["day", "delay", "carrier"]},
    }
    return model_of(str(path), clean=clean, evaluate={"slices": ["carrier", "day"]})


def files_of(out: Path) -> dict[str, bytes]:
    files = [p for p in out.rglob("*") if p.is_file()]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


@pytest.fixture(scope="session")
def expected(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the runner of this process writes."""
    out = tmp_path_factory.mktemp("here") / "examples"
    preprocess(spec.as_json(), runner="local", out=str(out), range_bytes=3000)
    written = files_of(out)
    rows = json.loads(written["manifest.json"])["rows"]
    assert rows["read"] == 800 and rows["rejected"] > 400
    return written


def run(spec: ModelSpec, out: str, launch: dict[str, Any]) -> None:
    preprocess(spec.as_json(), out=out, range_bytes=3000, **launch)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_writes_the_same_bytes(
    engine: str,
    launch: Launch,
    spec: ModelSpec,
    expected: dict[str, bytes],
    pool: Server,
    tmp_path: Path,
) -> None:
    workers = pool.log.read_text().count(STARTED)
    run(spec, str(tmp_path / "out"), launch(engine))
    assert files_of(tmp_path / "out") == expected
    # The one of the trial, and that of the run: the pool says itself that it was used.
    assert (pool.log.read_text().count(STARTED) - workers >= 2) == engine.endswith("-pool")


@pytest.mark.parametrize("engine", ["prism-pool", "local-pool"])
def test_workers_elsewhere_write_the_same_bytes_to_a_bucket(
    engine: str,
    launch: Launch,
    spec: ModelSpec,
    expected: dict[str, bytes],
    bucket: storage.Storage,
) -> None:
    run(spec, f"gs://b/{engine}", launch(engine))
    objects = {n.removeprefix(f"{engine}/"): o.data for n, o in bucket.buckets["b"].objects.items()}
    written = {name: objects[name] for name in expected}
    assert written == expected
    assert not [n for n in bucket.buckets["b"].objects if ".spill" in n and not n.endswith("/")]


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """Fails unless the block ends within the time for a sentence."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SENTENCE_S


@pytest.mark.parametrize(
    ("engine", "fault"),
    [
        ("prism-pool", "clean_range"),
        ("portable-pool", "write_documents"),
        ("local-pool", "engineer_range"),
        ("local-pool", "write_documents"),
    ],
)
def test_a_worker_that_is_killed_is_a_sentence_and_leaves_nothing(
    engine: str, fault: str, launch: Launch, spec: ModelSpec, pool: Server, tmp_path: Path
) -> None:
    file = pool.log.with_name("fault")
    file.write_text(fault)
    try:
        with soon(), pytest.raises(RunnerError, match="a worker process of Beam was lost"):
            run(spec, str(tmp_path / "out"), launch(engine))
    finally:
        file.write_text("")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fault", ["clean_range", "write_documents"])
def test_a_job_server_that_is_killed_is_a_sentence_and_leaves_nothing(
    fault: str, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs").mkdir()
    begun, ended = threading.Event(), threading.Event()

    def wait(*_: Any) -> Any:
        begun.set()
        ended.wait(SENTENCE_S)
        raise AssertionError("the run has ended")

    monkeypatch.setattr(passes, fault, wait)
    with servers.job_server(tmp_path / "jobs") as server:

        def kill() -> None:
            begun.wait(SENTENCE_S)
            server.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        options = {"job_endpoint": server.address, "environment_type": "LOOPBACK"}
        try:
            with soon(), pytest.raises(RunnerError, match="the job server is gone"):
                run(spec, str(tmp_path / "out"), {"runner": "portable", "runner_options": options})
        finally:
            ended.set()
            killer.join()
    assert os.listdir(tmp_path) == ["jobs"]


def test_an_absent_server_is_a_sentence(spec: ModelSpec, tmp_path: Path) -> None:
    address = f"localhost:{servers.free_port()}"
    pool = {"environment_type": "EXTERNAL", "environment_config": address}
    for runner, options, sentence in (
        ("local", pool, f"no worker pool listens at {address}"),
        ("portable", {"job_endpoint": address}, f"no job server listens at {address}"),
        ("flink", {"job_endpoint": address}, f"no job server listens at {address}"),
        ("prism", {"prism_location": "/bin/false"}, "/bin/false ended before it served"),
    ):
        with soon(), pytest.raises(RunnerError, match=sentence):
            run(spec, str(tmp_path / "out"), {"runner": runner, "runner_options": options})
    assert os.listdir(tmp_path) == []


def test_a_listener_that_is_no_server_is_a_sentence(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("localhost", 0)) as bare:
        address = f"localhost:{bare.getsockname()[1]}"
        pool = {"environment_type": "EXTERNAL", "environment_config": address}
        server = {"job_endpoint": address, "environment_type": "LOOPBACK", "job_server_timeout": 1}
        for patience_s, runner, options, sentence in (
            (2, "local", pool, f"pool at {address} took the connection, but no worker answered"),
            (40, "portable", server, f"job server at {address} is of no use: .*does not answer"),
        ):
            monkeypatch.setattr(trial, "START_S", patience_s)
            with soon(), pytest.raises(RunnerError, match=sentence):
                run(spec, str(tmp_path / "out"), {"runner": runner, "runner_options": options})
    assert os.listdir(tmp_path) == []


def test_a_pool_whose_python_lacks_beam_is_a_sentence(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "START_S", 5)
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(stat.S_IRWXU)
    with servers.worker_pool(tmp_path, python) as server:
        options = {"environment_type": "EXTERNAL", "environment_config": server.address}
        with soon(), pytest.raises(RunnerError, match="no worker answered within 5 s"):
            run(spec, str(tmp_path / "out"), {"runner": "local", "runner_options": options})
        assert STARTED in server.log.read_text()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("engine", ["prism", "portable", "local-pool"])
def test_a_worker_of_another_beam_is_a_sentence(
    engine: str,
    launch: Launch,
    spec: ModelSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = trial.versions()
    real = trial.versions
    own = [{**here, "Beam": "2.1.0"}]  # what the launcher believes to be
    monkeypatch.setattr(trial, "versions", lambda: own.pop() if own else real())
    with pytest.raises(
        RunnerError, match=f"is of no use: a worker has Beam {here['Beam']}, and .* 2.1.0"
    ):
        run(spec, str(tmp_path / "out"), launch(engine))
    assert os.listdir(tmp_path) == []


BUG = """
from quatrain.components.preprocess import passes

def engineer_range(*_):
    open(FILE, "w").close()
    BODY

passes.engineer_range = engineer_range
"""
"""What a process of the step runs first."""
STEP = """
import json, signal, sys
from quatrain.components.preprocess.run import preprocess

signal.signal(signal.SIGINT, signal.default_int_handler)
spec, out, launch = (json.loads(text) for text in sys.argv[1:])
preprocess(spec, out=out, range_bytes=3000, **launch)
"""


def start(
    body: str, spec: ModelSpec, folder: Path, launch: dict[str, Any]
) -> subprocess.Popen[str]:
    """Starts the step in a process of its own; a pass makes the file `begun`, then does `body`."""
    (folder / "site").mkdir()
    bug = BUG.replace("FILE", repr(str(folder / "begun"))).replace("BODY", body)
    (folder / "site/sitecustomize.py").write_text(bug)
    arguments = [json.dumps(a) for a in (spec.as_json(), str(folder / "out"), launch)]
    env = {**os.environ, "PYTHONPATH": f"{folder}/site{os.pathsep}{servers.ROOT}"}
    command = [sys.executable, "-c", STEP, *arguments]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("engine", ["local", "local-2", "prism", "portable"])
def test_an_error_in_a_step_s_code_shows_its_own_line(
    engine: str, launch: Launch, spec: ModelSpec, tmp_path: Path
) -> None:
    two = {"runner": "local", "runner_options": {"direct_num_workers": 2}}
    chosen = two if engine == "local-2" else launch(engine)
    _, stderr = start('{}["a bug"]', spec, tmp_path, chosen).communicate(timeout=SENTENCE_S)
    printed = stderr.partition("nanobind:")[0]
    assert "StepError: step Engineer raised KeyError: " in printed
    assert 'in engineer_range: {}["a bug"]' in printed
    assert len(printed.splitlines()) < 25, printed
    assert not (tmp_path / "out").exists()


def test_prism_ends_with_a_step_that_is_interrupted(
    launch: Launch, spec: ModelSpec, tmp_path: Path
) -> None:
    chosen = launch("prism")
    child = start("import time; time.sleep(30)", spec, tmp_path, chosen)
    deadline = time.monotonic() + SENTENCE_S
    while not (tmp_path / "begun").exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    listed = Path(f"/proc/{child.pid}/task").glob("*/children")
    [prism] = [pid for children in listed for pid in children.read_text().split()]
    assert Path(f"/proc/{prism}/exe").resolve() == Path(PRISM).resolve()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=SENTENCE_S)
    assert child.returncode != 0
    assert not Path(f"/proc/{prism}").exists()
