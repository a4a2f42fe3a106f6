"""What nothing names may be deleted; what the champion leads to, or is not ours, stays."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quatrain.cleanup import collect as collecting
from quatrain.cleanup import deletion, files
from quatrain.cleanup.collect import collect
from quatrain.cleanup.plan import Item, Limits
from quatrain.cli import main
from quatrain.components import history, versions
from quatrain.components.artifacts import json_bytes
from quatrain.components.errors import ArtifactError, QuatrainError
from quatrain.components.evaluate.ledger import promote_run
from quatrain.components.folder import Folder
from quatrain.components.storage import exists, list_names, remove_folder, write_file
from quatrain.results.listing import RunsNotFound
from tests.emulators import storage
from tests.quatrain.results import made_runs

NUMBER = "123456789"
NOW = time.time
LIMITS = Limits(keep_runs=2, keep_versions=1, older_than_days=7)


@dataclass(frozen=True)
class Root:
    """A folder of all runs with six runs of the model `m`, the newest 10 days old."""

    uri: str

    @property
    def is_here(self) -> bool:
        return not self.uri.startswith("gs://")

    def run(self, number: int) -> str:
        """The id of a run."""
        day = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=16 - number)
        return f"{day:%Y%m%d}T060000-000000" if self.is_here else f"m-{number}"

    def folder(self, number: int) -> str:
        """The folder of a run's artifacts."""
        inside = f"m/{self.run(number)}/pipeline/j" if self.is_here else f"{NUMBER}/m-{number}"
        return f"{self.uri}/{inside}"

    def version(self, number: int) -> str:
        """The folder of a run's version."""
        return versions.place_of(self.uri, "m", self.run(number))

    def make(self, number: int, **changed: Any) -> None:
        """Writes what a measured run leaves."""
        day = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=16 - number)
        run, made = self.run(number), day.isoformat(timespec="seconds")
        names = ("examples", "evaluation", "model")
        places = {name: f"{self.folder(number)}/{name}_1/{name}" for name in names}
        sha = Folder(places["examples"]).write("statistics.json", b'{"version": 2, "kept": {}}')
        manifest = {"files": {"statistics.json": sha}}
        Folder(places["examples"]).write_json("manifest.json", manifest)
        model = Folder(f"{places['model']}/model")
        parts = {name: model.write(name, f"{name} {run}".encode()) for name in ("a", "v/b")}
        digest = model.write("metadata.json", json_bytes({"files": parts}))
        made_by = {"metadata": digest, "split": {}, "package": "", "image": "", "spec": ""}
        evaluation = Folder(places["evaluation"])
        evaluation.write_json("lineage.json", {"champion": None, "best": None, **changed})
        evaluation.write_json("metrics.json", {"made_by": made_by})
        record = made_runs.record(run, made, artifacts=places)
        history.record_measured(self.uri, "m", record)
        if self.is_here:
            document = made_runs.run_document(run, made)
            write_file(f"{self.uri}/m/{run}/run.json", json_bytes(document))

    def promote(self, number: int) -> None:
        """Promotes a run, long ago as far as the cleanup can see."""
        promote_run(self.uri, "m", self.run(number), "ada", "try it")

    def collect(self, limits: Limits = LIMITS, applies: bool = False) -> list[Item]:
        """Plans, and deletes if it applies."""
        return collect("m", limits, root=self.uri, applies=applies)

    def going(self, limits: Limits = LIMITS) -> set[tuple[str, int]]:
        """What may go: its kind and the number of its run."""
        numbers = {self.run(number): number for number in range(10)}
        return {(i.kind, numbers.get(i.id, -1)) for i in self.collect(limits) if not i.why}

    def why(self, kind: str, number: int, limits: Limits = LIMITS) -> str:
        """Why a run or a version stays."""
        items = self.collect(limits)
        (why,) = (i.why for i in items if (i.kind, i.id) == (kind, self.run(number)))
        return why

    def all_files(self) -> set[str]:
        """The files below the root, without records."""
        return {n for n in list_names(self.uri) if "/statistics/" not in n and n[-1] != "/"}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Storage]:
    with storage.serving() as state:
        key = storage.write_credentials(tmp_path / "key.json", state.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", state.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", state.url)
        state.add_bucket("b")
        yield state


