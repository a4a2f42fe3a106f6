"""Worker processes of a local run are forked off one that imports little, and end at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from apache_beam import Create, Map, Pipeline
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.worker.statesampler import get_current_tracker

from quatrain.components.engine import beam_import, local_worker
from quatrain.components.engine.local_runner import local_runner

MODULE = "quatrain.components.preprocess.pipeline"
SHOWN = "print({'google.auth', 'pymongo', 'tensorflow', 'kfp', 'pandas'} & set(sys.modules))"


@pytest.mark.parametrize(
    "code",
    [
        "from quatrain.components.engine import local_worker; "
        "local_worker.load('quatrain.components.preprocess.pipeline')",
        "from quatrain.components.engine import beam_import; beam_import.import_local_beam(); "
        "from quatrain.components.preprocess import run",
    ],
)
def test_a_local_run_imports_no_client_of_google_nor_tensorflow(code: str) -> None:
    command = [sys.executable, "-c", f"import sys; {code}; {SHOWN}"]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (completed.stdout, completed.stderr) == ("set()\n", "")


def test_a_module_is_absent_for_a_while_only() -> None:
    name = "tests_have_no_such_module"
    with beam_import.absent(name), pytest.raises(ImportError):
        __import__(name)
    assert name not in sys.modules


def test_a_module_that_is_imported_stays() -> None:
    with beam_import.absent("os"):
        import os as imported
    assert imported is os is sys.modules["os"]


def test_a_bundle_ends_soon_after_its_last_element(tmp_path: Path) -> None:
    def note(_: int) -> None:
        (tmp_path / "ms").write_text(str(get_current_tracker().sampling_period_ms))

    beam_import.import_local_beam()
    with Pipeline(FnApiRunner()) as pipeline:
        _ = pipeline | Create([0]) | Map(note)
    assert int((tmp_path / "ms").read_text()) == beam_import.SAMPLING_MS


@pytest.mark.whole
@pytest.mark.parametrize("early", [False, True])
def test_workers_are_forked_off_one_process_which_ends_with_them(
    early: bool, tmp_path: Path
) -> None:
    def note(_: int) -> None:
        Path(tmp_path / str(os.getpid())).write_text(str(os.getppid()))
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)  # else one could have done it all

    if early:
        local_worker.start(MODULE)
    [started] = [process.pid for process, _ in local_worker._started] or [0]
    options = PipelineOptions([], direct_num_workers=2, direct_running_mode="multi_processing")
    with local_runner(2, MODULE) as runner, Pipeline(runner, options) as pipeline:
        _ = pipeline | Create(range(8)) | Map(note)
    parents = {int(file.read_text()) for file in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == 2
    assert len(parents) == 1 and os.getpid() not in parents
    assert not early or parents == {started}
    assert not local_worker._started
    assert not any(Path(f"/proc/{pid}").exists() for pid in parents)


def test_one_worker_and_workers_elsewhere_take_no_process() -> None:
    with local_runner(1, MODULE) as own, local_runner(None, MODULE) as none:
        assert type(own) is FnApiRunner and none is None
