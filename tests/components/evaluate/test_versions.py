"""A promoted model is copied beside the records, where it outlives its run; complete or absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quatrain.components import history, versions
from quatrain.components.artifacts import sha256_of
from quatrain.components.copying import show_folders
from quatrain.components.errors import ArtifactError
from quatrain.components.evaluate.champion import find_champion, settle
from quatrain.components.evaluate.ledger import promote_run
from quatrain.components.exchange import Overtaken
from quatrain.components.folder import Folder
from quatrain.components.prediction import inputs
from quatrain.components.release.of_run import candidate_of
from quatrain.components.serve import model_folder
from quatrain.components.serve.model_folder import find_model
from quatrain.components.serve.online.followed import source_of
from quatrain.components.serve.served_model import read_metadata
from quatrain.components.specification.parameter import read_parameter
from quatrain.components.storage import list_names, read_file, remove_folder, write_file
from quatrain.local.runs import follow_champion
from quatrain.terminal.printouts import gate_warning
from tests.components.handmade import (
    make_spec,
    make_transform,
)
from tests.emulators import storage as emulator

NAME = "hand-made"
PROOF = {"metrics.json", "lineage.json", "report.html"}


@dataclass(frozen=True)
class Root:
    """A folder of all runs, here or in a bucket, with the artifacts of two runs."""

    uri: str

    def settle(self, run: str) -> bool:
        """Settles a run, as its gate does."""
        created = f"2026-12-0{run[-1]}T06:00:00+00:00"
        places = (f"{self.run(run)}/{kind}" for kind in ("examples", "evaluation", "model"))
        return settle(read_parameter(make_spec()), self.uri, run, created, *places)

    def promote(self, run: str) -> dict[str, Any]:
        """Promotes a run by a person's word."""
        return promote_run(self.uri, NAME, run, "ada", "try it")

    def run(self, run: str) -> str:
        """The folder of a run's artifacts."""
        return f"{self.uri}/{NAME}/{run}"

    def version(self, run: str) -> str:
        """The folder of a run's version."""
        return versions.place_of(self.uri, NAME, run)

    @property
    def champion(self) -> dict[str, Any] | None:
        """The champion's record."""
        return history.champion_of(self.uri, NAME)

    def files(self, folder: str) -> dict[str, bytes]:
        """The files in a folder by their names; the objects that stand for folders are none."""
        names = {name for name in list_names(folder) if not name.endswith("/")}
        names -= {inside for inside in names if any(n.startswith(f"{inside}/") for n in names)}
        return {name: read_file(f"{folder}/{name}") for name in names}