@pytest.fixture(params=["disk", "bucket"])
def root(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    served: storage.Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> Root:
    """Runs 1, 2 and 3 were the champion, one after the other; the moves are hours old."""
    return made(Root(f"{tmp_path}/runs" if request.param == "disk" else "gs://b/q"), monkeypatch)


def made(root: Root, monkeypatch: pytest.MonkeyPatch) -> Root:
    for number in range(1, 7):
        rival = {"run": root.run(1)} if number == 3 else None
        root.make(number, champion=rival)
    for number in (2, 1, 4, 3):
        root.promote(number)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    return root


def test_what_nothing_names_may_go(root: Root) -> None:
    assert root.going() == {("run", 2), ("run", 4), ("version", 2)}
    reasons = {
        ("run", 1): "the champion was compared with it",
        ("run", 3): "the champion",
        ("run", 5): "it is among the newest 2 runs",
        ("version", 1): "the champion was compared with it",
        ("version", 3): "the champion",
        ("version", 4): "a rollback may go back to it",
    }
    assert {key: root.why(*key) for key in reasons} == reasons
    before = root.all_files()
    root.collect()
    assert root.all_files() == before


def test_limits_keep_more(root: Root) -> None:
    assert root.going(Limits(5, 1, 7)) == {("version", 2)}
    assert root.going(Limits(2, 3, 7)) == {("run", 2), ("run", 4)}
    assert root.why("run", 4, Limits(2, 1, 14)) == "it is younger than --older-than 14"


def test_apply_deletes_what_may_go_and_no_more(root: Root) -> None:
    gone = (root.folder(2), root.folder(4), root.version(2))
    kept = {n for n in root.all_files() if not f"{root.uri}/{n}".startswith(gone)}
    kept -= {f"m/{root.run(number)}/run.json" for number in (2, 4)}
    items = root.collect(applies=True)
    assert sum(not item.why for item in items) == 3
    assert all(item.bytes > 0 for item in items)
    assert root.all_files() == kept
    assert root.going() == set()
    root.promote(4)  # a rollback to a version whose run is gone
    with pytest.raises(ArtifactError, match="is not a complete artifact"):
        root.promote(2)


def test_the_champion_of_an_old_record_keeps_its_run(root: Root) -> None:
    remove_folder(root.version(4))  # as if it had been promoted without a copy
    assert root.why("run", 4) == "a rollback may go back to it"


@pytest.mark.parametrize("after", [False, True])
def test_the_next_call_finishes_whatever_deletion_was_killed(
    root: Root, after: bool, served: storage.Storage, tmp_path: Path
) -> None:
    objects = dict(served.buckets["b"].objects)
    if root.is_here:
        shutil.copytree(root.uri, tmp_path / "before")
    with killed_at(0, after) as deletions:
        root.collect(applies=True)
    expected = root.all_files()
    for number in range(1, len(deletions) + 1):
        served.buckets["b"].objects = dict(objects)
        if root.is_here:
            shutil.rmtree(root.uri)
            shutil.copytree(tmp_path / "before", root.uri)
        with killed_at(number, after), pytest.raises(KeyboardInterrupt):
            root.collect(applies=True)
        for version in (2, 4):
            manifest = versions.read_version(root.uri, "m", root.run(version))
            for name in manifest["files"] if manifest else ():
                assert exists(f"{root.version(version)}/{name}")
        root.collect(applies=True)
        assert root.all_files() == expected
        assert root.going() == set()
    assert len(deletions) > 5


@contextmanager
def killed_at(number: int, after: bool = False) -> Iterator[list[str]]:
    """Ends a cleanup before or after its n-th deletion; yields the deletions so far."""
    done: list[str] = []

    def ending(call: Any, name: str) -> Any:
        def wrapped(*arguments: Any) -> Any:
            done.append(name)
            if len(done) == number and not after:
                raise KeyboardInterrupt
            call(*arguments)
            if len(done) == number:
                raise KeyboardInterrupt

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (files, "delete_file"),
            (deletion, "delete_file"),
            (files, "remove_objects"),
            (os, "rmdir"),
        ):
            patch.setattr(owner, name, ending(getattr(owner, name), name))
        yield done


