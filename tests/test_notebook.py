"""The notebook of examples/ runs, and shows what it printed when it was committed."""

from __future__ import annotations

import re
from typing import Any

import nbformat
import pytest

from tests.notebook import NOTEBOOK, execute, for_git

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return execute(tmp_path_factory.mktemp("notebook"))


def results_of(notebook: Any) -> list[list[tuple[str, ...]]]:
    """Returns the kinds of the results of each cell, and the words of their texts.

    What is printed is left out, and so are numbers: another machine may train other weights.
    """
    return [
        [
            (*sorted(output.data), *words(output.data["text/plain"]))
            for output in cell.outputs
            if output.output_type != "stream"
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z_]+", text.lower()) if word not in ("true", "false")]


def test_the_report_shows_itself_in_the_notebook(executed: Any) -> None:
    (page,) = [
        output["data"]["text/html"]
        for cell in executed.cells
        if cell.source == "run.report"
        for output in cell.outputs
    ]
    assert page.startswith("<iframe srcdoc=")
    assert "&lt;title&gt;summer: passed" in page


def test_the_committed_outputs_are_those_of_the_cells(executed: Any) -> None:
    committed = nbformat.read(NOTEBOOK, as_version=4)
    assert results_of(for_git(executed)) == results_of(committed)


def test_the_committed_outputs_have_no_frame_and_no_place_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "<iframe" not in text
    assert not re.search(r"(?<![\w.])/(?:tmp|home|root|work|Users)/", text)


def test_the_notebook_is_executed_as_it_stands() -> None:
    committed = nbformat.read(NOTEBOOK, as_version=4)
    counts = [cell.execution_count for cell in committed.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert NOTEBOOK.stat().st_size < 100_000
