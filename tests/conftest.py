"""The order of the files, imports without the garbage collector, and what tests rename."""

import atexit
import gc
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

os.environ.pop("FORCE_COLOR", None)  # which a CI job may set, and would colour what is compared
gc.disable()  # every process imports TensorFlow and Beam, of which nothing is garbage: 1 CPU-s
HERE = Path(__file__).parent
SLOW = {
    "benchmarks/quality/test_boosted.py",
    "benchmarks/quality/test_measure.py",
    "benchmarks/quality/test_tables.py",
    "components/engine/test_dataflow.py",
    "components/engine/test_local_threads.py",
    "components/evaluate/test_answer_cache.py",
    "components/evaluate/test_champion.py",
    "components/evaluate/test_run.py",
    "components/evaluate/test_transfer.py",
    "components/notify/test_compiled_runs.py",
    "components/notify/test_mirror.py",
    "components/package/test_own_model.py",
    "components/package/test_proof_record.py",
    "components/package/test_publishing.py",
    "components/package/test_sdist.py",
    "components/preprocess/test_any_table.py",
    "components/preprocess/test_duplicates.py",
    "components/preprocess/test_engines.py",
    "components/preprocess/test_faults.py",
    "components/preprocess/test_flights.py",
    "components/preprocess/test_pipeline.py",
    "components/preprocess/test_sample_run.py",
    "components/train/test_bootstrap.py",
    "components/release/test_applier.py",
    "components/release/test_container.py",
    "components/serve/test_saved_model.py",
    "components/serve/online/test_followed.py",
    "emulators/test_jobs.py",
    "emulators/test_launcher.py",
    "quatrain/cli/test_serve.py",
    "quatrain/local/test_cached_runs.py",
    "quatrain/face/test_run.py",
    "quatrain/face/test_types.py",
    "quatrain/local/test_run.py",
    "quatrain/local/test_tuning_job.py",
    "quatrain/results/test_model.py",
    "quatrain/validation/test_training_step.py",
    "quatrain/vertex/doctor/test_examination.py",
    "quatrain/vertex/test_submission.py",
    "quatrain/vertex/schedules/test_applier.py",
    "test_security.py",
    "trainer/boosted/test_blend.py",
    "trainer/boosted/test_trees.py",
    "trainer/neural/test_compiled.py",
    "trainer/neural/test_intercept.py",
    "trainer/neural/test_steps.py",
    "trainer/test_cluster.py",
    "trainer/test_export.py",
    "trainer/test_importing.py",
    "trainer/test_training.py",
}
"""Files that take CPU-seconds; `make quick` leaves them out, and so stays below a minute."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the slow files, and puts those that run a whole chain first.

    So no process waits for one at the end.
    """
    for name in sorted(SLOW):
        if not (HERE / name).exists():
            raise pytest.UsageError(f"tests/{name}, listed as slow in tests/conftest.py, is gone")
    for item in items:
        if item.path.relative_to(HERE).as_posix() in SLOW:
            item.add_marker("slow")
    whole = {item.path for item in items if item.get_closest_marker("whole")}
    items.sort(key=lambda item: item.path not in whole)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # else DuckDB tells of leaks when the process ends


class FileEvent(NamedTuple):
    """A file or folder that this process is about to rename or remove.

    Attributes:
        name: os.rename (of os.replace too) or os.remove.
        path: What is renamed or removed.
        is_folder: Whether it is a folder.
    """

    name: str
    path: str
    is_folder: bool


@pytest.fixture(scope="session")
def _all_file_events() -> list[FileEvent]:
    events: list[FileEvent] = []

    def note(name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("os.rename", "os.remove"):
            path = os.fsdecode(arguments[0])
            events.append(FileEvent(name, path, os.path.isdir(path)))

    sys.addaudithook(note)  # for good: Python cannot take a hook away
    return events


@pytest.fixture
def file_events(_all_file_events: list[FileEvent]) -> list[FileEvent]:
    """What this process has renamed and removed since the test began, in order."""
    _all_file_events.clear()
    return _all_file_events
