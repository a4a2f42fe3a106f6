"""What another run replaces or removes while a run goes on."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from quatrain.components import history
from quatrain.components.storage import mounted, read_file
from tests.vertex import table
from tests.vertex.driver import Driver, Outputs, TaskFailed
from tests.vertex.machine import BUCKET, Machine

LOOPS = 60


def champion(run: str) -> bytes:
    """Returns the record of a run, without the statistics that nobody compares here."""
    record: dict[str, Any] = {"run": run, "made": "", "split": {}, "statistics": {}}
    return json.dumps(record).encode()


@contextmanager
def replacing(machine: Machine, uri: str) -> Iterator[None]:
    """Replaces a champion through the API, over and over."""
    ended = threading.Event()
    machine.storage.put(uri, champion("toys-0"))

    def replace() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            machine.storage.put(uri, champion(f"toys-{number}"))

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_champion_that_another_run_replaces_all_the_time_is_read(vertex: Machine) -> None:
    for number in range(LOOPS):  # a first look is what can fail
        root = f"{table.ROOT}/{number}"
        with replacing(vertex, history.record_uri(root, "toys", "champion")):
            assert "champion" in history.earlier_runs(root, "toys")


def found_and_replaced(machine: Machine, name: str) -> Path:
    """Returns a file of the mount that was replaced after it had been looked up."""
    uri = f"{table.ROOT}/found/{name}"
    machine.storage.put(uri, b"old")
    path = Path(mounted(uri))
    assert path.exists()
    machine.storage.put(uri, b"new")
    return path


def test_a_file_of_a_mount_that_was_replaced_is_found_again(vertex: Machine) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):  # else this mount shows nothing
        found_and_replaced(vertex, "a").read_text()
    assert read_file(str(found_and_replaced(vertex, "b"))) == b"new"


def test_a_champion_is_not_the_one_of_a_minute_ago(vertex: Machine) -> None:
    root = f"{table.ROOT}/minute"
    uri = history.record_uri(root, "toys", "champion")
    for run in ("toys-1", "toys-2"):
        vertex.storage.put(uri, champion(run))
        assert history.earlier_runs(root, "toys")["champion"]["run"] == run


class Compared(Exception):
    """A run came as far as it is needed here."""


@dataclass
class Cached(Driver):
    """A run up to `compare`, which takes from a cache what its pipeline allows.

    Attributes:
        cache: The outputs of tasks by their names and parameters, as Vertex AI keeps them.
    """

    cache: dict[str, Outputs] = field(default_factory=dict)

    def _run_container(self, name: str, task: Any) -> Any:
        run = super()._run_container(name, task)

        def cached(component: Any, inputs: Outputs) -> Outputs:
            if name == "package":
                raise Compared
            if not task["cachingOptions"].get("enableCache"):
                return run(component, inputs)
            key = json.dumps([name, inputs.parameters], sort_keys=True)
            if key not in self.cache:
                self.cache[key] = run(component, inputs)
            return self.cache[key]

        return cached


def test_deleted_examples_of_the_cache_are_made_anew_by_the_next_run(
    vertex: Machine, tmp_path: Path
) -> None:
    root = f"{table.ROOT}/cached"
    job = table.submitted(vertex, tmp_path, set_cloud=[f"root={root}"])
    cache: dict[str, Outputs] = {}

    def steps(number: int, error: type[Exception], sentence: str | None = None) -> list[str]:
        driver = Cached(vertex, job, f"toys-{number}", cache=cache)
        with pytest.raises(error, match=sentence):
            driver.run()
        return [attempt.task for attempt in driver.attempts]

    assert steps(1, Compared) == ["find-files", "preprocess", "compare"]
    assert steps(2, Compared) == ["find-files", "compare"]
    objects = vertex.storage.buckets[BUCKET].objects
    below = root.removeprefix(f"gs://{BUCKET}/")
    for name in [n for n in objects if n.startswith(below) and "/toys-1/preprocess" in n]:
        del objects[name]
    gone = "/examples has no manifest.json any more.*/cached/toys/statistics/lost.json notes it"
    assert steps(3, TaskFailed, gone) == ["find-files", "compare"]
    assert steps(4, Compared) == ["find-files", "preprocess", "compare"]
    assert steps(5, Compared) == ["find-files", "compare"]
