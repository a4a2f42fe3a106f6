"""The reason of a failed step is the last error in its log."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from quatrain.local.processes import Process, describe_exit, last_error

TRACEBACK = """\
Traceback (most recent call last):
  File "x.py", line 3, in <module>
    f()
  File "x.py", line 2, in f
    raise E("a")
"""


def reason(tmp_path, text):
    (tmp_path / "log").write_text(text)
    return last_error(tmp_path / "log")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRACEBACK + "ValueError: 3 rows\n", "ValueError: 3 rows"),
        (TRACEBACK + "KeyError: 'x'\n\n\n", "KeyError: 'x'"),
        (
            TRACEBACK + "quatrain.components.errors.DataError: 3 rows\nin 2 files\n",
            "3 rows\nin 2 files",
        ),
        (TRACEBACK + "trainer.settings.TrainerError: no label: x\n", "no label: x"),
        (TRACEBACK + "MemoryError\n", "MemoryError"),
        (
            TRACEBACK
            + "KeyError: 1\n\nThe above exception was the direct cause of the following "
            + "exception:\n\n"
            + TRACEBACK
            + "quatrain.local.run.StepFailed: second\n",
            "second",
        ),
        ("usage: task.py\ntask.py: error: unknown --x\n\n", "task.py: error: unknown --x"),
        ("epoch 3\nerror: no rows\nin 2 files\n", "no rows\nin 2 files"),
        ("error: warned\n" + TRACEBACK + "KeyError: 'x'\n", "KeyError: 'x'"),
        ("", "it wrote nothing to its log"),
        (TRACEBACK, "the traceback is cut short"),
    ],
)
def test_the_last_exception_is_the_reason_with_all_its_lines(tmp_path, text, expected):
    assert reason(tmp_path, text) == expected


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    assert reason(tmp_path, "line\n" * 200_000 + TRACEBACK + "OSError: full\n") == "OSError: full"


def test_a_killed_process_is_reported_with_its_signal(tmp_path):
    (tmp_path / "log").write_text("epoch 3\n")
    assert describe_exit(137, tmp_path / "log") == (
        "it was killed by SIGKILL, often for want of memory; its log ends with: epoch 3"
    )


def in_session(session):
    """Returns the processes of a session that run."""
    stats = [
        stat.read_text().rpartition(")")[2].split() for stat in Path("/proc").glob("[0-9]*/stat")
    ]
    return [fields for fields in stats if fields[3] == str(session) and fields[0] != "Z"]


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An empty folder that is this process's TMPDIR."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_the_peak_is_that_of_the_largest_process_below_the_command(tmp_path):
    child = f"{sys.executable} -c 'bytearray(b\"1\") * (600 << 20)'"
    process = Process(["sh", "-c", f"{child} & wait"], tmp_path / "log", os.environ)
    assert process.wait() == 0
    assert 600 < process.peak_mb < 700


def test_the_peak_leaves_out_the_memory_of_this_process(tmp_path):
    ours = bytearray(b"1") * (300 << 20)
    process = Process(["true"], tmp_path / "log", os.environ)
    assert process.wait() == 0
    assert 0 < process.peak_mb < 20 < len(ours)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_supervisor_that_is_killed_alone_leaves_no_process_and_no_file(
    tmp_path, temporary, number
):
    script = f"mktemp -d > {tmp_path}/name; sleep 60 & sleep 60"
    process = Process(["sh", "-c", script], tmp_path / "log", os.environ)
    wait_for(lambda: (tmp_path / "name").exists() and len(in_session(process.pid)) == 4)
    assert Path((tmp_path / "name").read_text()).is_relative_to(temporary)
    os.kill(process.pid, number)
    assert process.wait() == 128 + number
    wait_for(lambda: not in_session(process.pid))
    assert list(temporary.iterdir()) == []


def test_the_temporary_files_of_a_command_go_with_it(tmp_path, temporary):
    for code in (0, 3):
        process = Process(["sh", "-c", f"mktemp -d; exit {code}"], tmp_path / "log", os.environ)
        assert process.wait() == code
        assert list(temporary.iterdir()) == []
