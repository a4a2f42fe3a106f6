"""A task is retried as its policy in the compiled file says; an error of the data costs no pass."""

from pathlib import Path

import pytest

from tests.vertex import table
from tests.vertex.driver import Driver, TaskFailed
from tests.vertex.machine import Machine


def test_a_retry_after_an_error_of_the_data_reads_no_row(vertex: Machine, tmp_path: Path) -> None:
    clean = {**table.SPEC["clean"], "reject": {"small": "size < 9"}}
    driver = Driver(vertex, table.submitted(vertex, tmp_path, {"clean": clean}), "toys-rejected")
    with pytest.raises(TaskFailed, match="preprocess ended with 1"):
        driver.run()
    _, first, second = driver.attempts
    assert (first.task, second.task) == ("preprocess", "preprocess")
    for attempt in (first, second):
        assert "\nerror: " in attempt.log and "Traceback" not in attempt.log
    read = [any("toys.csv" in request for request in a.requests) for a in (first, second)]
    assert read == [True, False]
    assert "preprocess: the try before failed on the same data: nothing is read" in second.log
