"""One pipeline, several engines, the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from quatrain.components.engine import trial
from quatrain.components.errors import RunnerError
from quatrain.components.preprocess.run import preprocess
from quatrain.components.specification.schema import ModelSpec
from tests.emulators import storage as emulator
from tests.engines import servers


def contents(out: Path) -> dict[str, bytes]:
    files = [p for p in out.rglob("*") if p.is_file()]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def expected(small_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the in-process runner writes."""
    out = tmp_path_factory.mktemp("here") / "examples"
    preprocess(small_spec.as_json(), runner="local", out=str(out), range_bytes=2000)
    return contents(out)


def test_worker_threads_and_a_worker_pool_write_the_same_bytes(
    small_spec: ModelSpec, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    with servers.worker_pool(tmp_path) as pool:
        engines = {
            "threads": {"direct_num_workers": 2},
            "pool": {"environment_type": "EXTERNAL", "environment_config": pool.address},
        }
        for name, options in engines.items():
            preprocess(
                small_spec.as_json(),
                runner="local",
                out=str(tmp_path / name),
                range_bytes=2000,
                runner_options=options,
            )
            assert contents(tmp_path / name) == expected, name
        # The pool says itself that it was used: for the trial, and for the run.
        assert pool.log.read_text().count(servers.STARTED) == 2


def test_a_pool_that_nobody_serves_is_a_sentence(small_spec: ModelSpec, tmp_path: Path) -> None:
    options = {"environment_type": "EXTERNAL", "environment_config": "localhost:1"}
    with pytest.raises(RunnerError, match="no worker pool listens at localhost:1"):
        preprocess(
            small_spec.as_json(),
            runner="local",
            out=str(tmp_path / "out"),
            runner_options=options,
        )
    assert list(tmp_path.iterdir()) == []


def test_workers_of_another_beam_are_refused() -> None:
    here = trial.versions()
    with pytest.raises(
        RunnerError,
        match=rf"a worker has Beam {here['Beam']}, and the launching process 1\.0",
    ):
        trial.compare(here | {"Beam": "1.0"})


def test_workers_elsewhere_write_the_same_bytes_to_a_bucket(
    small_spec: ModelSpec,
    tmp_path: Path,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with emulator.serving() as storage:
        key = emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        bucket = storage.add_bucket("b")
        storage.put("gs://b/examples/left.parquet", b"of an attempt that was killed")
        runner = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
        out = "gs://b/examples"
        preprocess(small_spec.as_json(), runner=runner, out=out, range_bytes=2000)
        names = {name.removeprefix("examples/"): o.data for name, o in bucket.objects.items()}
    assert {n: data for n, data in names.items() if not n.endswith("/") and n} == expected
