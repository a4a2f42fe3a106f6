"""A model is loaded only if a run below the root has evaluated it, or its user trusts its maker."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.csv as pacsv
import pytest

from quatrain.cli import main
from quatrain.components.errors import ArtifactError, SourceError
from quatrain.components.serve import predict as prediction
from quatrain.components.serve.known_models import check_known
from quatrain.components.serve.model_folder import find_model
from quatrain.results.model import load_model
from quatrain.terminal.printouts import gate_warning
from tests.emulators import storage

FIXTURE = Path(__file__).parents[2] / "fixtures/root-0.1.0/root"
FIRST, CHAMPION = "20261201T143351-850951", "20261201T143511-251852"
UNKNOWN = "was evaluated by no run below"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: `runs` has two runs of one model, and copies of their models lie by."""
    shutil.copytree(FIXTURE, tmp_path / "runs", symlinks=True)
    monkeypatch.chdir(tmp_path)
    for run, copy in ((FIRST, "old one"), (CHAMPION, "a copy")):
        shutil.copytree(f"runs/toys/{run}/model", copy)
    Path("link").symlink_to("a copy")
    shutil.copytree("a copy", "foreign")
    rewrite("foreign", lambda metadata: {**metadata, "tier": "THEIRS"})
    Path("rows.csv").write_text("size,colour\n1,red\n")
    return tmp_path


