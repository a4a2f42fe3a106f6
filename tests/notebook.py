"""Executes the notebook of examples/.

    python -m tests.notebook   writes what it printed into it

The outputs are committed, since a page that shows none invites nobody. The frame of the report is
left out: it has 100 kB, and GitHub does not show it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples/flights/flights.ipynb"
PATIENCE_S = 900
"""The longest that one cell may take."""


def execute(folder: Path) -> Any:
    """Returns the notebook with the outputs of its cells, executed in a folder with its data.

    Raises:
        CellExecutionError: A cell raised an error.
    """
    (folder / "data").symlink_to(NOTEBOOK.parent / "data")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as sockets:
        # Files of this user, not ports that anyone on the machine can reach.
        transport = {"transport": "ipc", "ip": f"{sockets}/kernel"}
        client = nbclient.NotebookClient(
            notebook,
            timeout=PATIENCE_S,
            startup_timeout=PATIENCE_S,
            resources={"metadata": {"path": str(folder)}},
            config=Config({"ConnectionFileMixin": transport}),
        )
        client.execute(env={**os.environ, "PYTHONPATH": path})
    return notebook


def for_git(notebook: Any) -> Any:
    """Returns the notebook without frames and times, and with progress as it looked at its end."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = list(_outputs(cell.outputs))
    return notebook


def _outputs(outputs: Iterable[Any]) -> Iterator[Any]:
    for is_stream, group in groupby(outputs, lambda output: output.output_type == "stream"):
        if is_stream:
            text = "".join(output.text for output in group)
            lines = (line.rpartition("\r")[2] for line in text.split("\n"))
            yield nbformat.v4.new_output("stream", name="stdout", text="\n".join(lines))
            continue
        for output in group:
            if "<iframe" in output.get("data", {}).get("text/html", ""):
                del output.data["text/html"]
            yield output


def main() -> None:
    """Executes the notebook, and writes its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = for_git(execute(Path(folder)))
    text = nbformat.writes(notebook).rstrip()
    NOTEBOOK.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
