"""The champion that a server follows: found, verified, and refused where it is not the one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quatrain.components import history
from quatrain.components.artifacts import sha256_of
from quatrain.components.errors import ArtifactError
from quatrain.components.serve.online.counters import Counters
from quatrain.components.serve.online.followed import (
    FixedModel,
    FollowedChampion,
    Follower,
    source_of,
)
from quatrain.components.serve.online.service import predict
from quatrain.components.serve.online.version import Slot
from quatrain.components.serve.served_model import ServedModel
from tests.emulators import storage as emulator

FIXTURE = Path(__file__).parents[3] / "fixtures/root-0.1.0/root"
OTHER, CHAMPION = "20261201T143351-850951", "20261201T143511-251852"
ROW = {"size": 1.5, "colour": "red"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two runs of one model; the later one is the champion. The folder was moved since."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "root", symlinks=True))


def promote(root: Path, run: str, **changes: Any) -> None:
    path = root / "toys/statistics/champion.json"
    record = json.loads(path.read_text())
    model = root / "toys" / run / "model"
    record |= {"run": run, "model": str(model.resolve().parent)}
    record |= {"metadata": sha256_of(model / "metadata.json"), **changes}
    path.write_text(json.dumps(record))


def followed(root: Path) -> tuple[Follower, Slot, Counters]:
    source = source_of(str(root / "toys"), str(root))
    assert isinstance(source, FollowedChampion)
    slot, counters = Slot(source.load()), Counters()
    return Follower(source, slot, counters, poll_s=0.0), slot, counters


def run_of(slot: Slot) -> str:
    assert slot.version is not None
    return slot.version.run


def alter_golden(folder: Path) -> None:
    """Changes an answer that the model gave when it was exported, and all digests with it."""
    path = folder / "golden.json"
    golden = json.loads(path.read_text())
    golden["answers"][0] = golden["answers"][0][::-1]
    path.write_text(json.dumps(golden))
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["files"]["golden.json"] = sha256_of(path)
    (folder / "metadata.json").write_text(json.dumps(metadata))


def test_a_promoted_run_takes_the_place_of_the_champion(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    follower, slot, counters = followed(root)
    before = slot.version
    assert before is not None and before.run == CHAMPION
    follower.look()
    assert slot.version is before  # nothing is loaded again
    promote(root, OTHER)
    follower.look()
    assert run_of(slot) == OTHER
    assert slot.version and predict(slot.version, [ROW]) != predict(before, [ROW])
    assert "quatrain_model_swaps_total 1\n" in counters.text(slot.version)
    assert capsys.readouterr().out == f"serving run {OTHER} in place of {CHAMPION}\n"
    promote(root, CHAMPION)
    follower.look()
    assert run_of(slot) == CHAMPION


Damage = Callable[[Path], Any]
REFUSED: list[tuple[Damage, str]] = [
    (
        lambda root: (alter_golden(root / "toys" / OTHER / "model"), promote(root, OTHER)),
        "when it was exported; TensorFlow here is",
    ),
    (lambda root: promote(root, OTHER, metadata="0" * 64), "is not the one that run"),
    (
        lambda root: (
            promote(root, OTHER),
            (root / "toys" / OTHER / "model/saved_model.pb").write_bytes(b"x"),
        ),
        "saved_model.pb is not the file that was exported",
    ),
    (
        lambda root: (promote(root, OTHER), shutil.rmtree(root / "toys" / OTHER)),
        f"the model of run {OTHER} is not at .* any more; put it back",
    ),
    (lambda root: promote(root, OTHER, metadata=""), "does not say which model run"),
    (lambda root: promote(root, OTHER, split=None), "is damaged"),
    (lambda root: (root / "toys/statistics/champion.json").write_text("{"), "is damaged"),
    (lambda root: (root / "toys/statistics/champion.json").unlink(), "has no champion"),
]


@pytest.mark.parametrize(("damage", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_champion_that_fails_is_refused_once_in_a_sentence_and_the_old_one_goes_on(
    root: Path, damage: Damage, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    follower, slot, counters = followed(root)
    before = slot.version
    record = (root / "toys/statistics/champion.json").read_bytes()
    damage(root)
    follower.look()
    follower.look()
    assert slot.version is before
    assert "quatrain_model_refusals_total 2\n" in counters.text(before)
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    begin = f"warning: the champion is refused and run {CHAMPION} goes on: "
    assert captured.err.startswith(begin)
    assert re.search(sentence, captured.err)
    (root / "toys/statistics/champion.json").write_bytes(record)
    follower.look()
    assert slot.version is before and capsys.readouterr().err == ""


def test_a_model_that_is_whole_again_is_loaded(root: Path) -> None:
    follower, slot, _ = followed(root)
    promote(root, OTHER)
    model = root / "toys" / OTHER / "model/saved_model.pb"
    graph = model.read_bytes()
    model.write_bytes(b"")
    follower.look()
    assert run_of(slot) == CHAMPION
    model.write_bytes(graph)
    follower.look()
    assert run_of(slot) == OTHER


def test_pauses_after_refusals_double_up_to_a_minute(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(str(root / "toys"), str(root))
    assert isinstance(source, FollowedChampion)
    (root / "toys/statistics/champion.json").unlink()
    now_s, looks = 0.0, []
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    counters = Counters()
    follower = Follower(source, Slot(), counters, poll_s=2.0)
    for _ in range(400):
        before = counters.text(None)
        follower.look()
        if counters.text(None) != before:
            looks.append(now_s)
        now_s += 1.0
    assert looks == [0, 2, 6, 14, 30, 62, 122, 182, 242, 302, 362]


def test_what_is_served_is_the_champion_a_run_or_a_model(root: Path, tmp_path: Path) -> None:
    toys = str(root / "toys")
    assert source_of(f"{toys}/", str(root)) == FollowedChampion(toys, str(root))
    run = source_of(f"{toys}/{OTHER}", str(root))
    assert run == FixedModel(f"{toys}/{OTHER}/model", str(root))
    assert source_of(f"{toys}/{OTHER}/model", str(root)) == run
    with pytest.raises(ArtifactError, match="holds no"):
        source_of(str(tmp_path), str(root))


def test_the_folder_of_runs_may_be_named_from_within_the_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    assert source_of("toys", ".").load().run == CHAMPION
    monkeypatch.chdir(root / "toys")
    assert source_of(".", "..").load().run == CHAMPION


def test_a_record_outside_of_the_root_makes_no_model_known(root: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    for place in (root / "toys", root / "toys" / OTHER):
        with pytest.raises(ArtifactError, match=r"was evaluated by no run below .*--trust"):
            source_of(str(place), str(runs)).load()
        source_of(str(place), str(runs), trust=True).load()


def test_a_champion_in_a_bucket_is_followed_there(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulator.serving() as storage:
        key = emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", storage.url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        storage.add_bucket("b")
        for run in (OTHER, CHAMPION):
            model = root / "toys" / run / "model"
            for path in model.rglob("*"):
                if path.is_file():
                    uri = f"gs://b/root/toys/{run}/plan/model/model/{path.relative_to(model)}"
                    storage.put(uri, path.read_bytes())
        uri = history.record_uri("gs://b/root", "toys", "champion")

        def point_at(run: str) -> None:
            promote(root, run, model=f"gs://b/root/toys/{run}/plan/model")
            storage.put(uri, (root / "toys/statistics/champion.json").read_bytes())

        point_at(CHAMPION)
        source = source_of("gs://b/root/toys", "gs://b/root")
        assert isinstance(source, FollowedChampion)
        slot = Slot(source.load())
        assert run_of(slot) == CHAMPION
        assert slot.version and isinstance(slot.version.model, ServedModel)
        point_at(OTHER)
        Follower(source, slot, Counters(), poll_s=0.0).look()
        assert run_of(slot) == OTHER