@pytest.fixture(params=["disk", "bucket"])
def root(
    request: pytest.FixtureRequest,
    artifacts: Path,
    tmp_path: Path,
    served: emulator.Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> Root:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
    return Root(filled(request.param, artifacts, tmp_path, served))


def filled(where: str, artifacts: Path, tmp_path: Path, served: emulator.Storage) -> str:
    """Returns a root, with copies of the artifacts in it."""
    uri = f"{tmp_path}/root" if where == "disk" else "gs://b/root"
    remove_folder(uri)
    for file in (f for f in artifacts.rglob("*") if f.is_file()):
        write_file(f"{uri}/{NAME}/{file.relative_to(artifacts)}", file.read_bytes())
    return uri


def test_a_promoted_model_is_copied_with_its_proof(root: Root) -> None:
    assert root.settle("run-1")
    assert root.champion is not None and root.champion["model"] == root.version("run-1")
    kept, run = root.files(root.version("run-1")), root.run("run-1")
    manifest = json.loads(kept.pop("version.json"))
    theirs = {f"model/{name}": data for name, data in root.files(f"{run}/model/model").items()}
    theirs |= {name: read_file(f"{run}/evaluation/{name}") for name in PROOF}
    assert kept == theirs
    assert manifest["files"].keys() == theirs.keys()
    assert (manifest["run"], manifest["model"]) == ("run-1", f"{run}/model")
    assert manifest["statistics"] == root.champion["statistics"]


def test_a_held_model_is_not_copied_and_a_person_s_choice_is(root: Root) -> None:
    root.settle("run-1")
    assert not root.settle("run-2")
    assert versions.read_version(root.uri, NAME, "run-2") is None
    root.promote("run-2")
    assert versions.read_version(root.uri, NAME, "run-2") is not None


def test_a_version_outlives_the_artifacts_of_its_run(root: Root) -> None:
    root.settle("run-1")
    root.settle("run-2")
    root.promote("run-2")
    for run in ("run-1", "run-2"):
        remove_folder(root.run(run))
    remove_folder(f"{root.uri}/{NAME}/statistics/runs")
    root.promote("run-1")
    assert root.champion is not None and root.champion["made"] == "2026-12-01T06:00:00+00:00"
    place = f"{root.version('run-1')}/model"
    assert find_model(f"{root.uri}/{NAME}") == place
    assert inputs._champion(root.uri, NAME)["model"] == root.version("run-1")
    assert gate_warning(place) is None
    loaded = source_of(f"{root.uri}/{NAME}", root.uri).load()
    assert (loaded.run, loaded.metadata) == ("run-1", root.champion["metadata"])
    if root.uri.startswith("gs://"):
        candidate = candidate_of(root.uri, NAME, "run-1", "image")
        assert candidate.upload("")["model"]["artifactUri"] == place
        return
    champion = find_champion(root.uri, read_parameter(make_spec()), make_transform())
    assert champion is not None and (champion.model, champion.why) == (place, "")
    read_metadata(Path(place))
    follow_champion(Path(root.uri, NAME))
    assert Path(root.uri, NAME, "champion").readlink() == Path("versions/run-1")


def test_an_edit_of_the_run_s_model_does_not_reach_the_version(root: Root) -> None:
    root.settle("run-1")
    before = root.files(root.version("run-1"))
    for name in root.files(f"{root.run('run-1')}/model/model"):
        write_file(f"{root.run('run-1')}/model/model/{name}", b"edited")
    assert root.files(root.version("run-1")) == before
    assert root.settle("run-1")  # the gate is repeated


def test_a_model_is_copied_once(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    root.settle("run-1")
    root.settle("run-2")
    root.promote("run-2")
    with monkeypatch.context() as patch:
        patch.setattr(versions, "copy_file", raise_interrupt)
        for run in ("run-1", "run-2"):
            root.promote(run)
        assert root.champion is not None and root.champion["run"] == "run-2"
        root.promote("run-1")
        assert root.settle("run-1")


def raise_interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def killed_at(number: int, after: bool) -> Iterator[list[str]]:
    """Ends a promotion before or after its n-th write; yields the names of the writes so far."""
    writes: list[str] = []

    def ending(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            writes.append(name)
            is_last = len(writes) == number
            if is_last and not after:
                raise KeyboardInterrupt
            result = call(*arguments, **options)
            if is_last:
                raise KeyboardInterrupt
            return result

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (versions, "_remove_others"),
            (versions, "copy_file"),
            (versions, "show_folders"),
            (Folder, "write"),
            (history, "write_file"),
            (history, "replace_content"),
        ):
            patch.setattr(owner, name, ending(getattr(owner, name), name))
        yield writes


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_a_crash_at_any_write_is_repaired_by_the_next_call(
    where: str,
    after: bool,
    artifacts: Path,
    tmp_path: Path,
    served: emulator.Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
    with killed_at(0, after) as writes:
        Root(filled(where, artifacts, tmp_path, served)).settle("run-1")
    assert len(set(writes)) == 6 and writes[-1] == "replace_content"
    for number in range(1, len(writes) + 1):
        root = Root(filled(where, artifacts, tmp_path, served))
        with killed_at(number, after), pytest.raises(KeyboardInterrupt):
            root.settle("run-1")
        whole = versions.read_version(root.uri, NAME, "run-1")
        for name in whole["files"] if whole else ():
            assert read_file(f"{root.version('run-1')}/{name}")
        if root.champion:
            assert whole and root.champion["run"] == "run-1"
        assert root.settle("run-1")
        assert root.champion and root.champion["model"] == root.version("run-1")
        kept = root.files(root.version("run-1"))
        assert kept.keys() == {*json.loads(kept["version.json"])["files"], "version.json"}


def test_of_two_promotions_one_wins_and_both_versions_are_whole(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.settle("run-1")
    root.settle("run-2")
    rivals = ["run-2"]

    def write(uri: str, data: bytes) -> None:
        if rivals:
            promote_run(root.uri, NAME, rivals.pop(), "bob", "a fix")
        write_file(uri, data)

    with monkeypatch.context() as patch:
        patch.setattr(history, "write_file", write)
        with pytest.raises(Overtaken):
            root.promote("run-1")
    assert root.champion is not None and root.champion["model"] == root.version("run-2")
    assert all(versions.read_version(root.uri, NAME, run) for run in ("run-1", "run-2"))


def test_a_copy_that_starts_beside_another_takes_no_file_from_it(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.settle("run-1")
    root.settle("run-2")

    def show_last(folders: list[str]) -> None:  # the files are there, their manifest is not
        with monkeypatch.context() as slower:
            slower.setattr(versions, "copy_file", raise_interrupt)
            with pytest.raises(KeyboardInterrupt):
                root.promote("run-2")
        show_folders(folders)

    with monkeypatch.context() as patch:
        patch.setattr(versions, "show_folders", show_last)
        root.promote("run-2")
    kept = root.files(root.version("run-2"))
    assert kept.keys() == {*json.loads(kept["version.json"])["files"], "version.json"}


def test_what_a_copy_that_was_cut_off_left_is_removed(root: Root) -> None:
    for name in ("model/.part.tmp", "model/old/weights", "note.txt"):
        write_file(f"{root.version('run-1')}/{name}", b"left")
    root.settle("run-1")
    kept = root.files(root.version("run-1"))
    assert kept.keys() == {*json.loads(kept["version.json"])["files"], "version.json"}


def test_a_version_deleted_before_the_record_names_it_is_not_promoted(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(uri: str, data: bytes) -> None:
        write_file(uri, data)
        if "/moves/" in uri:
            remove_folder(root.version("run-1"))

    with monkeypatch.context() as patch:
        patch.setattr(history, "write_file", write)
        with pytest.raises(ArtifactError, match=r"version\.json was deleted before run run-1 "):
            root.settle("run-1")
    assert root.champion is None
    assert root.settle("run-1")


def test_a_model_that_was_altered_or_is_gone_is_not_promoted(root: Root) -> None:
    model = f"{root.run('run-1')}/model/model"
    whole = root.files(model)
    write_file(f"{model}/metadata.json", whole["metadata.json"].replace(b"BASIC", b"basic"))
    with pytest.raises(ArtifactError, match=r"metadata\.json is not the one that was measured"):
        root.settle("run-1")
    write_file(f"{model}/metadata.json", whole["metadata.json"])
    remove_folder(f"{model}/variables")
    with pytest.raises(ArtifactError, match=r"cannot be copied to .*versions/run-1: .*variables"):
        root.settle("run-1")
    remove_folder(model)
    with pytest.raises(ArtifactError, match=r"the model of run run-1 is not at .* any more"):
        root.settle("run-1")
    assert root.champion is None
    assert versions.read_version(root.uri, NAME, "run-1") is None


def test_a_damaged_manifest_is_named(root: Root) -> None:
    root.settle("run-1")
    write_file(f"{root.version('run-1')}/version.json", b'{"run": "run-1"')
    with pytest.raises(ArtifactError, match=r"run-1/version\.json is damaged .*remove it, so that"):
        root.promote("run-1")


def test_the_record_of_an_earlier_version_names_the_model_of_its_run(
    artifacts: Path, tmp_path: Path, served: emulator.Storage
) -> None:
    root = Root(filled("disk", artifacts, tmp_path, served))
    root.settle("run-1")
    record = Path(history.record_uri(root.uri, NAME, "champion"))
    model = f"{root.run('run-1')}/model"
    record.write_text(json.dumps({**json.loads(record.read_text()), "model": model}))
    shutil.rmtree(root.version("run-1"))
    champion = find_champion(root.uri, read_parameter(make_spec()), make_transform())
    assert champion is not None and (champion.model, champion.why) == (f"{model}/model", "")
    assert source_of(f"{root.uri}/{NAME}", root.uri).load().run == "run-1"
    root.promote("run-1")
    assert root.champion is not None and root.champion["model"] == root.version("run-1")


def test_a_root_that_was_moved_has_its_versions_with_it(
    artifacts: Path, tmp_path: Path, served: emulator.Storage
) -> None:
    root = Root(filled("disk", artifacts, tmp_path, served))
    root.settle("run-1")
    moved = Root(str(shutil.move(root.uri, tmp_path / "elsewhere")))
    champion = find_champion(moved.uri, read_parameter(make_spec()), make_transform())
    assert champion is not None
    assert (champion.model, champion.why) == (f"{moved.version('run-1')}/model", "")
    assert champion.metadata == sha256_of(Path(champion.model, "metadata.json"))
    assert find_model(f"{moved.uri}/{NAME}") == champion.model
    assert source_of(f"{moved.uri}/{NAME}", moved.uri).load().run == "run-1"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"run": "run-2"}, "it is of run 'run-2'"),
        ({"files": {"model/x": 5}}, "'model/x' has no digest"),
        ({"files": {"model/../../x": "0a"}}, "it names 'model/../../x', outside of its folder"),
        ({"statistics": None}, "'statistics' is absent"),
    ],
)
def test_a_manifest_that_was_edited_is_named(root: Root, changed: dict[str, Any], why: str) -> None:
    root.settle("run-1")
    uri = f"{root.version('run-1')}/version.json"
    write_file(uri, json.dumps({**json.loads(read_file(uri)), **changed}).encode())
    with pytest.raises(ArtifactError) as raised:
        root.promote("run-1")
    way_out = "remove it, so that the model is copied again"
    assert str(raised.value) == f"{uri} is damaged ({why}); {way_out}"


def test_a_record_that_names_no_model_leads_to_no_folder(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.settle("run-1")
    uri = history.record_uri(root.uri, NAME, "champion")
    record = json.loads(read_file(uri)) | {"model": ""}
    write_file(uri, json.dumps(record).encode())
    looked: list[str] = []
    monkeypatch.setattr(model_folder, "exists", lambda uri: looked.append(uri))
    with pytest.raises(ArtifactError):
        find_model(f"{root.uri}/{NAME}")
    assert looked and all(uri.startswith(f"{root.uri}/") for uri in looked)
