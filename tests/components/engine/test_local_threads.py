"""The worker threads of a local run: how many, whole elements, and an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions

from quatrain.components.engine import runners
from quatrain.components.engine.launch import Launch

ROOT = Path(__file__).parents[3]
CODE = """
import signal, sys
from pathlib import Path
from tests.components.engine.test_local_threads import work

signal.signal(signal.SIGINT, signal.default_int_handler)
work(Path(sys.argv[1]))
"""


class Slow:
    """Takes longer to pickle than Beam's timer waits before it sends what is written so far."""

    def __reduce__(self) -> tuple[Any, ...]:
        time.sleep(1.3)
        return Slow, ()


def pipeline_of(workers: int | None, n_elements: int = 8) -> beam.Pipeline:
    """Returns an empty pipeline on the local engine; None leaves the number to it."""
    chosen = {} if workers is None else {"direct_num_workers": workers}
    with Launch("test", chosen=chosen).start(name="m", out="", n_elements=n_elements) as started:
        return beam.Pipeline(*started)


def work(folder: Path) -> None:
    """Notes each element, which then takes two seconds."""

    def note(element: int) -> None:
        (folder / f"{element}").touch()
        time.sleep(2)

    with pipeline_of(2) as pipeline:
        _ = pipeline | beam.Create(range(100)) | beam.Map(note)


def chosen_options(n_cores: int, n_elements: int, **chosen: Any) -> tuple[int, str]:
    defaults = runners.local_defaults(chosen, n_elements, n_cores)
    direct = runners.read_options("local", chosen, defaults).view_as(DirectOptions)
    return direct.direct_num_workers, direct.direct_running_mode


@pytest.mark.parametrize(
    ("n_cores", "n_elements", "expected"),
    [(2, 30, 2), (4, 3, 3), (64, 4, 4), (1, 30, 1), (8, 1, 1)],
)
def test_a_run_has_a_worker_for_each_core_that_has_a_range(
    n_cores: int, n_elements: int, expected: int
) -> None:
    mode = "in_memory" if expected == 1 else "multi_threading"
    assert chosen_options(n_cores, n_elements) == (expected, mode)


def test_the_bound_of_a_step_holds_by_default_only() -> None:
    for chosen, expected in (({}, 1), ({"direct_num_workers": 3}, 3)):
        launch = Launch("test", chosen=chosen)
        with launch.start(name="m", out="", n_elements=9, most_local=1) as (_, options):
            assert options.view_as(DirectOptions).direct_num_workers == expected
            assert launch.in_one_worker(options) == (expected == 1)


@pytest.mark.parametrize("number", [1, 3, 16, "5", 2.0])
def test_the_number_of_workers_may_be_chosen(number: Any) -> None:
    mode = "in_memory" if number == 1 else "multi_threading"
    assert chosen_options(2, 4, direct_num_workers=number) == (int(number), mode)


def test_no_worker_for_each_core_is_beam_s_own_zero() -> None:
    assert chosen_options(2, 4, direct_num_workers=0) == (0, "multi_threading")
    mode = {"direct_running_mode": "multi_processing"}
    assert chosen_options(2, 4, **mode) == (2, "multi_processing")


class Meeting:
    """Counts how many threads are in it at once; it stays in this process."""

    lock, inside, most, pids = threading.Lock(), 0, 0, set[int]()

    @classmethod
    def attend(cls, _: int) -> None:
        """Stays for a moment."""
        with cls.lock:
            cls.inside += 1
            cls.most = max(cls.most, cls.inside)
            cls.pids.add(os.getpid())
        time.sleep(0.05)
        with cls.lock:
            cls.inside -= 1


def test_the_workers_are_threads_of_this_process_that_work_at_once() -> None:
    with pipeline_of(3) as pipeline:
        _ = pipeline | beam.Create(range(60)) | beam.Map(Meeting.attend)
    assert (Meeting.most, Meeting.pids) == (3, {os.getpid()})


def test_an_element_that_is_slow_to_encode_is_not_sent_in_parts(tmp_path: Path) -> None:
    def pairs(_: int) -> Any:
        yield "key", Slow()

    with pipeline_of(2) as pipeline:
        _ = (
            pipeline
            | beam.Create(range(2))
            | beam.FlatMap(pairs)
            | beam.GroupByKey()
            | beam.Map(lambda pair: (tmp_path / str(len(list(pair[1])))).touch())
        )
    assert [p.name for p in tmp_path.iterdir()] == ["2"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_run_soon(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    while not list(tmp_path.iterdir()) and child.poll() is None:
        time.sleep(0.05)
    assert child.poll() is None
    child.send_signal(getattr(signal, name))
    try:
        child.communicate(timeout=30)  # the elements would take a hundred seconds more
    finally:
        child.kill()
    assert child.returncode not in (0, -signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) < 20