@pytest.mark.parametrize("late", [False, True])
def test_a_version_that_is_promoted_meanwhile_stays_whole(
    root: Root, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion moves between plan and deletion, or once the manifest is gone."""
    delete_file = deletion.delete_file

    def promoting(path: str) -> None:
        if late:
            patch.setattr(time, "time", NOW)
            move = dict.fromkeys(("run", "before", "at", "by", "reason"), "")
            write_file(moved(), json_bytes(move))  # what a promotion writes before it looks
        delete_file(path)

    def moved() -> str:
        return history.record_uri(root.uri, "m", f"moves/2099-01-01T000000.000+0000-{root.run(2)}")

    with monkeypatch.context() as patch:
        patch.setattr(deletion, "delete_file", promoting)
        patch.setattr(deletion, "delete_folder", lambda folder: None)
        if not late:
            plan = collecting.plan
            patch.setattr(collecting, "plan", lambda *a: [plan(*a), root.promote(2)][0])
        items = root.collect(applies=True)
    (why,) = (i.why for i in items if (i.kind, i.id) == ("version", root.run(2)))
    assert why == ("a move to it was written within the hour" if late else "the champion")
    assert versions.read_version(root.uri, "m", root.run(2)) is not None
    if late:
        remove_folder(moved().rpartition("/")[0])
    root.promote(2)


def test_what_was_released_stays_until_the_endpoints_were_asked(root: Root) -> None:
    write_file(f"{root.version(2)}/release/instance.yaml", b"{}")
    assert root.why("version", 2).startswith("it was released; with --cloud the endpoints")
    name = f"quatrain m {root.run(2)}"
    served = Limits(2, 1, 7, frozenset({name}))
    assert root.why("version", 2, served) == "an endpoint has it deployed"
    assert root.why("version", 2, Limits(2, 1, 7, frozenset())) == ""


def test_a_damaged_record_deletes_nothing(root: Root) -> None:
    write_file(history.record_uri(root.uri, "m", "champion"), b"{")
    before = root.all_files()
    with pytest.raises(ArtifactError, match=r"champion\.json, .* is damaged"):
        root.collect(applies=True)
    assert root.all_files() == before


def test_an_unknown_model_is_refused(root: Root) -> None:
    with pytest.raises(RunsNotFound, match="has no model 'mm'"):
        collect("mm", LIMITS, root=root.uri)


def test_cached_examples_that_a_kept_run_uses_stay(
    served: storage.Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made(Root("gs://b/q"), monkeypatch)
    record = history.measured_run(root.uri, "m", "m-6")
    assert record is not None
    cached = f"{root.folder(2)}/examples_1/examples"
    record["artifacts"]["examples"] = cached
    history.record_measured(root.uri, "m", record)
    assert root.why("run", 2) == "run m-6, which stays, has taken artifacts of it"
    root.collect(applies=True)
    lost = history.lost_examples(root.uri, "m")
    assert lost == f"{root.folder(4)}/examples_1/examples"  # the cache of Vertex AI is not to


def test_jobs_without_a_record_and_other_folders_of_a_bucket_stay(
    served: storage.Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made(Root("gs://b/q"), monkeypatch)
    others = {f"{NUMBER}/m-22/a/metrics.json", f"{NUMBER}/other-2/x", "m/notes/x", "m-2/x"}
    for name in others:
        served.put(f"gs://b/q/{name}", b"theirs")
    root.collect(applies=True)
    assert others <= root.all_files()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    return made(Root(f"{tmp_path}/runs"), monkeypatch)


def test_a_link_out_of_the_root_is_not_followed(here: Root, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("theirs")
    run = Path(here.uri, "m", here.run(2))
    (run / "pipeline/link").symlink_to(outside)
    shutil.move(here.version(2), tmp_path / "elsewhere")
    Path(here.version(2)).symlink_to(tmp_path / "elsewhere")
    shutil.move(Path(here.uri, "m", here.run(4)), tmp_path / "run-4")
    Path(here.uri, "m", here.run(4)).symlink_to(tmp_path / "run-4")
    assert here.going() == {("run", 2)}
    here.collect(applies=True)
    assert not run.exists() and (outside / "precious").read_text() == "theirs"
    assert (tmp_path / "elsewhere/version.json").exists()
    assert (tmp_path / "run-4/run.json").exists()


def test_a_model_s_folder_that_is_a_link_is_left_alone(here: Root, tmp_path: Path) -> None:
    shutil.move(Path(here.uri, "m"), tmp_path / "m")
    Path(here.uri, "m").symlink_to(tmp_path / "m")
    (item,) = here.collect()
    assert item.why == "it is a link, which is not followed"


def test_what_is_not_ours_stays(here: Root) -> None:
    Path(here.uri, "m", here.run(2), "notes.md").write_text("mine")
    Path(here.version(2), "notes.md").write_text("mine")
    stranger = Path(here.uri, "m/versions/stranger")
    stranger.mkdir()
    (stranger / "file").write_text("mine")
    assert here.going() == {("run", 4)}
    assert here.why("run", 2) == "it holds 'notes.md', which is not of Quatrain"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"status": "running"}, "it is still going"),
        ({"id": "another"}, "its run.json is of another run"),
        (None, "its run.json cannot be read (JSONDecodeError)"),
    ],
)
def test_a_run_that_goes_or_is_not_known_stays(
    here: Root, changed: dict[str, Any] | None, why: str
) -> None:
    path = Path(here.uri, "m", here.run(2), "run.json")
    document = json.loads(path.read_text())
    path.write_text("{" if changed is None else json.dumps({**document, **changed}))
    assert here.why("run", 2) == why


def test_a_killed_run_and_the_empty_folder_of_one_may_go(here: Root) -> None:
    path = Path(here.uri, "m", here.run(2), "run.json")
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "status": "running", "pid": 2**22 + 1}))
    empty = Path(here.uri, "m/20200101T000000-000000")
    empty.mkdir()
    assert ("run", 2) in here.going()
    here.collect(applies=True)
    assert not empty.exists()


def test_records_of_the_cache_go_with_their_run(here: Root) -> None:
    tasks = Path(here.uri, ".cache/tasks")
    tasks.mkdir(parents=True)
    for number in (2, 6):
        folder = str(Path(here.folder(number)).relative_to(here.uri))
        record = {"run": here.run(number), "artifacts": {"examples": {"folder": folder}}}
        (tasks / f"{number}.json").write_text(json.dumps(record))
    (tasks / "away.json").write_text('{"artifacts": {"examples": {"folder": "../../etc"}}}')
    here.collect(applies=True)
    assert [path.name for path in tasks.iterdir()] == ["6.json"]


def test_the_verb_lists_and_deletes(
    here: Root, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["gc", "m", "--root", here.uri, "--keep-runs", "2", "--keep-versions", "1"]

    def verb(*more: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        assert not ended.value.code
        return capsys.readouterr().out

    lines = verb().splitlines()
    assert lines[-1].startswith("3 items of ") and lines[-1].endswith("add --apply to delete")
    assert lines[0].split()[:4] == ["may", "go", "run", f"m/{here.run(4)}"]
    assert any(line.startswith("stays") and line.endswith("the champion") for line in lines)
    assert json.loads(verb("--json"))[0].keys() == {"kind", "name", "id", "place", "bytes", "why"}
    assert verb("--apply").splitlines()[-1].startswith("3 items of ")
    assert verb().splitlines()[-1] == "0 items of 0.0 MB may go"
    Path(here.uri, "m", here.run(6)).chmod(0o755)
    with pytest.raises(SystemExit) as ended:
        main(["gc", "--root", f"{here.uri}/none"])
    assert ended.value.code == 1 and "is no folder" in capsys.readouterr().err


def test_a_file_that_cannot_be_deleted_is_named(
    here: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(files, "delete_file", refuse)
    with pytest.raises(QuatrainError, match=r"may not be|Permission|permission"):
        here.collect(applies=True)
