"""Fuzzes every door: python -m tests.fuzz [DOOR ...] [--seconds S] [--rounds N] [--seed N].

A round sends each door a fixed number of cases, drawn from the number of the round: the first two,
which CI runs, have the same cases everywhere. Each door is fuzzed in a process of its own, as many
at a time as there are cores. A case that fails is printed as small as it gets, and exits with 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import os
import resource
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.door import fuzz

DOORS = {
    "init": "drafts",
    "model": "models",
    "predict": "predictions",
    "server": "server",
    "commands": "commands",
    "csv": "tables",
    "jsonl": "tables",
    "cells": "cells",
    "documents": "documents",
    "rules": "rules",
    "parquet": "tables",
    "damaged-parquet": "tables",
    "times": "documents",
}
"""The doors, and the module of each; those that take longest come first."""
ADDRESSES_MB = 24_000
"""The most memory of a process, so that a bomb does not take the machine with it."""
NOTES = Path("build/fuzz").absolute()


def main() -> int:
    """Runs rounds until the time is over, and returns the exit status."""
    options = _options()
    if options.cases:
        return _fuzz(options.doors[0], options.seed, options.cases)
    NOTES.mkdir(parents=True, exist_ok=True)
    start, failed, number = time.monotonic(), set[str](), options.seed
    while number < options.seed + options.rounds and len(failed) < len(options.doors):
        names = [name for name in options.doors if name not in failed]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            statuses = list(pool.map(lambda name, seed=number: _in_a_process(name, seed), names))
        failed |= {name for name, status in zip(names, statuses, strict=True) if status}
        number += 1
        if time.monotonic() - start >= options.seconds:
            break
    print(f"rounds {options.seed} to {number - 1}; failed: {', '.join(sorted(failed)) or 'none'}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("doors", nargs="*", default=list(DOORS), metavar="DOOR", help=str([*DOORS]))
    parser.add_argument("--seconds", type=float, default=3600, help="starts no round after these")
    parser.add_argument("--rounds", type=int, default=10**9, help="how many rounds at most")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first round")
    parser.add_argument("--cases", type=int, help="fuzz one door in this process; -1: its usual")
    return parser.parse_args()


def _in_a_process(name: str, seed: int) -> int:
    """Fuzzes a door in a process of its own, prints the outcome and returns the exit status."""
    command = [sys.executable, "-P", "-m", "tests.fuzz", name, "--seed", str(seed), "--cases", "-1"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    child = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if child.returncode > 1 or child.returncode < 0:
        print(f"{name}: the process ended with {child.returncode} at the case {_note_of(name)}")
    print(child.stdout if child.returncode else child.stdout.splitlines()[-1], flush=True)
    return child.returncode


def _note_of(name: str) -> str:
    """Returns the case of a door that ran last."""
    return (NOTES / f"{name}.case").read_text(encoding="utf-8")[:4000]


def _fuzz(name: str, seed: int, cases: int) -> int:
    """Fuzzes a door in this process."""
    faulthandler.enable()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES_MB << 20, most))
    door = next(
        d for d in importlib.import_module(f"tests.fuzz.{DOORS[name]}").DOORS if d.name == name
    )
    start = time.monotonic()
    try:
        outcomes = fuzz(door, seed, door.n if cases < 0 else cases, NOTES / f"{name}.case")
    except Exception as error:
        traceback.print_exception(error)
        print(f"{name}: seed {seed}: a case fails: {_note_of(name)}")  # the smallest comes last
        return 1
    seconds = time.monotonic() - start
    shares = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(outcomes.items()))
    rate = outcomes.total() / seconds
    print(f"{name}: seed {seed}: {shares}; {seconds:.0f} s, {rate:,.0f} cases/s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
