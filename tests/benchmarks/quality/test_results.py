import multiprocessing
from dataclasses import replace
from pathlib import Path

from benchmarks.quality.results import Result, Results

ONE = Result(
    table="adult",
    split=0,
    system="LightGBM",
    inputs="a",
    metrics={"log_loss": 0.28},
    cpu_s={"train": 1.2, "answer": 0.1},
    peak_mb=300,
    versions={"lightgbm": "4.7.0"},
    rows={"train": 3, "validation": 1, "test": 1},
    load=1.0,
    at="2026-12-02 05:00",
)


def test_a_result_is_read_as_it_was_added(tmp_path: Path):
    results = Results(tmp_path / "results.jsonl")
    results.add(ONE)
    assert list(results.all()) == [ONE]


def test_the_last_result_of_a_cell_counts(tmp_path: Path):
    results = Results(tmp_path / "results.jsonl")
    for one in (ONE, replace(ONE, split=1), replace(ONE, inputs="b")):
        results.add(one)
    assert results.latest() == {
        ("adult", 0, "LightGBM"): replace(ONE, inputs="b"),
        ("adult", 1, "LightGBM"): replace(ONE, split=1),
    }


def test_a_line_that_was_written_half_is_no_result_and_goes_with_the_next(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    results = Results(path)
    results.add(ONE)
    with path.open("a") as file:
        file.write('{"table": "adult", "spl')
    assert list(results.all()) == [ONE]
    results.add(replace(ONE, split=1))
    assert list(results.all()) == [ONE, replace(ONE, split=1)]


def test_two_processes_add_whole_lines(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    context = multiprocessing.get_context("spawn")
    adders = [context.Process(target=_add, args=(path, system)) for system in ("A", "B")]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    found = [(one.system, one.split) for one in Results(path).all()]
    assert sorted(found) == [(system, split) for system in ("A", "B") for split in range(50)]


def _add(path: Path, system: str) -> None:
    for split in range(50):
        Results(path).add(replace(ONE, system=system, split=split))
