"""stderr holds errors alone, as a cloud's log takes each of its lines for one."""

import subprocess
import sys

PROGRAM = """
import os, subprocess, sys
from quatrain.trainer.streams import stderr_for_errors

with stderr_for_errors():
    os.write(2, b"a library's hint\\n")
    print("through Python", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'of a child\\\\n')"])
    if len(sys.argv) > 1:
        raise ValueError("no rows")
os.write(2, b"afterwards\\n")
"""


def run(*command):
    completed = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    return completed.stdout, completed.stderr


def test_what_is_no_error_goes_to_stdout():
    out, err = run("-c", PROGRAM)
    assert out.split("\n") == ["a library's hint", "through Python", "of a child", ""]
    assert err == "afterwards\n"


def test_the_traceback_of_an_error_goes_to_stderr():
    out, err = run("-c", PROGRAM, "fail")
    assert out.count("\n") == 3
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.endswith("\nValueError: no rows\n")


def test_the_trainer_logs_to_stdout_and_its_error_alone_to_stderr(tmp_path):
    arguments = ["--examples", str(tmp_path / "gone"), "--job-dir", str(tmp_path)]
    out, err = run("-m", "quatrain.trainer.task", *arguments)
    assert "trainer package sha256 (not packaged), tier (none)" in out
    assert "InitializeLog" in out
    (line,) = err.splitlines()  # TensorFlow's first hint is not among them
    assert line.startswith(f"error: {tmp_path / 'gone'} has no manifest.json")