def rewrite(model: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Makes a model another one, whose files have the digests that it names all the same."""
    path = Path(model, "metadata.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def check(model: str, root: str = "runs") -> None:
    place = find_model(model)
    check_known(Path(place), place, root)


@pytest.mark.parametrize(
    "model",
    ["runs/toys", "runs/toys/latest", "runs/toys/latest/model/", f"runs/toys/{FIRST}", "link"],
)
@pytest.mark.parametrize("root", ["runs", "./runs/", "toys/../runs"])
def test_a_model_of_a_run_is_known_by_any_name(here: Path, model: str, root: str) -> None:
    (here / "toys").mkdir()
    check(model, root)
    check(str(here / model), str(here / root))


@pytest.mark.parametrize("model", ["a copy", "old one"])
def test_a_copy_is_known_by_its_digest(here: Path, model: str) -> None:
    check(model)
    shutil.move("runs", "elsewhere [1]*")
    check(model, "elsewhere [1]*")
    with pytest.raises(ArtifactError, match=rf"^{model} {UNKNOWN} runs \(there is no such folder"):
        check(model)


def test_a_champion_is_known_when_its_run_is_gone(here: Path) -> None:
    for run in (FIRST, CHAMPION):
        shutil.rmtree(f"runs/toys/{run}")
    check("a copy")
    with pytest.raises(ArtifactError, match=UNKNOWN):
        check("old one")


def by_python(*words: str, trust: bool) -> str:
    try:
        prediction.predict("foreign", "rows.csv", "out.csv", trust=trust)
    except ArtifactError as error:
        return str(error)
    return ""


def by_load_model(*, trust: bool) -> str:
    try:
        answers = load_model("foreign", trust=trust).predict({"size": 1, "colour": "red"})
        pacsv.write_csv(answers, "out.csv")
    except ArtifactError as error:
        return str(error)
    return ""


def by_cli(capsys: pytest.CaptureFixture[str], *, trust: bool) -> str:
    words = ["predict", "foreign", "rows.csv", "-o", "out.csv", *["--trust"] * trust]
    with pytest.raises(SystemExit) as ended:
        main(words)
    err = capsys.readouterr().err
    assert (ended.value.code == 1) is ("error: " in err)
    return err.partition("error: ")[2].rstrip("\n")


def test_a_foreign_model_is_a_program_at_every_door(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doors: list[Callable[..., str]] = [
        by_python,
        by_load_model,
        lambda trust: by_cli(capsys, trust=trust),
    ]
    for door in doors:
        sentence = door(trust=False)
        assert sentence == (
            "foreign was evaluated by no run below runs; a model is a program that runs with your "
            "rights, so name the folder of the runs that it came from by --root DIR, or add "
            "--trust if you trust whoever made it (in Python root=DIR and trust=True)"
        )
        assert not Path("out.csv").exists()
        assert door(trust=True) == ""
        assert len(Path("out.csv").read_text().splitlines()) == 2
        Path("out.csv").unlink()


def test_a_known_model_needs_no_trust(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "a copy", "rows.csv", "-o", "out.csv"])
    assert not ended.value.code, capsys.readouterr().err


def test_an_altered_model_is_refused_with_trust_too(here: Path) -> None:
    with Path("foreign/saved_model.pb").open("ab") as file:
        file.write(b"x")
    assert "is not the file that was exported" in by_python(trust=False)
    assert "is not the file that was exported" in by_python(trust=True)


def test_a_model_that_was_altered_in_its_run_is_unknown(here: Path) -> None:
    rewrite("runs/toys/latest/model", lambda metadata: {**metadata, "tier": "THEIRS"})
    sentence = r"measure/evaluation/metrics\.json names another metadata\.json, so the model was"
    with pytest.raises(ArtifactError, match=sentence):
        check("runs/toys/latest")


def test_the_model_of_a_run_that_was_killed_is_unknown(here: Path) -> None:
    for record in Path("runs").rglob("metrics.json"):
        record.unlink()
    shutil.rmtree("runs/toys/statistics")
    with pytest.raises(ArtifactError, match=r"\(its own run ended before it wrote metrics\.json\)"):
        check("runs/toys/latest")


@pytest.mark.parametrize(
    "record",
    [
        lambda digest: f'{{"metadata": "{digest}"',  # cut short
        lambda digest: f'["{digest}"]',
        lambda digest: f'{{"made_by": "{digest}"}}',
        lambda digest: f'{{"champion": {{"metadata": "{digest}"}}}}',
        lambda digest: f'{{"metadata": "x{digest}"}}',
    ],
)
def test_a_record_of_another_shape_names_nothing(here: Path, record: Callable[[str], str]) -> None:
    digest = hashlib.sha256(Path("foreign/metadata.json").read_bytes()).hexdigest()
    run = Path("runs/toys/other")
    run.mkdir()
    (run / "metrics.json").write_text(record(digest))
    with pytest.raises(ArtifactError, match=UNKNOWN):
        check("foreign")
    (run / "metrics.json").write_text(json.dumps({"made_by": {"metadata": digest}}))
    check("foreign")


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("runs", ""),
        ("", ""),  # the working folder, which the model lies in
        ("rows.csv", ""),
        ("gone", r" \(there is no such folder\)"),
        ("runs/toys", r" \(that is the folder of one model's runs; --root takes the folder above"),
    ],
)
def test_a_root_without_a_record_is_named(here: Path, root: str, why: str) -> None:
    with pytest.raises(ArtifactError, match=rf"^foreign {UNKNOWN} {root or '.'}{why}[; ]"):
        check("foreign", root)


def test_a_model_does_not_bring_its_own_record(here: Path) -> None:
    digest = hashlib.sha256(Path("foreign/metadata.json").read_bytes()).hexdigest()
    theirs = Path("theirs/job")
    (theirs / "measure/evaluation").mkdir(parents=True)
    record = json.dumps({"made_by": {"metadata": digest}})
    (theirs / "measure/evaluation/metrics.json").write_text(record)
    shutil.copytree("foreign", theirs / "plan/model/model")
    with pytest.raises(ArtifactError, match=UNKNOWN):
        check("theirs/job/plan/model")


@pytest.mark.parametrize("root", ["s3://b/runs", "gs://user:word@host/x"])
def test_a_root_that_is_no_folder_is_refused(here: Path, root: str) -> None:
    with pytest.raises(SourceError, match="cannot be read; write a local path or gs://BUCKET"):
        check("a copy", root)


@pytest.fixture
def bucket(served: storage.Storage, monkeypatch: pytest.MonkeyPatch) -> storage.Storage:
    """Cloud Storage for Google's client as well, which lists folders."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
    return served


JOB = "gs://b/q t/123/toys-1"


def put_run(served: storage.Storage, passed: bool = True) -> None:
    """Puts a run into a bucket, as Vertex AI lays it out."""
    for path in Path("a copy").rglob("*"):
        if path.is_file():
            uri = f"{JOB}/plan_5/model/model/{path.relative_to('a copy')}"
            served.put(uri, path.read_bytes())
    metrics = json.loads(Path(f"runs/toys/{CHAMPION}/metrics.json").read_text())
    if not passed:
        metrics["gate"]["checks"] = [{"passed": False, "sentence": "auc is low"}]
    served.put(f"{JOB}/measure_9/evaluation/metrics.json", json.dumps(metrics).encode())


@pytest.mark.parametrize("root", ["gs://b/q t", "gs://b/q t/"])
def test_the_model_of_a_bucket_s_run_is_known(
    here: Path, bucket: storage.Storage, root: str
) -> None:
    put_run(bucket)
    place = find_model(f"{JOB}/plan_5/model")
    check_known(Path("a copy"), place, root)
    for other in ("runs-of-others", "gs://b/q", "gs://b/other"):
        with pytest.raises(ArtifactError, match=f"{UNKNOWN} {other} .there is no such folder"):
            check_known(Path("a copy"), place, other)


def test_the_record_of_a_bucket_names_a_copy_here(here: Path, bucket: storage.Storage) -> None:
    record = Path("runs/toys/statistics/champion.json").read_bytes()
    bucket.put("gs://b/q/toys/statistics/champion.json", record)
    check("a copy", "gs://b/q")
    with pytest.raises(ArtifactError, match=f"^old one {UNKNOWN} gs://b/q; a model is a program"):
        check("old one", "gs://b/q")


def test_a_failed_gate_is_told_of_models_here_and_in_a_bucket(
    here: Path, bucket: storage.Storage
) -> None:
    put_run(bucket, passed=False)
    warning = "this model failed its gate: auc is low"
    assert gate_warning(find_model(f"{JOB}/plan_5/model")) == warning
    assert gate_warning(find_model("runs/toys/latest")) is None
    metrics = Path(f"runs/toys/{CHAMPION}/metrics.json").resolve()
    metrics.write_bytes(bucket.get(f"{JOB}/measure_9/evaluation/metrics.json"))
    assert gate_warning(find_model("runs/toys/latest")) == warning
    assert gate_warning("a copy") is None
    assert gate_warning("gs://b") is None


@pytest.mark.parametrize("text", ["{", "[]", "5", '{"gate": 5}', '{"gate": {"checks": [{}]}}'])
def test_a_damaged_record_of_a_gate_is_a_warning(here: Path, text: str) -> None:
    Path(f"runs/toys/{CHAMPION}/metrics.json").resolve().write_text(text)
    warning = gate_warning(find_model("runs/toys/latest")) or ""
    assert warning.startswith("whether this model passed its gate cannot be read (")


def test_a_bucket_that_may_not_be_listed_is_a_sentence(here: Path, bucket: storage.Storage) -> None:
    put_run(bucket)
    bucket.buckets["b"].forbidden = True
    warning = gate_warning(f"{JOB}/plan_5/model/model") or ""
    assert warning.startswith("whether this model passed its gate cannot be read (")
    with pytest.raises(ArtifactError, match=r"^the records of runs cannot be read: .*gs://b/q t"):
        check_known(Path("a copy"), "a copy", "gs://b/q t")
