"""The results file: one measured cell a line, appended whole, and read again to go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.quality.lines import append_line, read_lines


@dataclass(frozen=True)
class Result:
    """What was measured of one system on one split of one table.

    Attributes:
        table: The table.
        split: The seed of the split.
        system: The system.
        inputs: A digest of what it was measured from: rows, columns, sources, versions.
        metrics: The metrics of the test rows; empty if the system failed.
        cpu_s: CPU-seconds of `train`, `load` from disk, `answer` to the test rows, and `again`, the
            second answer to them. Lines of before this was split lack `load` and `again`.
        peak_mb: The largest resident set, in MiB.
        versions: The versions of its libraries, or our commit.
        rows: How many rows train, validate and test.
        load: The machine's load average when it began: CPU-seconds grow with it.
        at: When it ended, UTC.
        error: Why the system failed; empty if it did not.
        notes: What else its worker says.
    """

    table: str
    split: int
    system: str
    inputs: str
    metrics: dict[str, float]
    cpu_s: dict[str, float]
    peak_mb: int
    versions: dict[str, str]
    rows: dict[str, int]
    load: float
    at: str
    error: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def cell(self) -> tuple[str, int, str]:
        """Its table, split and system."""
        return self.table, self.split, self.system


class Results:
    """The results of a file; the last line of a cell counts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, result: Result) -> None:
        """Appends a result."""
        append_line(self._path, asdict(result))

    def all(self) -> Iterator[Result]:
        """Yields the results in the order of their lines."""
        return (Result(**document) for document in read_lines(self._path))

    def latest(self) -> dict[tuple[str, int, str], Result]:
        """Returns the last result of each cell."""
        return {result.cell: result for result in self.all()}
