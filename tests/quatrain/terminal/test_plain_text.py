"""What a table, a file's name or the command line holds never moves the cursor of a terminal."""

import contextlib
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from quatrain.components.wording import plain
from quatrain.terminal.console import Console
from quatrain.terminal.plain_text import PlainStream

ROOT = Path(__file__).parents[3]
CLEAR = "\x1b[2J"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\né 😀", "a\tb\né 😀"),
        (CLEAR, r"\x1b[2J"),
        ("a\rb\x08\x07\x00\x7f", r"a\rb\x08\x07\x00\x7f"),
        ("\x9b2J\x9d", r"\x9b2J\x9d"),
        ("abc\u202e\u2066", r"abc\u202e\u2066"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert plain(text) == shown
    stream = io.StringIO()
    print(text, end="", file=PlainStream(stream))
    assert stream.getvalue() == shown


def test_the_console_alone_updates_its_line():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    console = Console(PlainStream(terminal), 4)
    console.print(f"read {CLEAR}")
    console.step_goes_on(1, f"train{CLEAR}", 60.0, None)
    assert CLEAR not in terminal.getvalue()
    assert r"read \x1b[2J" in terminal.getvalue() and "\r\x1b[K" in terminal.getvalue()


@pytest.fixture
def table(tmp_path):
    rows = [f"r{i},{i * 7 % 13},{'yes' if i % 3 else 'no'}" for i in range(60)]
    (tmp_path / "e.csv").write_text("\n".join(["id,x,y", *rows]) + "\n")
    assert run(tmp_path, "init", "e.csv", "--target", "y")[0] == 0
    with open(tmp_path / "e.csv", "a") as file:
        file.writelines(f"q{i},{CLEAR},yes\n" for i in range(30))
    (tmp_path / f"{CLEAR}.csv").write_text(f"id,x,{CLEAR},y\n1,2,{CLEAR},a\n2,3,\x9b,b\n")
    return tmp_path


def run(folder, *words):
    """Runs a verb on a terminal, as click removes escapes where there is none."""
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", "from quatrain.cli.entry import main; main()", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
        )
    text = b""
    with open(ours, "rb", buffering=0) as screen, contextlib.suppress(OSError):  # EIO at its end
        while part := screen.read(4096):
            text += part
    return process.wait(), text.decode()


@pytest.mark.parametrize(
    "words",
    [
        ("check", "e.yaml"),
        ("check", f"{CLEAR}.yaml"),
        ("check", "e.yaml", "--set", f"{CLEAR}=1"),
        ("check", "e.yaml", f"--{CLEAR}"),
        ("init", f"{CLEAR}.csv", "--target", "no"),
        (CLEAR,),
    ],
)
def test_no_verb_prints_an_escape(table, words):
    code, text = run(table, *words)
    assert code != 0
    text = text.replace("\x1b[31merror:\x1b[0m", "error:")  # the only escapes that are ours
    assert "\x1b" not in text and "\x9b" not in text
    assert r"\x1b[2J" in text
