"""Worker processes of a local run import little and end at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from components.preprocess import worker
from components.preprocess.local import LocalRunner


def test_a_worker_imports_no_client_of_google_nor_tensorflow() -> None:
    code = (
        "import sys; from components.preprocess import worker; worker.load(); "
        "print({'google.auth', 'tensorflow', 'kfp', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_module_is_absent_for_a_while_only() -> None:
    name = "tests_have_no_such_module"
    with worker.absent(name), pytest.raises(ImportError):
        __import__(name)
    assert name not in sys.modules


def test_processes_run_our_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    from apache_beam import Create, Pipeline
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability import fn_api_runner

    seen = []

    def run(self: object, proto: object, options: object) -> None:
        seen.extend(e.payload for e in proto.components.environments.values())

    monkeypatch.setattr(fn_api_runner.FnApiRunner, "run_via_runner_api", run)
    options = PipelineOptions([], direct_num_workers=2, direct_running_mode="multi_processing")
    pipeline = Pipeline(LocalRunner(), options)
    _ = pipeline | Create([1])
    pipeline.run()
    assert f"{sys.executable} -m components.preprocess.worker".encode() in seen
