"""The reason of a failed step is the last error in its log."""

import pytest

from quatrain.local.processes import describe_exit, last_error

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
