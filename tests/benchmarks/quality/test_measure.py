import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.quality import measure as module
from benchmarks.quality import prepare as preparing
from benchmarks.quality.environments import requirements
from benchmarks.quality.measure import Cell, cells_of, measure
from benchmarks.quality.results import Results
from benchmarks.quality.systems import BOOSTED, HIGH, OURS, SYSTEMS, System
from benchmarks.quality.tables import QualityTable, all_tables

WORKER = """
import sys, json
import numpy as np, pyarrow.parquet as pq
folder, system, out, limit = sys.argv[1:]
if system == "broken":
    sys.exit("no luck")
n = pq.read_metadata(folder + "/test.parquet").num_rows
np.save(out, np.full((n, 2), 0.5))
print('cell: {"cpu_s": {"train": 1, "answer": 0.1}, "peak_mb": 9, "versions": {"toy": "1"}}')
"""


class Toy(QualityTable):
    def rows(self) -> pa.Table:
        x = list(range(300))
        labels = ["yes" if (i * 7) % 10 < 5 else "no" for i in x]
        return pa.table({"x": x, "colour": ["red" if i % 3 else "blue" for i in x], "y": labels})


class Fake(System):
    sources = "1"  # type: ignore[assignment]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A measure with a worker of its own, and caches of its own."""
    monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(preparing, "CACHE", tmp_path / "cache")
    folder = tmp_path / "root/benchmarks/quality/workers"
    folder.mkdir(parents=True)
    (folder / "toy.py").write_text(WORKER)
    (folder.parent / "__init__.py").touch()
    monkeypatch.setattr(module, "ROOT", tmp_path / "root")
    return tmp_path


def _measure(place: Path, system: System, budget: float = 600, absent: bool = False) -> list:
    toy = Toy("toy", "choosing", (), "binary", "y", "random")
    results = Results(place / "results.jsonl")
    until = time.monotonic() + budget
    measure([Cell(toy, 0, system)], results, stale=False, absent=absent, until=until)
    return list(results.all())


def test_a_cell_is_measured_once_and_again_if_its_inputs_change(place):
    system = Fake("toy", "A", "toy")
    (result,) = _measure(place, system)
    assert result.metrics["log_loss"] == pytest.approx(np.log(2))
    assert result.rows == {"train": 192, "validation": 48, "test": 60}
    assert result.versions == {"toy": "1"}
    assert len(_measure(place, system)) == 1

    class Changed(System):
        sources = "2"  # type: ignore[assignment]

    assert len(_measure(place, Changed("toy", "A", "toy"))) == 2


def test_a_cell_whose_losses_of_rows_are_not_here_is_measured_again_if_wanted(place):
    system = Fake("toy", "A", "toy")
    (result,) = _measure(place, system)
    assert len(_measure(place, system, absent=True)) == 1
    module.scores_path(result.cell, result.inputs).unlink()
    assert len(_measure(place, system)) == 1
    assert len(_measure(place, system, absent=True)) == 2


def test_a_system_that_fails_is_a_result_that_says_why(place):
    (result,) = _measure(place, Fake("broken", "A", "toy"))
    assert (result.metrics, result.error) == ({}, "no luck")
    assert len(_measure(place, Fake("broken", "A", "toy"))) == 1
    assert len(_measure(place, Fake("broken", "A", "toy"), absent=True)) == 2


def test_no_cell_begins_after_the_budget(place):
    assert _measure(place, Fake("toy", "A", "toy"), budget=-1) == []


def test_a_cell_that_another_process_measures_is_left_to_it(place):
    system = Fake("toy", "A", "toy")
    toy = Toy("toy", "choosing", (), "binary", "y", "random")
    with module._claimed(Cell(toy, 0, system)) as is_ours:
        assert is_ours
        assert _measure(place, system) == []


def test_a_table_gets_all_boosted_trees_before_the_next_and_no_second_split_of_time():
    tables = [one for one in all_tables() if one.name in ("hotel-rates", "ridership")]
    cells = [c.name for c in cells_of(tables, SYSTEMS[:4], most_splits=3)]
    names = [one.name for one in tables]
    assert cells == [(table, 0, system) for table in names for system in BOOSTED]


def test_what_costs_hours_is_measured_on_few_tables():
    high = {one.name for one in all_tables() if HIGH.takes(one, 0)}
    assert len(high) == 6
    assert all(OURS.takes(one, 2) for one in all_tables())


def test_locked_requirements_have_digests_and_name_no_index():
    for name in {system.environment for system in SYSTEMS} - {""}:
        text = requirements(name).read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text and "--index" not in text
