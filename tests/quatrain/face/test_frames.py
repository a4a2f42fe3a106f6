"""A frame of pandas, polars or Arrow is prepared to the same bytes as its CSV."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow.csv as pacsv
import pytest

import quatrain
from quatrain.components.preprocess.run import preprocess
from quatrain.face.specs import call_spec

TAXI = Path(__file__).parents[1] / "draft/tables/taxi.csv"
FRAMES = {
    "pandas": lambda: pd.read_csv(TAXI),
    "pandas with nullable types": lambda: pd.read_csv(TAXI, dtype_backend="numpy_nullable"),
    "pandas with Arrow's types": lambda: pd.read_csv(TAXI, dtype_backend="pyarrow"),
    "polars": lambda: pl.read_csv(TAXI),
    "Arrow": lambda: pacsv.read_csv(TAXI),
    "an Arrow reader": lambda: pacsv.read_csv(TAXI).to_reader(100),
    "dicts": lambda: pacsv.read_csv(TAXI).to_pylist(),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def prepared(spec: Any, out: Path) -> dict[str, str]:
    """Returns the digests of the examples of a spec."""
    preprocess(spec.as_json(), runner="local", out=str(out))
    files = json.loads((out / "manifest.json").read_text())["files"]
    return {name: digest for name, digest in files.items() if name.endswith("1.parquet")}


def test_every_frame_gives_the_examples_of_its_csv(root: Path, tmp_path: Path) -> None:
    proposal = quatrain.init(TAXI, "tips", name="taxi")
    expected = prepared(proposal.spec, tmp_path / "csv")
    assert len(expected) >= 3
    for name, frame in FRAMES.items():
        with call_spec(proposal, (), frame(), root) as call:
            spec = call.keep()
        assert spec.source.uri[0].startswith(f"{root}/taxi/data/")
        assert prepared(spec, tmp_path / name) == expected, name


@pytest.mark.parametrize("name", FRAMES)
def test_init_proposes_the_same_for_a_frame_but_for_whole_numbers_that_are_floats(
    root: Path, name: str
) -> None:
    of_csv = quatrain.init(TAXI, "tips", name="taxi").document
    proposal = quatrain.init(FRAMES[name](), "tips", name="taxi")
    of_frame = proposal.document
    source = of_frame.pop("source")
    assert source["uri"].startswith(f"{root}/taxi/data/")
    assert source["format"] == "parquet"
    del of_csv["source"]
    if name == "pandas":  # which holds whole numbers with gaps as floats
        gaps = ("pickup_community_area", "dropoff_census_tract", "dropoff_community_area")
        assert {of_frame["columns"].pop(gap) for gap in gaps} == {"float"}
        assert {of_csv["columns"].pop(gap) for gap in gaps} == {"int"}
        del of_csv["features"], of_frame["features"]
    assert of_frame == of_csv


def test_a_frame_without_a_name_is_a_model_named_model(root: Path) -> None:
    proposal = quatrain.init(pl.read_csv(TAXI), "tips")
    assert proposal.spec.name == "model"
    assert proposal.spec.source.uri[0].startswith(f"{root}/model/data/")


def test_a_written_spec_names_its_frame_by_a_relative_path(root: Path) -> None:
    proposal = quatrain.init(pl.read_csv(TAXI), "tips", output="taxi.yaml")
    (path,) = Path("runs/taxi/data").iterdir()
    assert f"uri: {path}" in proposal.text
    assert quatrain.check("taxi.yaml").rows["read"] == 300


def test_check_takes_other_data_in_the_place_of_the_source(root: Path) -> None:
    proposal = quatrain.init(TAXI, "tips", output="taxi.yaml")
    half = pl.read_csv(TAXI).head(200)
    assert quatrain.check("taxi.yaml", data=half).rows["read"] == 200
    half.write_csv("half.csv")
    assert quatrain.check("taxi.yaml", data="half.csv").rows["read"] == 200
    half.write_parquet("half.parquet")
    assert quatrain.check(proposal, data=Path("half.parquet")).rows["read"] == 200
    with pytest.raises(quatrain.SpecError, match="there is no column 'tips'"):
        quatrain.check("taxi.yaml", data=half.drop("tips"))


def test_a_target_that_is_no_name_is_refused_in_a_sentence(root: Path) -> None:
    frame = pd.read_csv(TAXI)
    targets: dict[str, Any] = {"a Series": frame["tips"], "a list": ["tips"]}
    for kind, target in targets.items():
        with pytest.raises(quatrain.SpecError, match=f"target: {kind} is no name of a column"):
            quatrain.init(frame, target)
    assert not root.exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (7, "an int is no table in memory; give a pandas or polars DataFrame"),
        (pl.scan_csv(TAXI), "a LazyFrame is no table in memory; call .collect() first"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are named 'a'"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(root: Path, data: Any, sentence: str) -> None:
    proposal = quatrain.init(TAXI, "tips")
    for call in (
        lambda: quatrain.init(data, "tips"),
        lambda: quatrain.check(proposal, data=data),
        lambda: quatrain.run(proposal, data=data),
    ):
        with pytest.raises(quatrain.FrameError) as refusal:
            call()
        assert sentence in str(refusal.value)
    assert not root.exists()


def test_a_failed_init_leaves_nothing_and_names_the_frame_not_its_file(root: Path) -> None:
    frame = pl.read_csv(TAXI)
    mistakes: dict[str, Any] = {
        r"the frame: .*'tip'": lambda: quatrain.init(frame, "tip"),
        "the frame: .* nothing to learn": lambda: quatrain.init(frame.head(3), "tips", name="few"),
        "not-there": lambda: quatrain.init(frame, "tips", output="not-there/taxi.yaml"),
    }
    for sentence, call in mistakes.items():
        with pytest.raises(quatrain.QuatrainError, match=sentence) as refusal:
            call()
        assert ".parquet" not in str(refusal.value)
        assert not root.exists()


def test_a_failed_init_leaves_the_file_of_one_that_succeeded(root: Path) -> None:
    frame = pl.read_csv(TAXI)
    (uri,) = quatrain.init(frame, "tips").spec.source.uri
    with pytest.raises(quatrain.SpecError):
        quatrain.init(frame, "tip")
    assert [str(path) for path in (root / "model/data").iterdir()] == [uri]


def test_a_check_or_a_run_that_fails_leaves_no_copy_of_its_frame(root: Path) -> None:
    proposal = quatrain.init(TAXI, "tips")
    frame = pl.read_csv(TAXI)
    mistakes: list[Any] = [
        lambda: quatrain.check(proposal, data=frame.drop("tips")),
        lambda: quatrain.check(proposal, data=frame, tier="HUGE"),
        lambda: quatrain.check(proposal, data=frame, set={"label": "tip"}),
        lambda: quatrain.run(proposal, data=frame, tier="HUGE"),
        lambda: quatrain.run(proposal, data=frame, set={"label": "tip"}),
        lambda: quatrain.run(proposal, data=frame, at="noon"),
    ]
    for call in mistakes:
        with pytest.raises(quatrain.QuatrainError) as refusal:
            call()
        assert ".parquet" not in str(refusal.value)
        assert not root.exists()


def test_a_check_that_succeeds_keeps_its_frame_for_the_run(root: Path) -> None:
    checked = quatrain.check(quatrain.init(TAXI, "tips"), data=pl.read_csv(TAXI))
    (uri,) = checked.spec.source.uri
    assert list(Path(uri).parent.iterdir()) == [Path(uri)]
    assert quatrain.check(checked.spec.as_document()).rows == checked.rows


def test_check_names_the_frame_not_its_file(root: Path) -> None:
    proposal = quatrain.init(TAXI, "tips")
    with pytest.raises(quatrain.SpecError) as refusal:
        quatrain.check(proposal, data=pl.read_csv(TAXI).drop("tips"))
    assert str(refusal.value).startswith("spec: the frame: there is no column 'tips'")
