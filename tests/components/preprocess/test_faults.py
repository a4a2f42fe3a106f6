"""Faults from outside: the same bytes or a sentence, never a folder that only looks complete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.engine import failures
from quatrain.components.errors import ArtifactError, DataError, RunnerError, SourceError
from quatrain.components.preprocess.run import preprocess
from quatrain.components.specification.schema import ModelSpec
from tests.components.conftest import delays, model_of
from tests.emulators import storage as emulator

ROOT = Path(__file__).parents[3]
CHILDREN = """
import json, os, resource, signal, sys
from quatrain.components.preprocess import passes
from quatrain.components.preprocess.run import preprocess

parameter, folder, scenarios = (json.loads(text) for text in sys.argv[1:])

def begin(module, name, after):
    if module is None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (after, after))
        return
    real, calls = getattr(passes, name), []
    def killed(*given):
        calls.append(real(*given))
        if len(calls) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        return calls[-1]
    setattr(passes, name, killed)

for number, scenario in enumerate(scenarios):
    child = os.fork()
    if not child:
        begin(*scenario)
        try:
            preprocess(parameter, runner="local", out=f"{folder}/{number}/out", range_bytes=1000)
        except BaseException as error:
            print(json.dumps([number, type(error).__name__, str(error)]), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(json.dumps([number, "status", status]), flush=True)
"""


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def undisturbed(small_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small table's examples, in ranges of 1000 bytes."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    preprocess(small_spec.as_json(), runner="local", out=str(out), range_bytes=1000)
    return out


POINTS = [
    ("passes", "clean_range", 3),
    ("passes", "engineer_range", 3),
    ("passes", "write_documents", 1),  # the manifest is still pending
]


@pytest.fixture(scope="module")
def limits(undisturbed: Path) -> list[int]:
    """Sizes at which a file is cut off: what is spilled, a shard, a document."""
    sizes = {path: len(data) for path, data in contents(undisturbed).items()}
    documents = min(sizes["statistics.json"], sizes["transform.json"]) - 1
    largest = max(size for path, size in sizes.items() if path.startswith("train")) - 1
    assert 100 < largest < documents
    return [100, largest, documents]


@pytest.fixture(scope="module")
def disturbed(
    small_spec: ModelSpec, limits: list[int], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Any]]:
    """A run for each point and each limit, each in its own process, and what each reported."""
    folder = tmp_path_factory.mktemp("disturbed")
    scenarios = [*POINTS, *((None, "", limit) for limit in limits)]
    arguments = [json.dumps(a) for a in (small_spec.as_json(), str(folder), scenarios)]
    command = [sys.executable, "-c", CHILDREN, *arguments]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return folder, [
        json.loads(line) for line in completed.stdout.splitlines() if line.startswith("[")
    ]


def test_a_run_that_is_killed_at_any_point_leaves_no_manifest_and_can_be_run_again(
    small_spec: ModelSpec, undisturbed: Path, disturbed: tuple[Path, list[Any]]
) -> None:
    folder, reports = disturbed
    assert [s for s in reports if s[0] < len(POINTS)] == [
        [i, "status", 9] for i in range(len(POINTS))
    ]
    for i in range(len(POINTS)):
        assert os.listdir(folder / str(i) / "out") != []
        assert not (folder / str(i) / "out/manifest.json").exists()
    second = folder / str(len(POINTS) - 1) / "out"
    preprocess(small_spec.as_json(), runner="local", out=str(second), range_bytes=1000)
    assert contents(second) == contents(undisturbed)
    assert os.listdir(second.parent) == ["out"]


def test_a_disk_that_is_full_at_any_point_is_a_sentence_and_leaves_nothing(
    limits: list[int], disturbed: tuple[Path, list[Any]]
) -> None:
    folder, reports = disturbed
    for i in range(len(POINTS), len(POINTS) + len(limits)):
        (kind, sentence), status = (s[1:] for s in reports if s[0] == i)
        assert (kind, status) == ("ArtifactError", ["status", 0])
        out = f"{folder}/{i}/out"
        assert sentence.startswith(f"{out} cannot be written: the disk of {out}, with ")
        assert sentence.endswith(
            " MB in all, takes no larger file (File too large); nothing was left there. Make room, "
            "or name another place as the root"
        )
        assert os.listdir(folder / str(i)) == []


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (OSError(28, "No space"), ArtifactError, "out cannot be written: the disk of .* is full"),
        (RuntimeError("...\nOSError: [Errno 122] Error"), ArtifactError, "has no quota left"),
        (RuntimeError("Channel closed prematurely."), RunnerError, "a worker process of Beam"),
        (RuntimeError("x: SDK worker disconnected: w"), RunnerError, "a worker process of Beam"),
        (OSError(13, "Permission denied"), OSError, "Permission denied"),
        (KeyError("a bug"), KeyError, "a bug"),
    ],
)
def test_a_fault_from_outside_is_a_sentence_and_a_bug_stays_a_bug(
    error: Exception, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence), failures.explain_faults("out"):
        raise error


BUCKET = """
import json, sys
from quatrain.components.preprocess.run import preprocess
from quatrain.components import storage

busy, calm, never = (json.loads(text) for text in sys.argv[1:4])
preprocess(busy, runner="local", out=f"{sys.argv[4]}/busy")
preprocess(calm, runner="local", out=f"{sys.argv[4]}/calm")
storage.PATIENCE_S = 1
for spec in never:
    try:
        preprocess(spec, runner="local", out=f"{sys.argv[4]}/never")
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


def test_a_busy_bucket_gives_the_same_bytes_or_in_the_end_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow waits for a bucket with the interpreter's lock, so the client is another process."""
    columns = {"day": "int", "delay": "int", "carrier": "string", "arrival": "float", "year": "int"}

    def spec(uri: str) -> str:
        model = model_of(uri, columns=columns, evaluate={"slices": ["year"]})
        return json.dumps(model.as_json())

    header, *rows = delays().splitlines(keepends=True)
    with emulator.serving() as storage:
        key = emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        storage.add_bucket("b")
        for name, part in (("year=2013/a", rows[:200]), ("year=2014/b", rows[200:])):
            storage.put(f"gs://b/{name}.csv", (header + "".join(part)).encode())
        for name in ("429", "503"):
            storage.put(f"gs://b/never/year=1/{name}.csv", header.encode())
            storage.fail(f"GET .*/o/.*{name}.csv", int(name), times=1000)
        # A listing, a header, and a file's rows.
        storage.fail("GET .*/b/o$", 503)
        storage.fail("GET .*/o/.*a.csv", 429)
        storage.fail("GET .*/o/.*b.csv", 503, skip=3)
        never = "[" + ",".join(spec(f"gs://b/never/*/{n}.csv") for n in ("429", "503")) + "]"
        uri = spec("gs://b/*/?.csv")
        command = [sys.executable, "-c", BUCKET, uri, uri, never, str(tmp_path)]
        completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert not any(fault.left for fault in storage._faults if fault.left < 900)
    assert contents(tmp_path / "busy") == contents(tmp_path / "calm")
    assert json.loads((tmp_path / "calm/manifest.json").read_text())["rows"]["read"] == 400
    errors = [json.loads(line) for line in completed.stdout.splitlines() if line.startswith("[")]
    assert [kind for kind, _ in errors] == ["SourceError", "SourceError"]
    for (_, sentence), name in zip(errors, ("429", "503"), strict=True):
        assert sentence.startswith(f"gs://b/never/year=1/{name}.csv cannot be read: ")
    assert not (tmp_path / "never").exists()


KILLER = """
import os, sys

if "apache_beam.runners.worker.sdk_worker_main" in sys.orig_argv:
    from quatrain.components.preprocess import passes

    def clean_range(*_):
        os.kill(os.getpid(), 9)

    passes.clean_range = clean_range
"""


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_process_that_is_killed_is_a_sentence_and_leaves_nothing(
    small_spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(KILLER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}/site:{ROOT}")
    options = {"direct_num_workers": 2, "direct_running_mode": "multi_processing"}
    with pytest.raises(RunnerError, match="a worker process of Beam was lost"):
        preprocess(
            small_spec.as_json(),
            runner="local",
            out=str(tmp_path / "out"),
            range_bytes=1000,
            runner_options=options,
        )
    assert os.listdir(tmp_path) == ["site"]


def test_a_retry_ends_at_once_with_the_error_of_the_data_that_ended_the_first_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    columns = {"day": "int", "delay": "int", "carrier": "string", "arrival": "float"}
    with emulator.serving() as storage:
        key = emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        bucket = storage.add_bucket("b")
        table = tmp_path / "t.csv"
        table.write_text(delays())
        clean = {
            "reject": {"all": "day IS NOT NULL"},
            "derive": {"late": "arrival >= 15"},
            "max_rejected": 0.5,
        }
        model = model_of(str(table), columns=columns, clean=clean)
        arguments = {"runner": "local", "out": "gs://b/task_1/examples"}
        spec = model.as_json()
        with pytest.raises(DataError) as first:
            preprocess(spec, **arguments)
        assert [name for name in bucket.objects if name.startswith("task_1/")] == [
            "task_1/examples.failed/error.json"
        ]
        table.unlink()
        with pytest.raises(DataError) as second:
            preprocess(spec, **arguments)
        assert str(second.value) == str(first.value)
        assert "the try before failed on the same data" in capfd.readouterr().out
        with pytest.raises(SourceError, match="does not exist"):  # another input: it reads
            preprocess(spec, **arguments, at="2013-07-01")
        with pytest.raises(SourceError, match="does not exist"):  # which no retry may repeat
            preprocess(spec, **{**arguments, "out": "gs://b/task_2/examples"})
        assert not any(name.startswith("task_2/examples.failed") for name in bucket.objects)
