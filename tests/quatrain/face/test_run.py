"""`quatrain.run` in scripts, threads, event loops and notebooks, on a pipeline of toy steps."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import quatrain

ROOT = Path(__file__).parents[3]
SPEC = {
    "name": "toy",
    "source": {"uri": "toy.csv"},
    "columns": {"x": "float", "y": "bool"},
    "label": "y",
    "task": "binary",
    "split": {"by": "hash", "keys": ["x"]},
    "features": [{"name": "x", "from": "x", "transform": "standardize"}],
}


@pytest.fixture
def toy(toy_path: Path, tmp_path: Path) -> Any:
    """Runs the toy pipeline; a behaviour of `replica.py` says how its training goes."""

    def run(behaviour: str = "ok", **options: Any) -> Any:
        runner = behaviour if behaviour == "fail" else json.dumps([behaviour, [1]])
        options = {"root": tmp_path / "runs", **options}
        return quatrain.run(SPEC, pipeline=toy_path, trust=True, runner=runner, **options)

    return run


def process() -> list[Any]:
    """Returns what a run must leave as it was."""
    from kfp.local import config

    root = logging.getLogger()
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    streams = [sys.stdout, sys.stderr, *handlers, config.LocalExecutionConfig.instance]
    return [*streams, root.level, root.handlers[:], sys.path[:], os.getcwd(), {**os.environ}]


def test_a_run_prints_its_progress_and_leaves_the_process_as_it_was(
    toy: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy()
    before = process()
    finished = toy(set={"train.epochs": 3})
    assert process() == before
    assert Path(finished.place).parent == tmp_path / "runs/toy"
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "[1/2] prepare" in printed.err
    assert "[2/2] train" in printed.err
    assert "epochs: 3" in (Path(finished.place) / "spec.yaml").read_text()


def test_a_failed_step_is_an_error_that_knows_the_run(toy: Any) -> None:
    before = process()
    with pytest.raises(quatrain.StepFailed, match="step prepare failed: no rows") as failure:
        toy("fail")
    assert json.loads((failure.value.folder / "run.json").read_text())["status"] == "failed"
    run = failure.value.run
    assert (run.status, run.place) == ("failed", str(failure.value.folder))
    with pytest.raises(quatrain.ArtifactError, match="failed before the end of evaluate"):
        print(run.report)
    assert not isinstance(failure.value, quatrain.GateFailed)
    assert process()[:5] == before[:5]


def test_runs_of_two_threads_go_one_after_the_other(
    toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        folders = {future.result().place for future in [pool.submit(toy), pool.submit(toy)]}
    assert len(folders) == 2
    assert "waiting for another run of this process to end ..." in capsys.readouterr().err


def test_a_run_works_inside_a_running_event_loop(toy: Any) -> None:
    async def cell() -> Any:
        return toy()

    assert Path(asyncio.run(cell()).place).is_dir()


def test_what_other_threads_print_during_a_run_stays_theirs(
    toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()

    def chat() -> None:
        while not ended.wait(0.05):
            print("chat")

    thread = threading.Thread(target=chat)
    thread.start()
    finished = toy()
    ended.set()
    thread.join()
    assert "chat" in capsys.readouterr().out
    assert "chat" not in (Path(finished.place) / "logs/kfp.log").read_text()


def test_a_frame_of_a_run_is_in_run_json_with_its_digest(toy: Any, tmp_path: Path) -> None:
    finished = toy(data=[{"x": 1.5, "y": True}, {"x": 2.5, "y": False}])
    [entry] = json.loads((Path(finished.place) / "run.json").read_text())["data"]
    assert Path(entry["path"]).parent == tmp_path / "runs/toy/data"
    assert Path(entry["path"]).stem == entry["sha256"]


def test_an_interrupt_ends_the_run_and_its_processes(toy_path: Path, tmp_path: Path) -> None:
    runner = json.dumps(["hang", [1]])
    call = f"pipeline={str(toy_path)!r}, trust=True, root={str(tmp_path)!r}, runner={runner!r}"
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"import quatrain\ntry: quatrain.run({SPEC!r}, {call})\n"
        "except KeyboardInterrupt as error: print(error, *error._render_traceback_(), sep='\\n')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not [*tmp_path.glob("toy/*/pipeline/*/plan/model/replicas/*.json")]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    sentence, shown = out.split("\n", 1)
    assert sentence.startswith("interrupted; what was done is in ")
    assert shown.startswith(f"RunInterrupted: {sentence}\n\n") and len(shown.splitlines()) <= 6
    (record,) = tmp_path.glob("toy/*/run.json")
    assert json.loads(record.read_text())["error"] == "interrupted"


def test_a_notebook_shows_the_progress_in_place_and_nothing_else(
    toy_path: Path, tmp_path: Path
) -> None:
    import nbformat
    from nbclient import NotebookClient

    call = f"pipeline={str(toy_path)!r}, trust=True, root={str(tmp_path)!r}"
    call += f", runner={json.dumps(['ok', [1]])!r}"
    cells = [f"import quatrain\nrun = quatrain.run({SPEC!r}, {call})", "run.id"]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    resources = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, resources=resources, coalesce_streams=True).execute()
    [output] = notebook.cells[0].outputs
    assert output.name == "stdout"
    lines = output.text.splitlines()
    assert lines[0].startswith(f"run {tmp_path}/toy/")
    assert [line.split()[:2] for line in lines[1:]] == [["[1/2]", "prepare"], ["[2/2]", "train"]]
    assert "\x1b" not in output.text


def test_a_notebook_shows_the_sentence_of_an_error_and_its_own_lines_alone(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    (tmp_path / "mine.py").write_text(
        "import quatrain\n\ndef check():\n    quatrain.check({'name': 'x'})\n"
    )
    cells = ["import mine\nmine.check()", "1 / 0"]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    resources = {"metadata": {"path": str(tmp_path)}}
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    client = NotebookClient(notebook, resources=resources, allow_errors=True)
    client.execute(env=environ)
    ours, theirs = (cell.outputs[0].traceback for cell in notebook.cells)
    (first, *_), *rest = (lines.splitlines() for lines in ours)
    assert first.startswith("SpecError: spec: ")
    shown = "\n".join(ours)
    assert "mine.check()" in shown and 'mine.py", line 4, in check' in shown
    assert "quatrain/" not in shown and "IPython" not in shown
    assert "ZeroDivisionError" in "".join(theirs)
    assert len(rest) < 30
