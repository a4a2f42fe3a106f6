"""A promoted model is copied to another project with its proof, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import quatrain
from quatrain.components import history, versions
from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.evaluate.transfer import transfer_run
from quatrain.components.exchange import Overtaken
from quatrain.components.serve.model_folder import find_model
from quatrain.components.serve.online.followed import source_of
from quatrain.components.storage import read_file, remove_file, remove_folder, write_file
from quatrain.results.run_files import files_of_run
from tests.components.evaluate.test_versions import NAME, Root, filled, killed_at
from tests.emulators import storage as emulator

TARGET = "gs://prod/quatrain"
SETTINGS = {
    "project": "my-prod",
    "location": "europe-west1",
    "root": TARGET,
    "image": "europe-west1-docker.pkg.dev/my-prod/r/quatrain@sha256:" + "1" * 64,
    "service_account": "trainer@my-prod.iam.gserviceaccount.com",
}


@pytest.fixture(params=["disk", "bucket"])
def source(
    request: pytest.FixtureRequest,
    artifacts: Path,
    tmp_path: Path,
    served: emulator.Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> Root:
    """A root whose run-1 is promoted, and whose run-2 is held."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
    served.add_bucket("prod")
    root = Root(filled(request.param, artifacts, tmp_path, served))
    root.settle("run-1")
    root.settle("run-2")
    return root


def sent(source: Root, run: str = "run-1", reason: str = "") -> dict[str, Any]:
    return transfer_run(source.uri, NAME, run, TARGET, "ada", reason)


@pytest.fixture
def prod(tmp_path: Path) -> Path:
    path = tmp_path / "prod.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def objects(served: emulator.Storage, bucket: str = "prod") -> dict[str, tuple[int, bytes]]:
    """The generation and content of each object."""
    return {n: (o.generation, o.data) for n, o in served.buckets[bucket].objects.items()}


def test_the_model_and_its_proof_are_there_and_it_is_the_champion(source: Root) -> None:
    move = sent(source)
    target = Root(TARGET)
    assert (move["run"], move["before"], move["by"]) == ("run-1", "", "ada")
    assert move["reason"] == f"promoted there; copied from {source.uri}/{NAME}/run-1"
    assert target.champion is not None and target.champion["model"] == target.version("run-1")
    ours, theirs = (root.files(root.version("run-1")) for root in (source, target))
    manifests = [json.loads(files.pop("version.json")) for files in (ours, theirs)]
    assert ours == theirs
    assert {"metrics.json", "lineage.json", "report.html", "model/metadata.json"} <= set(theirs)
    assert manifests[0]["files"] == manifests[1]["files"]
    assert manifests[1]["model"] == source.version("run-1")
    (entry,) = quatrain.models(NAME, root=TARGET)
    assert (entry["decision"], entry["test_rows"]) == ("promote", 400)


def test_nothing_there_depends_on_the_source(source: Root) -> None:
    sent(source)
    remove_folder(source.uri)
    assert find_model(f"{TARGET}/{NAME}") == f"{Root(TARGET).version('run-1')}/model"
    assert source_of(f"{TARGET}/{NAME}", TARGET).load().run == "run-1"
    evaluation = files_of_run(f"{TARGET}/{NAME}/run-1").artifact("evaluation")
    assert json.loads(read_file(f"{evaluation}/metrics.json"))["gate"]["passed"]


def test_a_repeat_changes_nothing(source: Root, served: emulator.Storage) -> None:
    move = sent(source)
    before = objects(served)
    assert sent(source) == move
    assert objects(served) == before


def test_the_champion_there_is_replaced_by_the_rules_of_its_ledger(source: Root) -> None:
    sent(source)
    move = sent(source, "run-2", "the labels were corrected")
    assert (move["run"], move["before"]) == ("run-2", "run-1")
    assert move["reason"].startswith("the labels were corrected; copied from ")
    assert [m["run"] for m in history.moves(TARGET, NAME)] == ["run-1", "run-2"]
    back = quatrain.rollback(NAME, "worse", root=TARGET)
    assert (back["run"], back["before"]) == ("run-1", "run-2")


