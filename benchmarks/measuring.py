"""Shared parts of the benchmarks: measurements, environments of peers, interleaving, tables.

Each measurement is a process of its own. It imports what it needs, then calls `measured`, which
prints one line of JSON. CPU-seconds are user and system time of the process and of its finished
children by getrusage, from after the imports to the end of the work. The peak is the largest
resident set of the process (VmHWM, imports included) or of one of its children.

This module uses only the standard library, since it is imported in the environment of each peer.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build/bench"
PAGE = ROOT / "docs/benchmarks.md"
_RESULT = "measured: "


@dataclass(frozen=True)
class Case:
    """A program to measure.

    Attributes:
        name: Its name in the tables.
        script: The script to run, relative to the root.
        sources: Files or folders; a measurement counts as long as their contents are the same.
        arguments: Arguments of the script, after the arguments of the size.
        requirements: Pinned packages of its environment; empty: the project's environment.
        leaves_out: Parts of the job that it does not do.
        pinned: Whether it runs on a single core, if the benchmark chooses one.
    """

    name: str
    script: str
    sources: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    leaves_out: str = ""
    pinned: bool = True

    @property
    def key(self) -> str:
        """A digest of the code and the requirements, equal as long as both are."""
        digest = hashlib.sha256(repr((self.script, self.arguments, self.requirements)).encode())
        for source in self.sources:
            path = ROOT / source
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
            for file in files:
                digest.update(file.read_bytes())
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Measurement:
    """One run of a case on one input.

    Attributes:
        case: Name of the case.
        size: Name of the input.
        key: The case's key.
        cpu_s: CPU-seconds of the work.
        wall_s: Seconds of the work.
        peak_mb: Largest resident set in MiB.
        busy: Share of all cores that were busy during the run, for any process, in [0, 1].
        at: When it ended, UTC.
        outcome: What the script reports of its results, for comparison.
    """

    case: str
    size: str
    key: str
    cpu_s: float
    wall_s: float
    peak_mb: float
    busy: float
    at: str
    outcome: dict[str, Any]


def measured(work: Callable[[], None], check: Callable[[], Mapping[str, Any]]) -> None:
    """Does the work, and prints its cost and the result of `check`, which is not measured.

    Args:
        work: What is measured.
        check: Returns what the work produced, so that cases can be compared.
    """
    before, started = cpu_seconds(), time.monotonic()
    work()
    wall_s, cpu_s = time.monotonic() - started, cpu_seconds() - before
    line = {"cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": peak_mb(), "outcome": dict(check())}
    print(_RESULT + json.dumps(line), flush=True)


def cpu_seconds() -> float:
    """Returns the CPU-seconds of this process and of its finished children."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def peak_mb() -> float:
    """Returns the largest resident set of this process or of one of its children, in MiB."""
    status = Path("/proc/self/status").read_text()
    own = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def python_of(requirements: Sequence[str]) -> str:
    """Returns the interpreter of an environment with the packages, which is created if needed."""
    if not requirements:
        return sys.executable
    folder = BUILD / "environments" / requirements[0]
    python, installed = folder / "bin/python", folder / "requirements.txt"
    text = "\n".join(requirements) + "\n"
    if installed.exists() and installed.read_text() == text:
        return str(python)
    print(f"creating {folder.relative_to(ROOT)}: {', '.join(requirements)}", flush=True)
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, folder], check=True)
    install = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", python]
    subprocess.run([*install, *requirements], check=True)
    installed.write_text(text)
    return str(python)


def measure(
    case: Case, size: str, arguments: Sequence[str], core: int | None = None
) -> Measurement:
    """Runs a case once, in a process of its own.

    Args:
        case: What to run. Its arguments come after those below, and after a temporary folder.
        size: Name of the input.
        arguments: Arguments of the size.
        core: The core for a pinned case; None: any.

    Raises:
        subprocess.CalledProcessError: The process failed; its output has been printed.
    """
    python = python_of(case.requirements)
    pin = [] if core is None or not case.pinned else ["taskset", "-c", str(core)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    times = _cpu_times()
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        words = [python, case.script, *arguments, f"{folder}/out", *case.arguments]
        process = subprocess.run(
            [*pin, *words], env=environment, capture_output=True, text=True, cwd=ROOT
        )
    busy = _busy(times, _cpu_times())
    if process.returncode:
        sys.stderr.write(process.stdout[-4000:] + process.stderr[-8000:])
        process.check_returncode()
    line = next(t for t in reversed(process.stdout.splitlines()) if t.startswith(_RESULT))
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    result = json.loads(line.removeprefix(_RESULT))
    return Measurement(case.name, size, case.key, busy=busy, at=at, **result)


def _cpu_times() -> list[int]:
    return [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def _busy(before: list[int], after: list[int]) -> float:
    """Returns the share of all cores that were busy between two readings, for any process."""
    passed = [b - a for a, b in zip(before, after, strict=True)]
    return 1 - (passed[3] + passed[4]) / max(sum(passed), 1)


class Results:
    """All measurements of a benchmark: a file of JSON Lines in build/bench."""

    def __init__(self, name: str) -> None:
        self._path = BUILD / f"{name}.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, run: Measurement) -> None:
        """Appends a measurement."""
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(run)) + "\n")

    def of(self, case: Case, size: str) -> list[Measurement]:
        """Returns the measurements of a case on an input, with the sources as they are now."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        runs = (Measurement(**json.loads(line)) for line in lines)
        return [r for r in runs if (r.case, r.size, r.key) == (case.name, size, case.key)]


def interleave(
    results: Results,
    cases: Iterable[tuple[Case, str, Sequence[str]]],
    repeats: int,
    core: int | None = None,
) -> None:
    """Runs the cases in turns until each has been run `repeats` times.

    As they take turns, a change of the machine's load affects all cases and not just one.
    """
    turn_cases = list(cases)
    for turn in range(1, repeats + 1):
        for case, size, arguments in turn_cases:
            if len(results.of(case, size)) >= turn:
                continue
            run = measure(case, size, arguments, core)
            results.add(run)
            print(
                f"{size:>6} {case.name:<24} {run.cpu_s:8.2f} CPU-s {run.wall_s:8.1f} s "
                f"{run.peak_mb:7.0f} MB  busy {run.busy:.0%}  {run.outcome}",
                flush=True,
            )


def median(values: Iterable[float]) -> float:
    """Returns the median, or NaN if there are no values."""
    numbers = list(values)
    return statistics.median(numbers) if numbers else float("nan")


def machine() -> str:
    """Describes the machine in a line."""
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", text)
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, "
        f"{int(memory[1]) / 2**20 if memory else 0:.0f} GB, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write_section(name: str, text: str, path: Path = PAGE) -> None:
    """Writes a section of a page; it replaces the section's former text if there is any."""
    begin, end = _marks(name)
    title = "# Benchmarks\n\nWritten by `make bench`; do not edit by hand.\n"
    page = path.read_text() if path.exists() else title
    section = f"{begin}\n{text.strip()}\n{end}"
    if former := read_section(name, path):
        page = page.replace(former, section)
    else:
        page = page.rstrip() + f"\n\n{section}\n"
    path.write_text(page)


def read_section(name: str, path: Path = PAGE) -> str:
    """Returns a section of a page with its marks, or '' if the page has none."""
    begin, end = _marks(name)
    page = path.read_text() if path.exists() else ""
    return begin + page.split(begin, 1)[1].split(end, 1)[0] + end if begin in page else ""


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
