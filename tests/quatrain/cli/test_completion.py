"""Shells complete verbs, options, tiers, specs and runs, as click's scripts ask for them."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quatrain.components.tiers import tiers

ROOT = Path(__file__).parents[3]
FROM_NAME = ("from", "name")


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """A folder with specs and runs, and the command `quatrain` on the path."""
    monkeypatch.chdir(tmp_path)
    command = tmp_path / "bin/quatrain"
    command.parent.mkdir()
    start = "from quatrain.cli import main; main()"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P -c "{start}" "$@"\n')
    command.chmod(0o755)
    for name in ("flights.yaml", "flats.yml", "flat.csv", ".hidden.yaml", "x\x1b[2J.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "flats.yml").write_text("features:\n- {name: size, from: size}\n")
    for name in ("flights/20261201T030000-000000", "flights/20261208T030000-000000", "toys/1"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs/flights/latest").symlink_to("20261208T030000-000000")
    path = f"{command.parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


def completed_by_bash(environ, line):
    """What click's function for bash puts into COMPREPLY for the last word of a line."""
    script = (
        'eval "$(_QUATRAIN_COMPLETE=bash_source quatrain)"\n'
        "compopt() { echo compopt $*; }\n"  # which bash has in a completion alone
        f"COMP_WORDS=({line}); [[ '{line}' == *' ' ]] && COMP_WORDS+=('')\n"
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        '_quatrain_completion quatrain\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    command = ["bash", "--norc", "--noprofile", "-c", script]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("quatrain re", ["report"]),
        ("quatrain schedule pa", ["pause"]),
        ("quatrain predict --ro", ["--row", "--root"]),
        ("quatrain tiers STANDARD", ["STANDARD_1", "STANDARD_1_SPOT"]),
        ("quatrain run flights.yaml --tier l4_", ["L4_SPOT", "L4_4"]),
        ("quatrain check fl", ["flats.yml", "flights.yaml"]),
        ("quatrain run ./fl", ["./flats.yml", "./flights.yaml"]),
        ("quatrain report ", ["runs/flights", "runs/toys"]),
        (
            "quatrain report runs/flights/",
            [
                "runs/flights/latest",
                "runs/flights/20261208T030000-000000",
                "runs/flights/20261201T030000-000000",
            ],
        ),
        ("quatrain predict runs/t", ["runs/toys"]),
        ("quatrain run flights.yaml --set train.ep", ["train.epochs="]),
        ("quatrain run flights.yaml --set train.tune.t", ["train.tune.trials="]),
        ("quatrain run flights.yaml --set evaluate.g", ["evaluate.gate="]),
        ("quatrain check flats.yml --set features.s", [f"features.size.{k}=" for k in FROM_NAME]),
        ("quatrain list --root runs t", ["toys"]),
        ("quatrain logs mine --severity e", ["error"]),
        ("quatrain run bin/", ["compopt -o default", ""]),
        ("quatrain report elsewhere/", ["compopt -o default", ""]),
    ],
)
def test_bash_completes_what_a_verb_takes(environ, line, words):
    assert completed_by_bash(environ, line) == words


def test_a_name_that_would_move_the_cursor_is_not_offered(environ):
    assert completed_by_bash(environ, "quatrain check x") == ["compopt -o default", ""]


def test_tab_completes_in_a_bash_of_someone(environ):
    ours, theirs = pty.openpty()
    command = ["bash", "--norc", "--noprofile", "-i"]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    bash = subprocess.Popen(command, env=environ, start_new_session=True, **streams)
    os.close(theirs)
    try:
        os.write(ours, b'eval "$(_QUATRAIN_COMPLETE=bash_source quatrain)"; echo rea"dy"\n')
        read_until(ours, b"ready\n")
        os.write(ours, b"quatrain doc\t")
        read_until(ours, b"quatrain doctor ")
    finally:
        bash.kill()
        bash.wait()
        os.close(ours)


def read_until(terminal, text):
    read, deadline = b"", time.monotonic() + 60
    while text not in read.replace(b"\r", b""):
        assert time.monotonic() < deadline, read
        if select.select([terminal], [], [], 0.1)[0]:
            read += os.read(terminal, 1000)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script_and_its_answers(environ, shell):
    def ask(instruction, **more):
        variables = {**environ, "_QUATRAIN_COMPLETE": f"{shell}_{instruction}", **more}
        command = ["quatrain"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        return done.stdout

    assert f"_QUATRAIN_COMPLETE={shell}_complete" in ask("source")
    word = "BASIC_G" if shell == "fish" else "2"  # fish sends the word, not its number
    answer = ask("complete", COMP_WORDS="quatrain tiers BASIC_G", COMP_CWORD=word)
    assert [w for w in tiers.names() if w in answer.replace(",", "\n").split()] == ["BASIC_GPU"]


def test_completion_imports_nothing_heavy(environ):
    code = (
        "import atexit, sys; from quatrain.cli import main\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    words = {"COMP_WORDS": "quatrain tiers L", "COMP_CWORD": "2"}
    variables = {**environ, **words, "_QUATRAIN_COMPLETE": "bash_complete"}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert "plain,L4" in done.stdout
    modules = {name.partition(".")[0] for name in done.stderr.split()}
    assert not modules & {"apache_beam", "duckdb", "kfp", "numpy", "pyarrow", "pydantic"}