def test_another_promotion_at_the_same_time_keeps_the_place(
    source: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(source)
    rivals = [True]

    def write(uri: str, data: bytes) -> None:
        if rivals and "/moves/" in uri:
            rivals.clear()
            history.record_version(
                TARGET, NAME, versions.read_version(TARGET, NAME, "run-1") or {}, "bob", "again"
            )
        write_file(uri, data)

    with monkeypatch.context() as patch:
        patch.setattr(history, "write_file", write)
        with pytest.raises(Overtaken):
            sent(source, "run-2", "try it")
    champion = history.champion_of(TARGET, NAME)
    assert champion is not None and champion["promoted"]["by"] == "bob"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("source", ["bucket"], indirect=True)
def test_a_kill_at_any_write_is_ended_by_the_next_call(
    source: Root, served: emulator.Storage, after: bool
) -> None:
    with killed_at(0, after) as writes:
        sent(source)
    whole, ours = set(objects(served)), objects(served, "b")
    for number in range(1, len(writes) + 1):
        served.buckets["prod"].objects.clear()
        with killed_at(number, after), pytest.raises(KeyboardInterrupt):
            sent(source)
        champion = history.champion_of(TARGET, NAME)
        assert champion is None or number == len(writes)
        assert champion is None or versions.read_version(TARGET, NAME, "run-1")
        assert sent(source)["run"] == "run-1"
        left = {name for name in objects(served) if "/moves/" not in name}
        assert left == {name for name in whole if "/moves/" not in name}
        assert len(history.moves(TARGET, NAME)) == 1
    assert objects(served, "b") == ours


@pytest.mark.parametrize("run", ["run-2", "run-3"])
def test_a_run_that_was_never_promoted_needs_a_reason(
    source: Root, served: emulator.Storage, run: str
) -> None:
    sentence = "say why you take it all the same, by --reason" if run == "run-2" else "no record of"
    with pytest.raises(ArtifactError, match=sentence):
        sent(source, run)
    assert not objects(served)
    if run == "run-2":
        assert sent(source, run, "a fix")["run"] == run


@pytest.mark.parametrize("name", ["model/metadata.json", "model/saved_model.pb", "metrics.json"])
@pytest.mark.parametrize("how", ["altered", "gone"])
def test_a_model_or_proof_that_was_altered_or_is_gone_is_refused_before_anything_is_written(
    source: Root, served: emulator.Storage, name: str, how: str
) -> None:
    uri = f"{source.version('run-1')}/{name}"
    if how == "altered":
        write_file(uri, read_file(uri) + b" ")
    else:
        remove_file(uri)
    sentence = "is not the file that was measured" if how == "altered" else "is gone; name another"
    with pytest.raises(ArtifactError, match=sentence):
        sent(source)
    assert not objects(served)


def test_a_copy_that_was_altered_is_not_promoted(source: Root) -> None:
    sent(source)
    uri = f"{Root(TARGET).version('run-1')}/model/saved_model.pb"
    write_file(uri, b"other")
    with pytest.raises(ArtifactError, match=r"remove .*version\.json, so that it is copied again"):
        sent(source)
    remove_file(f"{Root(TARGET).version('run-1')}/version.json")
    sent(source)
    assert read_file(uri) != b"other"


def test_another_run_of_the_same_name_is_left_as_it_is(
    source: Root, served: emulator.Storage
) -> None:
    sent(source)
    record = history.measured_run(TARGET, NAME, "run-1") or {}
    history.record_measured(TARGET, NAME, {**record, "made": "2020-01-01"})
    before = objects(served)
    with pytest.raises(ArtifactError, match="has another run 'run-1' already"):
        sent(source)
    assert objects(served) == before


def test_a_run_whose_artifacts_are_gone_is_copied_from_its_version(source: Root) -> None:
    remove_folder(source.run("run-1"))
    assert sent(source)["run"] == "run-1"


def test_the_verb_says_who_is_the_champion_there_and_that_no_image_was_copied(
    source: Root, prod: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from quatrain.cli.entry import main

    place = f"{source.uri}/{NAME}/run-1"
    if not place.startswith("gs://"):
        Path(place, "run.json").write_text("{}")
    with pytest.raises(SystemExit) as ended:
        main(["promote", place, "--to", str(prod)])
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    assert printed.out == "run run-1 is the champion, the first\n"
    assert "no image was copied" in printed.err
    with pytest.raises(SystemExit) as ended:
        main(["promote", place])
    assert ended.value.code == 2
    assert "add --reason TEXT, which says why" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["bucket"], indirect=True)
def test_the_root_that_has_it_is_refused(source: Root, prod: Path) -> None:
    sent(source)
    with pytest.raises(QuatrainError, match="is in gs://prod/quatrain already; name the settings"):
        quatrain.promote(f"{TARGET}/{NAME}/run-1", to=prod)


@pytest.mark.parametrize("source", ["bucket"], indirect=True)
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"location": "us-central1"}, "bucket gs://prod is in europe-west1, the job in us-"),
        ({"root": "gs://us/r", "location": "us-central1"}, "gs://b is in europe-west1, and the co"),
        ({"root": "gs://none/r"}, "bucket gs://none does not exist"),
        ({"root": "gs://closed/r"}, "bucket gs://closed"),
    ],
)
def test_a_root_that_does_not_suit_is_refused(
    source: Root,
    prod: Path,
    served: emulator.Storage,
    changes: dict[str, str],
    sentence: str,
) -> None:
    served.add_bucket("us", "us-central1")
    served.add_bucket("closed", forbidden=True)
    prod.write_text(yaml.safe_dump({**SETTINGS, **changes}))
    before = {bucket: objects(served, bucket) for bucket in served.buckets}
    with pytest.raises(QuatrainError, match=sentence):
        quatrain.promote(f"{source.uri}/{NAME}/run-1", to=prod)
    assert {bucket: objects(served, bucket) for bucket in served.buckets} == before


def test_a_copy_whose_manifest_was_lost_is_whole_again_after_a_promotion(source: Root) -> None:
    sent(source)
    target = Root(TARGET)
    whole = target.files(target.version("run-1"))
    remove_file(f"{target.version('run-1')}/version.json")
    target.promote("run-1")
    again = target.files(target.version("run-1"))
    assert whole.keys() == again.keys()
    del whole["version.json"], again["version.json"]
    assert whole == again


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"../../secret": "0a"}, "it names '../../secret', outside of its folder"),
        ({"saved_model.pb": None}, "'saved_model.pb' has no digest"),
        (None, "'files'"),
    ],
)
def test_a_model_that_lists_its_files_otherwise_is_refused(
    source: Root, files: dict[str, Any] | None, why: str
) -> None:
    metadata = json.dumps({} if files is None else {"files": files}).encode()
    write_file(f"{source.run('run-2')}/model/model/metadata.json", metadata)
    uri = f"{source.run('run-2')}/evaluation/metrics.json"
    metrics = json.loads(read_file(uri))
    metrics["made_by"]["metadata"] = hashlib.sha256(metadata).hexdigest()
    write_file(uri, json.dumps(metrics).encode())
    sentence = rf"model/metadata.json has no digests of the model's files \({re.escape(why)}\); "
    with pytest.raises(ArtifactError, match=sentence):
        sent(source, "run-2", "try it")
